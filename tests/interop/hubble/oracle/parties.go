package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cilium/cilium/pkg/fqdn/dns"
	"github.com/cilium/cilium/pkg/identity"
	k8sconst "github.com/cilium/cilium/pkg/k8s/apis/cilium.io"
	k8sutils "github.com/cilium/cilium/pkg/k8s/utils"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy/api"
)

const (
	hostLabel   = "reserved:host"
	nodeLabel   = "reserved:remote-node"
	serverLabel = "reserved:kube-apiserver"
	// The first free number for pods, and other clusters' ID.
	firstPod     = identity.NumericIdentity(256)
	otherCluster = 1
)

func partyKey(one party) string {
	key, _ := json.Marshal(one)
	return string(key)
}

// hostKey is empty for a party that isn't the host.
func hostKey(one party) string {
	if slices.Contains(one.Labels, hostLabel) {
		return partyKey(one)
	}
	return ""
}

func isNode(one party) bool {
	return hostKey(one) != "" || slices.Contains(one.Labels, nodeLabel)
}

// addresses are all that it has.
func (one party) addresses() []string {
	if one.IP == "" {
		return nil
	}
	return append([]string{one.IP}, one.Also...)
}

// outside tells whether the party is known by its address: no labels, or an API server that is no node.
func outside(one party) bool {
	if len(one.Labels) == 0 {
		return true
	}
	return slices.Contains(one.Labels, serverLabel) &&
		!slices.ContainsFunc(one.Labels, func(label string) bool {
			return label == hostLabel || label == nodeLabel || strings.HasPrefix(label, "k8s:")
		})
}

// identify gives each party an identity in the range that Cilium would take it from: the range decides
// which aggregate (cluster, mesh, world, remote nodes) covers it in a policy map. `host` is the key of
// the party that is the own node.
func identify(set *policySet, parties []party, host string) (map[string]*known, error) {
	reserved := map[string]identity.NumericIdentity{}
	for id, lbls := range identity.ListReservedIdentities() {
		reserved[sortedKey(lbls)] = id
	}
	names := fqdnSelectors(set)
	apart := option.Config.PolicyCIDRMatchesNodes()
	pods, mesh := firstPod, identity.GetMinimalAllocationIdentity(otherCluster)+1
	locals, nodes := identity.IdentityScopeLocal+1, identity.IdentityScopeRemoteNode+1
	next := func(counter *identity.NumericIdentity) identity.NumericIdentity {
		*counter++
		return *counter
	}
	all := map[string]*known{}
	for _, one := range parties {
		key := partyKey(one)
		if all[key] != nil {
			continue
		}
		var lbls labels.LabelArray
		for _, label := range one.Labels {
			lbls = append(lbls, labels.ParseLabel(label))
		}
		var id identity.NumericIdentity
		fixed, isReserved := reserved[sortedKey(lbls)]
		cluster := lbls.Get(labels.LabelSourceK8sKeyPrefix + k8sconst.PolicyLabelCluster)
		switch {
		case outside(one):
			id = next(&locals)
			more, err := addressLabels(set, names, one)
			if err != nil {
				return nil, err
			}
			lbls = append(lbls, more...)
		case key == host:
			id = identity.ReservedIdentityHost
		case isReserved && hostKey(one) == "" && len(one.Ports) == 0 && !(apart && isNode(one)):
			id = fixed
		case slices.Contains(one.Labels, nodeLabel):
			id = next(&nodes)
		case cluster != "" && cluster != clusterName:
			id = next(&mesh)
		default:
			id = next(&pods)
		}
		if !outside(one) {
			var err error
			if lbls, err = insideLabels(set, names, one, lbls); err != nil {
				return nil, err
			}
		}
		all[key] = &known{identity.NewIdentityFromLabelArray(id, lbls.Sort()), one.Ports}
	}
	return all, nil
}

func sortedKey(lbls labels.LabelArray) string {
	var parts []string
	for _, label := range lbls {
		parts = append(parts, label.String())
	}
	slices.Sort(parts)
	return strings.Join(parts, ";")
}

type namesIn []api.FQDNSelector

func fqdnSelectors(set *policySet) namesIn {
	var all namesIn
	for _, each := range set.resources {
		for _, entry := range each.entries {
			for _, selector := range entry.L3 {
				if name, ok := selector.GetFQDNSelector(); ok {
					all = append(all, *name)
				}
			}
		}
	}
	return all
}

// addressLabels are what the IP cache would know of an address: its prefix, the world, the CIDR groups
// it is in, and each FQDN selector that its name matches.
func addressLabels(set *policySet, names namesIn, one party) (labels.LabelArray, error) {
	if one.IP == "" {
		return nil, fmt.Errorf("a party needs labels or an ip")
	}
	address, err := netip.ParseAddr(one.IP)
	if err != nil {
		return nil, err
	}
	found := labels.GetCIDRLabels(netip.PrefixFrom(address, address.BitLen()))
	if err := addNames(found, names, one.FQDN); err != nil {
		return nil, err
	}
	addGroups(found, set, address)
	return found.LabelArray(), nil
}

// addNames adds the label of each selector that a name matches.
func addNames(found labels.Labels, names namesIn, fqdn string) error {
	if fqdn == "" {
		return nil
	}
	name := strings.ToLower(dns.FQDN(fqdn))
	for _, selector := range names {
		matches, err := selector.ToRegex()
		if err != nil {
			return err
		}
		if matches.MatchString(name) {
			label := selector.IdentityLabel()
			found[label.Key] = label
		}
	}
	return nil
}

// addGroups adds the labels of the CIDR groups that hold an address.
func addGroups(found labels.Labels, set *policySet, address netip.Addr) {
	for _, group := range set.groups {
		for _, cidr := range group.Spec.ExternalCIDRs {
			prefix, err := netip.ParsePrefix(string(cidr))
			if err != nil || !prefix.Contains(address) {
				continue
			}
			for key, value := range k8sutils.RemoveCiliumLabels(group.Labels) {
				plain := labels.NewLabel(key, value, labels.LabelSourceCIDRGroup)
				encoded := labels.EncodedCIDRGroupLabel(plain.Key, plain.Value, plain.Source)
				found[plain.Key], found[encoded.Key] = plain, encoded
			}
			reference := api.LabelForCIDRGroupRef(group.Name)
			found[reference.Key] = reference
		}
	}
}
