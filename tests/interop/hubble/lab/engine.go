package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"reflect"
	"strings"
	"sync"

	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/cilium/cilium/pkg/crypto/certificatemanager"
	"github.com/cilium/cilium/pkg/endpoint/regeneration"
	envoypolicy "github.com/cilium/cilium/pkg/envoy/policy"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/identitymanager"
	ipcachetypes "github.com/cilium/cilium/pkg/ipcache/types"
	"github.com/cilium/cilium/pkg/k8s"
	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	slimnet "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/networking/v1"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/option"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/policy/api"
	policytypes "github.com/cilium/cilium/pkg/policy/types"
	"github.com/cilium/cilium/pkg/policy/utils"
	testcertificatemanager "github.com/cilium/cilium/pkg/testutils/certificatemanager"
	testpolicy "github.com/cilium/cilium/pkg/testutils/policy"
	"github.com/cilium/cilium/pkg/u8proto"
)

const clusterName = "default"

// configure sets what a Kubernetes agent with dual stack has set.
func configure() {
	option.Config.EnableIPv4 = true
	option.Config.EnableIPv6 = true
	option.Config.ClusterName = clusterName
	option.Config.EnableL7Proxy = true
	option.Config.EnableICMPRules = true
	option.Config.EnableNonDefaultDenyPolicies = true
	option.Config.UnsafeDaemonConfigOption.AllowLocalhost = option.AllowLocalhostAuto
	api.InitEntities(clusterName)
}

// document is one policy as Cilium reads it.
type document struct {
	id      ipcachetypes.ResourceID
	entries policytypes.PolicyEntries
}

// readPolicies takes YAML with CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and NetworkPolicy.
func readPolicies(logger *slog.Logger, text string) ([]document, error) {
	var all []document
	pages := k8syaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		page, err := pages.Read()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		raw, err := yaml.YAMLToJSON(page)
		if err != nil {
			return nil, err
		}
		if string(raw) == "null" {
			continue
		}
		one, err := readPolicy(logger, raw)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
}

func readPolicy(logger *slog.Logger, raw []byte) (document, error) {
	var head struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return document{}, err
	}
	name, namespace := head.Metadata.Name, head.Metadata.Namespace
	switch head.Kind {
	case "CiliumNetworkPolicy":
		var one v2.CiliumNetworkPolicy
		if err := json.Unmarshal(raw, &one); err != nil {
			return document{}, err
		}
		rules, err := one.Parse(logger, clusterName)
		id := ipcachetypes.NewResourceID(ipcachetypes.ResourceKindCNP, namespace, name)
		return document{id, utils.RulesToPolicyEntries(rules)}, err
	case "CiliumClusterwideNetworkPolicy":
		var one v2.CiliumClusterwideNetworkPolicy
		if err := json.Unmarshal(raw, &one); err != nil {
			return document{}, err
		}
		rules, err := one.Parse(logger, clusterName)
		id := ipcachetypes.NewResourceID(ipcachetypes.ResourceKindCCNP, "", name)
		return document{id, utils.RulesToPolicyEntries(rules)}, err
	case "NetworkPolicy":
		var one slimnet.NetworkPolicy
		if err := json.Unmarshal(raw, &one); err != nil {
			return document{}, err
		}
		entries, err := k8s.ParseNetworkPolicy(logger, clusterName, &one)
		return document{ipcachetypes.NewResourceID(ipcachetypes.ResourceKindNetpol, namespace, name), entries}, err
	}
	return document{}, fmt.Errorf("the lab knows no kind %q", head.Kind)
}

// engine is Cilium's policy repository, and the numbers that identities have been given so far.
type engine struct {
	logger    *slog.Logger
	world     *world
	documents []document
	revision  uint64
	numbers   map[string]identity.NumericIdentity
}

// allocate gives each set of labels its number for good.
func (e *engine) allocate(lbls labels.LabelArray) identity.NumericIdentity {
	key := fmt.Sprint(lbls.Sort())
	if e.numbers[key] == 0 {
		e.numbers[key] = identity.IdentityScopeLocal + identity.NumericIdentity(len(e.numbers)+1)
	}
	return e.numbers[key]
}

