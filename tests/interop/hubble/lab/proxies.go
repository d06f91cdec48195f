package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"syscall"
	"time"

	"github.com/cilium/dns"
	"golang.org/x/sys/unix"

	"github.com/cilium/cilium/pkg/hubble/observer/types"
	monitorapi "github.com/cilium/cilium/pkg/monitor/api"
	"github.com/cilium/cilium/pkg/policy/api"
	"github.com/cilium/cilium/pkg/proxy/accesslog"
)

// The ports on which the proxies listen on the node; the datapath hands packets to these sockets.
const (
	dnsPort  = 10053
	httpPort = 10080
)

var upstream = 2 * time.Second

// transparent lets a socket be handed, and answer from, addresses that aren't the node's.
func transparent(_, _ string, raw syscall.RawConn) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		for _, option := range [][2]int{
			{unix.SOL_IP, unix.IP_TRANSPARENT}, {unix.SOL_IP, unix.IP_RECVORIGDSTADDR}, {unix.SOL_SOCKET, unix.SO_REUSEADDR},
		} {
			failed = errors.Join(failed, unix.SetsockoptInt(int(fd), option[0], option[1], 1))
		}
	})
	return errors.Join(err, failed)
}

// proxied is a request, from whom and to whom.
type proxied struct {
	from, to  netip.AddrPort
	transport accesslog.TransportProtocol
}

// record puts a layer 7 record where an agent's proxies put theirs.
func (n *node) record(one proxied, kind accesslog.FlowType, verdict accesslog.FlowVerdict, fill func(*accesslog.LogRecord)) {
	end := func(at netip.AddrPort) accesslog.EndpointInfo {
		number, lbls := n.world.identityOf(at.Addr())
		info := accesslog.EndpointInfo{IPv4: at.Addr().String(), Port: at.Port(), Identity: uint64(number), Labels: lbls}
		if found := n.world.podOf(at.Addr()); found != nil {
			info.ID = uint64(found.EndpointID)
		}
		return info
	}
	from, to := one.from, one.to
	if kind == accesslog.TypeResponse {
		from, to = to, from
	}
	record := accesslog.LogRecord{
		Type: kind, Verdict: verdict, ObservationPoint: accesslog.Egress, TransportProtocol: one.transport,
		SourceEndpoint: end(from), DestinationEndpoint: end(to),
	}
	fill(&record)
	if verdict == accesslog.VerdictDenied {
		n.refuse(one)
	}
	n.logged <- record
}

// log feeds the proxies' records in their order. In an agent they come by a socket, later than the packets' own.
func (n *node) log() {
	for record := range n.logged {
		n.drained()
		record.Timestamp = time.Now().UTC().Format(time.RFC3339Nano)
		n.feed(&types.AgentEvent{Type: monitorapi.MessageTypeAccessLog, Message: record})
	}
}

// serveDNS answers what the datapath hands it, having asked whom the pod asked.
func (n *node) serveDNS() error {
	socket, err := (&net.ListenConfig{Control: transparent}).ListenPacket(context.Background(), "udp4", fmt.Sprintf(":%d", dnsPort))
	if err != nil {
		return err
	}
	listening := socket.(*net.UDPConn)
	go func() {
		data, control := make([]byte, 4096), make([]byte, 512)
		for {
			length, controls, _, from, err := listening.ReadMsgUDPAddrPort(data, control)
			if err != nil {
				return
			}
			to, ok := originalDestination(control[:controls])
			query := new(dns.Msg)
			if !ok || query.Unpack(data[:length]) != nil || len(query.Question) != 1 {
				continue
			}
			from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
			go n.resolve(proxied{from, to, 17}, query)
		}
	}()
	return nil
}

func originalDestination(control []byte) (netip.AddrPort, bool) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return netip.AddrPort{}, false
	}
	for _, each := range messages {
		if each.Header.Level == unix.SOL_IP && each.Header.Type == unix.IP_ORIGDSTADDR && len(each.Data) >= 8 {
			port := binary.BigEndian.Uint16(each.Data[2:])
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte(each.Data[4:8])), port), true
		}
	}
	return netip.AddrPort{}, false
}

