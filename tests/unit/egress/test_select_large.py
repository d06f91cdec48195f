"""A great many rows are chosen as few are."""

from __future__ import annotations

import pytest

from flowwatch.egress import select as select_module
from flowwatch.egress.query import ORDERS, Query
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
        Query(order=order, text=text, reverse=True, drops_only=True, direction="both"),
    ):
        few = snapshot(aggregate, query).rows
        monkeypatch.setattr(select_module, "FEW", 0)
        many = snapshot(aggregate, query).rows
        monkeypatch.undo()
        assert [row.key for row in many] == [row.key for row in few]
