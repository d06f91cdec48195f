package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cast"
	"github.com/spf13/viper"

	cmtypes "github.com/cilium/cilium/pkg/clustermesh/types"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/types"
)

// setting is what an agent makes of entries of its ConfigMap.
type setting struct {
	CIDRMatchMode []string `json:"cidr_match_mode"`
	EnablePolicy  string   `json:"enable_policy"`
	AuditMode     bool     `json:"audit_mode"`
	DenyResponse  string   `json:"deny_response"`
	ClusterName   string   `json:"cluster_name"`
	EnableIPv4    bool     `json:"enable_ipv4"`
	EnableIPv6    bool     `json:"enable_ipv6"`
	Refused       string   `json:"refused"`
}

var modes = []string{"nodes", "pods"}

// settings reads entries as option.InitConfig and DaemonConfig.Populate do: by viper, over flags' defaults.
func settings(entries map[string]string) setting {
	vp := viper.New()
	vp.SetDefault(option.EnablePolicy, option.DefaultEnforcement)
	vp.SetDefault(option.PolicyDenyResponse, option.PolicyDenyResponseNone)
	vp.SetDefault(cmtypes.OptClusterName, clusterName)
	vp.SetDefault(option.EnableIPv4Name, true)
	vp.SetDefault(option.EnableIPv6Name, true)
	given := map[string]any{}
	out := setting{CIDRMatchMode: []string{}}
	for key, value := range entries {
		given[key] = value
	}
	for _, key := range []string{option.PolicyAuditModeArg, option.EnableIPv4Name, option.EnableIPv6Name} {
		if _, err := cast.ToBoolE(given[key]); given[key] != nil && err != nil {
			out.Refused = key
		}
	}
	if err := option.MergeConfig(vp, given); err != nil {
		out.Refused = err.Error()
	}
	out.CIDRMatchMode = append(out.CIDRMatchMode, vp.GetStringSlice(option.PolicyCIDRMatchMode)...)
	out.AuditMode = vp.GetBool(option.PolicyAuditModeArg)
	out.EnableIPv4 = vp.GetBool(option.EnableIPv4Name)
	out.EnableIPv6 = vp.GetBool(option.EnableIPv6Name)
	out.ClusterName = vp.GetString(cmtypes.OptClusterName)
	out.DenyResponse = vp.GetString(option.PolicyDenyResponse)
	out.EnablePolicy = strings.ToLower(vp.GetString(option.EnablePolicy))
	for _, mode := range out.CIDRMatchMode {
		if !slices.Contains(modes, mode) {
			out.Refused = option.PolicyCIDRMatchMode
		}
	}
	if cmtypes.ValidateClusterName(out.ClusterName) != nil {
		out.Refused = cmtypes.OptClusterName
	}
	responses := []string{"", option.PolicyDenyResponseNone, option.PolicyDenyResponseIcmp}
	if !slices.Contains(responses, out.DenyResponse) {
		out.Refused = option.PolicyDenyResponse
	}
	return out
}

// choose sets the options that the engine decides by.
func choose(entries map[string]string) error {
	chosen := settings(entries)
	if chosen.Refused != "" {
		return fmt.Errorf("an agent refuses its option %s", chosen.Refused)
	}
	option.Config.PolicyCIDRMatchMode = chosen.CIDRMatchMode
	policy.SetPolicyEnabled(chosen.EnablePolicy)
	return nil
}

// insideLabels are what an endpoint or a node has beside its own labels where blocks may mean it: of its
// addresses the longest prefix that policies name, and the CIDR groups (endpoint.computeCIDRLabelsRLocked);
// of a node the address itself, and the names that led to it (node manager, ipcache.resolveLabels).
func insideLabels(set *policySet, names namesIn, one party, lbls labels.LabelArray) (labels.LabelArray, error) {
	node := isNode(one)
	if node && !option.Config.PolicyCIDRMatchesNodes() || !node && !option.Config.PolicyCIDRMatchesPods() {
		return lbls, nil
	}
	// Reserved endpoints (health, ingress) have no labels of addresses.
	if !node && slices.ContainsFunc(one.Labels, reservedLabel) {
		return lbls, nil
	}
	for _, text := range one.addresses() {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		found := labels.Labels{}
		addGroups(found, set, address)
		if node {
			if err := addNames(found, names, one.FQDN); err != nil {
				return nil, err
			}
			found.MergeLabels(labels.GetCIDRLabels(netip.PrefixFrom(address, address.BitLen())))
			found.RemoveFromSource(labels.LabelSourceReserved)
		} else {
			label := longestPrefix(set, address)
			found[label.GetExtendedKey()] = label
		}
		lbls = append(lbls, found.LabelArray()...)
	}
	return lbls, nil
}

func reservedLabel(label string) bool { return strings.HasPrefix(label, "reserved:") }

// longestPrefix is the label of the longest prefix of all policies that holds an address.
func longestPrefix(set *policySet, address netip.Addr) labels.Label {
	longest := netip.PrefixFrom(address, 0).Masked()
	consider := func(prefix netip.Prefix) {
		if prefix.Contains(address) && prefix.Bits() > longest.Bits() {
			longest = prefix
		}
	}
	for _, each := range set.resources {
		for _, entry := range each.entries {
			for _, selector := range entry.L3 {
				if cidrs, ok := selector.(*types.CIDRSelector); ok {
					for _, prefix := range cidrs.GetCIDRPrefixes() {
						consider(prefix)
					}
				}
			}
		}
	}
	for _, group := range set.groups {
		for _, cidr := range group.Spec.ExternalCIDRs {
			if prefix, err := netip.ParsePrefix(string(cidr)); err == nil {
				consider(prefix)
			}
		}
	}
	if longest.Bits() == 0 {
		return labels.ParseLabel("cidr:" + longest.String())
	}
	label, err := labels.IPStringToLabel(longest.String())
	if err != nil {
		panic(err)
	}
	return label
}
