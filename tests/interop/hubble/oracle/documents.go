package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	k8sjson "sigs.k8s.io/json"
	policyv1alpha2 "sigs.k8s.io/network-policy-api/apis/v1alpha2"
	"sigs.k8s.io/yaml"

	ipcachetypes "github.com/cilium/cilium/pkg/ipcache/types"
	"github.com/cilium/cilium/pkg/k8s"
	v2 "github.com/cilium/cilium/pkg/k8s/apis/cilium.io/v2"
	slim "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/networking/v1"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/policy/api"
	"github.com/cilium/cilium/pkg/policy/types"
	"github.com/cilium/cilium/pkg/policy/utils"
)

// placeSource is the source of the label added to each entry; it comes back as the entry's origin.
const placeSource = "oracle"

// resource is one accepted policy document.
type resource struct {
	id      ipcachetypes.ResourceID
	entries types.PolicyEntries
}

type policySet struct {
	count     int
	resources []resource
	groups    []v2.CiliumCIDRGroup
	rejected  []rejection
	unknown   []string
}

type head struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Items      []json.RawMessage `json:"items"`
	Metadata   struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
	} `json:"metadata"`
}

// read takes in YAML with any number of documents and Lists. An error means that the text isn't YAML.
func read(logger *slog.Logger, text string) (*policySet, error) {
	set := &policySet{}
	err := eachDocument(text, func(document []byte) error { return set.add(logger, document) })
	return set, err
}

// eachDocument gives the JSON that kubectl makes of each document.
func eachDocument(text string, do func([]byte) error) error {
	documents := k8syaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		asJSON, err := yaml.YAMLToJSON(document)
		if err != nil {
			return err
		}
		if string(asJSON) == "null" {
			continue
		}
		if err := do(asJSON); err != nil {
			return err
		}
	}
}

func (set *policySet) add(logger *slog.Logger, document []byte) error {
	var top head
	if err := json.Unmarshal(document, &top); err != nil {
		return fmt.Errorf("not a Kubernetes object: %w", err)
	}
	if strings.HasSuffix(top.Kind, "List") && top.Items != nil {
		for _, item := range top.Items {
			if err := set.add(logger, item); err != nil {
				return err
			}
		}
		return nil
	}
	group, _, _ := strings.Cut(top.APIVersion, "/")
	parse, known := kinds[group+"/"+top.Kind]
	if !known {
		return nil
	}
	if err := guarded(func() error { return parse(logger, set, document) }); err != nil {
		set.rejected = append(set.rejected, rejection{set.count, top.Metadata.Name, err.Error()})
	}
	set.count++
	return nil
}

var kinds = map[string]func(*slog.Logger, *policySet, []byte) error{
	"cilium.io/CiliumNetworkPolicy":                 addCNP,
	"cilium.io/CiliumClusterwideNetworkPolicy":      addCCNP,
	"cilium.io/CiliumCIDRGroup":                     addCIDRGroup,
	"networking.k8s.io/NetworkPolicy":               addNetworkPolicy,
	"policy.networking.k8s.io/ClusterNetworkPolicy": addClusterNetworkPolicy,
}

// guarded turns Cilium's panics about input that the API server's schema keeps from it into errors.
func guarded(parse func() error) (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("%v", caught)
		}
	}()
	return parse()
}

// decode reads as the API server does: case-sensitively, telling apart what is unknown from what is wrong.
func (set *policySet) decode(document []byte, into any) error {
	unknown, err := k8sjson.UnmarshalStrict(document, into)
	for _, each := range unknown {
		set.unknown = append(set.unknown, each.Error())
	}
	return err
}

func addCNP(logger *slog.Logger, set *policySet, document []byte) error {
	var cnp v2.CiliumNetworkPolicy
	if err := set.decode(document, &cnp); err != nil {
		return err
	}
	if cnp.Namespace == "" {
		cnp.Namespace = "default" // as kubectl does
	}
	rules, err := cnp.Parse(logger, clusterName)
	if err != nil {
		return err
	}
	id := ipcachetypes.NewResourceID(ipcachetypes.ResourceKindCNP, cnp.Namespace, cnp.Name)
	set.insert(id, ruleEntries(rules, cnp.Spec != nil))
	return nil
}

