package traffic

import (
	"time"

	flowpb "github.com/cilium/cilium/api/v1/flow"
)

const (
	forwarded  = flowpb.Verdict_FORWARDED
	redirected = flowpb.Verdict_REDIRECTED
	refused    = flowpb.Verdict_DROPPED
	unsaid     = flowpb.DropReason_DROP_REASON_UNKNOWN

	isNew       = flowpb.TraceReason_NEW
	established = flowpb.TraceReason_ESTABLISHED
	isReply     = flowpb.TraceReason_REPLY

	toEndpoint = flowpb.TraceObservationPoint_TO_ENDPOINT
	toProxy    = flowpb.TraceObservationPoint_TO_PROXY

	request  = flowpb.L7FlowType_REQUEST
	response = flowpb.L7FlowType_RESPONSE
)

// When Linux sends a SYN again that nobody answered, after the first one.
var synRetries = []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second}

// startAny starts one attempt of some pod.
func (g *Generator) startAny() {
	pod := g.world.pods[g.rng.IntN(len(g.world.pods))]
	switch roll := g.rng.IntN(100); {
	case roll < 14:
		g.lookUp(pod)
	case roll < 87:
		// The first places of a pod are its usual ones.
		i := min(g.rng.IntN(placesPerApp), g.rng.IntN(placesPerApp))
		g.connect(pod, pod.places[i])
	case roll < 90:
		g.ping(pod)
	default:
		g.serve(pod)
	}
}

func (g *Generator) connection(pod *localPod, to place) *connection {
	pod.nextPort++
	if pod.nextPort > 60999 { // Linux's range of ports for clients
		pod.nextPort = 32768
	}
	return &connection{
		g: g, from: pod.end, to: to.end, protocol: to.protocol, fromPort: pod.nextPort, toPort: to.port,
		direction: flowpb.TrafficDirection_EGRESS, policies: to.policies,
	}
}

func (g *Generator) connect(pod *localPod, to place) {
	c := g.connection(pod, to)
	switch to.fate {
	case allowed:
		g.count(c, Forwarded)
		g.at(0, c.verdict(forwarded, unsaid))
		g.pass(c)
	case audited:
		g.count(c, Audited)
		g.at(0, c.verdict(flowpb.Verdict_AUDIT, unsaid))
		g.pass(c)
	case deniedByDefault:
		g.deny(c, flowpb.DropReason_POLICY_DENIED)
	case deniedByRule:
		g.deny(c, flowpb.DropReason_POLICY_DENY)
	case withoutBackend:
		g.count(c, Dropped)
		for _, wait := range g.tries() {
			g.at(wait, c.drop(flowpb.DropReason_SERVICE_BACKEND_NOT_FOUND))
		}
	case proxied:
		g.count(c, Forwarded)
		g.redirect(c)
		g.at(3*time.Millisecond, c.http(request, forwarded))
		g.at(8*time.Millisecond, c.http(response, forwarded))
	case proxiedAndRefused:
		g.count(c, Dropped)
		g.redirect(c)
		g.at(3*time.Millisecond, c.http(request, refused))
	}
}

// tries are the moments at which an application's packets leave before it gives up.
func (g *Generator) tries() []time.Duration { return synRetries[:1+g.rng.IntN(len(synRetries))] }

func (g *Generator) deny(c *connection, reason flowpb.DropReason) {
	g.count(c, Dropped)
	for _, wait := range g.tries() {
		g.at(wait, c.verdict(refused, reason))
		g.at(wait+4*time.Microsecond, c.drop(reason))
	}
}

