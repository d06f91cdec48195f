"""Which rows a query means, and in which order."""

from __future__ import annotations

import pytest

from flowwatch.egress.query import ORDERS, Query
from flowwatch.egress.rows import Row
from flowwatch.egress.view import snapshot
from tests.unit.egress.made import counted, traffic

WORDS = [
    ("pod-1", lambda r: r.pod == "pod-1"),
    ("!pod-1", lambda r: r.pod != "pod-1"),
    ("1.1.1.3 tcp", lambda r: r.peer == "1.1.1.3"),
    ("policy_denied", lambda r: r.dropped > 0),
    ("443", lambda r: True),
    ("NS/POD-2", lambda r: r.pod == "pod-2"),
    ("nothing-like-it", lambda r: False),
    ("²", lambda r: False),
    ("9" * 5000, lambda r: False),  # more digits than int() takes
]


@pytest.mark.parametrize(("text", "meant"), WORDS, ids=[w[0][:20] for w in WORDS])
def test_words_choose_rows(text: str, meant: object) -> None:
    aggregate = counted(*traffic(200))
    every = snapshot(aggregate, Query()).rows
    taken = snapshot(aggregate, Query(text=text, limit=3))
    assert callable(meant)
    assert taken.matched == sum(1 for row in every if meant(row))
    assert all(meant(row) for row in taken.rows)
    assert taken.totals.rows == len(every)


def test_drops_only_shows_rows_with_drops() -> None:
    taken = snapshot(counted(*traffic(200)), Query(drops_only=True))
    assert taken.rows
    assert all(row.dropped for row in taken.rows)


def test_orders() -> None:
    aggregate = counted(*traffic(300))

    def by(order: str) -> list[Row]:
        return list(snapshot(aggregate, Query(order=order)).rows)

    assert [r.dropped for r in by("drops")] == sorted((r.dropped for r in by("pod")), reverse=True)
    assert [r.forwarded for r in by("forwarded")] == sorted(
        (r.forwarded for r in by("pod")), reverse=True
    )
    assert [r.last_seen for r in by("last")] == sorted(
        (r.last_seen for r in by("pod")), reverse=True
    )
    assert [r.pod for r in by("pod")] == sorted(r.pod for r in by("pod"))
    assert [r.peer for r in by("peer")] == sorted(r.peer for r in by("pod"))
    assert [r.rate for r in by("rate")] == sorted((r.rate for r in by("pod")), reverse=True)
    for order in ORDERS:
        backwards = snapshot(aggregate, Query(order=order, reverse=True)).rows
        assert list(backwards) == by(order)[::-1]
