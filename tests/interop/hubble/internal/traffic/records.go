package traffic

import (
	"fmt"
	"strings"

	flowpb "github.com/cilium/cilium/api/v1/flow"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// Event types of Cilium's monitor (pkg/monitor/api/types.go).
const (
	eventDrop          = 1
	eventTrace         = 4
	eventPolicyVerdict = 5
	eventL7            = 129
)

const (
	flagSYN = 1 << iota
	flagACK
	flagFIN
	flagPSH
)

// connection is one attempt of a local pod, or of a remote one on it: what all of its records share.
type connection struct {
	g         *Generator
	from, to  *end
	protocol  string // TCP, UDP or ICMP
	fromPort  uint32
	toPort    uint32
	direction flowpb.TrafficDirection
	policies  []*flowpb.Policy
}

// record is what every record has; reply swaps the ends.
func (c *connection) record(reply bool, flags int) *flowpb.Flow {
	from, to, fromPort, toPort := c.from, c.to, c.fromPort, c.toPort
	if reply {
		from, to, fromPort, toPort = to, from, toPort, fromPort
	}
	f := &flowpb.Flow{
		Uuid:             c.g.uuid(),
		Emitter:          c.g.emitter,
		Ethernet:         &flowpb.Ethernet{Source: from.mac, Destination: to.mac},
		IP:               &flowpb.IP{Source: from.address, Destination: to.address, IpVersion: flowpb.IPVersion_IPv4},
		Source:           from.endpoint,
		Destination:      to.endpoint,
		SourceNames:      from.names,
		DestinationNames: to.names,
		SourceService:    from.service, DestinationService: to.service,
		Type:             flowpb.FlowType_L3_L4,
		NodeName:         c.g.node,
		TrafficDirection: c.direction,
	}
	switch c.protocol {
	case "TCP":
		set := &flowpb.TCPFlags{
			SYN: flags&flagSYN != 0, ACK: flags&flagACK != 0, FIN: flags&flagFIN != 0, PSH: flags&flagPSH != 0,
		}
		f.L4 = &flowpb.Layer4{Protocol: &flowpb.Layer4_TCP{
			TCP: &flowpb.TCP{SourcePort: fromPort, DestinationPort: toPort, Flags: set},
		}}
		f.Summary = "TCP Flags: " + flagNames(set)
	case "UDP":
		f.L4 = &flowpb.Layer4{Protocol: &flowpb.Layer4_UDP{
			UDP: &flowpb.UDP{SourcePort: fromPort, DestinationPort: toPort},
		}}
		f.Summary = "UDP"
	case "ICMP":
		icmp, summary := &flowpb.ICMPv4{Type: 8}, "ICMPv4 EchoRequest"
		if reply {
			icmp, summary = &flowpb.ICMPv4{}, "ICMPv4 EchoReply"
		}
		f.L4 = &flowpb.Layer4{Protocol: &flowpb.Layer4_ICMPv4{ICMPv4: icmp}}
		f.Summary = summary
	}
	return f
}

func flagNames(set *flowpb.TCPFlags) string {
	var names []string
	for _, flag := range []struct {
		on   bool
		name string
	}{{set.SYN, "SYN"}, {set.ACK, "ACK"}, {set.FIN, "FIN"}, {set.PSH, "PSH"}} {
		if flag.on {
			names = append(names, flag.name)
		}
	}
	return strings.Join(names, ", ")
}

// verdict is the policy's decision on a new connection; reason is 0 where it is not denied.
func (c *connection) verdict(verdict flowpb.Verdict, reason flowpb.DropReason) *flowpb.Flow {
	f := c.record(false, flagSYN)
	f.Verdict = verdict
	f.EventType = &flowpb.CiliumEventType{Type: eventPolicyVerdict}
	egress := c.direction == flowpb.TrafficDirection_EGRESS
	switch {
	case reason == flowpb.DropReason_DROP_REASON_UNKNOWN:
		f.IsReply = wrapperspb.Bool(false)
		if verdict != flowpb.Verdict_AUDIT { // AUDIT is default deny that lets pass: match type none
			f.PolicyMatchType = 2 // L3-L4
		}
		if egress {
			f.EgressAllowedBy = c.policies
		} else {
			f.IngressAllowedBy = c.policies
		}
	default:
		denied(f, reason)
		if reason == flowpb.DropReason_POLICY_DENY {
			f.PolicyMatchType = 2
			f.EgressDeniedBy = c.policies
		}
	}
	return f
}

// drop is the packet's end; beside a denying verdict it is that record's twin.
func (c *connection) drop(reason flowpb.DropReason) *flowpb.Flow {
	f := c.record(false, flagSYN)
	f.Verdict = flowpb.Verdict_DROPPED
	f.EventType = &flowpb.CiliumEventType{Type: eventDrop, SubType: int32(reason)}
	f.File = c.g.file
	denied(f, reason)
	return f
}

func denied(f *flowpb.Flow, reason flowpb.DropReason) {
	f.DropReason = uint32(reason) //nolint:staticcheck // deprecated, and filled by every agent all the same
	f.DropReasonDesc = reason
}

// trace is a packet seen at a point on its way.
func (c *connection) trace(point flowpb.TraceObservationPoint, reason flowpb.TraceReason, flags int) *flowpb.Flow {
	reply := reason == flowpb.TraceReason_REPLY
	f := c.record(reply, flags)
	f.Verdict = flowpb.Verdict_FORWARDED
	f.EventType = &flowpb.CiliumEventType{Type: eventTrace, SubType: int32(point)}
	f.TraceObservationPoint = point
	f.TraceReason = reason
	f.IsReply = wrapperspb.Bool(reply)
	f.Reply = reply //nolint:staticcheck // as above
	switch point {
	case flowpb.TraceObservationPoint_TO_ENDPOINT:
		f.EventType.SubType = 0 // the only point whose number is not its sub type
		to := c.to
		if reply {
			to = c.from
		}
		f.Interface = &flowpb.NetworkInterface{Index: to.endpoint.GetID(), Name: to.iface}
	case flowpb.TraceObservationPoint_TO_OVERLAY:
		f.Interface = &flowpb.NetworkInterface{Index: 5, Name: "cilium_vxlan"}
	case flowpb.TraceObservationPoint_TO_NETWORK:
		f.Interface = &flowpb.NetworkInterface{Index: 2, Name: "eth0"}
	case flowpb.TraceObservationPoint_TO_PROXY:
		f.ProxyPort = proxyListenPort
	}
	return f
}

func (c *connection) l7(kind flowpb.L7FlowType, verdict flowpb.Verdict) *flowpb.Flow {
	reply := kind == flowpb.L7FlowType_RESPONSE
	f := c.record(reply, 0)
	if tcp := f.GetL4().GetTCP(); tcp != nil {
		tcp.Flags = nil
	}
	f.Type = flowpb.FlowType_L7
	f.Ethernet = nil
	f.Verdict = verdict
	f.EventType = &flowpb.CiliumEventType{Type: eventL7}
	f.IsReply = wrapperspb.Bool(reply)
	f.Reply = reply //nolint:staticcheck // as above
	f.L7 = &flowpb.Layer7{Type: kind}
	return f
}

func (c *connection) dns(kind flowpb.L7FlowType, name, address string) *flowpb.Flow {
	f := c.l7(kind, flowpb.Verdict_FORWARDED)
	record := &flowpb.DNS{Query: name + ".", ObservationSource: "proxy", Qtypes: []string{"A"}}
	f.Summary = "DNS Query " + name + ". A"
	if kind == flowpb.L7FlowType_RESPONSE {
		record.Ips, record.Ttl, record.Rrtypes = []string{address}, 30, []string{"A"}
		f.L7.LatencyNs = 1_500_000
		f.Summary = fmt.Sprintf("DNS Answer %q TTL: 30 (Proxy %s. A)", address, name)
	}
	f.L7.Record = &flowpb.Layer7_Dns{Dns: record}
	return f
}

func (c *connection) http(kind flowpb.L7FlowType, verdict flowpb.Verdict) *flowpb.Flow {
	f := c.l7(kind, verdict)
	url := fmt.Sprintf("http://%s:%d/api/v1/items", c.to.endpoint.GetPodName(), c.toPort)
	record := &flowpb.HTTP{Method: "GET", Url: url, Protocol: "HTTP/1.1"}
	f.Summary = "HTTP/1.1 GET " + url
	if kind == flowpb.L7FlowType_RESPONSE {
		record.Code = 200
		f.L7.LatencyNs = 4_200_000
		f.Summary = "HTTP/1.1 200 4ms (GET " + url + ")"
	}
	f.L7.Record = &flowpb.Layer7_Http{Http: record}
	return f
}

func (g *Generator) uuid() string {
	var id uuid.UUID
	for i := 0; i < 16; i += 8 {
		bits := g.rng.Uint64()
		for j := range 8 {
			id[i+j] = byte(bits >> (8 * j))
		}
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}
