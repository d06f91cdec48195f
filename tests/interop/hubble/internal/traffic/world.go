package traffic

import (
	"fmt"
	"math/rand/v2"

	flowpb "github.com/cilium/cilium/api/v1/flow"
)

// Sizes of the made-up cluster: 200 pods on the observing node, and about a thousand places
// that they talk to (300 pods elsewhere, the rest outside).
const (
	localPods       = 5 // of each of the 40 deployments in the table below
	remotePods      = 5 // of each of the 60 deployments elsewhere
	remoteApps      = 60
	outsideHosts    = 700
	placesPerApp    = 32
	clusterName     = "default"
	podNetwork      = "10.244"
	firstPodID      = 256     // first identity that Cilium hands to labels
	firstOutsideID  = 1 << 24 // identities of CIDR and FQDN are local to the node and start above this
	worldIdentity   = 2
	proxyListenPort = 14517
)

var apps = map[string][]string{
	"ci":           {"runner", "artifact-cache", "webhook-relay", "scheduler"},
	"data":         {"etl-loader", "kafka-connect", "spark-driver", "exporter"},
	"mail":         {"smtp-out", "bounce-handler", "newsletter", "spam-check"},
	"media":        {"thumbnailer", "transcoder", "upload-api", "cdn-purge"},
	"monitoring":   {"prometheus", "alertmanager", "grafana", "blackbox-exporter"},
	"payments":     {"checkout", "ledger", "card-gateway", "fraud-score"},
	"search":       {"indexer", "query-api", "suggest", "crawler"},
	"shop":         {"storefront", "cart", "inventory", "recommendation"},
	"weather":      {"weather-app", "forecast-api", "tile-renderer", "station-sync"},
	"web-platform": {"edge-proxy", "session-store", "feature-flags", "geo-lookup"},
}

// namespaces in a fixed order: a map's own order would differ from run to run.
var namespaces = []string{
	"ci", "data", "mail", "media", "monitoring", "payments", "search", "shop", "weather", "web-platform",
}

var outsideDomains = []string{
	"api.openweathermap.org", "s3.eu-central-1.amazonaws.com", "api.stripe.com", "hooks.slack.com",
	"storage.googleapis.com", "api.github.com", "sentry.io", "smtp.sendgrid.net", "ntp.ubuntu.com",
	"login.microsoftonline.com", "tile.openstreetmap.org", "api.met.no", "telemetry.example.net",
	"updates.example.com", "mirror.example.org", "metrics.vendor.example",
}

// fate is what happens to traffic from one deployment to one place.
type fate int

const (
	allowed fate = iota
	deniedByDefault
	deniedByRule
	audited
	proxied
	proxiedAndRefused
	withoutBackend
)

// pod or place: one end of traffic.
type end struct {
	endpoint *flowpb.Endpoint
	address  string
	mac      string
	names    []string // as Cilium's DNS proxy learned them
	iface    string   // of a local pod
	service  *flowpb.Service
}

func (e *end) inCluster() bool { return e.endpoint.GetNamespace() != "" }

type place struct {
	*end
	port     uint32
	protocol string
	fate     fate
	policies []*flowpb.Policy
}

type localPod struct {
	*end
	places   []place
	nextPort uint32
	dns      place
}

type world struct {
	pods    []*localPod
	remote  []*end
	outside []*end
	given   int // of outside, so that each is somebody's
}

func newWorld(rng *rand.Rand) *world {
	w := &world{}
	for i := range remoteApps {
		namespace := namespaces[i%len(namespaces)]
		app := fmt.Sprintf("%s-backend-%d", namespace, i/len(namespaces))
		replicaSet := suffix(rng, 9)
		for range remotePods {
			w.remote = append(w.remote, newPod(rng, namespace, app, replicaSet, uint32(firstPodID+1000+i), len(w.remote), false))
		}
	}
	for i := range outsideHosts {
		w.outside = append(w.outside, newOutside(rng, i))
	}
	dns := newPod(rng, "kube-system", "coredns", suffix(rng, 9), firstPodID+900, 999, false)
	identity := uint32(firstPodID)
	for _, namespace := range namespaces {
		for _, app := range apps[namespace] {
			identity++
			places := w.placesOf(rng, namespace, app)
			replicaSet := suffix(rng, 9)
			for range localPods {
				p := newPod(rng, namespace, app, replicaSet, identity, len(w.pods), true)
				w.pods = append(w.pods, &localPod{
					end:      p,
					places:   places,
					nextPort: 32768 + uint32(rng.IntN(20000)),
					dns: place{end: dns, port: 53, protocol: "UDP", fate: proxied,
						policies: []*flowpb.Policy{policyOf(namespace, "allow-dns")}},
				})
			}
		}
	}
	return w
}

