// The datapath of the lab: what bpf_lxc.c of Cilium does to a pod's packets, as far as records show it.
//
// On the node's side of a pod's veth `from_pod` sees what the pod sends and `to_pod` what it gets. Each
// packet is looked up in the connection table (bpf/lib/conntrack.h), what isn't an answer is judged by
// the policy map, and records go to a perf ring in Cilium's layouts (pkg/monitor/datapath_policy.go,
// datapath_drop.go, datapath_trace.go), the packet behind them. Which packets leave a record is what
// monitorAggregation "medium" means: a new connection, its SYN, FIN and RST, and one packet each 5 s.
//
// `truth` counts what was done to the packets of each connection. It doesn't come by way of the records.

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define NS_PER_SEC 1000000000ULL
#define CAPTURE_LEN 128

// pkg/monitor/api: message types, trace points, reasons; policy denials.
#define TYPE_DROP 1
#define TYPE_TRACE 4
#define TYPE_VERDICT 5
#define TO_ENDPOINT 0
#define TO_PROXY 1
#define TO_STACK 3
#define DENIED_BY_DEFAULT 133
#define DENIED_BY_RULE 181
// That of bpf_lxc.c in Cilium's table of files (pkg/monitor/api/files.go).
#define FILE_ID 2

// Connections: bpf/lib/conntrack.h and pkg/option/config.go, in seconds.
#define LIFE_TCP 8000
#define LIFE_OTHER 60
#define LIFE_SYN 60
#define LIFE_CLOSE 10
#define REPORT_INTERVAL 5

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

#define ICMP_UNREACHABLE 3
#define ICMP_TIME_EXCEEDED 11
#define ICMP_ECHO_REPLY 0
#define ICMP_ECHO 8
#define ICMP6_ECHO 128
#define ICMP6_ECHO_REPLY 129
#define ICMP6_NEIGHBOURS_FIRST 133
#define ICMP6_NEIGHBOURS_LAST 137
// Group memberships, which a pod's kernel reports by itself.
#define ICMP6_LISTENERS_FIRST 130
#define ICMP6_LISTENER_REPORT 143

// How a packet stands to its connection; numbers of TRACE_REASON_* (bpf/lib/trace.h).
enum state { NEW, ESTABLISHED, REPLY, RELATED };

enum counter { PASSED, DENIED, AUDITED, REPLIES, ERRORS, DENIED_IN, COUNTERS };

// An IPv4 address is one of ::ffff:0:0/96 in all keys.
struct address {
	__u32 part[4];
};

struct endpoint {
	__u32 identity;
	__u16 id;
	__u8 enforce[2]; // ingress, egress
	__u8 audit;
	__u8 unused[3];
};

struct prefix {
	__u32 length;
	struct address address;
};

struct question {
	__u32 identity;
	__u16 endpoint;
	__u16 port; // of ICMP the type
	__u8 egress;
	__u8 protocol;
	__u16 unused;
};

struct decision {
	__u16 denied; // 0, or the reason
	__u16 proxy_port;
	__u8 match;
	__u8 unused[3];
};

struct tuple {
	struct address local, remote;
	__u16 local_port, remote_port; // in host order; of pings: the identifier, and 0
	__u16 endpoint;
	__u8 protocol;
	__u8 egress; // who began it
};

struct side {
	__u64 reported;
	__u8 flags, closing;
	__u8 unused[6];
};

struct connection {
	__u64 expires;
	struct side sides[2]; // to the pod, from the pod
	__u8 seen_non_syn;
	__u8 unused[7];
};

struct packet {
	struct tuple tuple;
	__u16 type; // of ICMP
	__u8 protocol; // its own: that of an ICMP error's tuple is another's
	__u8 flags, v6, error;
};

struct verdict_record {
	__u8 type, subtype;
	__u16 source;
	__u32 hash, len_orig;
	__u16 len_cap;
	__u8 version, ext_version;
	__u32 remote;
	__s32 verdict;
	__u16 port;
	__u8 protocol, flags;
	__u8 auth, unused[3];
	__u32 cookie, unused2;
};