func (n *node) resolve(one proxied, query *dns.Msg) {
	asked := query.Question[0]
	fill := func(record *accesslog.LogRecord) {
		record.DNS = &accesslog.LogRecordDNS{
			Query: asked.Name, QTypes: []uint16{asked.Qtype}, ObservationSource: accesslog.DNSSourceProxy,
		}
	}
	if !n.mayAsk(asked.Name) {
		n.record(one, accesslog.TypeRequest, accesslog.VerdictDenied, fill)
		answer := new(dns.Msg)
		answer.SetRcode(query, dns.RcodeRefused)
		n.answer(one, answer)
		return
	}
	n.record(one, accesslog.TypeRequest, accesslog.VerdictForwarded, fill)
	client := dns.Client{Timeout: upstream}
	answer, _, err := client.Exchange(query, one.to.String())
	if err != nil {
		return
	}
	var addresses []netip.Addr
	var kinds []uint16
	ttl := uint32(0)
	for _, each := range answer.Answer {
		kinds, ttl = append(kinds, each.Header().Rrtype), each.Header().Ttl
		switch found := each.(type) {
		case *dns.A:
			addresses = append(addresses, netip.AddrFrom4([4]byte(found.A.To4())))
		case *dns.AAAA:
			addresses = append(addresses, netip.AddrFrom16([16]byte(found.AAAA.To16())))
		}
	}
	// The datapath knows the addresses before the pod does, as in Cilium.
	n.learn(asked.Name, addresses, ttl)
	n.record(one, accesslog.TypeResponse, accesslog.VerdictForwarded, func(record *accesslog.LogRecord) {
		fill(record)
		record.DNS.IPs, record.DNS.TTL, record.DNS.RCode, record.DNS.AnswerTypes = addresses, ttl, answer.Rcode, kinds
	})
	n.answer(one, answer)
}

// answer sends from the address that was asked.
func (n *node) answer(one proxied, answer *dns.Msg) {
	data, err := answer.Pack()
	if err != nil {
		return
	}
	socket, err := (&net.ListenConfig{Control: transparent}).ListenPacket(context.Background(), "udp4", one.to.String())
	if err != nil {
		return
	}
	defer socket.Close()
	_, _ = socket.WriteTo(data, net.UDPAddrFromAddrPort(one.from))
}

// mayAsk is whether a DNS rule allows the name, of whichever policy.
func (n *node) mayAsk(name string) bool {
	for _, rules := range n.layer7() {
		for _, rule := range rules.DNS {
			selector := api.FQDNSelector(rule)
			if matches, err := selector.ToRegex(); err == nil && matches.MatchString(name) {
				return true
			}
		}
	}
	return false
}

func (n *node) layer7() []*api.L7Rules {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	var all []*api.L7Rules
	for _, each := range n.engine.documents {
		for _, entry := range each.entries {
			for _, port := range entry.L4 {
				if port.Rules != nil {
					all = append(all, port.Rules)
				}
			}
		}
	}
	return all
}

// serveHTTP is what Envoy is in Cilium: it asks the rules about each request, and refuses with 403.
func (n *node) serveHTTP() error {
	listening, err := (&net.ListenConfig{Control: transparent}).Listen(context.Background(), "tcp4", fmt.Sprintf(":%d", httpPort))
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(listening, http.HandlerFunc(n.request)) }()
	return nil
}

func (n *node) request(out http.ResponseWriter, in *http.Request) {
	from, _ := netip.ParseAddrPort(in.RemoteAddr)
	to, _ := netip.ParseAddrPort(in.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
	one := proxied{from, to, 6}
	code := 0
	fill := func(record *accesslog.LogRecord) {
		record.HTTP = &accesslog.LogRecordHTTP{
			Code: code, Method: in.Method, Protocol: in.Proto,
			URL: &url.URL{Scheme: "http", Host: in.Host, Path: in.URL.Path},
		}
	}
	if !n.mayRequest(in) {
		n.record(one, accesslog.TypeRequest, accesslog.VerdictDenied, fill)
		code = http.StatusForbidden
		http.Error(out, "Access denied", code)
		n.record(one, accesslog.TypeResponse, accesslog.VerdictForwarded, fill)
		return
	}
	n.record(one, accesslog.TypeRequest, accesslog.VerdictForwarded, fill)
	asked := in.Clone(in.Context())
	asked.RequestURI, asked.URL.Scheme, asked.URL.Host = "", "http", to.String()
	answer, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(asked)
	code = http.StatusServiceUnavailable
	if err == nil {
		defer answer.Body.Close()
		code = answer.StatusCode
	}
	n.record(one, accesslog.TypeResponse, accesslog.VerdictForwarded, fill)
	out.WriteHeader(code)
	if err == nil {
		_, _ = io.Copy(out, answer.Body)
	}
}

func (n *node) mayRequest(in *http.Request) bool {
	whole := func(pattern, text string) bool {
		matched, err := regexp.MatchString("^(?:"+pattern+")$", text)
		return pattern == "" || err == nil && matched
	}
	for _, rules := range n.layer7() {
		for _, rule := range rules.HTTP {
			if whole(rule.Method, in.Method) && whole(rule.Path, in.URL.Path) && whole(rule.Host, in.Host) {
				return true
			}
		}
	}
	return false
}
