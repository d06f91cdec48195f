"""What one record says about the connection it belongs to: its ends, and its evidence.

**Ends.** Hubble writes source and destination of the *packet*; an attempt has a client, which
opened it, and a server. ``is_reply`` true swaps them. Drops carry no ``is_reply``: one with SYN and
ACK set, or an ICMP echo reply, is a reply all the same. The pod it is counted for (the subject) is
the client in direction EGRESS and the server in INGRESS, because the direction is the connection's
(Cilium 1.20, pkg/hubble/parser/threefour). Records without a direction and without an event type
come from exporters with a field mask and from old captures; they count as the egress of their
source if that is a pod, else as the ingress of their destination.

**Evidence.** Each record adds bits to its attempt, and the bits together decide the outcome:

====================================================  ==================
record                                                evidence
====================================================  ==================
verdict DROPPED, reason 133 POLICY_DENIED or 181       POLICY_DROP
l7 DROPPED (HTTP 403, DNS REFUSED; has no reason)      POLICY_DROP
verdict DROPPED, any other reason                      OTHER_DROP
verdict DROPPED, reason that is no loss (199, 205 …)   none
verdict ERROR (the proxy failed)                       FAILED
verdict AUDIT                                          AUDITED
verdict REDIRECTED, trace at to-proxy                  TO_PROXY
policy-verdict FORWARDED                               ALLOWED
trace FORWARDED, first packet                          PASSED
trace FORWARDED, reply or TCP without SYN              PASSED, WORKS
l7 FORWARDED                                           PASSED, L7_PASSED
verdict TRACED, TRANSLATED, UNKNOWN                    none
====================================================  ==================

The first line of this table that holds is the outcome:

================================================  =========  =========================================
evidence                                          outcome    why
================================================  =========  =========================================
POLICY_DROP                                       dropped    a policy drop anywhere, on either node
AUDITED                                           audited    passed, but would be denied
FAILED                                            error      the application got an error, not a peer
OTHER_DROP without WORKS                          dropped    never got through
TO_PROXY without L7_PASSED                        unknown    the proxy decides, and hasn't been heard
ALLOWED, PASSED, WORKS                            forwarded  a stray drop amid it doesn't undo it
nothing                                           unknown
================================================  =========  =========================================
"""

from __future__ import annotations

from flowwatch.flows.model import Direction, EventType, Flow, Kind, Verdict
from flowwatch.flows.reasons import L7_DENIED, NOT_A_LOSS, POLICY_REASONS
from flowwatch.hubble.wire.enum_names import newer_name

POLICY_DROP = 1
OTHER_DROP = 2
FAILED = 4
AUDITED = 8
TO_PROXY = 16
ALLOWED = 32
PASSED = 64
WORKS = 128
L7_PASSED = 256

OPENED = 512
"""Beside the bits of evidence, at one end: the attempt's first packet was seen there."""

SEEN = 1024
"""The same: a record of that end was seen."""

FORWARDED, DROPPED, AUDIT, ERROR, UNKNOWN = range(5)
OUTCOMES = ("forwarded", "dropped", "audited", "error", "unknown")
"""Outcomes by number; the numbers are those of the aggregate's columns."""

SYN, ACK = 2, 16
SYN_ACK = SYN | ACK

FROM_FIRST_PACKET = frozenset({"UDP", "SCTP", "ICMPv4", "ICMPv6"})
"""Protocols whose records tell no first packet from a later one: each counts as the first."""

# ICMP echo replies: type 0 of ICMPv4, 129 of ICMPv6 (RFC 792, RFC 4443).
_ICMP_REPLIES = {("ICMPv4", 0), ("ICMPv6", 129)}
_TO_PROXY_POINT = 1


def _outcome(bits: int) -> int:
    if bits & POLICY_DROP:
        return DROPPED
    if bits & AUDITED:
        return AUDIT
    if bits & FAILED:
        return ERROR
    if bits & OTHER_DROP and not bits & WORKS:
        return DROPPED
    if bits & TO_PROXY and not bits & L7_PASSED:
        return UNKNOWN
    return FORWARDED if bits & (ALLOWED | PASSED | WORKS) else UNKNOWN


