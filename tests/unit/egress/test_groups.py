"""Rows of an aggregate folded: what a dashboard shows is what ``summary --by`` prints, few rows or many."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from msgspec.structs import replace

from flowwatch.egress.folding import BY_WORKLOAD, By, fold
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.egress.view import labels_of, snapshot
from flowwatch.flows.model import Batch
from tests.unit.egress.made import counted, pods, traffic
from tests.unit.flows.made import flow

BYS = (BY_WORKLOAD, By("namespace", "", True, True), By("", "app", True, True))
COUNTS = ("forwarded", "dropped", "audited", "errors", "unknown", "records", "answered", "late")


def without_keys(rows: tuple[Row, ...] | list[Row]) -> list[Row]:
    return [msgspec.structs.replace(row, key=0, rate=0.0) for row in rows]


@pytest.mark.parametrize("by", BYS)
def test_a_dashboards_folds_are_those_of_summary_by(by: By) -> None:
    aggregate = counted(*traffic(400, workloads=3))
    for direction in ("egress", "both"):
        plain = snapshot(aggregate, Query(direction=direction))
        folded = snapshot(aggregate, Query(direction=direction, by=by))
        told = fold(plain.rows, by, labels_of(aggregate))

        assert len(told) < len(plain.rows)
        assert folded.matched == len(told)
        assert Counter(map(str, without_keys(folded.rows))) == Counter(map(str, without_keys(told)))
        for name in COUNTS:
            assert sum(getattr(one, name) for one in folded.rows) == sum(
                getattr(one, name) for one in plain.rows
            )
        assert folded.totals == plain.totals
        assert folded.shown == plain.shown
        assert folded.timeline == plain.timeline


def test_an_open_fold_is_followed_by_its_rows_whose_counts_are_its_own() -> None:
    aggregate = pods(1, 2, 3, dropped=frozenset({2, 3}))
    query = Query(by=BY_WORKLOAD, noise=False)
    (one,) = snapshot(aggregate, query).rows
    taken = snapshot(aggregate, replace(query, unfolded=frozenset({one.key})))

    assert taken.rows[0].key == one.key
    rows = taken.rows[1:]
    assert {taken.within[row.key] for row in rows} == {one.key}
    assert [row.pod[-1] for row in rows] == ["2", "3", "1"], "the most dropped first"
    for name in COUNTS:
        assert sum(getattr(row, name) for row in rows) == getattr(one, name)
    assert taken.matched == 4


def test_a_folds_key_stays_while_its_rows_come_and_are_filtered() -> None:
    def key(taken: Snapshot) -> int:
        (one,) = taken.rows
        return one.key

    few, more = pods(1), pods(1, 2, 3)
    keys = {
        key(snapshot(few, Query(by=BY_WORKLOAD))),
        key(snapshot(more, Query(by=BY_WORKLOAD))),
        key(snapshot(more, Query(by=BY_WORKLOAD, text="x0002"))),
    }
    assert len(keys) == 1
    assert keys.pop() < 0


def test_drops_only_keeps_a_fold_whole() -> None:
    aggregate = pods(1, 2, 3, dropped=frozenset({2}))
    (one,) = snapshot(aggregate, Query(by=BY_WORKLOAD, drops_only=True)).rows

    assert (one.dropped, one.forwarded, one.pods) == (1, 2, 3)


def test_a_pod_is_found_by_the_name_that_its_row_shows() -> None:
    (one,) = snapshot(pods(1, 2), Query(text="weather-app·x0002")).rows

    assert one.pod == "weather-app-7d9f8-x0002"


def test_a_pod_whose_workload_is_told_later_is_folded_with_its_others() -> None:
    """Who is folded with whom is kept from one look to the next."""
    aggregate = counted()

    def seen(number: int, workload: str) -> list[tuple[str, int]]:
        base = flow(number)
        pod = replace(base.source, pod=f"web-{number % 2}", workload=workload)
        ends = replace(base.ends, source=pod)
        aggregate.join.add(Batch(flows=[replace(base, ends=ends, source_port=1000 + number)]))
        return [(row.workload, row.pods) for row in snapshot(aggregate, Query(by=BY_WORKLOAD)).rows]

    assert seen(0, "web") == [("web", 1)]
    assert sorted(seen(1, "")) == [("", 1), ("web", 1)]
    assert seen(3, "web") == [("web", 2)]