struct drop_record {
	__u8 type, subtype;
	__u16 source;
	__u32 hash, len_orig;
	__u16 len_cap;
	__u8 version, ext_version;
	__u32 from, to, to_id;
	__u16 line;
	__u8 file;
	__s8 error;
	__u32 ifindex;
	__u8 flags, unused[3];
	__u64 trace_id;
};

struct trace_record {
	__u8 type, subtype;
	__u16 source;
	__u32 hash, len_orig;
	__u16 len_cap;
	__u8 version, ext_version;
	__u32 from, to;
	__u16 to_id;
	__u8 reason, flags;
	__u32 ifindex;
	__u8 original[16];
	__u64 trace_id;
};

_Static_assert(sizeof(struct verdict_record) == 40, "PolicyVerdictNotifyLen");
_Static_assert(sizeof(struct drop_record) == 48, "dropNotifyV3Len");
_Static_assert(sizeof(struct trace_record) == 56, "traceNotifyV2Len");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32); // ifindex
	__type(value, struct endpoint);
} endpoints SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct prefix);
	__type(value, __u32);
} identities SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct question);
	__type(value, struct decision);
} decisions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tuple);
	__type(value, struct connection);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, struct tuple); // egress: always 0
	__type(value, __u64[COUNTERS]);
} truth SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} events SEC(".maps");

// Records sent, records that found no room, and questions that the loader hadn't foreseen.
enum told { SENT, FAILED, UNFORESEEN, TOLD };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TOLD);
	__type(key, __u32);
	__type(value, __u64);
} told SEC(".maps");

char _license[] SEC("license") = "GPL";

static __always_inline void tell(__u32 what)
{
	__u64 *count = bpf_map_lookup_elem(&told, &what);

	if (count)
		__sync_fetch_and_add(count, 1);
}

static __always_inline void count(const struct tuple *tuple, enum counter what)
{
	static const __u64 nothing[COUNTERS];
	struct tuple key = *tuple;
	__u64 *counts;

	key.egress = 0;
	counts = bpf_map_lookup_elem(&truth, &key);
	if (!counts) {
		bpf_map_update_elem(&truth, &key, &nothing, BPF_NOEXIST);
		counts = bpf_map_lookup_elem(&truth, &key);
	}
	if (counts)
		__sync_fetch_and_add(&counts[what], 1);
}

static __always_inline struct address mapped(__u32 ipv4)
{
	struct address address = { { 0, 0, bpf_htonl(0xffff), ipv4 } };

	return address;
}

// The ports at `at`; a packet that is too short has none.
static __always_inline int ports(struct __sk_buff *skb, int at, int from_pod, struct tuple *tuple)
{
	__u16 both[2];

	if (bpf_skb_load_bytes(skb, at, both, sizeof(both)))
		return -1;
	tuple->local_port = bpf_ntohs(both[!from_pod]);
	tuple->remote_port = bpf_ntohs(both[from_pod]);
	return 0;
}

// The addresses and protocol at `at`. Returns where the next header begins, or less than 0.
static __always_inline int addresses(struct __sk_buff *skb, int at, int v6, int from_pod, struct tuple *tuple)
{
	struct address source, destination;
	int length;

	if (v6) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
			return -1;
		__builtin_memcpy(&source, &ip.saddr, sizeof(source));
		__builtin_memcpy(&destination, &ip.daddr, sizeof(destination));
		tuple->protocol = ip.nexthdr;
		length = sizeof(ip);
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
			return -1;
		source = mapped(ip.saddr);
		destination = mapped(ip.daddr);
		tuple->protocol = ip.protocol;
		length = ip.ihl * 4;
	}
	tuple->local = from_pod ? source : destination;
	tuple->remote = from_pod ? destination : source;
	return at + length;
}

static __always_inline int is_error(const struct packet *packet)
{
	if (packet->v6)
		return packet->type < ICMP6_ECHO;
	return packet->type == ICMP_UNREACHABLE || packet->type == ICMP_TIME_EXCEEDED;
}

static __always_inline int is_echo(const struct packet *packet)
{
	return packet->v6 ? packet->type == ICMP6_ECHO || packet->type == ICMP6_ECHO_REPLY
			  : packet->type == ICMP_ECHO || packet->type == ICMP_ECHO_REPLY;
}