func addCCNP(logger *slog.Logger, set *policySet, document []byte) error {
	var ccnp v2.CiliumClusterwideNetworkPolicy
	if err := set.decode(document, &ccnp); err != nil {
		return err
	}
	rules, err := ccnp.Parse(logger, clusterName)
	if err != nil {
		return err
	}
	id := ipcachetypes.NewResourceID(ipcachetypes.ResourceKindCCNP, "", ccnp.Name)
	set.insert(id, ruleEntries(rules, ccnp.Spec != nil))
	return nil
}

// ruleEntries makes entries that know their place: spec first, then each of specs.
func ruleEntries(rules api.Rules, hasSpec bool) types.PolicyEntries {
	var all types.PolicyEntries
	for i, rule := range rules {
		where := "spec"
		if i > 0 || !hasSpec {
			where = fmt.Sprintf("specs.%d", i)
			if hasSpec {
				where = fmt.Sprintf("specs.%d", i-1)
			}
		}
		var places []string
		for _, section := range []struct {
			name  string
			count int
		}{
			{"ingress", len(rule.Ingress)},
			{"ingressDeny", len(rule.IngressDeny)},
			{"egress", len(rule.Egress)},
			{"egressDeny", len(rule.EgressDeny)},
		} {
			for n := range section.count {
				places = append(places, fmt.Sprintf("%s.%s.%d", where, section.name, n))
			}
		}
		entries := utils.RulesToPolicyEntries(api.Rules{rule})
		for n, entry := range entries {
			mark(entry, places[n])
		}
		all = append(all, entries...)
	}
	return all
}

func addNetworkPolicy(logger *slog.Logger, set *policySet, document []byte) error {
	// Cilium's own type leaves out most of metadata; what the API server knows tells what is unknown.
	unknown, err := k8sjson.UnmarshalStrict(document, &networkingv1.NetworkPolicy{})
	if err != nil {
		return err
	}
	for _, each := range unknown {
		// Written by older clusters.
		if each.Error() != `unknown field "status"` {
			set.unknown = append(set.unknown, each.Error())
		}
	}
	var knp slim.NetworkPolicy
	if _, err := k8sjson.UnmarshalStrict(document, &knp); err != nil {
		return err
	}
	entries, err := k8s.ParseNetworkPolicy(logger, clusterName, &knp)
	if err != nil {
		return err
	}
	// One entry for each peer of a rule, or one for a rule without; ingress comes first.
	var places []string
	for n, rule := range knp.Spec.Ingress {
		for range max(1, len(rule.From)) {
			places = append(places, fmt.Sprintf("spec.ingress.%d", n))
		}
	}
	if len(places) == 0 && len(entries) > 0 && entries[0].Ingress {
		places = append(places, "")
	}
	for n, rule := range knp.Spec.Egress {
		for range max(1, len(rule.To)) {
			places = append(places, fmt.Sprintf("spec.egress.%d", n))
		}
	}
	for n, entry := range entries {
		if n < len(places) && places[n] != "" {
			mark(entry, places[n])
		}
	}
	namespace := knp.Namespace
	if namespace == "" {
		namespace = "default"
	}
	set.insert(ipcachetypes.NewResourceID(ipcachetypes.ResourceKindNetpol, namespace, knp.Name), entries)
	return nil
}

func addClusterNetworkPolicy(logger *slog.Logger, set *policySet, document []byte) error {
	var kcnp policyv1alpha2.ClusterNetworkPolicy
	if err := set.decode(document, &kcnp); err != nil {
		return err
	}
	entries, err := k8s.ParseClusterNetworkPolicy(logger, clusterName, &kcnp)
	if err != nil {
		return err
	}
	set.insert(ipcachetypes.NewResourceID(ipcachetypes.ResourceKindKCNP, "", kcnp.Name), entries)
	return nil
}

func addCIDRGroup(_ *slog.Logger, set *policySet, document []byte) error {
	var group v2.CiliumCIDRGroup
	if err := set.decode(document, &group); err != nil {
		return err
	}
	set.groups = append(set.groups, group)
	return nil
}

// mark adds the entry's place to labels of its own: a rule's entries share theirs.
func mark(entry *types.PolicyEntry, place string) {
	entry.Labels = append(slices.Clone(entry.Labels), labels.NewLabel("place", place, placeSource))
}

// insert puts a document in the place of an earlier one of its kind and name.
func (set *policySet) insert(id ipcachetypes.ResourceID, entries types.PolicyEntries) {
	for i := range set.resources {
		if set.resources[i].id == id {
			set.resources[i].entries = entries
			return
		}
	}
	set.resources = append(set.resources, resource{id, entries})
}
