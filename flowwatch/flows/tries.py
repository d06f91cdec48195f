"""Where one try of an application ends and the next begins, between the same addresses and ports.

==============================================  =====================================================
record                                          begins another attempt
==============================================  =====================================================
TCP without SYN                                 never: a known connection is one, however long it idles
SYN, after a handshake, a FIN or a reset        yes: the ports came back
SYN, later than a retry of the last SYN         yes: the kernel gave up, and the ports came back
SYN, much sooner than the last one came         yes: waits between retries never shrink
SYN, otherwise                                  no: a retry, whatever was decided about the one before
UDP, SCTP, ICMP: the verdict changed at an end  yes
UDP, SCTP, ICMP: nothing for 75 s               yes
==============================================  =====================================================

How late a retry may be: Linux doubles the wait for an answer to a SYN, from 1 s (RFC 6298;
tcp_retransmit_timer in net/ipv4/tcp_timer.c), and since 6.5 begins with four waits of 1 s
(net.ipv4.tcp_syn_linear_timeouts). A recording of such a kernel has SYNs at 0, 1, 2, 3, 4, 5, 7, 11,
20, 36, 69 and 135 s. So a retry comes at most 2.25 times as long after the last SYN as that after
the one before. Cilium judges every SYN anew, and remembers nothing of a denied one
(bpf/lib/conntrack.h).

Where events were lost, a SYN between may be among them: there only 75 s of silence divide.
"""

from __future__ import annotations

from flowwatch.flows import meaning
from flowwatch.flows.model import Flow

_SECOND = 1_000_000_000

GAP = 75 * _SECOND
"""Longest silence within an attempt that has no connection, nanoseconds of flow time: Linux' longest
wait between two SYNs is below it."""

FIRST_RETRY = 1_600_000_000
"""A SYN's first retry comes after 1 s; agents read events late, by half of that at most as measured."""

FIRST_SHOWN = 8 * _SECOND
"""The same for one that was let through: of equal packets Cilium's monitor shows one each 5 s
(bpf/lib/trace.h, monitorAggregation medium), so that the first retry seen may be that after 7 s."""

STRETCH = 2.6
"""How much longer than the last wait for an answer the next may be."""

SHRUNK = 0.75
"""A wait this much shorter than the last one, and by SHRUNK_BY, is none of the same try."""

SHRUNK_BY = 300_000_000
"""Nanoseconds: more than an agent that is busy reads one event later than the next."""

ONE_PACKET = 50_000_000
"""Records of one packet on one node are less than this apart."""

HANDSHAKE = 200_000_000
"""A SYN's own records may be read this much after the answer to it: another CPU's events are."""

OTHER_NODE = _SECOND
"""The same on another node, whose clock is only known so well."""

_DENIED = meaning.POLICY_DROP
PASSED = meaning.ALLOWED | meaning.PASSED | meaning.TO_PROXY | meaning.AUDITED
"""Evidence that a packet was let through at an end."""


def explains(last: int, gap: int, time: int, *, denied: bool) -> bool:
    """Whether a SYN at ``time`` can be a retry of the one at ``last``, itself ``gap`` after another.

    ``denied``: the last one was, and so each retry is recorded; else some may have gone unseen, and
    ``gap`` is negative where that is so of the one before.
    """
    if denied and shrunk(last, gap, time):
        return False
    return time - last <= max(FIRST_RETRY if denied else FIRST_SHOWN, STRETCH * abs(gap))


def shrunk(last: int, gap: int, time: int) -> bool:
    """Whether a SYN came much sooner than the one before: then that one began the try, or this does."""
    wait = time - last
    return ONE_PACKET < wait < SHRUNK * gap and gap - wait > SHRUNK_BY


def turned(known: int, bits: int) -> bool:
    """Whether what is decided at an end has changed: denied before and passed now, or the reverse."""
    if bits & _DENIED:
        return bool(known & PASSED)
    return bool(bits & PASSED and known & _DENIED)


_EPHEMERAL = 32_768
"""Linux gives clients ports from here on (net.ipv4.ip_local_port_range)."""


def answers(flow: Flow) -> bool:
    """Whether a dropped packet, which says of itself neither, goes from server to client.

    Only asked where neither end is known to have begun: a client's port is high, a server's is not.
    """
    return flow.source_port < _EPHEMERAL <= flow.destination_port


_ICMP_REQUEST = {
    ("ICMPv4", 0): 8, ("ICMPv4", 14): 13, ("ICMPv4", 16): 15, ("ICMPv4", 18): 17,
    ("ICMPv6", 129): 128,
}  # fmt: skip
_ICMP_ERRORS = frozenset(
    {("ICMPv4", kind) for kind in (3, 11, 12)} | {("ICMPv6", kind) for kind in (1, 2, 3, 4)}
)
"""RFC 792 and RFC 4443; Cilium calls them RELATED (bpf/lib/conntrack.h, ipv4_ct_extract_tuple)."""


def icmp_request(protocol: str, kind: int) -> int:
    """The type of the request that a message of type ``kind`` belongs to (RFC 792, 4443)."""
    return _ICMP_REQUEST.get((protocol, kind), kind)


def is_icmp_error(flow: Flow) -> bool:
    """Whether it tells of what became of another packet, and is no attempt of anybody's."""
    return (flow.protocol, flow.destination_port) in _ICMP_ERRORS
