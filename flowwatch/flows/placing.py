"""Which of the attempts between the same ports a record of another node, or of much later, belongs to."""

from __future__ import annotations

from flowwatch.flows import meaning
from flowwatch.flows.clocks import Clocks
from flowwatch.flows.model import Direction, Flow, Verdict
from flowwatch.flows.open_attempt import OpenAttempt
from flowwatch.flows.tries import GAP

_DROPPED, _EGRESS = int(Verdict.DROPPED), int(Direction.EGRESS)
_SYN_ACK = meaning.SYN | meaning.ACK


def place(same: list[OpenAttempt], clocks: Clocks, flow: Flow) -> tuple[OpenAttempt, int] | None:
    """Of the attempts with its key the one of ``flow``, and its time by that one's clock.

    The nearest in time: by the flow's node's own clock where it has records in an attempt, else by
    what is known of the two clocks. If nothing is known, the first record of the one node is laid
    on the first of the other: in an attempt that holds it if the clocks agree, else in the oldest.
    None: it begins another.
    """
    node, time = flow.node, flow.time
    lasting = flow.protocol == "TCP" and flow.tcp_flags & _SYN_ACK != meaning.SYN
    if len(same) == 1 and same[0].ahead_of(node) is None:
        # Mostly: the first record of the connection's other end.
        return _lay(same[0], clocks, flow)
    best: tuple[int, OpenAttempt, int] | None = None
    unknown: list[OpenAttempt] = []
    ahead_of_first: int | None = None
    for attempt in same:
        ahead = attempt.ahead_of(node)
        if ahead is None:
            ahead = clocks.ahead_of(attempt.node, node)
        if ahead is None and attempt.node == same[0].node:
            ahead = ahead_of_first
        if ahead is None:
            unknown.append(attempt)
            continue
        if attempt.node == same[0].node:
            ahead_of_first = ahead
        beside = attempt.beside(time - ahead)
        # A connection may be silent for longer than any retry is.
        midway = time - ahead > attempt.last or not attempt.syns
        near = beside <= GAP or (lasting and midway)
        if near and (best is None or beside <= best[0]):
            best = beside, attempt, ahead
    if best is not None:
        _, attempt, ahead = best
        attempt.lay(node, ahead)
        return attempt, time - ahead
    if unknown:
        guess = next((one for one in unknown if one.beside(time) <= GAP), unknown[0])
        return _lay(guess, clocks, flow)
    # What was known of the clocks may not be true any more.
    new = [one for one in same if one.ahead_of(node) is None]
    return _lay(new[0], clocks, flow) if len(new) == 1 else None


def _lay(attempt: OpenAttempt, clocks: Clocks, flow: Flow) -> tuple[OpenAttempt, int] | None:
    """Lay the first record of a node into an attempt, unless the clocks are known to forbid it.

    If both nodes' records are of the first packet, they tell of the clocks.
    """
    node, time = flow.node, flow.time
    difference, held = None, _held(flow, attempt)
    if not attempt.midway and meaning.may_be_first(flow.kind) and not held:
        # After SYNs that were held at the client, the first that left is the first there.
        difference = time - (attempt.passed or attempt.first)
    ahead = clocks.ahead_of(attempt.node, node, difference)
    if ahead is None:
        ahead = 0 if held and attempt.beside(time) <= GAP else time - attempt.last
        if difference is not None:
            ahead = difference
            if attempt.beside(time) > GAP:
                clocks.guess(attempt.node, node, difference, attempt)
    elif attempt.beside(time - ahead) > GAP:
        return None
    attempt.lay(node, ahead)
    return attempt, time - ahead


def _held(flow: Flow, attempt: OpenAttempt) -> bool:
    """Whether the client's own policies held what one of the two saw: then the other saw another packet."""
    held = flow.verdict == _DROPPED and flow.direction == _EGRESS
    return held != bool(attempt.egress & meaning.POLICY_DROP)
