package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/cilium/cilium/pkg/identity"
	"github.com/cilium/cilium/pkg/policy"
	"github.com/cilium/cilium/pkg/u8proto"
)

// Sizes and offsets are those of the structures in tests/lab/datapath/lab.c.
const (
	deniedByDefault = 133
	deniedByRule    = 181
	tupleLength     = 40
)

// datapath is the programs and maps in the kernel; they go with the process.
type datapath struct {
	collection *ebpf.Collection
	links      []link.Link
	prefixes   map[string]bool
	questions  map[question]decision
}

// question and decision have the layout of the C structures.
type question struct {
	Identity uint32
	Endpoint uint16
	Port     uint16
	Egress   uint8
	Protocol uint8
	Unused   uint16
}

type decision struct {
	Denied    uint16
	ProxyPort uint16
	Match     uint8
	Unused    [3]uint8
}

type endpoint struct {
	Identity uint32
	ID       uint16
	Enforce  [2]uint8
	Audit    uint8
	Unused   [3]uint8
}

func load(object string) (*datapath, error) {
	spec, err := ebpf.LoadCollectionSpec(object)
	if err != nil {
		return nil, err
	}
	collection, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, err
	}
	return &datapath{collection: collection, prefixes: map[string]bool{}, questions: map[question]decision{}}, nil
}

func (d *datapath) Close() {
	for _, each := range d.links {
		_ = each.Close()
	}
	d.collection.Close()
}

// attach puts the programs before a pod.
func (d *datapath) attach(name string) error {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	for program, where := range map[string]ebpf.AttachType{
		"from_pod": ebpf.AttachTCXIngress, "to_pod": ebpf.AttachTCXEgress,
	} {
		made, err := link.AttachTCX(link.TCXOptions{
			Interface: device.Index, Program: d.collection.Programs[program], Attach: where,
		})
		if err != nil {
			return fmt.Errorf("attach %s to %s: %w", program, name, err)
		}
		d.links = append(d.links, made)
	}
	return nil
}

func (d *datapath) setEndpoint(who *pod, made enforced, audit bool) error {
	device, err := net.InterfaceByName(who.Link)
	if err != nil {
		return err
	}
	value := endpoint{Identity: uint32(who.Identity), ID: who.EndpointID}
	value.Enforce = [2]uint8{bit(made.ingress), bit(made.egress)}
	value.Audit = bit(audit)
	return d.collection.Maps["endpoints"].Put(uint32(device.Index), value)
}

func bit(on bool) uint8 {
	if on {
		return 1
	}
	return 0
}

func prefixKey(prefix netip.Prefix) []byte {
	bits, address := prefix.Bits(), prefix.Addr().As16()
	if prefix.Addr().Is4() {
		bits += 96
	}
	return append(binary.NativeEndian.AppendUint32(nil, uint32(bits)), address[:]...)
}

// setIdentities makes the map say what the world says.
func (d *datapath) setIdentities(prefixes map[netip.Prefix]identity.NumericIdentity) error {
	stays := map[string]bool{}
	for prefix, number := range prefixes {
		key := prefixKey(prefix)
		stays[string(key)] = true
		if err := d.collection.Maps["identities"].Put(key, uint32(number)); err != nil {
			return err
		}
	}
	for key := range d.prefixes {
		if !stays[key] {
			_ = d.collection.Maps["identities"].Delete([]byte(key))
		}
	}
	d.prefixes = stays
	return nil
}

// setDecisions makes the map say what the engine decided.
func (d *datapath) setDecisions(all map[question]decision) error {
	for asked, decided := range all {
		if before, had := d.questions[asked]; !had || before != decided {
			if err := d.collection.Maps["decisions"].Put(asked, decided); err != nil {
				return err
			}
		}
	}
	for asked := range d.questions {
		if _, stays := all[asked]; !stays {
			_ = d.collection.Maps["decisions"].Delete(asked)
		}
	}
	d.questions = all
	return nil
}

// decide asks a pod's policy about everything that can be asked in the lab.
func decide(w *world, who *pod, made enforced, into map[question]decision) {
	ports := map[u8proto.U8proto][]uint16{
		u8proto.TCP: w.Ports["TCP"], u8proto.UDP: w.Ports["UDP"],
		u8proto.ICMP: {0, 3, 8, 11}, u8proto.ICMPv6: {1, 2, 3, 4, 128, 129},
	}
	for number := range w.identities {
		for protocol, all := range ports {
			for _, port := range all {
				for _, egress := range []uint8{0, 1} {
					key := policy.IngressKey()
					if egress == 1 {
						key = policy.EgressKey()
					}
					key = key.WithIdentity(number).WithPortProto(protocol, port)
					asked := question{uint32(number), who.EndpointID, port, egress, uint8(protocol), 0}
					into[asked] = decided(made.policy, key)
				}
			}
		}
	}
}

