"""The table of flowwatch.flows.tries, and what came of attempts: a minimal capture for each line."""

from __future__ import annotations

from typing import Any

import pytest

from flowwatch.flows import meaning, tries
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.known import changed
from flowwatch.flows.listing import AttemptListing
from flowwatch.flows.model import Batch, Direction, Flow, LostEvents, Verdict
from tests.unit.flows.made import (
    ACK,
    API,
    APP,
    PSH_ACK,
    SECOND,
    SYN_ACK,
    WORLD,
    denied,
    flow,
    reply,
    verdict,
)

BOTH = frozenset({"egress", "ingress"})
EVERY = frozenset(meaning.OUTCOMES)
FIN_ACK, RST_ACK = 17, 20
START = 1_700_000_000 * SECOND


def listed(*records: Flow, lost: list[LostEvents] | None = None) -> list[Attempt]:
    """The attempts of ``records``, as an export has them, by their beginning."""
    batch = Batch(flows=list(records), lost=lost or [])
    return sorted(AttemptListing([batch], BOTH, EVERY), key=lambda one: one.first_seen)


def outcomes(*records: Flow) -> list[str]:
    return [one.outcome for one in listed(*records)]


def connected(at: float, **fields: Any) -> list[Flow]:
    """A connection that is asked for, answered, and closed within 3 ms."""
    ends = {"tcp_flags": FIN_ACK} | fields
    return [
        flow(at, **fields),
        reply(at + 0.001),
        reply(at + 0.002, **ends),
        flow(at + 0.003, **ends),
    ]


def syns(*times: float) -> list[Flow]:
    return [record for at in times for record in denied(at)]


def udp(records: list[Flow]) -> list[Flow]:
    for record in records:
        record.kind = changed(record.kind, protocol="UDP", tcp_flags=0)
    return records


def ping(at: float, kind: int = 8, **fields: Any) -> Flow:
    same = {"protocol": "ICMPv4", "source_port": 0, "destination_port": kind, "tcp_flags": 0}
    return flow(at, **(same | fields))


def pong(at: float, kind: int = 0) -> Flow:
    same = {"protocol": "ICMPv4", "source_port": 0, "destination_port": kind, "tcp_flags": 0}
    return reply(at, **same)


def dropped_answer(at: float, way: Direction, **fields: Any) -> list[Flow]:
    """As Hubble writes it: the direction is that of the endpoint that dropped, and no ``is_reply``."""
    ends: dict[str, Any] = {
        "source": API, "destination": APP, "source_ip": "10.0.0.9", "destination_ip": "10.0.0.1",
        "source_port": 443, "destination_port": 40000, "tcp_flags": SYN_ACK, "direction": way,
    }  # fmt: skip
    return denied(at, **(ends | fields))


NEW_KERNEL = (0, 1, 2, 3, 4, 5, 7, 11, 20, 36, 69, 135)
OLD_KERNEL = (0, 1, 3, 7, 15, 31, 63)
NETKIT = (0, 1.02, 1.53, 2.05, 2.56, 3.07, 3.58)
READ_LATE = (0.4, 1, 3.4, 7, 15, 31, 63)

