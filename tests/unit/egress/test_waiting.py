"""Who is waiting now: told by retries, by what comes back, and by how many pods are blocked."""

from __future__ import annotations

import csv
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

import flowwatch as library
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Row
from flowwatch.egress.view import snapshot
from flowwatch.egress.waiting import blocked_now, manner, waiting
from flowwatch.errors import UsageError
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.model import Batch, Flow, Layer7, Verdict
from flowwatch.report.waiting import since_text
from tests.in_process import flowwatch
from tests.material import OWN
from tests.unit.egress.made import counted, rows
from tests.unit.flows.made import APP, denied, flow, l7, reply
from tests.unit.report.made import row

WEATHER = OWN / "captures" / "weather.jsonl"
MINUTE = 60.0
OTHER = msgspec.structs.replace(APP, pod="weather-app-2")


def hanging(at: float = 0.0, tries: tuple[float, ...] = (0, 1, 3, 7), **fields: Any) -> list[Flow]:
    """A connection that is denied, and its retries."""
    return [one for wait in tries for one in denied(at + wait, **fields)]


def second(at: float = 0.0, **fields: Any) -> dict[str, Any]:
    return {"source": OTHER, "source_ip": "10.0.0.2", **fields}


def now_of(*flows: Flow) -> list[Row]:
    taken = snapshot(counted(*flows), Query())
    return waiting(taken.rows, taken.coverage.last_seen)


def test_retries_at_one_three_and_seven_seconds_are_seven_seconds_of_waiting() -> None:
    (one,) = rows(*hanging())
    assert one.dropped == 1
    assert one.waiting == pytest.approx(7.0, abs=0.001)
    (both,) = rows(*hanging(), *hanging(20, (0, 1), source_port=40001))
    assert both.waiting == pytest.approx(8.0, abs=0.001)


def test_what_is_not_tried_again_waited_for_nothing() -> None:
    (one,) = rows(*denied())
    assert one.waiting == 0
    (through,) = rows(flow(), flow(3))
    assert through.waiting == 0


def test_an_attempt_that_got_through_late_waits_no_more() -> None:
    (one,) = rows(*denied(reason=189), *denied(1, reason=189), *denied(3, reason=189), flow(7))
    assert one.dropped == 0
    assert one.late == 1
    assert one.waiting == 0


def test_of_a_connection_that_was_cut_the_time_since_counts() -> None:
    working = [flow(at, tcp_flags=24) for at in (0, 100, 200)]
    (one,) = rows(*working, *hanging(300, (0, 1, 3), tcp_flags=24))
    assert one.dropped == 1
    assert one.waiting == pytest.approx(3.0, abs=0.001)


def test_a_connection_that_was_cut_was_not_always_blocked() -> None:
    """It counts as dropped, so no other attempt came before; but its answers had."""
    (blocked,) = now_of(*hanging())
    assert since_text(blocked) == "always"
    (cut,) = now_of(flow(), reply(0.1), *hanging(300, (0, 1, 3), tcp_flags=24))
    assert (cut.dropped, cut.forwarded, cut.state_before) == (1, 0, "")
    assert since_text(cut) == time_of_day(cut.since) == time_of_day(denied(300)[0].time)


def test_batch_by_batch_and_row_by_row_it_is_the_same() -> None:
    flows = [*hanging(), *hanging(2, source_port=40001, destination_ip="1.2.3.5"), *hanging(90)]
    one_by_one = Aggregate(4)
    for one in flows:
        one_by_one.join.add(Batch(flows=[one]))
    whole = counted(*flows)
    for aggregate in (one_by_one, whole):
        found = snapshot(aggregate, Query()).rows
        assert sum(one.waiting for one in found) == pytest.approx(21.0, abs=0.01)


def test_datagrams_wait_for_nothing_but_lookups_do() -> None:
    (metrics,) = rows(*hanging(protocol="UDP", destination_port=8125, tcp_flags=0))
    assert (metrics.dropped, metrics.waiting) == (1, 0)
    lookups: dict[str, Any] = {"protocol": "UDP", "destination_port": 53, "tcp_flags": 0}
    (lookup,) = rows(*hanging(0, (0, 5, 10), **lookups))
    assert lookup.waiting == pytest.approx(10.0, abs=0.001)


def test_aggregated_records_tell_no_wait() -> None:
    (one,) = rows(*hanging(source_port=0))
    assert one.uncounted
    assert one.waiting == 0


def test_now_ends_75_seconds_after_the_last_record_of_it() -> None:
    other = {"destination_ip": "1.2.3.9", "source_port": 50000}
    (one,) = now_of(*denied(), flow(74, **other))
    assert (one.peer, one.blocked_pods) == ("1.2.3.4", 1)
    assert now_of(*denied(), flow(76, **other)) == []
    (still,) = now_of(*hanging(tries=(0, 1, 3, 7, 15, 31, 63)), flow(130, **other))
    assert still.waiting == pytest.approx(63.0, abs=0.001)


def test_what_gets_through_again_is_not_blocked_now() -> None:
    assert now_of(*denied(), flow(2, source_port=40001)) == []
    (again,) = now_of(flow(), *denied(2, source_port=40001))
    assert again.forwarded == 1


