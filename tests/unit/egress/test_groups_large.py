"""A great many rows are folded as few are."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from flowwatch.egress import groups_large
from flowwatch.egress import select as select_module
from flowwatch.egress.folding import BY_WORKLOAD, By
from flowwatch.egress.query import ORDERS, Query
from flowwatch.egress.view import snapshot
from tests.unit.egress.made import counted, traffic

BYS = (BY_WORKLOAD, By("namespace", "", True, True), By("", "app", True, True))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("text", ["", "pod-1", "!policy_denied"])
def test_many_rows_are_folded_as_few_are(
    order: str, by: By, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregate = counted(*traffic(400, workloads=3))
    for query in (
        Query(order=order, by=by, text=text),
        Query(order=order, by=by, text=text, reverse=True, drops_only=True, direction="both"),
        Query(order=order, by=by, text=text, noise=False, drops_only=True),
    ):
        few = snapshot(aggregate, query)
        monkeypatch.setattr(select_module, "FEW", 0)
        many = snapshot(aggregate, query)
        monkeypatch.undo()
        assert [row.key for row in many.rows] == [row.key for row in few.rows]
        assert many.matched == few.matched
        assert many.shown == few.shown


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("by", BYS)
@pytest.mark.parametrize("text", ["", "pod-1"])
@pytest.mark.parametrize("bits", [0, 38])
@pytest.mark.parametrize("few", [0, 20])
def test_the_first_of_many_folds_are_those_that_all_of_them_begin_with(
    order: str, by: By, text: str, bits: int, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the folds that are seen alone are put in order: whole rows are compared, open folds as well.

    ``few``: a filter leaves fewer rows than that, or not."""
    aggregate = counted(*traffic(400, workloads=3))
    assert len(aggregate.columns) > 20
    closed = Query(order=order, by=by, text=text, direction="both")
    unfolded = frozenset(snapshot(aggregate, closed).folds)
    for reverse in (False, True):
        query = replace(closed, unfolded=unfolded, reverse=reverse)
        monkeypatch.setattr(select_module, "FEW", few)
        monkeypatch.setattr(groups_large, "_PAIR_BITS", bits)
        every = snapshot(aggregate, query)
        for limit in (1, 7, 40):
            first = snapshot(aggregate, replace(query, limit=limit))
            assert first.rows == every.rows[:limit]
            assert first.shown == every.shown
        monkeypatch.undo()