static __always_inline int of_the_link(__u8 type)
{
	return (type >= ICMP6_NEIGHBOURS_FIRST && type <= ICMP6_NEIGHBOURS_LAST) ||
	       (type >= ICMP6_LISTENERS_FIRST && type < ICMP6_NEIGHBOURS_FIRST) || type == ICMP6_LISTENER_REPORT;
}

// ICMP: a ping is a connection of its identifier; an error belongs to that of the packet inside it.
static __always_inline int control(struct __sk_buff *skb, int at, int from_pod, struct packet *packet)
{
	__u8 head[8];
	int next;

	if (bpf_skb_load_bytes(skb, at, head, sizeof(head)))
		return -1;
	packet->type = head[0];
	if (packet->v6 && of_the_link(head[0]))
		return -1;
	if (is_echo(packet)) {
		packet->tuple.local_port = head[4] << 8 | head[5];
		return 0;
	}
	if (!is_error(packet))
		return 0;
	packet->error = 1;
	next = addresses(skb, at + 8, packet->v6, !from_pod, &packet->tuple);
	return next < 0 ? -1 : ports(skb, next, !from_pod, &packet->tuple);
}

// Less than 0: nothing that policies are asked about.
static __always_inline int parse(struct __sk_buff *skb, int from_pod, struct packet *packet)
{
	int at;

	packet->v6 = skb->protocol == bpf_htons(ETH_P_IPV6);
	if (!packet->v6 && skb->protocol != bpf_htons(ETH_P_IP))
		return -1;
	at = addresses(skb, ETH_HLEN, packet->v6, from_pod, &packet->tuple);
	if (at < 0)
		return -1;
	packet->protocol = packet->tuple.protocol;
	switch (packet->protocol) {
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, at + 13, &packet->flags, 1))
			return -1;
		return ports(skb, at, from_pod, &packet->tuple);
	case IPPROTO_UDP:
		return ports(skb, at, from_pod, &packet->tuple);
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return control(skb, at, from_pod, packet);
	}
	return -1;
}

static __always_inline __u64 lifetime(const struct packet *packet, const struct connection *one)
{
	if (packet->protocol != IPPROTO_TCP)
		return LIFE_OTHER;
	if (one->sides[0].closing && one->sides[1].closing)
		return LIFE_CLOSE;
	return one->seen_non_syn ? LIFE_TCP : LIFE_SYN;
}

// Whether this packet of a known connection leaves a record: __ct_update_timeout, and ACTION_CLOSE.
static __always_inline int refresh(struct connection *one, const struct packet *packet, int from_pod, __u64 now)
{
	struct side *side = &one->sides[from_pod];
	__u8 flags = side->flags | (packet->flags & (SYN | FIN | RST));
	int report = flags != side->flags || side->reported + REPORT_INTERVAL * NS_PER_SEC < now;

	if (packet->protocol == IPPROTO_TCP && !(packet->flags & SYN))
		one->seen_non_syn = 1;
	if (packet->flags & (FIN | RST)) {
		report = 1;
		side->closing = 1;
		if (packet->flags & RST)
			one->sides[!from_pod].closing = 1;
	}
	one->expires = now + lifetime(packet, one) * NS_PER_SEC;
	if (report) {
		side->reported = now;
		side->flags = flags;
	}
	return report;
}

static __always_inline void begin(const struct packet *packet, int from_pod, __u64 now)
{
	struct tuple key = packet->tuple;
	struct connection one = {};

	key.egress = from_pod;
	refresh(&one, packet, from_pod, now);
	bpf_map_update_elem(&connections, &key, &one, BPF_ANY);
}

static __always_inline int reopens(const struct packet *packet, const struct connection *one)
{
	return packet->protocol == IPPROTO_TCP && (packet->flags & (SYN | ACK)) == SYN &&
	       (one->sides[0].closing || one->sides[1].closing);
}

static __always_inline struct connection *known(struct tuple *key, int egress, __u64 now)
{
	struct connection *one;

	key->egress = egress;
	one = bpf_map_lookup_elem(&connections, key);
	return one && one->expires >= now ? one : 0;
}

