"""Records in, attempts out: each rule of the docstrings of ``meaning`` and ``attempts``."""

from __future__ import annotations

import pytest

from flowwatch.flows import generations
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.flows.model import Direction, EventType, Flow, Layer7, Verdict
from flowwatch.flows.reasons import L7_DENIED
from flowwatch.flows.tries import GAP
from tests.unit.flows.made import (
    ACK,
    API,
    APP,
    PSH_ACK,
    SECOND,
    SYN_ACK,
    denied,
    flow,
    l7,
    reply,
    verdict,
)


def outcomes(*flows: Flow) -> list[str]:
    """The outcomes of the attempts that ``flows`` make."""
    tracker = Attempts()
    for each in flows:
        tracker.observe(each)
    return [OUTCOMES[attempt.outcome] for attempt in tracker.open_attempts()]


REDIRECTED = verdict(verdict=Verdict.REDIRECTED)
TO_PROXY = flow(sub_type=1)
NO_BACKEND = flow(
    1, verdict=Verdict.DROPPED, drop_reason=158, event_type=EventType.DROP, is_reply=None
)
DENIED_BY_PROXY = l7(0.1, verdict=Verdict.DROPPED)
STRAY_DROP = flow(
    2,
    verdict=Verdict.DROPPED,
    drop_reason=134,
    event_type=EventType.DROP,
    is_reply=None,
    tcp_flags=ACK,
)
FAR_DROP = denied(0.002, direction=Direction.INGRESS, node="node-2")