func decided(made *policy.EndpointPolicy, key policy.Key) decision {
	entry, _, found := made.Lookup(key)
	if !found {
		return decision{Denied: deniedByDefault}
	}
	out := decision{Match: matched(made, key)}
	switch {
	case entry.IsDeny():
		out.Denied = deniedByRule
	case entry.IsRedirectEntry() && key.Nexthdr == u8proto.UDP:
		out.ProxyPort = dnsPort
	case entry.IsRedirectEntry():
		out.ProxyPort = httpPort
	}
	return out
}

// matched is the kind of match that bpf/lib/policy.h tells: which of these the map has.
func matched(made *policy.EndpointPolicy, key policy.Key) uint8 {
	any := key.WithIdentity(0)
	wild := func(key policy.Key) policy.Key { return key.WithPortProto(u8proto.ANY, 0) }
	proto := func(key policy.Key) policy.Key { return key.WithPortProto(key.Nexthdr, 0) }
	for _, each := range []struct {
		key  policy.Key
		kind uint8
	}{{key, 2}, {any, 3}, {proto(key), 5}, {proto(any), 6}, {wild(key), 1}, {wild(any), 4}} {
		if _, ok := made.Get(each.key); ok {
			return each.kind
		}
	}
	return 2 // of a range of ports
}

// counts are what was done to the packets of one connection; Local is the pod's end.
type counts struct {
	Endpoint   uint16 `json:"endpoint"`
	Local      string `json:"local"`
	Remote     string `json:"remote"`
	LocalPort  uint16 `json:"local_port"`
	RemotePort uint16 `json:"remote_port"`
	Protocol   string `json:"protocol"`
	Passed     uint64 `json:"passed"`
	Denied     uint64 `json:"denied"`
	Audited    uint64 `json:"audited"`
	Replies    uint64 `json:"replies"`
	Errors     uint64 `json:"errors"`
	DeniedIn   uint64 `json:"denied_in"`
	Refused    uint64 `json:"refused"`
}

var protocolNames = map[uint8]string{6: "TCP", 17: "UDP", 1: "ICMPv4", 58: "ICMPv6"}

func address(raw []byte) netip.Addr { return netip.AddrFrom16([16]byte(raw)).Unmap() }

func (d *datapath) truth() ([]counts, error) {
	var all []counts
	key, value := make([]byte, tupleLength), make([]byte, 48)
	each := d.collection.Maps["truth"].Iterate()
	for each.Next(&key, &value) {
		number := func(at int) uint64 { return binary.NativeEndian.Uint64(value[at*8:]) }
		all = append(all, counts{
			Local: address(key[:16]).String(), Remote: address(key[16:32]).String(),
			LocalPort:  binary.NativeEndian.Uint16(key[32:]),
			RemotePort: binary.NativeEndian.Uint16(key[34:]),
			Endpoint:   binary.NativeEndian.Uint16(key[36:]),
			Protocol:   protocolNames[key[38]],
			Passed:     number(0), Denied: number(1), Audited: number(2),
			Replies: number(3), Errors: number(4), DeniedIn: number(5),
		})
	}
	return all, each.Err()
}

// told is how many records were sent, found no room, and how many questions weren't foreseen.
func (d *datapath) told() (out [3]uint64, err error) {
	for at := range out {
		err = errors.Join(err, d.collection.Maps["told"].Lookup(uint32(at), &out[at]))
	}
	return out, err
}

// alive tells whether a connection to an address lives.
func (d *datapath) alive(now uint64) func(netip.Addr) bool {
	living := map[netip.Addr]bool{}
	key, value := make([]byte, tupleLength), make([]byte, 48)
	each := d.collection.Maps["connections"].Iterate()
	for each.Next(&key, &value) {
		closing := value[8+9] != 0 || value[8+16+9] != 0
		if binary.NativeEndian.Uint64(value) >= now && !closing {
			living[address(key[16:32])] = true
		}
	}
	return func(asked netip.Addr) bool { return living[asked] }
}