OUTCOME_OF: tuple[int, ...] = tuple(_outcome(bits) for bits in range(512))
"""Outcome by evidence bits: the second table above, spelt out."""


_FORWARDED, _DROPPED = int(Verdict.FORWARDED), int(Verdict.DROPPED)
_TRACE, _POLICY_VERDICT, _L7 = map(int, (EventType.TRACE, EventType.POLICY_VERDICT, EventType.L7))


def evidence(kind: Kind) -> int:
    """The bits that a record of ``kind`` adds to its attempt; 0 when it says nothing about an outcome."""
    verdict, event = kind.verdict, kind.event_type
    if verdict == _FORWARDED:
        if event == _L7 or kind.has_l7:
            return PASSED | L7_PASSED
        if event == _POLICY_VERDICT:
            return ALLOWED
        if kind.is_reply:
            return PASSED | WORKS
        if event == _TRACE and kind.sub_type == _TO_PROXY_POINT:
            return TO_PROXY
        flags = kind.tcp_flags
        return PASSED | WORKS if flags and not flags & SYN else PASSED
    if verdict == _DROPPED:
        if event == _L7 or kind.has_l7:
            return POLICY_DROP
        reason = kind.drop_reason
        if reason in POLICY_REASONS:
            return POLICY_DROP
        return 0 if reason in NOT_A_LOSS else OTHER_DROP
    return _BY_VERDICT.get(verdict, 0)


_BY_VERDICT = {
    int(Verdict.ERROR): FAILED,
    int(Verdict.AUDIT): AUDITED,
    int(Verdict.REDIRECTED): TO_PROXY,
}


def drop_reason(kind: Kind) -> int:
    """The number of why it was dropped: Hubble's, or ours for what the proxy denied."""
    if kind.event_type == _L7 or kind.has_l7:
        return L7_DENIED
    return kind.drop_reason


VERDICTS = {int(verdict): verdict.name for verdict in Verdict}
"""Those that this version knows; what became of packets with another can't be told."""


def verdict_name(number: int) -> str:
    """Hubble's name of a verdict; of a newer one the name it came with, else its number."""
    return VERDICTS.get(number) or newer_name(number) or str(number)


def goes_back(kind: Kind) -> bool:
    """Whether the packet goes from server to client, as far as the kind of its record can tell."""
    if kind.is_reply is not None:
        return kind.is_reply
    return kind.tcp_flags & SYN_ACK == SYN_ACK


def is_reply(flow: Flow) -> bool:
    """The same as far as the record alone can tell."""
    return flow.kind.reply or (
        flow.is_reply is None and (flow.protocol, flow.destination_port) in _ICMP_REPLIES
    )


def shows_first(kind: Kind) -> bool:
    """Whether an attempt that has this record was seen from its first packet on.

    Not where the protocol is none of those in FROM_FIRST_PACKET and has no flags: nothing tells then.
    """
    if kind.event_type == _POLICY_VERDICT or kind.protocol in FROM_FIRST_PACKET:
        return True
    return kind.tcp_flags & SYN_ACK == SYN


def may_be_first(kind: Kind) -> bool:
    """Whether the record may be of the client's first packet: all but what flags or Hubble say is not.

    Two nodes' records of it are milliseconds apart, and so tell of their clocks.
    """
    if kind.event_type == _POLICY_VERDICT or kind.protocol != "TCP":
        return not kind.is_reply
    return kind.tcp_flags & SYN_ACK == SYN


def direction(flow: Flow) -> int:
    """The connection's direction; made out from the ends where the record has none (see above)."""
    if flow.direction or flow.event_type:
        return flow.direction
    if flow.source.namespace or flow.source.pod:
        return Direction.EGRESS
    if flow.destination.namespace or flow.destination.pod:
        return Direction.INGRESS
    return Direction.UNKNOWN
