"""What ``doctor`` makes of records: each judgement on evidence made up for it."""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flowwatch.doctor.evidence import JUDGES
from flowwatch.doctor.judge import (
    Evidence,
    Heard,
    aggregation,
    clocks,
    flows,
    lost,
    names,
    ring,
    verdicts,
)
from flowwatch.doctor.steps import State, Visit
from flowwatch.flows.known import make_flow
from flowwatch.flows.model import Endpoint, Flow, LostEvents, PolicyRef
from flowwatch.hubble.client.config import Settings
from flowwatch.sources.files import FileSource
from tests.command import ROOT
from tests.material import OWN, SHARED, needs

SECOND = 1_000_000_000
NOW = 1_800_000_000 * SECOND


def flow(ago: float = 1.0, node: str = "one", **more: Any) -> Flow:
    """A trace record of a TCP SYN, ``ago`` seconds before NOW."""
    fields: dict[str, Any] = {
        "time": NOW - int(ago * SECOND),
        "verdict": 1,
        "drop_reason": 0,
        "direction": 2,
        "is_reply": False,
        "event_type": 4,
        "sub_type": 0,
        "source": Endpoint(),
        "destination": Endpoint(),
        "source_ip": "10.0.0.1",
        "destination_ip": "10.0.0.2",
        "protocol": "TCP",
        "source_port": 40000,
        "destination_port": 443,
        "tcp_flags": 2,
        "source_names": (),
        "destination_names": (),
        "source_service": "",
        "destination_service": "",
        "l7": None,
        "allowed_by": (),
        "denied_by": (),
        "match_type": 0,
        "auth_type": 0,
        "node": node,
        "uuid": "",
    }
    return make_flow(**(fields | more))


def heard(*flows: Flow, late: float | None = None, **more: Any) -> Heard:
    """As if each flow came ``late`` seconds after its time; all at NOW without that."""
    came = [NOW if late is None else one.time + int(late * SECOND) for one in flows]
    return Heard(list(flows), arrivals=came, complete=True, **more)


def test_the_ring_is_as_long_as_the_shortest_node_s() -> None:
    evidence = Evidence(
        held=100, room=8190, now=NOW, oldest=heard(flow(900, "one"), flow(41, "two"))
    )
    step = ring(evidence)
    assert step.state is State.OK
    assert step.what == "100 of 8,190 records (1%), back 41 s on two, the shortest of 2"
    # Full, and short: what came before is gone.
    assert ring(replace(evidence, held=8190)).state is State.WARN
    # Full, and long enough.
    long = replace(evidence, held=8190, oldest=heard(flow(900, "one"), flow(700, "two")))
    assert ring(long).state is State.OK


def test_a_server_that_tells_no_room() -> None:
    assert ring(Evidence(held=5, now=NOW, oldest=heard(flow()))).state is State.OK


@pytest.mark.parametrize(
    ("rate", "sample", "live", "state", "words"),
    [
        (12.5, [flow()], [], State.OK, "12.5 a second in the last minute; 0 in 4 s"),
        (0.0, [flow(9)], [flow(1)], State.OK, "1 in 4 s of listening (0.2 a second)"),
        (0.0, [flow(9)], [flow(9)], State.WARN, "nothing new comes"),
        (0.0, [], [], State.WARN, "none in the ring"),
    ],
)
def test_flows(rate: float, sample: list[Flow], live: list[Flow], state: State, words: str) -> None:
    evidence = Evidence(rate=rate, seconds=4.0, sample=heard(*sample), live=heard(*live))
    assert flows(evidence).state is state
    assert words in flows(evidence).what


def test_an_old_record_at_the_start_of_listening_is_not_new() -> None:
    """A follower gets one; with a uuid it's known by that, whatever its time."""
    old = flow(9, uuid="a")
    evidence = Evidence(seconds=4.0, sample=heard(old), live=heard(old, flow(8, uuid="b")))
    assert "1 in 4 s" in flows(evidence).what


def test_records_of_a_newer_server_are_counted() -> None:
    step = flows(Evidence(seconds=4.0, rate=1.0, sample=heard(flow(), skipped=3)))
    assert step.state is State.WARN
    assert "3 records can't be read" in step.what


def test_a_loss_that_both_questions_brought_counts_once() -> None:
    notice = LostEvents("OBSERVER_EVENTS_QUEUE", 7, "one", NOW)
    other = LostEvents("PERF_EVENT_RING_BUFFER", 30, "two", NOW)
    newer = LostEvents("77", 1, "", NOW)
    evidence = Evidence(
        sample=heard(flow(), lost=[notice, other]), live=heard(lost=[notice, newer])
    )
    step = lost(evidence)
    assert step.state is State.WARN
    assert "30 by PERF_EVENT_RING_BUFFER on two" in step.what
    assert "7 by OBSERVER_EVENTS_QUEUE on one (the agent's queue" in step.what
    assert "1 by 77 on an unnamed node (a place that this version doesn't know)" in step.what
    # The hint is for the largest.
    assert "monitorAggregation" in step.next
    assert lost(Evidence(sample=heard(flow()))).state is State.OK