// What the packet is to its connection, and whether it leaves a record.
static __always_inline enum state track(const struct packet *packet, int from_pod, __u64 now, int *report)
{
	struct tuple key = packet->tuple;
	struct connection *other = known(&key, !from_pod, now);
	struct connection *own = 0;

	*report = 1;
	// An error that comes to the pod is about what it sent.
	if (packet->error)
		return other || known(&key, from_pod, now) ? RELATED : NEW;
	if (other && !reopens(packet, other)) {
		*report = refresh(other, packet, from_pod, now);
		return REPLY;
	}
	own = known(&key, from_pod, now);
	if (!own || reopens(packet, own))
		return NEW;
	*report = refresh(own, packet, from_pod, now);
	return ESTABLISHED;
}

static __always_inline __u32 identity_of(const struct address *address)
{
	struct prefix key = { .length = 128, .address = *address };
	__u32 *identity = bpf_map_lookup_elem(&identities, &key);

	return identity ? *identity : 2;
}

static __always_inline void emit(struct __sk_buff *skb, void *record, __u64 size, __u64 packet)
{
	long failed = bpf_perf_event_output(skb, &events, packet << 32 | BPF_F_CURRENT_CPU, record, size);

	tell(failed ? FAILED : SENT);
}

static __always_inline __u64 captured(const struct __sk_buff *skb)
{
	return skb->len < CAPTURE_LEN ? skb->len : CAPTURE_LEN;
}

static __always_inline void emit_verdict(struct __sk_buff *skb, const struct endpoint *pod, const struct packet *packet,
					 int from_pod, __u32 remote, __s32 verdict, __u8 match, int audited)
{
	struct verdict_record record = {
		.type = TYPE_VERDICT,
		.source = pod->id,
		.hash = bpf_get_hash_recalc(skb),
		.len_orig = skb->len,
		.len_cap = captured(skb),
		.version = 1,
		.remote = remote,
		.verdict = verdict,
		.protocol = packet->protocol,
		.port = from_pod ? packet->tuple.remote_port : packet->tuple.local_port,
		// POLICY_INGRESS is 1, POLICY_EGRESS 2.
		.flags = (from_pod ? 2 : 1) | packet->v6 << 2 | match << 3 | audited << 6,
	};

	emit(skb, &record, sizeof(record), captured(skb));
}

static __always_inline void emit_drop(struct __sk_buff *skb, const struct endpoint *pod, const struct packet *packet,
				      int from_pod, __u32 remote, __u8 reason)
{
	struct drop_record record = {
		.type = TYPE_DROP,
		.subtype = reason,
		.source = pod->id,
		.hash = bpf_get_hash_recalc(skb),
		.len_orig = skb->len,
		.len_cap = captured(skb),
		.version = 3,
		.from = from_pod ? pod->identity : remote,
		.to = from_pod ? remote : pod->identity,
		.to_id = from_pod ? 0 : pod->id,
		.line = __LINE__,
		.file = FILE_ID,
		.ifindex = skb->ifindex,
		.flags = packet->v6,
	};

	emit(skb, &record, sizeof(record), captured(skb));
}

static __always_inline void emit_trace(struct __sk_buff *skb, const struct endpoint *pod, const struct packet *packet,
				       int from_pod, __u32 remote, enum state state, __u16 proxy_port)
{
	struct trace_record record = {
		.type = TYPE_TRACE,
		.subtype = !from_pod ? TO_ENDPOINT : proxy_port ? TO_PROXY : TO_STACK,
		.source = pod->id,
		.hash = bpf_get_hash_recalc(skb),
		.len_orig = skb->len,
		.len_cap = captured(skb),
		.version = 2,
		.from = from_pod ? pod->identity : remote,
		.to = from_pod ? remote : pod->identity,
		.to_id = from_pod ? proxy_port : pod->id,
		.reason = state,
		.flags = packet->v6,
		.ifindex = skb->ifindex,
	};

	emit(skb, &record, sizeof(record), captured(skb));
}

