"""An aggregate by pseudonyms: the same rows and answers, and no real name in what a view is given."""

from __future__ import annotations

import msgspec
import pytest

from flowwatch.egress.filters import KEYS as FILTER_KEYS
from flowwatch.egress.folding import BY_WORKLOAD, PLAIN, By
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.query import ORDERS, Monitor, Query
from flowwatch.egress.rows import Snapshot
from flowwatch.flows.hiding import Hiding
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch, Gap, LostEvents, NodeStatus
from flowwatch.marks.hidden import HiddenChanges
from flowwatch.marks.live import LiveChanges
from flowwatch.tui.parts.groups import filter_for
from tests.unit.sources.test_private import Marked, counts, marked, real


@pytest.mark.parametrize("few", [None, 0], ids=["few", "many"])
def test_what_is_told_is_the_same_by_other_names(
    few: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counts, folds and filters; and every text of what a view is given."""
    if few is not None:
        monkeypatch.setattr("flowwatch.egress.select.FEW", few)
    join = Join()
    live, changes = LiveMonitor(Marked(()), live=False, join=join), LiveChanges(join)
    join.add(Batch(flows=list(marked())))
    join.add(
        Batch(
            flows=[],
            lost=[LostEvents("HUBBLE_RING_BUFFER", 3, "qx/qx-1", 1)],
            nodes=[NodeStatus("NODE_UNAVAILABLE", ("qx-2",), "dial 10.77.0.1: qx")],
            gaps=[Gap(1, 2, "qx", ("qx-1",), "relay.qx:4245")],
            notes=["qx"],
        )
    )
    hiding = Hiding()
    hidden = live.hidden(hiding)
    for direction in ("egress", "ingress", "both"):
        for by in (PLAIN, BY_WORKLOAD, By("namespace", "", True, True)):
            assert real(hidden.whose(by)) == []
            assert len(hidden.whose(by)) == len(live.whose(by))
            for order in ORDERS:
                query = Query(direction=direction, by=by, order=order)
                told, known = hidden.snapshot(query), live.snapshot(query)
                assert real(told) == []
                assert real(known)
                assert told.shown == known.shown
                assert counts(told.rows) == counts(known.rows)
                if order == "drops":
                    _same_by_filters(hidden, live, query, told)
    for key in FILTER_KEYS:
        assert real(hidden.seen(key)) == []
        assert len(hidden.seen(key)) == len(live.seen(key))
    assert real(hidden.recent(4000)) == []
    assert [one.number for one in hidden.recent(4000)] == [one.number for one in live.recent(4000)]
    ways = frozenset({"egress", "ingress"})
    shown, found = HiddenChanges(changes, hiding).report(ways), changes.report(ways)
    assert real(found)
    assert real(shown) == []
    assert [one.counts for one in shown.differences] == [one.counts for one in found.differences]
    assert real(HiddenChanges(changes, hiding).marks()) == []
    assert len(changes.marks()) == 1


def _same_by_filters(hidden: Monitor, live: Monitor, query: Query, told: Snapshot) -> None:
    """A row is found by what it shows, and looked into."""
    for row in told.rows[:8]:
        found = hidden.snapshot(msgspec.structs.replace(query, text=filter_for(row)))
        assert row.key in [one.key for one in found.rows]
        more = hidden.close_up(query, row.key, told.folds.get(row.key), 20)
        assert more is not None
        assert real(more) == []
        if query.by == PLAIN:
            known = live.close_up(query, row.key, None, 20)
            assert known is not None
            assert [one.number for one in more.records] == [one.number for one in known.records]
            assert (more.pods_in_all, more.others_in_all) == (
                known.pods_in_all,
                known.others_in_all,
            )
            assert len(more.asked) == len(known.asked)
