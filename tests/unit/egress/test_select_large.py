"""A great many rows are chosen as few are."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowwatch.egress import select as select_module
from flowwatch.egress.query import ORDERS, Query
from flowwatch.egress.select_large import Key, leading
from flowwatch.egress.view import snapshot
from tests.unit.egress.made import counted, traffic


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    "text", ["", "pod-1", "!policy_denied", "1.1.1.3 443", "tcp", "44", "9" * 5000]
)
def test_many_rows_are_chosen_as_few_are(
    order: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregate = counted(*traffic(400))
    for query in (
        Query(order=order, text=text),
        Query(order=order, text=text, limit=7),
        Query(order=order, text=text, limit=7, noise=False),
        Query(order=order, text=text, limit=0),
        Query(order=order, text=text, reverse=True, drops_only=True, direction="both"),
    ):
        few = snapshot(aggregate, query).rows
        monkeypatch.setattr(select_module, "FEW", 0)
        many = snapshot(aggregate, query).rows
        monkeypatch.undo()
        assert [row.key for row in many] == [row.key for row in few]


@given(st.lists(st.tuples(*[st.integers(-2, 2)] * 3), min_size=2), st.data())
def test_what_leads_is_what_a_whole_sort_puts_first(
    rows: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    columns = [np.array(key, np.int64) for key in zip(*rows, strict=True)]
    keys: list[Key] = [column.__getitem__ for column in columns]
    numbers = np.arange(len(rows))
    count = data.draw(st.integers(1, len(rows) - 1))
    found = leading(numbers, keys, count).tolist()
    assert found[:count] == np.lexsort(columns).tolist()[:count]
    assert sorted(found) == numbers.tolist()


def test_where_numpy_is_there_anyhow_fewer_rows_are_left_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert select_module.many(select_module.SOME + 1)
    assert not select_module.many(select_module.SOME)
    monkeypatch.delitem(sys.modules, "numpy")
    assert not select_module.many(select_module.FEW)
    assert select_module.many(select_module.FEW + 1)
