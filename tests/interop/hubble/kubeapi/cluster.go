package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// cluster is the API server: objects by path, who may come, and what they may not do.
type cluster struct {
	forwarder *forwarder
	mu        sync.Mutex
	objects   map[string]*unstructured.Unstructured // /api/v1/namespaces/NS/RESOURCE/NAME
	token     string                                // "": nobody is asked who he is
	denied    map[string]bool                       // "VERB RESOURCE"
	role      []rbacv1.PolicyRule                   // if there are any, nothing else is allowed
	requests  []string                              // "VERB RESOURCE NAME"
}

func newCluster() (*cluster, error) {
	forwarder, err := newForwarder()
	if err != nil {
		return nil, err
	}
	return &cluster{
		forwarder: forwarder,
		objects:   map[string]*unstructured.Unstructured{},
		denied:    map[string]bool{},
	}, nil
}

// asked is a request taken apart, as the API server's RequestInfo.
type asked struct {
	verb, namespace, resource, name, subresource string
}

func (a asked) what() string {
	if a.subresource != "" {
		return a.resource + "/" + a.subresource
	}
	return a.resource
}

func parse(r *http.Request) (asked, bool) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/api/v1/namespaces/")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) < 2 || len(parts) > 4 {
		return asked{}, false
	}
	parts = append(parts, "", "")
	a := asked{namespace: parts[0], resource: parts[1], name: parts[2], subresource: parts[3]}
	switch {
	case r.Method == http.MethodPost:
		a.verb = "create"
	case a.name == "":
		a.verb = "list"
	default:
		a.verb = "get"
	}
	return a, true
}

func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !c.authenticated(r) {
		fail(w, apierrors.NewUnauthorized("Unauthorized"))
		return
	}
	if strings.TrimSuffix(r.URL.Path, "/") == "/version" {
		answer(w, http.StatusOK, map[string]string{"major": "1", "minor": "36", "gitVersion": "v1.36.4"})
		return
	}
	a, ok := parse(r)
	if !ok {
		fail(w, apierrors.NewGenericServerResponse(http.StatusNotFound, r.Method, schema.GroupResource{}, "", "", 0, true))
		return
	}
	verbs := []string{a.verb}
	if a.subresource == "portforward" && wsstream.IsWebSocketRequest(r) {
		// Since Kubernetes 1.35 a GET over websocket needs "create" too, as the POST over SPDY.
		verbs = []string{"get", "create"}
	}
	c.mu.Lock()
	c.requests = append(c.requests, strings.TrimSpace(fmt.Sprintf("%s %s %s", a.verb, a.what(), a.name)))
	for _, verb := range verbs {
		if c.denied[verb+" "+a.what()] || !c.allows(verb, a) {
			c.mu.Unlock()
			// The words of the API server's own refusal (apiserver, responsewriters.Forbidden).
			fail(w, apierrors.NewForbidden(schema.GroupResource{Resource: a.resource}, a.name, fmt.Errorf(
				`User "jane" cannot %s resource %q in API group "" in the namespace %q`, verb, a.what(), a.namespace)))
			return
		}
	}
	object := c.objects[r.URL.Path]
	pod := c.objects[fmt.Sprintf("/api/v1/namespaces/%s/pods/%s", a.namespace, a.name)]
	c.mu.Unlock()
	switch {
	case a.subresource == "portforward" && a.resource == "pods":
		c.portForward(w, r, a, pod)
	case a.verb == "list":
		c.list(w, r, a)
	case a.verb == "get" && object != nil:
		answer(w, http.StatusOK, object)
	default:
		fail(w, apierrors.NewNotFound(schema.GroupResource{Resource: a.resource}, a.name))
	}
}

// allows is RBAC's rule for one Role in the namespace (plugin/pkg/auth/authorizer/rbac, RuleAllows).
func (c *cluster) allows(verb string, a asked) bool {
	for _, rule := range c.role {
		if slices.Contains(rule.APIGroups, "") && slices.Contains(rule.Verbs, verb) &&
			slices.Contains(rule.Resources, a.what()) &&
			(len(rule.ResourceNames) == 0 || slices.Contains(rule.ResourceNames, a.name)) {
			return true
		}
	}
	return len(c.role) == 0
}

func (c *cluster) portForward(w http.ResponseWriter, r *http.Request, a asked, pod *unstructured.Unstructured) {
	if pod == nil {
		fail(w, apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, a.name))
		return
	}
	phase, _, _ := unstructured.NestedString(pod.Object, "status", "phase")
	if phase != "Running" {
		// The kubelet's words (kubectl shows them too).
		fail(w, apierrors.NewInternalError(fmt.Errorf("unable to forward port because pod is not running. Current status=%s", phase)))
		return
	}
	c.forwarder.serve(w, r, a.name)
}

func (c *cluster) list(w http.ResponseWriter, r *http.Request, a asked) {
	selector, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		fail(w, apierrors.NewBadRequest(err.Error()))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	items := []any{}
	for path, object := range c.objects {
		if strings.HasPrefix(path, r.URL.Path+"/") && selector.Matches(labels.Set(object.GetLabels())) {
			items = append(items, object.Object)
		}
	}
	kind := strings.ToUpper(a.resource[:1]) + strings.TrimSuffix(a.resource[1:], "s") + "List"
	answer(w, http.StatusOK, map[string]any{
		"kind": kind, "apiVersion": "v1", "metadata": map[string]any{"resourceVersion": "1"}, "items": items,
	})
}

func (c *cluster) authenticated(r *http.Request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == "" || r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return true
	}
	return r.Header.Get("Authorization") == "Bearer "+c.token
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body)
}

func fail(w http.ResponseWriter, err *apierrors.StatusError) {
	status := err.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	answer(w, int(status.Code), status)
}
