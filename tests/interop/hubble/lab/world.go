package main

import (
	"net/netip"
	"slices"
	"sync"

	"github.com/cilium/cilium/pkg/hubble/parser/getters"
	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/ipcache"
	slim "github.com/cilium/cilium/pkg/k8s/slim/k8s/api/core/v1"
	"github.com/cilium/cilium/pkg/labels"
	"github.com/cilium/cilium/pkg/policy"
	policytypes "github.com/cilium/cilium/pkg/policy/types"
)

// pod is one of the lab's; that with a link has the datapath before it.
type pod struct {
	Name       string                   `json:"name"`
	Namespace  string                   `json:"namespace"`
	Addresses  []netip.Addr             `json:"addresses"`
	Labels     []string                 `json:"labels"`
	Identity   identity.NumericIdentity `json:"identity"`
	EndpointID uint16                   `json:"id"`
	Link       string                   `json:"link"`

	mutex    sync.RWMutex
	policy   *policy.EndpointPolicy
	revision uint64
}

func (p *pod) labels() labels.LabelArray {
	var all labels.LabelArray
	for _, each := range p.Labels {
		all = append(all, labels.ParseLabel(each))
	}
	return all.Sort()
}

// What Hubble's parser asks of an endpoint.

func (p *pod) GetID() uint64                         { return uint64(p.EndpointID) }
func (p *pod) GetIdentity() identity.NumericIdentity { return p.Identity }
func (p *pod) GetK8sPodName() string                 { return p.Name }
func (p *pod) GetK8sNamespace() string               { return p.Namespace }
func (p *pod) GetLabels() labels.Labels              { return labels.FromSlice(p.labels()) }
func (p *pod) GetPod() *slim.Pod                     { return nil }

// GetPolicyCorrelationInfoForKey is pkg/endpoint/policy.go's.
func (p *pod) GetPolicyCorrelationInfoForKey(key policytypes.Key) (policytypes.PolicyCorrelationInfo, bool) {
	p.mutex.RLock()
	defer p.mutex.RUnlock()
	if p.policy == nil {
		return policytypes.PolicyCorrelationInfo{}, false
	}
	_, rules, found := p.policy.Lookup(key)
	return policytypes.PolicyCorrelationInfo{
		RuleLabels: rules.LabelArrayListString(), Log: rules.Log(), Revision: p.revision,
	}, found
}

// world is who has which address, identity and name; Hubble's parser asks it (pkg/hubble/parser/getters).
type world struct {
	Pods  []*pod              `json:"pods"`
	Ports map[string][]uint16 `json:"ports"`

	mutex      sync.RWMutex
	identities map[identity.NumericIdentity]labels.LabelArray
	prefixes   map[netip.Prefix]identity.NumericIdentity
	names      *names
}

func (w *world) podOf(address netip.Addr) *pod {
	for _, each := range w.Pods {
		if slices.Contains(each.Addresses, address) {
			return each
		}
	}
	return nil
}

func (w *world) identityOf(address netip.Addr) (identity.NumericIdentity, labels.LabelArray) {
	w.mutex.RLock()
	defer w.mutex.RUnlock()
	for bits := address.BitLen(); bits >= 0; bits-- {
		prefix, _ := address.Prefix(bits)
		if id, ok := w.prefixes[prefix]; ok {
			return id, w.identities[id]
		}
	}
	return identity.ReservedIdentityWorld, nil
}

func (w *world) GetEndpointInfo(address netip.Addr) (getters.EndpointInfo, bool) {
	if found := w.podOf(address); found != nil && found.Link != "" {
		return found, true
	}
	return nil, false
}

func (w *world) GetEndpointInfoByID(id uint16) (getters.EndpointInfo, bool) {
	for _, each := range w.Pods {
		if each.Link != "" && each.EndpointID == id {
			return each, true
		}
	}
	return nil, false
}

func (w *world) GetIdentity(id uint32) (*identity.Identity, error) {
	w.mutex.RLock()
	defer w.mutex.RUnlock()
	number := identity.NumericIdentity(id)
	if lbls, ok := w.identities[number]; ok {
		return identity.NewIdentityFromLabelArray(number, lbls), nil
	}
	return identity.NewIdentityFromLabelArray(number, identity.ListReservedIdentities()[number]), nil
}

func (w *world) GetNamesOf(_ uint32, address netip.Addr) []string { return w.names.of(address) }

func (w *world) GetK8sMetadata(address netip.Addr) *ipcache.K8sMetadata {
	if found := w.podOf(address); found != nil {
		return &ipcache.K8sMetadata{Namespace: found.Namespace, PodName: found.Name}
	}
	return nil
}

func (w *world) LookupSecIDByIP(address netip.Addr) (ipcache.Identity, bool) {
	id, _ := w.identityOf(address)
	return ipcache.Identity{ID: id}, true
}