def test_verdicts_that_name_no_policy() -> None:
    passed = [flow(event_type=5) for _ in range(12)]
    evidence = Evidence(now=NOW, sample=heard(*passed), verdicts=heard(passed[0]))
    step = verdicts(evidence)
    assert step.state is State.WARN
    assert "hubble.networkPolicyCorrelation.enabled=true" in step.next
    named = flow(event_type=5, allowed_by=(PolicyRef("NetworkPolicy", "a", "b"),))
    assert verdicts(replace(evidence, sample=heard(*passed, named))).state is State.OK
    # A few of them prove nothing: Cilium's own rules have no name.
    assert verdicts(replace(evidence, sample=heard(*passed[:3]))).state is State.OK


def test_a_question_that_was_not_answered_is_not_a_no() -> None:
    for judge in (verdicts, names):
        step = judge(Evidence(sample=heard(flow())))
        assert (step.state, step.what) == (State.WARN, "no answer in time")


def test_dns_that_is_seen_without_names() -> None:
    step = names(Evidence(now=NOW, sample=heard(flow()), dns=heard(flow(event_type=129))))
    assert step.state is State.WARN
    assert "DNS proxy sees queries" in step.what


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], "can't be told"),
        ([flow(sub_type=10)], "off: 1 of 1"),
        ([flow(tcp_flags=16), flow(3, tcp_flags=16)], "low: no from-… traces, and 1 repeat"),
        ([flow(tcp_flags=16), flow(8, tcp_flags=16)], "medium or more"),
        # A SYN twice is a retry; another node, or another point, is another record of the same.
        ([flow(1), flow(2)], "medium or more"),
        ([flow(tcp_flags=16), flow(2, "two", tcp_flags=16)], "low or more"),
        ([flow(tcp_flags=16), flow(2, tcp_flags=16, sub_type=3)], "low or more"),
        ([flow(protocol="UDP", tcp_flags=0), flow(2, protocol="UDP", tcp_flags=0)], "low or more"),
        # Points without connection tracking, and connections that close, tell each packet.
        ([flow(at, tcp_flags=16, is_reply=None) for at in range(3)], "low or more"),
        ([flow(1, tcp_flags=17), *(flow(at, tcp_flags=16) for at in (2, 3))], "low or more"),
        ([flow(event_type=5)], "can't be told"),
    ],
)
def test_aggregation(records: list[Flow], words: str) -> None:
    assert aggregation(Evidence(sample=heard(*records))).what.startswith(words)


@pytest.mark.parametrize(
    ("capture", "count"),
    [
        (OWN / "captures/tcp.jsonl", 40),
        pytest.param(
            SHARED / "captures/hubble-otel/basic-sample-400-tcp-flows.json", 400,
            marks=needs("captures"),
        ),
    ],
    ids=["own", "real"],
)  # fmt: skip
def test_a_cluster_with_the_default_is_not_taken_for_another(capture: Path, count: int) -> None:
    records = [one for batch in FileSource([str(capture)]).batches() for one in batch.flows]
    assert len(records) == count
    assert aggregation(Evidence(sample=heard(*records))).what.startswith("medium or more")


def test_clocks_of_several_nodes() -> None:
    def live(node: str, late: float, count: int = 3) -> tuple[list[Flow], list[int]]:
        made = [flow(at, node) for at in range(count)]
        return made, [one.time + int(late * SECOND) for one in made]

    together = Heard()
    for node, late in (("well", 0.5), ("behind", 40.0), ("ahead", -20.0)):
        made, came = live(node, late)
        together.flows += made
        together.arrivals += came
    # Two records are too few to say that a node is behind.
    made, came = live("few", 90.0, 2)
    together.flows += made
    together.arrivals += came
    step = clocks(Evidence(live=together))
    assert step.state is State.WARN
    assert step.what == (
        "ahead is 20 s ahead of this machine; behind is 40 s behind, or its records come so late"
    )


def test_clocks_that_agree_and_clocks_that_nobody_can_judge() -> None:
    agree = [flow(at, node) for at in range(3) for node in ("one", "two")]
    step = clocks(Evidence(live=heard(*agree, late=1.0)))
    assert (step.state, step.what) == (State.OK, "2 nodes' clocks and ours agree within 3 s")
    assert clocks(Evidence(live=heard(flow(), late=1.0))).state is State.SKIPPED


def test_nothing_is_judged_without_records() -> None:
    states = {name: judge(Evidence()).state for name, judge in JUDGES}
    assert {name for name, state in states.items() if state is State.SKIPPED} == {
        "verdicts",
        "options",
        "dns",
        "aggregation",
        "clocks",
    }
    assert State.FAIL not in states.values()


def test_the_docs_have_a_row_for_each_step() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs" / "doctor.md").read_text("utf-8"), re.M)
    assert rows[rows.index("ring") :] == ["ring", *(name for name, _ in JUDGES)]
    with contextlib.closing(Visit(Settings(server="127.0.0.1:1"))) as visit:
        assert rows[: rows.index("ring")] == [step.name for step in visit.steps()]