// identify fills the world's identities: pods, the blocks that policies name, and addresses whose names do.
func (e *engine) identify() {
	identities := map[identity.NumericIdentity]labels.LabelArray{}
	for number, lbls := range identity.ListReservedIdentities() {
		identities[number] = lbls
	}
	prefixes := map[netip.Prefix]identity.NumericIdentity{
		netip.MustParsePrefix("0.0.0.0/0"): identity.ReservedIdentityWorldIPv4,
		netip.MustParsePrefix("::/0"):      identity.ReservedIdentityWorldIPv6,
	}
	add := func(prefix netip.Prefix, more ...labels.Label) {
		all := labels.GetCIDRLabels(prefix)
		if len(more) > 0 {
			world := labels.WorldLabelV6
			if prefix.Addr().Is4() {
				world = labels.WorldLabelV4
			}
			all = labels.FromSlice(append(more, world))
			// Beside the label of the smallest block around it, as the IP cache inherits it.
			for outer := range e.blocks() {
				if outer.Contains(prefix.Addr()) && outer.Bits() > 0 {
					all.MergeLabels(labels.GetCIDRLabels(outer))
				}
			}
		}
		array := all.LabelArray()
		prefixes[prefix] = e.allocate(array)
		identities[prefixes[prefix]] = array
	}
	for prefix := range e.blocks() {
		if prefix.Bits() > 0 {
			add(prefix)
		}
	}
	for _, address := range e.world.names.addresses() {
		if found := e.selected(address); len(found) > 0 {
			add(netip.PrefixFrom(address, address.BitLen()), found...)
		}
	}
	for _, each := range e.world.Pods {
		identities[each.Identity] = each.labels()
		for _, address := range each.Addresses {
			prefixes[netip.PrefixFrom(address, address.BitLen())] = each.Identity
		}
	}
	e.world.mutex.Lock()
	defer e.world.mutex.Unlock()
	e.world.identities, e.world.prefixes = identities, prefixes
}

func (e *engine) selectors(do func(policytypes.Selector)) {
	for _, each := range e.documents {
		for _, entry := range each.entries {
			for _, one := range entry.L3 {
				do(one)
			}
		}
	}
}

func (e *engine) blocks() map[netip.Prefix]bool {
	all := map[netip.Prefix]bool{}
	e.selectors(func(one policytypes.Selector) {
		for _, prefix := range one.GetCIDRPrefixes() {
			all[prefix.Masked()] = true
		}
	})
	return all
}

// selected are the labels of the FQDN selectors that an address's names match.
func (e *engine) selected(address netip.Addr) []labels.Label {
	var all []labels.Label
	e.selectors(func(one policytypes.Selector) {
		name, ok := one.GetFQDNSelector()
		if !ok {
			return
		}
		matches, err := name.ToRegex()
		for _, known := range e.world.names.of(address) {
			if err == nil && matches.MatchString(known+".") {
				all = append(all, name.IdentityLabel())
				return
			}
		}
	})
	return all
}

// enforced is a pod's policy, and in which directions there is any.
type enforced struct {
	policy  *policy.EndpointPolicy
	ingress bool
	egress  bool
}

// compute asks Cilium's repository for a pod's policy.
func (e *engine) compute(who *pod) (enforced, error) {
	repo := policy.NewPolicyRepository(
		e.logger,
		identity.ListReservedIdentities(),
		&testcertificatemanager.Fake{},
		envoypolicy.NewEnvoyL7RulesTranslator(e.logger, certificatemanager.NewMockSecretManagerInline()),
		identitymanager.NewIDManager(e.logger),
		testpolicy.NewPolicyMetricsNoop(),
	)
	for _, each := range e.documents {
		repo.ReplaceByResource(each.entries, each.id)
	}
	ids := identity.IdentityMap{}
	for number, lbls := range e.world.identities {
		ids[number] = lbls
	}
	waiting := &sync.WaitGroup{}
	repo.GetSelectorCache().UpdateIdentities(ids, nil, waiting)
	waiting.Wait()
	repo.UpdateIdentities(ids, nil)
	made, _, err := repo.ComputeSelectorPolicy(identity.NewIdentityFromLabelArray(who.Identity, who.labels()))
	if err != nil {
		return enforced{}, err
	}
	distilled := made.DistillPolicy(e.logger, owner{who}, map[string]uint16{policy.FallbackRedirectID: math.MaxUint16})
	distilled.Ready()
	distilled.Detach(e.logger)
	// The type is private, its fields aren't.
	fields := reflect.ValueOf(made).Elem()
	return enforced{
		distilled,
		fields.FieldByName("IngressPolicyEnabled").Bool(),
		fields.FieldByName("EgressPolicyEnabled").Bool(),
	}, nil
}

// owner is the endpoint that a policy is distilled for.
type owner struct{ who *pod }

func (o owner) GetID() uint64                                      { return uint64(o.who.EndpointID) }
func (o owner) GetIngressNamedPort(string, u8proto.U8proto) uint16 { return 0 }
func (o owner) PolicyDebug(string, ...any)                         {}
func (o owner) IsHost() bool                                       { return false }
func (o owner) PreviousMapStateSizes() policy.MapStateSizes        { return policy.MapStateSizes{} }
func (o owner) RegenerateIfAlive(*regeneration.ExternalRegenerationMetadata) <-chan bool {
	done := make(chan bool)
	close(done)
	return done
}