// Hands a packet to the proxy that listens on the node: with its socket, and a mark that routes it there.
static __always_inline int to_proxy(struct __sk_buff *skb, const struct packet *packet, __u16 port)
{
	struct bpf_sock_tuple whole = {}, listening = {};
	struct bpf_sock *socket;
	int size = sizeof(whole.ipv4);
	long failed;

	if (packet->v6)
		return TC_ACT_SHOT; // both proxies are IPv4's
	whole.ipv4.saddr = packet->tuple.local.part[3];
	whole.ipv4.daddr = packet->tuple.remote.part[3];
	whole.ipv4.sport = bpf_htons(packet->tuple.local_port);
	whole.ipv4.dport = bpf_htons(packet->tuple.remote_port);
	listening.ipv4.dport = bpf_htons(port);
	if (packet->protocol == IPPROTO_UDP) {
		socket = bpf_sk_lookup_udp(skb, &listening, size, BPF_F_CURRENT_NETNS, 0);
	} else {
		socket = bpf_skc_lookup_tcp(skb, &whole, size, BPF_F_CURRENT_NETNS, 0);
		if (!socket)
			socket = bpf_skc_lookup_tcp(skb, &listening, size, BPF_F_CURRENT_NETNS, 0);
	}
	if (!socket)
		return TC_ACT_SHOT;
	failed = bpf_sk_assign(skb, socket, 0);
	bpf_sk_release(socket);
	skb->mark = 0x200;
	return failed ? TC_ACT_SHOT : TC_ACT_OK;
}

static __always_inline int handle(struct __sk_buff *skb, int from_pod)
{
	__u32 ifindex = skb->ifindex, remote;
	__u64 now = bpf_ktime_get_ns();
	struct endpoint *pod = bpf_map_lookup_elem(&endpoints, &ifindex);
	struct packet packet = {};
	struct decision *decided = 0;
	struct question asked = {};
	int report, audited = 0;
	__u16 reason = 0, proxy_port = 0;
	enum state state;

	if (!pod || parse(skb, from_pod, &packet) < 0)
		return TC_ACT_OK;
	packet.tuple.endpoint = pod->id;
	state = track(&packet, from_pod, now, &report);
	remote = identity_of(&packet.tuple.remote);

	if (pod->enforce[from_pod] && (state == NEW || state == ESTABLISHED)) {
		asked.identity = remote;
		asked.endpoint = pod->id;
		asked.egress = from_pod;
		asked.protocol = packet.protocol;
		asked.port = packet.protocol == IPPROTO_TCP || packet.protocol == IPPROTO_UDP
				     ? (from_pod ? packet.tuple.remote_port : packet.tuple.local_port)
				     : packet.type;
		decided = bpf_map_lookup_elem(&decisions, &asked);
		if (!decided)
			tell(UNFORESEEN);
		reason = decided ? decided->denied : DENIED_BY_DEFAULT;
		proxy_port = decided && !reason ? decided->proxy_port : 0;
		audited = reason && pod->audit;
		if (audited)
			reason = 0;
		if (reason || state == NEW)
			emit_verdict(skb, pod, &packet, from_pod, remote, reason ? -(__s32)reason : proxy_port,
				     decided ? decided->match : 0, audited);
		if (reason) {
			count(&packet.tuple, from_pod ? DENIED : DENIED_IN);
			emit_drop(skb, pod, &packet, from_pod, remote, reason);
			return TC_ACT_SHOT;
		}
		if (audited)
			count(&packet.tuple, AUDITED);
	}
	if (state == NEW && !packet.error)
		begin(&packet, from_pod, now);
	count(&packet.tuple, packet.error ? ERRORS : from_pod ? PASSED : REPLIES);
	if (report)
		emit_trace(skb, pod, &packet, from_pod, remote, state, proxy_port);
	return proxy_port ? to_proxy(skb, &packet, proxy_port) : TC_ACT_OK;
}

SEC("tcx/ingress")
int from_pod(struct __sk_buff *skb)
{
	return handle(skb, 1);
}

SEC("tcx/egress")
int to_pod(struct __sk_buff *skb)
{
	return handle(skb, 0);
}