ONE_ATTEMPT: list[tuple[str, list[Flow], str]] = [
    ("a trace", [flow()], "forwarded"),
    ("a verdict and its traces", [verdict(), flow(), flow(5, tcp_flags=PSH_ACK)], "forwarded"),
    ("a policy-verdict and its drop", denied(), "dropped"),
    (
        "the drops of each SYN retry",
        [*denied(0), *denied(1), *denied(3), *denied(7), *denied(15), *denied(31), *denied(63)],
        "dropped",
    ),
    ("the ICMP answer leaves no drop record", denied()[:1], "dropped"),
    ("verdict events off leave no verdict record", denied()[1:], "dropped"),
    ("a deny rule", denied(reason=181), "dropped"),
    ("forwarded here, denied on the far node", [verdict(), flow(), *FAR_DROP], "dropped"),
    ("the far node's record first", [*FAR_DROP, verdict(1), flow(1)], "dropped"),
    ("cut in mid-connection", [flow(), reply(0.1), *denied(9, tcp_flags=PSH_ACK)], "dropped"),
    ("audit mode", [verdict(verdict=Verdict.AUDIT), flow(), reply(0.1)], "audited"),
    ("the proxy has not been heard", [REDIRECTED, TO_PROXY, reply(0.1)], "unknown"),
    ("the proxy let it through", [REDIRECTED, TO_PROXY, l7(0.1)], "forwarded"),
    ("the proxy denied", [REDIRECTED, TO_PROXY, DENIED_BY_PROXY], "dropped"),
    ("one request allowed, one denied", [REDIRECTED, l7(), DENIED_BY_PROXY], "dropped"),
    ("the DNS proxy failed", [REDIRECTED, l7(0.1, verdict=Verdict.ERROR)], "error"),
    ("allowed by policy, no backend", [verdict(), NO_BACKEND], "dropped"),
    ("a stray drop amid what works", [verdict(), reply(0.1), STRAY_DROP], "forwarded"),
    ("a stray drop, then it works", [STRAY_DROP, flow(3), reply(3.1)], "forwarded"),
    ("authentication pending, then passed", [*denied(reason=189), flow(1), reply(1.1)], "forwarded"),
    ("authentication never passed", denied(reason=189), "dropped"),
    (
        "a reply of it dropped, known by what it answers",
        [flow(), reply(0.1), *denied(1, **{k: getattr(reply(), k) for k in (
            "source", "destination", "source_ip", "destination_ip", "source_port",
            "destination_port")}, tcp_flags=PSH_ACK)],
        "forwarded",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("records", "outcome"),
    [(records, outcome) for _, records, outcome in ONE_ATTEMPT],
    ids=[name for name, _, _ in ONE_ATTEMPT],
)
def test_records_that_are_one_attempt(records: list[Flow], outcome: str) -> None:
    assert outcomes(*records) == [outcome]


def test_a_new_source_port_is_a_new_attempt() -> None:
    assert outcomes(*denied(), *denied(1, source_port=40001)) == ["dropped", "dropped"]


@pytest.mark.parametrize(("gap", "count"), [(GAP, 1), (GAP + 1, 2)])
def test_a_longer_silence_makes_a_new_attempt(gap: int, count: int) -> None:
    first, second = flow(protocol="UDP", tcp_flags=0), flow(protocol="UDP", tcp_flags=0)
    second.time = first.time + gap
    tracker = Attempts()
    tracker.observe(first)
    tracker.observe(second)
    assert len(tracker.open_attempts()) + len(tracker.take_closed()) == count


def test_silence_is_measured_from_the_last_record_not_the_first() -> None:
    assert len(outcomes(*(flow(at, tcp_flags=PSH_ACK) for at in range(0, 600, 60)))) == 1


def test_order_of_records_does_not_matter() -> None:
    records = [*denied(0), *denied(1), *FAR_DROP, flow(), reply(0.1)]
    assert outcomes(*reversed(records[:6])) == outcomes(*records[:6]) == ["dropped"]


def test_replies_are_not_attempts() -> None:
    tracker = Attempts()
    for record in (
        reply(),
        flow(2, is_reply=None, tcp_flags=SYN_ACK),
        flow(3, is_reply=None, protocol="ICMPv4", source_port=0, destination_port=0, tcp_flags=0),
    ):
        assert tracker.observe(record) is None
    assert tracker.replies == 3
    assert tracker.open_attempts() == []


def test_icmp_has_no_ports_so_a_pair_of_ends_is_one_attempt() -> None:
    def ping(at: float, **fields: object) -> Flow:
        return flow(at, protocol="ICMPv4", source_port=0, destination_port=8, tcp_flags=0, **fields)

    pong = reply(0.1, protocol="ICMPv4", source_port=0, destination_port=0, tcp_flags=0)
    assert outcomes(ping(0), pong, ping(1), ping(2)) == ["forwarded"]
    assert len(outcomes(ping(0), ping(0, destination_ip="1.1.1.1"))) == 2


@pytest.mark.parametrize("number", [199, 200, 201, 173, 205])
def test_a_drop_that_is_no_loss_is_no_attempt(number: int) -> None:
    assert outcomes(denied(reason=number)[1]) == []


@pytest.mark.parametrize("seen", [Verdict.TRACED, Verdict.TRANSLATED, Verdict.VERDICT_UNKNOWN, 99])
def test_records_without_an_outcome_open_no_attempt(seen: int) -> None:
    tracker = Attempts()
    assert tracker.observe(flow(verdict=seen)) is None
    assert tracker.unattributed == 1


def test_a_direction_is_made_out_only_where_a_mask_left_everything_out() -> None:
    bare = {"direction": Direction.UNKNOWN, "event_type": EventType.UNKNOWN}
    assert outcomes(flow(**bare)) == ["forwarded"]
    assert outcomes(flow(direction=Direction.UNKNOWN)) == []
    tracker = Attempts()
    tracker.observe(flow(**bare, source=flow().destination, destination=APP))
    assert [a.direction for a in tracker.open_attempts()] == [Direction.INGRESS]


def test_the_reason_is_the_policys_even_after_a_stray_drop() -> None:
    tracker = Attempts()
    for record in (STRAY_DROP, *denied(3, reason=181)):
        tracker.observe(record)
    [attempt] = tracker.open_attempts()
    assert attempt.reason == 181


def test_what_the_proxy_denied_is_kept() -> None:
    lookup = Layer7(type=1, dns_query="google.com")
    tracker = Attempts()
    tracker.observe(l7(record=lookup, verdict=Verdict.DROPPED, protocol="UDP", destination=API))
    [attempt] = tracker.open_attempts()
    assert (attempt.reason, attempt.detail) == (L7_DENIED, "DNS google.com")


def test_memory_is_bounded_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "OPEN_AT_LEAST", 10)
    tracker = Attempts(limit=20)
    for port in range(1000):
        tracker.observe(flow(source_port=1000 + port))
    assert len(tracker.open_attempts()) <= 40
    assert tracker.closed_early > 0


def test_old_attempts_are_let_go_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "OPEN_AT_LEAST", 10)
    tracker = Attempts()
    for second in range(1000):
        tracker.observe(flow(second, source_port=1000 + second))
    assert len(tracker.open_attempts()) <= 2 * GAP // SECOND + 20
    assert tracker.closed_early == 0
