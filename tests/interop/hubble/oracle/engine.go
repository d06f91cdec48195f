package main

import (
	"fmt"
	"iter"
	"log/slog"
	"math"
	"reflect"
	"slices"
	"sync"

	"github.com/cilium/cilium/pkg/crypto/certificatemanager"
	"github.com/cilium/cilium/pkg/endpoint/regeneration"
	envoypolicy "github.com/cilium/cilium/pkg/envoy/policy"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/identity/identitymanager"
	k8sconst "github.com/cilium/cilium/pkg/k8s/apis/cilium.io"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/policy"
	testcertificatemanager "github.com/cilium/cilium/pkg/testutils/certificatemanager"
	testpolicy "github.com/cilium/cilium/pkg/testutils/policy"
	pkgtypes "github.com/cilium/cilium/pkg/types"
	"github.com/cilium/cilium/pkg/u8proto"
)

// engines holds a repository for each set of labels the host has in the questions: its identity
// has one number, so one repository can't know two hosts.
type engines struct {
	byHost map[string]*engine
}

type engine struct {
	repo     *policy.Repository
	logger   *slog.Logger
	parties  map[string]*known
	computed map[string]computed
}

// known is a party with its identity.
type known struct {
	identity *identity.Identity
	ports    map[string]uint16
}

// computed is a subject's policy, ready to be looked up.
type computed struct {
	policy          *policy.EndpointPolicy
	ingress, egress bool
}

func newEngines(logger *slog.Logger, set *policySet, questions []question) (*engines, error) {
	var parties []party
	hosts := map[string]bool{}
	for _, each := range questions {
		parties = append(parties, each.Subject, each.Peer)
		hosts[hostKey(each.Subject)] = true
		hosts[hostKey(each.Peer)] = true
	}
	out := &engines{byHost: map[string]*engine{}}
	for host := range hosts {
		made, err := newEngine(logger, set, parties, host)
		if err != nil {
			return nil, err
		}
		out.byHost[host] = made
	}
	return out, nil
}

func newEngine(logger *slog.Logger, set *policySet, parties []party, host string) (*engine, error) {
	secrets := certificatemanager.NewMockSecretManagerInline()
	repo := policy.NewPolicyRepository(
		logger,
		identity.ListReservedIdentities(),
		&testcertificatemanager.Fake{},
		envoypolicy.NewEnvoyL7RulesTranslator(logger, secrets),
		identitymanager.NewIDManager(logger),
		testpolicy.NewPolicyMetricsNoop(),
	)
	out := &engine{repo: repo, logger: logger, computed: map[string]computed{}}
	for _, each := range set.resources {
		repo.ReplaceByResource(each.entries, each.id)
	}
	var err error
	if out.parties, err = identify(set, parties, host); err != nil {
		return nil, err
	}
	ids, ports := identity.IdentityMap{}, namedPorts{}
	for _, each := range out.parties {
		ids[each.identity.ID] = each.identity.LabelArray
		ports[each.identity.ID] = each.ports
	}
	repo.SetNamedPortsGetter(portsGetter{ports})
	waiting := &sync.WaitGroup{}
	repo.GetSelectorCache().UpdateIdentities(ids, nil, waiting)
	waiting.Wait()
	subjects := identity.ListReservedIdentities()
	for id, lbls := range ids {
		subjects[id] = lbls
	}
	repo.UpdateIdentities(subjects, nil)
	return out, nil
}

func (all *engines) decide(asked question) (answer, error) {
	host := hostKey(asked.Subject)
	if host == "" {
		host = hostKey(asked.Peer)
	}
	return all.byHost[host].decide(asked)
}

// forget makes the subjects' policies be computed anew.
func (all *engines) forget() {
	for _, each := range all.byHost {
		each.computed = map[string]computed{}
	}
}

