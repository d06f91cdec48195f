"""Where one try of an application ends and the next begins, between the same addresses and ports.

==============================================  =====================================================
record                                          begins another attempt
==============================================  =====================================================
TCP without SYN                                 never: a known connection is one, however long it idles
SYN, after a handshake, a FIN or a reset        yes: the ports came back; no, if these came first,
                                                less than 0.2 s before: it was read late
SYN, later than a retry of the last SYN         yes: the kernel gave up, and the ports came back
SYN, much sooner than the last one came         yes: waits between retries never shrink
SYN, when none is due and ports come back fast  yes: a new try more often than a retry read late
SYN, otherwise                                  no: a retry, whatever was decided about the one before
UDP, SCTP, ICMP: the verdict changed at an end  yes
UDP, SCTP, ICMP: nothing for 75 s               yes
==============================================  =====================================================

How late a retry may be: Linux doubles the wait for an answer to a SYN, from 1 s (RFC 6298;
tcp_retransmit_timer in net/ipv4/tcp_timer.c), and since 6.5 begins with four waits of 1 s
(net.ipv4.tcp_syn_linear_timeouts). A recording of such a kernel has SYNs at 0, 1, 2, 3, 4, 5, 7, 11,
20, 36, 69 and 135 s. So a retry comes at most 2.25 times as long after the last SYN as that after
the one before. A netkit device tells the kernel that a packet was dropped, which then sends the next
retries 0.5 s apart (NET_XMIT_DROP, drivers/net/netkit.c; TCP_RESOURCE_PROBE_INTERVAL). Cilium judges
every SYN anew, and remembers nothing of a denied one (bpf/lib/conntrack.h).

Where ports come back fast, one may do so just when a retry is due. There a retry is what comes when
the kernel sends one: 1 s after the first SYN, then 1 s again, 2 s after five such waits or after the
first (older kernels), then twice the last wait. Of a SYN that was let through and not answered, the
first retry shown is the one that comes 5 s after it or later, that after 5 s or 7 s; then that after
6 s, or 8 s, then twice the last wait. And it is one only where applications stay for it: new tries
come at any time, so of those as many come just after a retry's time as in it (:class:`Rhythm`). Fast
is what makes a port come back within a retry's time more often than an agent reads an event that late:
ports that came back before, one in five of those between the two addresses, or FAST tries a second
from one address to another, of the 14,000 ports that connect() takes first (__inet_hash_connect in
net/ipv4/inet_hashtables.c).

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

FAST = 25_000_000
"""Nanoseconds between two tries of one client to one server, in the mean of the last sixteen."""

ALL = 65_536
OFTEN = ALL // 5
"""As FAST: at that pace one in five comes, of some 14,000, on a port that was used within 75 s."""

PRECISE = 100_000_000
"""By how much a retry may be read early or late where ports come back fast: 70 ms were measured at 200
connections a second."""

_LINEAR = 5
"""Waits of 1 s at most before they double (net.ipv4.tcp_syn_linear_timeouts, and the one before)."""

STRETCH_SHOWN, _LONGEST_UNSEEN = 6.8, 2_500_000_000

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
    if denied:
        longest = STRETCH * max(abs(gap), _SECOND) if gap else FIRST_RETRY
    else:
        # After a wait of 2 s the next is 4 s, too short to be shown, and that after it twice that.
        longest = max(
            FIRST_SHOWN, (STRETCH_SHOWN if 0 < gap < _LONGEST_UNSEEN else STRETCH) * abs(gap)
        )
    return time - last <= longest


def shrunk(last: int, gap: int, time: int) -> bool:
    """Whether a SYN came much sooner than the one before: then that one began the try, or this does.

    Not if the two waits together are as long as two waits are: the one between was read late.
    """
    wait = time - last
    if not (ONE_PACKET < wait < SHRUNK * gap and gap - wait > SHRUNK_BY):
        return False
    if gap < _LONGEST_FIRST and _within(_REFUSED, wait):
        return False
    return not any(_within(both, gap + wait) for both in _TWO_WAITS)


def told_backwards(ended: int, first: int, syn: int, time: int) -> bool:
    """Whether a SYN after a FIN or a reset is the beginning of what that ends, or one more record of it.

    Each CPU's events are read in turn, and have the time of that (pkg/hubble/monitor/consumer.go): the end of
    a connection of some milliseconds can be told before its beginning. ``first``: of the attempt's records;
    ``syn``: the last SYN, 0 if none was seen.
    """
    if not syn:
        return time - first <= HANDSHAKE
    return syn > ended and 0 <= time - syn <= ONE_PACKET


_TWO_WAITS = (2 * _SECOND, 3 * _SECOND, 6 * _SECOND, 12 * _SECOND, 24 * _SECOND)


class Rhythm:
    """Whether tries of one client to one server are sent again at all, where ports come back fast.

    A retry comes at its time, a new try at any. So of a wait that no application stays for, as many SYNs
    come just after it as when it is over; of one that is waited for, nearly all when it is over.
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], list[int]] = {}

    def due(self, last: int, gap: int, time: int, syns: int, *, denied: bool) -> bool:
        """Whether a SYN comes when the kernel sends a retry, and that of such tries.

        Arguments are those of :func:`explains`, and how many SYNs of the try were seen.
        """
        seen = time - last
        if seen <= ONE_PACKET:
            return True
        syns = min(syns, _MOST)
        if denied and gap >= 0:
            waits = _next_waits(gap, syns)
        elif not denied and (not gap or gap < -_ONE_SHOWN):
            waits = _next_shown(-gap)
        else:
            return True
        for wait in waits:
            longest = _longest(wait)
            if wait - PRECISE <= seen <= longest:
                due, after = self._count(syns, wait, 0)
                return after < 2 or due > 2 * after
            if longest < seen <= 2 * longest - wait + PRECISE and not _read_late(gap, seen):
                due, after = self._count(syns, wait, 1)
                # Read late, unless such tries end here: then new ones come at other times as well.
                return due > 2 * after and after > self._counts.get((syns, 0), _NONE)[0]
        if _read_late(gap, seen):
            return True
        self._count(syns, 0, 0)
        return False

    def _count(self, syns: int, wait: int, which: int) -> tuple[int, int]:
        """Count a SYN that came when ``wait`` was over, just after, or (0) at another time."""
        due, after = counts = self._counts.setdefault((syns, wait), [0, 0])
        if due + after >= REMEMBERED:
            counts[:] = due // 2, after // 2
        counts[which] += 1
        return counts[0], counts[1]


