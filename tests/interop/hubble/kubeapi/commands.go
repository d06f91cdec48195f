package main

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// command is one line of standard input; what it does is said at its name.
type command struct {
	Do     string              `json:"do"`
	Path   string              `json:"path"`   // of an object: /api/v1/namespaces/NS/RESOURCE/NAME
	Object map[string]any      `json:"object"` // as a client gets it
	Pod    string              `json:"pod"`
	To     string              `json:"to"`
	Token  string              `json:"token"`
	Denied []string            `json:"denied"`
	Rules  []rbacv1.PolicyRule `json:"rules"`
	Text   string              `json:"text"`
}

func (c *cluster) obey(order command) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.forwarder
	switch order.Do {
	case "put": // an object; one that is there is replaced
		c.objects[order.Path] = &unstructured.Unstructured{Object: order.Object}
	case "delete": // an object
		delete(c.objects, order.Path)
	case "forward": // let a pod's ports lead to an address; an empty one ends that
		f.mu.Lock()
		defer f.mu.Unlock()
		if order.To == "" {
			delete(f.targets, order.Pod)
		} else {
			f.targets[order.Pod] = order.To
		}
	case "cut": // end the forwards to a pod, or to all
		return map[string]int{"cut": f.cut(order.Pod)}, nil
	case "token": // ask for this bearer token from now on
		c.token = order.Token
	case "deny": // these "VERB RESOURCE" and no others
		clear(c.denied)
		for _, each := range order.Denied {
			c.denied[each] = true
		}
	case "role": // allow what these rules of a Role allow, and nothing else; none: everything
		c.role = order.Rules
	case "check": // whether a YAML document is what the API server takes: known kinds, known fields
		return checked(order.Text)
	case "told": // what was asked since the last time, and the forwards opened in all and open now
		f.mu.Lock()
		defer f.mu.Unlock()
		requests := slices.Clone(c.requests)
		c.requests = nil
		return map[string]any{"requests": requests, "opened": f.opened, "open": len(f.open)}, nil
	default:
		return nil, fmt.Errorf("not a command: %q", order.Do)
	}
	return map[string]any{}, nil
}

func checked(text string) (any, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, rbacv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	_, kind, err := decoder.Decode([]byte(text), nil, nil)
	if err != nil {
		return nil, err
	}
	return map[string]string{"kind": kind.Kind}, nil
}