func (e *engine) decide(asked question) (answer, error) {
	subject := e.compute(asked.Subject)
	if subject.policy == nil {
		return answer{ID: asked.ID, Verdict: "fails", Policies: []string{}, Places: []string{}}, nil
	}
	key, selected := policy.EgressKey(), subject.egress
	switch asked.Direction {
	case "egress":
	case "ingress":
		key, selected = policy.IngressKey(), subject.ingress
	default:
		return answer{}, fmt.Errorf("direction is %q", asked.Direction)
	}
	protocol, err := u8proto.ParseProtocol(asked.Protocol)
	if err != nil {
		return answer{}, err
	}
	if asked.Port == 0 || protocol == u8proto.ANY {
		return answer{}, fmt.Errorf("a flow has a protocol, and a port or type above 0")
	}
	peer := e.parties[partyKey(asked.Peer)].identity.ID
	entry, rules, _ := subject.policy.Lookup(key.WithIdentity(peer).WithPortProto(protocol, asked.Port))
	out := answer{
		ID:       asked.ID,
		Verdict:  "allowed",
		L7:       entry.IsRedirectEntry(),
		Selected: selected,
		Policies: []string{},
		Places:   []string{},
	}
	if entry.IsDeny() {
		out.Verdict, out.L7 = "denied", false
	}
	for _, origin := range rules.LabelArray() {
		out.credit(origin)
	}
	return out, nil
}

// credit adds the policy and place that an entry's labels name; default rules name none.
func (a *answer) credit(origin labels.LabelArray) {
	fields := map[string]string{}
	for _, label := range origin {
		if label.Source == labels.LabelSourceK8s || label.Source == placeSource {
			fields[label.Key] = label.Value
		}
	}
	name, ours := fields[k8sconst.PolicyLabelName]
	if !ours {
		return
	}
	policyName := fmt.Sprintf("%s %s/%s",
		fields[k8sconst.PolicyLabelDerivedFrom], fields[k8sconst.PolicyLabelNamespace], name)
	if !slices.Contains(a.Policies, policyName) {
		a.Policies = append(a.Policies, policyName)
	}
	if place := fields["place"]; place != "" {
		if place = name + " " + place; !slices.Contains(a.Places, place) {
			a.Places = append(a.Places, place)
		}
	}
}

// compute makes the subject's policy, once. There is none if rules can't be merged: an agent then
// keeps the one it had before.
func (e *engine) compute(subject party) computed {
	key := partyKey(subject)
	if done, ok := e.computed[key]; ok {
		return done
	}
	who := e.parties[key]
	selectors, _, err := e.repo.ComputeSelectorPolicy(who.identity)
	if err != nil {
		e.computed[key] = computed{}
		return computed{}
	}
	distilled := selectors.DistillPolicy(e.logger, owner{who}, map[string]uint16{
		policy.FallbackRedirectID: math.MaxUint16,
	})
	distilled.Ready()
	distilled.Detach(e.logger)
	// The type is private, its fields aren't.
	fields := reflect.ValueOf(selectors).Elem()
	done := computed{
		policy:  distilled,
		ingress: fields.FieldByName("IngressPolicyEnabled").Bool(),
		egress:  fields.FieldByName("EgressPolicyEnabled").Bool(),
	}
	selectors.Supersede()
	e.computed[key] = done
	return done
}

// owner is the endpoint that a policy is distilled for.
type owner struct{ who *known }

func (o owner) GetID() uint64 { return uint64(o.who.identity.ID) & math.MaxUint16 }
func (o owner) GetIngressNamedPort(name string, _ u8proto.U8proto) uint16 {
	return o.who.ports[name]
}
func (o owner) PolicyDebug(string, ...any) {}
func (o owner) IsHost() bool {
	return o.who.identity.ID == identity.ReservedIdentityHost
}
func (o owner) PreviousMapStateSizes() policy.MapStateSizes { return policy.MapStateSizes{} }
func (o owner) RegenerateIfAlive(*regeneration.ExternalRegenerationMetadata) <-chan bool {
	done := make(chan bool)
	close(done)
	return done
}

// namedPorts gives each identity its party's ports, whatever the protocol.
type namedPorts map[identity.NumericIdentity]map[string]uint16

// portsGetter is what the repository asks for them.
type portsGetter struct{ ports namedPorts }

func (g portsGetter) GetNamedPorts() pkgtypes.NamedPortMultiMap { return g.ports }

func (n namedPorts) Len() int { return len(n) }

func (n namedPorts) GetNamedPorts(
	name string, _ u8proto.U8proto, nids iter.Seq[identity.NumericIdentity],
) pkgtypes.NidPortSeq {
	return func(yield func(identity.NumericIdentity, uint16) bool) {
		for nid := range nids {
			if port := n[nid][name]; port != 0 && !yield(nid, port) {
				return
			}
		}
	}
}

func (n namedPorts) GetNamedPort(
	name string, proto u8proto.U8proto, nids iter.Seq[identity.NumericIdentity],
) (uint16, error) {
	for _, port := range n.GetNamedPorts(name, proto, nids) {
		return port, nil
	}
	return 0, pkgtypes.ErrUnknownNamedPort
}
