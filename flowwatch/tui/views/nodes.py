"""Nodes: which of them are seen, what they sent last, what they lost, and how their clocks go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowwatch.egress.rows import SECOND, Recent, Snapshot
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.source import SourceState
from flowwatch.text import safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import rate
from flowwatch.tui.parts.groups import number
from flowwatch.tui.parts.listing import Item, Listed, ListView, head, table, titles_of
from flowwatch.tui.parts.records import RecordsAnswer, records_of_all

COLUMNS = (
    head("STATE", 12, words="seen; `away`: relay can't reach it, and since when"),
    head("NODE", 16, good=20, most=60, words="as Hubble names it"),
    head("RECORDS/s", 9, 1, number=True, words="of the last records that are kept, in this direction"),
    head("LOST", 6, 1, number=True, role="warn", words="events that it said were lost"),
    head("CLOCK", 10, 3, role="warn", words="how far it is apart from the others', where it is"),
    head("LAST", 8, 2, role="dim", words="time of its last record (UTC)"),
    head("LAST VERDICT", 20, 2, words="what that said"),
)  # fmt: skip


@dataclass(slots=True)
class NodeSeen:
    """What the last records of a node come to."""

    count: int = 0
    first: int = 0
    last: Recent | None = None


def nodes_seen(records: Sequence[Recent]) -> dict[str, NodeSeen]:
    """By node; ``records``: the newest last."""
    found: dict[str, NodeSeen] = {}
    for record in records:
        seen = found.setdefault(record.node, NodeSeen(first=record.time))
        seen.count += 1
        seen.last = record
    return found


def _items(snapshot: Snapshot, state: SourceState, seen: dict[str, NodeSeen]) -> list[Item]:
    coverage = snapshot.coverage
    away = {one.name: one for one in coverage.nodes_away}
    names = sorted({*coverage.nodes, *away, *state.unavailable, *seen} - {""})
    skews = {one.node: one for one in coverage.clock_skews}
    items = []
    for name in names:
        lost = sum(one.count for one in coverage.lost if one.node == name)
        told = seen.get(name, NodeSeen())
        gone = name in away or name in state.unavailable
        since = away[name].since if name in away else 0
        text = f"away {time_of_day(since)}" if since else "away" if gone else "seen"
        skew = skews.get(name)
        last = told.last
        seconds = max((last.time - told.first) / SECOND, 1.0) if last is not None else 1.0
        verdict = f"{last.verdict} {last.kind} {last.peer}" if last is not None else ""
        items.append(
            Item(
                name,
                (
                    text,
                    safe(name),
                    rate(told.count / seconds),
                    number(lost),
                    f"{skew.ahead / SECOND:+.1f} s" if skew is not None else "",
                    time_of_day(last.time) if last is not None else "",
                    safe(verdict),
                ),
                "errors" if gone or lost else "forwarded",
                values={
                    "RECORDS/s": told.count / seconds,
                    "CLOCK": abs(skew.ahead) if skew is not None else None,
                    "LAST": last.time if last is not None else None,
                },
            )
        )
    return items


def _listed(desk: Desk, value: RecordsAnswer, columns: int) -> Listed:
    way = desk.chosen.query.direction
    records = [one for one in value.made if way in ("both", one.direction)]
    items = _items(value.snapshot, desk.state, nodes_seen(records))
    return table(COLUMNS, items, value.snapshot, columns, desk.look.signs)


NODES = ListView(
    name="nodes",
    words="which nodes are seen, what they sent and lost, how their clocks go",
    number=9,
    tab="Nodes",
    tab_short="Nodes",
    question=records_of_all,
    listed=_listed,
    sorts=titles_of(COLUMNS),
    of_rows=False,
    nothing="No record has named a node yet",
    advice=("flowwatch list nodes asks relay for those that it knows",),
    headings={one.title: one.words for one in COLUMNS if one.title in ("CLOCK", "LAST VERDICT")},
)
