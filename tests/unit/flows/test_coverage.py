"""What was and wasn't seen is one value, whoever answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from flowwatch.audits.audit import Audit
from flowwatch.audits.whatif import WhatIf
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.counting import Tally
from flowwatch.flows.coverage import Coverage, LostTotal, NodeAway
from flowwatch.flows.listing import AttemptListing
from flowwatch.flows.model import Batch, Gap, LostEvents, NodeStatus
from flowwatch.policy import load
from flowwatch.report.coverage import COVERAGE, WINDOW
from flowwatch.report.sidefile import note_beside
from tests.unit.audits.planted import CORRECT
from tests.unit.flows.made import SECOND, flow, reply

START = flow().time
GAP = Gap(START + SECOND, START + 3 * SECOND, "restarted", ("node-1",))


def batch() -> Batch:
    """Two nodes' records over a minute, and much that is missing."""
    return Batch(
        flows=[flow(), flow(60, node="node-2", source_port=7), reply(30, source_port=5, node="")],
        lost=[LostEvents("HUBBLE_RING_BUFFER", 30, "node-2", START)],
        nodes=[NodeStatus("NODE_UNAVAILABLE", ("node-3",), "refused", START + 20 * SECOND)],
        skipped={"not JSON": 2},
        gaps=[GAP],
        set_aside={"node-1": 4},
    )


def test_every_answer_has_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ages are told to the clock.
    monkeypatch.setattr("time.time_ns", lambda: START + 60 * SECOND)
    aggregate, policies = Aggregate(), load([("policy.yaml", CORRECT)])
    aggregate.join.add(batch())
    rows = snapshot(aggregate, Query()).coverage
    assert rows.clusters == ("default",)
    # Rows alone are of clusters.
    shown = replace(rows, clusters=())
    listing = AttemptListing([batch()], frozenset({"egress"}), frozenset({"forwarded"}))
    assert len(list(listing)) == 2
    assert Audit(policies).read([batch()]).blind.coverage == shown
    assert WhatIf(policies).read([batch()]).coverage == shown
    exported = listing.tally.coverage()
    # Only who joins can tell what belongs to no attempt.
    assert replace(exported, replies=shown.replies, unattributed=shown.unattributed) == shown
    assert shown == Coverage(
        first_seen=START,
        last_seen=START + 60 * SECOND,
        records_read=3,
        records_skipped={"not JSON": 2},
        left_out={"node-1": 4},
        replies=1,
        lost=(
            LostTotal("node-2", "HUBBLE_RING_BUFFER", 30, START, "flowwatch read too slowly", 0.5),
        ),
        nodes=("node-1", "node-2"),
        unnamed=True,
        nodes_away=(NodeAway("node-3", START + 20 * SECOND, "refused"),),
        nodes_known=3,
        gaps=(GAP,),
        warnings=(
            "30 events were lost, 0.5/s on node-2 (HUBBLE_RING_BUFFER: flowwatch read too slowly): "
            "counts are 'at least'",
            "1 of 3 nodes unseen for 40 s: node-3 (refused): counts are 'at least'",
            "gap of 2 s, 22:13:21 to 22:13:23 UTC: records of node-1 from then are gone (restarted): "
            "counts are 'at least'",
            "4 records of node-1 were left out: older than what is remembered, so from "
            "before, or the node's clock was set back",
            "2 records were skipped: not JSON",
        ),
    )
    assert (shown.seconds, shown.nodes_seen, shown.nodes_unavailable) == (60.0, 3, ("node-3",))
    assert shown.at_least
    assert shown.much_missing


def test_it_does_not_change_when_more_is_read() -> None:
    tally = Tally()
    tally.add(batch())
    before = tally.coverage(START)
    kept = replace(before)
    tally.add(batch())
    assert before == kept
    assert tally.coverage(START).lost_events == 2 * before.lost_events == 60


def test_the_file_beside_a_table_has_its_keys(tmp_path: Path) -> None:
    table = tmp_path / "rows.csv"
    table.write_text("header\n")
    coverage = Tally()
    coverage.add(batch())
    told = json.loads(Path(note_beside(str(table), coverage.coverage(START), lines=1)).read_text())
    assert list(told) == [
        *("schema_version", "file", "lines", "partial"),
        *(key.name for key in (WINDOW, *COVERAGE) if key.beside),
    ]