TRIES: list[tuple[str, list[Flow], list[str]]] = [
    ("all retries of a denied SYN", syns(*NEW_KERNEL), ["dropped"]),
    ("the same on an older kernel", syns(*OLD_KERNEL), ["dropped"]),
    ("the same from a netkit device", syns(*NETKIT), ["dropped"]),
    ("the same, two of them read late", syns(*READ_LATE), ["dropped"]),
    ("ports back after a handshake", [*connected(0), *connected(20)], ["forwarded", "forwarded"]),
    ("ports back at once after a close", [*connected(0), *connected(0.01)], ["forwarded"] * 2),
    ("the end read before the beginning", [*connected(0)[:1:-1], *connected(0.004)[:2]], ["forwarded"]),
    ("that end long before", [*connected(0)[:1:-1], *connected(1)], ["forwarded"] * 2),
    ("ports back after an end read before", [
        *connected(0)[:1:-1], *connected(0.004)[:2], *connected(0.3)], ["forwarded"] * 2),
    ("allowed, then denied on the same ports", [*connected(0), *syns(1)], ["forwarded", "dropped"]),
    ("denied, and long after allowed", [*syns(0, 1, 3), *connected(30)], ["dropped", "forwarded"]),
    ("ports back later than a retry would be", syns(0, 1, 2, 9, 10, 11), ["dropped", "dropped"]),
    ("ports back sooner than a retry would be", syns(0, 1, 3, 7, 8, 10), ["dropped", "dropped"]),
    (
        "a pooled connection with a request each 85 s",
        [*connected(0)[:2], *(flow(at, tcp_flags=PSH_ACK) for at in (85, 170, 255))],
        ["forwarded"],
    ),
    (
        "the server closes after 85 s",
        [*connected(0)[:2], reply(85, tcp_flags=FIN_ACK), flow(85.001, tcp_flags=ACK)],
        ["forwarded"],
    ),
    (
        "unacknowledged data of a connection that was cut",
        [*connected(0)[:2], *(r for at in (3, 9, 30, 110, 216) for r in denied(at, tcp_flags=PSH_ACK))],
        ["dropped"],
    ),
    ("SYNs to a silent peer, then denied", [flow(), *syns(2, 3, 5)], ["dropped"]),
    (
        "UDP on one source port, denied thrice, allowed once",
        udp([*syns(0, 1, 2), flow(3), reply(3.001)]),
        ["dropped", "forwarded"],
    ),
    ("UDP, the same verdict each time", udp(syns(0, 20, 70, 140)), ["dropped"]),
    ("UDP, allowed here and denied there, is one", udp([
        flow(), *denied(0.001, direction=Direction.INGRESS, node="node-2"),
        flow(1), *denied(1.001, direction=Direction.INGRESS, node="node-2"),
    ]), ["dropped", "dropped"]),
    ("UDP, each answer dropped", udp([
        flow(destination=API, destination_ip="10.0.0.9"), *dropped_answer(0.1, Direction.INGRESS),
        flow(1, destination=API, destination_ip="10.0.0.9"), *dropped_answer(1.1, Direction.INGRESS),
    ]), ["dropped"]),
    (
        "pings that are allowed, then denied, then allowed",
        [ping(0), pong(0.1), ping(2, verdict=Verdict.DROPPED, drop_reason=133, is_reply=None), ping(4)],
        ["forwarded", "dropped", "forwarded"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "wanted"), [case[1:] for case in TRIES], ids=[case[0] for case in TRIES]
)
def test_where_one_try_ends_and_the_next_begins(records: list[Flow], wanted: list[str]) -> None:
    assert outcomes(*records) == wanted


def test_a_denied_syn_whose_retry_gets_through_is_late_not_dropped() -> None:
    [one] = listed(*syns(0, 1, 2), *connected(3.1))
    assert (one.outcome, one.answer) == ("forwarded", "answered")
    assert one.waited == pytest.approx(3.1)
    assert one.retries == 3
    assert one.drop_reason == "POLICY_DENIED"


def test_records_of_a_late_attempt_may_come_in_any_order() -> None:
    records = [*syns(0, 1, 2), *connected(3.1)]
    [one] = listed(*records[6:], *records[:6])
    assert (one.outcome, one.answer) == ("forwarded", "answered")
    assert one.retries >= 1
    assert one.waited == pytest.approx(3.1, abs=0.01)


def test_a_first_syn_denied_at_the_servers_end_while_its_identity_was_young() -> None:
    there: dict[str, Any] = {"direction": Direction.INGRESS, "node": "node-2", "destination": API}
    [one] = listed(*denied(0, **there), verdict(1.02, **there), flow(1.021, **there))
    assert (one.direction, one.outcome, one.retries) == ("ingress", "forwarded", 1)
    assert one.waited == pytest.approx(1.02)


def test_where_events_were_lost_a_late_syn_may_still_be_a_retry() -> None:
    records = syns(0, 1, 20)
    lost = [LostEvents("PERF_EVENT_RING_BUFFER", 5, "node-1", START + 10 * SECOND)]
    assert len(listed(*records)) == 2
    assert len(listed(*records, lost=lost)) == 1
    elsewhere = [LostEvents("PERF_EVENT_RING_BUFFER", 5, "node-7", START + 10 * SECOND)]
    assert len(listed(*records, lost=elsewhere)) == 2


ICMP_ERROR: dict[str, Any] = {
    "protocol": "ICMPv4", "source_port": 0, "destination_port": 3, "tcp_flags": 0,
    "source": WORLD, "destination": APP, "source_ip": "1.2.3.4", "destination_ip": "10.0.0.1",
}  # fmt: skip

OTHERS_ANSWERED = [flow(), flow(source_port=7), reply(0.1, destination_port=7)]
ANSWERS: list[tuple[str, list[Flow], str]] = [
    ("an answer", [flow(), reply(0.1)], "answered"),
    ("a reset instead of a handshake", [flow(), reply(0.1, tcp_flags=RST_ACK)], "refused"),
    ("a reset at the end of a connection", [*connected(0)[:2], reply(1, tcp_flags=RST_ACK)], "answered"),
    ("nothing, where others are answered", OTHERS_ANSWERED, "none"),
    ("nothing, in records without answers", [flow()], ""),
    ("an ICMP error", [*udp([flow()]), flow(0.1, **ICMP_ERROR, direction=Direction.INGRESS)], "unreachable"),
    ("an answer to a ping", [ping(0), pong(0.1)], "answered"),
    ("denied: none is expected", denied(), ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "answer"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS]
)
def test_what_came_back(records: list[Flow], answer: str) -> None:
    assert listed(*records)[0].answer == answer


def test_icmp_errors_are_no_attempts() -> None:
    for kind in (3, 11, 12):
        assert listed(flow(**(ICMP_ERROR | {"destination_port": kind}))) == []
    assert listed(flow(**(ICMP_ERROR | {"verdict": Verdict.DROPPED, "drop_reason": 133}))) == []


def test_an_answer_dropped_at_the_client_is_its_attempt() -> None:
    [one] = listed(
        flow(destination=API, destination_ip="10.0.0.9"), *dropped_answer(0.1, Direction.INGRESS)
    )
    assert (one.direction, one.pod, one.port) == ("egress", "weather-app-1", 443)
    assert (one.outcome, one.answer, one.drop_reason) == ("dropped", "dropped", "POLICY_DENIED")
    assert one.detail == "the answer was dropped at the client"


def test_answers_whose_request_was_never_seen_are_no_tries_of_a_high_port() -> None:
    records = [record for at in (0, 1, 2) for record in dropped_answer(at, Direction.INGRESS)]
    [one] = listed(*records)
    assert (one.direction, one.pod, one.peer, one.port) == (
        "egress",
        "weather-app-1",
        "api/api-1",
        443,
    )
    late = [r for at in (0, 1) for r in dropped_answer(at, Direction.EGRESS, tcp_flags=PSH_ACK)]
    [one] = listed(*late)
    assert (one.direction, one.pod, one.port, one.answer) == ("ingress", "api-1", 443, "dropped")
    assert one.detail == "the answer was dropped at the server"


def test_a_stray_answer_dropped_after_the_end_changes_nothing() -> None:
    records = [flow(destination=API, destination_ip="10.0.0.9")]
    records.append(reply(0.1, source=API, source_ip="10.0.0.9"))
    [one] = listed(*records, *dropped_answer(9, Direction.INGRESS, tcp_flags=RST_ACK))
    assert (one.outcome, one.answer) == ("forwarded", "answered")


def test_types_of_icmp_are_apart_and_kept() -> None:
    kinds = [
        (one.port, one.answer) for one in listed(ping(0), pong(0.1), ping(1, 13), pong(1.1, 14))
    ]
    assert kinds == [(8, "answered"), (13, "answered")]


def due_after(wait: float, gap: float, syns: int, *, denied: bool, rhythm: tries.Rhythm) -> bool:
    """Whether a SYN ``wait`` seconds after the last one is a retry, that one ``gap`` after another."""
    start = 1000 * SECOND
    return rhythm.due(start, round(gap * SECOND), start + round(wait * SECOND), syns, denied=denied)


@pytest.mark.parametrize(
    ("gap", "wait", "due"),
    [(-5.1, 6.2, True), (-5.1, 9.5, False), (-6.2, 8.3, True), (-7.1, 8.3, True), (-7.1, 6.2, False),
     (-8.3, 16.5, True), (-8.3, 8.3, False), (-4.1, 3.0, True), (0.0, 5.2, True), (0.0, 3.5, False)],
)  # fmt: skip
def test_when_a_retry_of_a_silent_try_is_shown(gap: float, wait: float, due: bool) -> None:
    assert due_after(wait, gap, 2, denied=False, rhythm=tries.Rhythm()) == due


def test_no_retry_is_one_where_as_many_come_just_after_its_time() -> None:
    rhythm = tries.Rhythm()
    told = [due_after(wait, 1.02, 3, denied=True, rhythm=rhythm) for wait in (1.05, 1.3) * 4]
    assert told == [True, False, True, False, False, False, False, False]


def test_one_read_just_after_its_time_is_a_retry_where_all_are_sent_again() -> None:
    rhythm = tries.Rhythm()
    for _ in range(20):
        assert due_after(1.03, 0.0, 1, denied=True, rhythm=rhythm)
    assert due_after(1.3, 0.0, 1, denied=True, rhythm=rhythm)
    for _ in range(4):
        assert not due_after(5.0, 0.0, 1, denied=True, rhythm=rhythm)
    assert not due_after(1.3, 0.0, 1, denied=True, rhythm=rhythm)


def test_a_syn_after_one_that_was_read_late_is_a_retry() -> None:
    rhythm = tries.Rhythm()
    assert due_after(0.72, 1.3, 2, denied=True, rhythm=rhythm)
    assert not due_after(0.72, 1.02, 2, denied=True, rhythm=rhythm)


def test_ports_are_fast_where_one_in_five_comes_back() -> None:
    before = [
        r for turn in (0, 30) for n in range(8) for r in denied(turn + n, source_port=4000 + n)
    ]
    again = [r for at in (60, 61.45) for r in denied(at, source_port=5000)]
    assert len(listed(*again)) == 1
    assert len(listed(*before, *again)) == 16 + 2