_NONE = (0, 0)
_MOST = 12
"""SYNs of one try (net.ipv4.tcp_syn_retries is 6, and with waits of 1 s some more): so counts are bounded."""


def _read_late(gap: int, seen: int) -> bool:
    """Whether two waits are together as long as two are, and the first was longer than any is."""
    if seen >= gap:
        return False
    late = not any(_within(wait, gap) for wait in (_SECOND, *_WAITS))
    return late and any(_within(both, gap + seen) for both in _TWO_WAITS)


REMEMBERED = 256
"""SYNs by which it is judged whether tries are sent again after a wait; half of them count on."""


def _next_shown(gap: int) -> tuple[int, ...]:
    """Waits between SYNs that were let through and not answered, as one each 5 s is shown."""
    if not gap:
        return _SHOWN
    if gap < _FOUR_AFTER:
        return (6 * _SECOND,)
    return (8 * _SECOND if gap < _EIGHT_AFTER else _doubled(gap),)


_SHOWN = (_SECOND, 5 * _SECOND, 7 * _SECOND)


def _next_waits(gap: int, syns: int) -> tuple[int, ...]:
    if not gap:
        return (_SECOND,)
    if gap > _LONGEST_FIRST:
        return (_doubled(gap),)
    if gap < _SHORTEST_FIRST:
        return (_REFUSED,)
    if 2 < syns < _LINEAR:
        return (_SECOND,)
    return (_SECOND, 2 * _SECOND, _REFUSED) if syns <= 2 else (_SECOND, 2 * _SECOND)


def _doubled(gap: int) -> int:
    return 2 * min(_WAITS, key=lambda wait: abs(wait + wait // 16 - gap))


_REFUSED = 500_000_000
_ONE_SHOWN = 4_800_000_000
"""SYNs that are closer than this were not aggregated: each may be shown."""

_FOUR_AFTER, _EIGHT_AFTER = 5_800_000_000, 7_800_000_000
"""After 5 s of waits of 1 s come 2 s, too short to be shown, and 4 s; then, or after 7 s, come 8 s."""

_SHORTEST_FIRST, _LONGEST_FIRST = 650_000_000, 1_500_000_000
_WAITS = tuple(_SECOND << doubled for doubled in range(1, 7))


def _within(wait: int, seen: int) -> bool:
    return wait - PRECISE <= seen <= _longest(wait)


def _longest(wait: int) -> int:
    """What the timer wheel makes of a wait at most (kernel/time/timer.c), and reading it."""
    return wait + (wait // 12 if wait < 4 * _SECOND else wait // 8) + PRECISE


def pace(before: int, pause: int) -> int:
    """Nanoseconds between the tries of one client to one server, in the mean of the last sixteen."""
    return (before * 15 + min(abs(pause), _SECOND)) // 16


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


_ICMP_REPLY = {request: kind for (_, kind), request in _ICMP_REQUEST.items()}


def icmp_reply(protocol: str, kind: int) -> int:
    """The type of the answer to a request of type ``kind``; 0 of what has none."""
    return _ICMP_REPLY.get(kind, 0) if protocol.startswith("ICMP") else 0


def icmp_request(protocol: str, kind: int) -> int:
    """The type of the request that a message of type ``kind`` belongs to (RFC 792, 4443)."""
    return _ICMP_REQUEST.get((protocol, kind), kind)


def is_icmp_error(flow: Flow) -> bool:
    """Whether it tells of what became of another packet, and is no attempt of anybody's."""
    return (flow.protocol, flow.destination_port) in _ICMP_ERRORS