def test_of_a_workload_it_says_how_many_pods_are_blocked() -> None:
    all_of_them = now_of(*denied(), *denied(1, **second()))
    assert [(one.pods, one.blocked_pods) for one in all_of_them] == [(2, 2)]
    one_of_them = now_of(*denied(), flow(1, **second()))
    assert [(one.pods, one.blocked_pods) for one in one_of_them] == [(2, 1)]


def test_the_longest_waits_come_first_then_more_pods_then_more_drops() -> None:
    def to(last: int, **fields: Any) -> dict[str, Any]:
        return {"destination_ip": f"9.9.9.{last}", "source_port": 41000 + last, **fields}

    found = now_of(
        *hanging(10, (0, 1), **to(1)),
        *hanging(10, (0, 1, 3), **to(2)),
        *hanging(10, (0,), **to(3)),
        *hanging(10, (0,), **to(4)),
        *hanging(11, (0,), **second(**to(4))),
    )
    assert [one.peer for one in found] == ["9.9.9.2", "9.9.9.1", "9.9.9.4", "9.9.9.3"]


@pytest.mark.parametrize(
    ("fields", "feels"),
    [
        ({}, "hangs"),
        ({"dropped": 0, "drop_reasons": {}}, ""),
        ({"protocol": "SCTP"}, "hangs"),
        ({"protocol": "UDP", "port": 8125}, "no answer"),
        ({"protocol": "ICMPv4", "port": 8}, "no answer"),
        ({"protocol": "UDP", "port": 53}, "lookup hangs"),
        ({"forwarded": 0, "refused": 3}, "refused"),
        ({"forwarded": 0, "unreachable": 2, "refused": 1}, "refused"),
        ({"forwarded": 2, "refused": 3}, "hangs"),
        ({"drop_reasons": {"L7_DENIED": 3}, "proxy_refused": ("GET http://api/x",)}, "refused"),
        ({"drop_reasons": {"L7_DENIED": 3}, "port": 53, "protocol": "UDP"}, "lookup refused"),
        ({"drop_reasons": {"L7_DENIED": 3}, "port": 5353, "proxy_refused": ("DNS a.b",)}, "lookup refused"),
        ({"drop_reasons": {"L7_DENIED": 1, "POLICY_DENIED": 2}}, "hangs"),
    ],
)  # fmt: skip
def test_how_it_feels(fields: dict[str, Any], feels: str) -> None:
    assert manner(row(**fields)) == feels


def test_what_the_proxy_refuses_is_a_fast_error() -> None:
    refused = Layer7(type=1, dns_query="clicks.example")
    (one,) = now_of(
        l7(record=refused, verdict=Verdict.DROPPED, protocol="UDP", destination_port=53)
    )
    assert (manner(one), one.proxy_refused) == ("lookup refused", ("DNS clicks.example",))
    assert one.waiting == 0


def test_noise_blocks_nobody() -> None:
    (one,) = rows(*denied(reason=166, destination_ip="239.255.255.250", protocol="UDP"))
    assert one.noise
    assert not blocked_now(one, one.last_seen)


def test_the_command_line_and_python_give_the_same_rows(tmp_path: Path) -> None:
    arguments = ("summary", "--waiting", "--input-file", WEATHER)
    told = json.loads(flowwatch(*arguments, "-o", "json").stdout)["rows"]
    frame = library.read(WEATHER, waiting=True)
    table = list(csv.DictReader(flowwatch(*arguments, "-o", "csv").stdout.splitlines()))
    assert len(told) > 1
    assert [one["waiting"] for one in told] == pytest.approx(frame["waiting"].tolist(), abs=0.001)
    for name in ("peer", "workload", "dropped", "manner", "blocked_pods", "pods"):
        assert [one[name] for one in told] == frame[name].tolist()
        assert [str(one[name]) for one in told] == [one[name] for one in table], name
    assert all(one["waiting"] >= after["waiting"] for one, after in pairwise(told))
    text = flowwatch(*arguments).stdout.splitlines()
    assert text[0].split() == [
        "WAITED", "DROPPED", "PODS", "FEELS", "SINCE", "WORKLOAD", "DESTINATION", "WHY",
    ]  # fmt: skip
    assert len(text) == len(told) + 1
    assert len(flowwatch(*arguments, "-o", "markdown").stdout.splitlines()) == len(told) + 2


def test_where_nobody_waits_it_says_so(tmp_path: Path) -> None:
    path = OWN / "captures" / "tcp.jsonl"
    told = flowwatch("summary", "--waiting", "--namespace", "nowhere", "--input-file", path)
    assert told.stdout == "nobody is blocked now\n"


def test_waiting_is_folded_by_itself() -> None:
    told = flowwatch("summary", "--waiting", "--by", "workload", "--input-file", WEATHER)
    assert told.returncode in (1, 2)
    assert "--waiting is by workload and destination: leave out --by" in told.stderr
    with pytest.raises(UsageError, match="waiting is by workload and destination: leave out by"):
        library.read(WEATHER, waiting=True, by="workload")
