"""Which rows a query means, and in which order."""

from __future__ import annotations

from typing import Any

import pytest

from flowwatch.egress import select as select_module
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import ORDERS, Query
from flowwatch.egress.rows import Row
from flowwatch.egress.view import snapshot
from tests.unit.egress.made import counted, traffic
from tests.unit.flows.made import denied, flow, reply, verdict

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


def odd() -> Aggregate:
    """A row whose attempt was late, and one whose attempt was refused."""
    late: dict[str, Any]
    refused: dict[str, Any]
    late, refused = {"destination_ip": "1.1.1.1"}, {"destination_ip": "2.2.2.2"}
    return counted(
        *denied(0.0, **late), *denied(1.0, **late), verdict(3.1, **late), flow(3.1, **late),
        verdict(**refused), flow(**refused), reply(0.1, source_ip="2.2.2.2", tcp_flags=20),
    )  # fmt: skip


@pytest.mark.parametrize("few", [True, False])
def test_what_came_of_attempts_is_found_by_its_name(
    few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not few:
        monkeypatch.setattr(select_module, "FEW", 0)

    def peers(text: str) -> list[str]:
        return [row.peer for row in snapshot(odd(), Query(text=text, order="peer")).rows]

    assert peers("") == ["1.1.1.1", "2.2.2.2"]
    assert peers("late") == peers("!refused") == ["1.1.1.1"]
    assert peers("REF") == ["2.2.2.2"]
    assert peers("ate") == peers("unreachable") == peers("dropped") == []


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