func newPod(rng *rand.Rand, namespace, app, replicaSet string, identity uint32, n int, local bool) *end {
	e := &flowpb.Endpoint{
		Identity:    identity,
		ClusterName: clusterName,
		Namespace:   namespace,
		PodName:     fmt.Sprintf("%s-%s-%s", app, replicaSet, suffix(rng, 5)),
		Labels: []string{
			"k8s:app=" + app,
			"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=" + namespace,
			"k8s:io.cilium.k8s.policy.cluster=" + clusterName,
			"k8s:io.cilium.k8s.policy.serviceaccount=" + app,
			"k8s:io.kubernetes.pod.namespace=" + namespace,
		},
	}
	out := &end{endpoint: e, mac: mac(rng)}
	node := 1 + n%3
	if local {
		e.ID = uint32(100 + n)
		e.Workloads = []*flowpb.Workload{{Name: app, Kind: "Deployment"}}
		out.iface = "lxc" + suffix(rng, 12)
		node = 0
	}
	out.address = fmt.Sprintf("%s.%d.%d", podNetwork, node+n/250*4, 2+n%250)
	return out
}

func newOutside(rng *rand.Rand, i int) *end {
	address := fmt.Sprintf("%d.%d.%d.%d", 23+i%180, rng.IntN(256), rng.IntN(256), 1+rng.IntN(254))
	out := &end{address: address, mac: mac(rng)}
	domain := outsideDomains[i%len(outsideDomains)]
	if i >= len(outsideDomains) {
		domain = fmt.Sprintf("n%d.%s", i/len(outsideDomains), domain)
	}
	switch {
	case i%5 == 4: // never looked up through the DNS proxy: an address and nothing more
		out.endpoint = &flowpb.Endpoint{Identity: worldIdentity, Labels: []string{"reserved:world"}}
	default:
		out.names = []string{domain}
		out.endpoint = &flowpb.Endpoint{
			Identity: uint32(firstOutsideID + 1 + i),
			Labels:   []string{"cidr:" + address + "/32", "fqdn:" + domain, "reserved:world"},
		}
	}
	return out
}

// placesOf chooses what one deployment talks to, and what its policies say about each.
func (w *world) placesOf(rng *rand.Rand, namespace, app string) []place {
	places := make([]place, 0, placesPerApp)
	for i := range placesPerApp {
		p := place{protocol: "TCP", port: []uint32{443, 443, 443, 80, 8443}[rng.IntN(5)]}
		if i%3 != 2 {
			p.end = w.outside[w.given%len(w.outside)]
			w.given++
		} else {
			p.end = w.remote[rng.IntN(len(w.remote))]
			p.port = []uint32{8080, 9090, 5432, 6379, 443}[rng.IntN(5)]
		}
		if i == placesPerApp-2 {
			p.protocol, p.port = "UDP", 123
		}
		switch roll := rng.IntN(100); {
		case roll < 68:
			p.fate = allowed
		case roll < 82:
			p.fate = deniedByDefault
		case roll < 87:
			p.fate = deniedByRule
		case roll < 91:
			p.fate = audited
		case p.protocol == "TCP" && p.inCluster():
			p.fate = proxied
			if roll >= 97 {
				p.fate = proxiedAndRefused
			}
			p.port = 8080
		case p.protocol == "TCP" && roll >= 97:
			p.fate = withoutBackend
			p.end = newClusterIP(rng, namespace, i)
			p.port = 80
		}
		switch p.fate {
		case allowed, proxied, proxiedAndRefused:
			p.policies = []*flowpb.Policy{policyOf(namespace, app+"-egress")}
		case deniedByRule:
			p.policies = []*flowpb.Policy{policyOf(namespace, "deny-metadata")}
		}
		places = append(places, p)
	}
	return places
}

func newClusterIP(rng *rand.Rand, namespace string, i int) *end {
	return &end{
		endpoint: &flowpb.Endpoint{Identity: worldIdentity, Labels: []string{"reserved:world"}},
		address:  fmt.Sprintf("10.96.%d.%d", rng.IntN(256), 1+rng.IntN(254)),
		mac:      mac(rng),
		service:  &flowpb.Service{Name: fmt.Sprintf("retired-%d", i), Namespace: namespace},
	}
}

func policyOf(namespace, name string) *flowpb.Policy {
	return &flowpb.Policy{
		Name: name, Namespace: namespace, Kind: "CiliumNetworkPolicy", Revision: 7,
		Labels: []string{
			"k8s:io.cilium.k8s.policy.derived-from=CiliumNetworkPolicy",
			"k8s:io.cilium.k8s.policy.name=" + name,
			"k8s:io.cilium.k8s.policy.namespace=" + namespace,
		},
	}
}

func suffix(rng *rand.Rand, n int) string {
	const letters = "bcdfghjklmnpqrstvwxz2456789" // what Kubernetes makes names of
	out := make([]byte, n)
	for i := range out {
		out[i] = letters[rng.IntN(len(letters))]
	}
	return string(out)
}

func mac(rng *rand.Rand) string {
	b := rng.Uint64()
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x",
		byte(b)&0xfe|2, byte(b>>8), byte(b>>16), byte(b>>24), byte(b>>32), byte(b>>40))
}