// pass is the rest of a connection that works: with Cilium's default aggregation one trace
// for the first packet, for each new TCP flag and every five seconds, both ways.
func (g *Generator) pass(c *connection) {
	out := flowpb.TraceObservationPoint_TO_NETWORK
	if c.to.inCluster() {
		out = flowpb.TraceObservationPoint_TO_OVERLAY
	}
	answer := time.Duration(1+g.rng.IntN(40)) * time.Millisecond
	g.at(15*time.Microsecond, c.trace(out, isNew, flagSYN))
	g.at(answer, c.trace(toEndpoint, isReply, flagSYN|flagACK))
	if c.protocol != "TCP" {
		return
	}
	life := answer + time.Duration(g.rng.IntN(3000))*time.Millisecond
	if g.rng.IntN(10) == 0 {
		life += time.Duration(g.rng.IntN(30)) * time.Second
	}
	for t := answer + 5*time.Second; t < life; t += 5 * time.Second {
		g.at(t, c.trace(out, established, flagACK|flagPSH))
	}
	g.at(life, c.trace(out, established, flagFIN|flagACK))
	g.at(life+answer, c.trace(toEndpoint, isReply, flagFIN|flagACK))
}

func (g *Generator) redirect(c *connection) {
	g.at(0, c.verdict(redirected, unsaid))
	g.at(15*time.Microsecond, c.trace(toProxy, isNew, flagSYN))
	g.at(300*time.Microsecond, c.trace(toEndpoint, isReply, flagSYN|flagACK))
}

func (g *Generator) lookUp(pod *localPod) {
	name, address := "kubernetes.default.svc.cluster.local", "10.96.0.1"
	if host := g.world.outside[g.rng.IntN(len(g.world.outside))]; len(host.names) > 0 {
		name, address = host.names[0], host.address
	}
	c := g.connection(pod, pod.dns)
	g.count(c, Forwarded)
	g.at(0, c.verdict(redirected, unsaid))
	g.at(10*time.Microsecond, c.trace(toProxy, isNew, 0))
	g.at(200*time.Microsecond, c.dns(request, name, address))
	g.at(1700*time.Microsecond, c.dns(response, name, address))
	g.at(1750*time.Microsecond, c.trace(toEndpoint, isReply, 0))
}

// ping is left out of the truth: without ports, pings to one place within 75 s are one attempt.
func (g *Generator) ping(pod *localPod) {
	c := g.connection(pod, place{end: g.world.remote[g.rng.IntN(len(g.world.remote))], protocol: "ICMP"})
	g.at(0, c.trace(flowpb.TraceObservationPoint_TO_OVERLAY, isNew, 0))
	g.at(time.Millisecond, c.trace(toEndpoint, isReply, 0))
}

// serve is traffic to a pod; no part of egress.
func (g *Generator) serve(pod *localPod) {
	peer := g.world.remote[g.rng.IntN(len(g.world.remote))]
	c := &connection{
		g: g, from: peer, to: pod.end, protocol: "TCP",
		fromPort: 32768 + uint32(g.rng.IntN(28000)), toPort: 8080, direction: flowpb.TrafficDirection_INGRESS,
		policies: []*flowpb.Policy{policyOf(pod.endpoint.Namespace, "allow-in-cluster")},
	}
	if g.rng.IntN(10) == 0 {
		for _, wait := range g.tries() {
			g.at(wait, c.verdict(refused, flowpb.DropReason_POLICY_DENIED))
			g.at(wait+4*time.Microsecond, c.drop(flowpb.DropReason_POLICY_DENIED))
		}
		return
	}
	g.at(0, c.verdict(forwarded, unsaid))
	g.at(10*time.Microsecond, c.trace(toEndpoint, isNew, flagSYN))
	g.at(90*time.Microsecond, c.trace(flowpb.TraceObservationPoint_TO_OVERLAY, isReply, flagSYN|flagACK))
	g.at(20*time.Millisecond, c.trace(toEndpoint, established, flagFIN|flagACK))
	g.at(21*time.Millisecond, c.trace(flowpb.TraceObservationPoint_TO_OVERLAY, isReply, flagFIN|flagACK))
}

// probe leaves a single record; it fills up to a wanted number of records.
func (g *Generator) probe() {
	pod := g.world.pods[g.rng.IntN(len(g.world.pods))]
	c := g.connection(pod, place{end: g.world.remote[0], protocol: "ICMP"})
	g.at(0, c.trace(flowpb.TraceObservationPoint_TO_OVERLAY, isNew, 0))
}
