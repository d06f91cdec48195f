"""Waiting: the workloads that are blocked at this moment, the most harmed first."""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as replace_query

from flowwatch.egress.rows import Row, Snapshot
from flowwatch.egress.waiting import MANNERS, manner, waiting
from flowwatch.flows.clocks import time_of_day
from flowwatch.report.summary_table import peer_text
from flowwatch.report.waiting import pods_text, since_text, waited_text, why_text
from flowwatch.text import safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import window_words, wrap
from flowwatch.tui.keys import OPENING
from flowwatch.tui.parts.grouped import Grouped, GroupedAnswer, grouped
from flowwatch.tui.parts.groups import filter_for, name_of, number
from flowwatch.tui.parts.listing import Entry, Item, Listed, ListView, head, table, titles_of

COLUMNS = (
    head(
        "WAITED", 7, number=True, role="drop", words="at least so long blocked attempts were tried again, "
        "up to the last retry that was seen, all of them together; `-`: nothing was tried again",
    ),
    head("DROPPED", 7, 1, number=True, role="drop", words="attempts that were dropped or refused"),
    head("PODS", 7, number=True, words="pods of the workload that are blocked now, of those that go there"),
    head("FEELS", 14, 1, role="warn", words=MANNERS),
    head("SINCE", 8, 3, role="dim", words="when that began (UTC), as `always` or by turns (`mixed`)"),
    head("WORKLOAD", 16, good=22, most=48, words="namespace and workload; else the pod, or what it is"),
    head("DESTINATION", 18, good=24, most=60, words="the other end, with its port"),
    head("WHY", 14, 2, good=18, role="dim", words="who denied it, or the drop reason"),
)  # fmt: skip


def _question(desk: Desk, key: int) -> Grouped:
    """Now, whatever window was looked at that is over."""
    asked = grouped(_made)(desk, key)
    over = asked.query.until
    return replace(asked, query=replace_query(asked.query, window=0, until=0)) if over else asked


def _told(desk: Desk, snapshot: Snapshot, columns: int) -> list[Entry]:
    """Which time is now, and of which time each number is."""
    seen, (start, end) = snapshot.coverage, snapshot.window
    since = f"{time_of_day(seen.first_seen)} on"
    told = f"now is {time_of_day(seen.last_seen)} UTC, the last record; "
    if end:
        told += f"DROPPED is of {time_of_day(start)} to {time_of_day(end)}, WAITED and SINCE from {since}"
    else:
        told += f"numbers are from {since}"
    if desk.chosen.query.until:
        told += f", not of {window_words(desk.chosen.query)}: who waited then isn't kept"
    return [Entry(((f"  {part}", "dim"),)) for part in wrap(told, columns - 3)]


def _made(snapshot: Snapshot) -> list[Row]:
    return waiting(snapshot.rows, snapshot.coverage.last_seen)


def _listed(desk: Desk, value: GroupedAnswer, columns: int) -> Listed:
    items = [
        Item(
            f"{row.direction} {row.cluster} {name_of(row)} {row.peer} {row.port} {row.protocol}",
            (
                waited_text(row),
                number(row.blocked),
                pods_text(row),
                manner(row),
                since_text(row),
                safe(name_of(row)),
                peer_text(row),
                safe(why_text(row)),
            ),
            "dropped",
            filter_for(row),
            {"WAITED": row.waiting, "PODS": row.blocked_pods, "SINCE": row.since or None},
        )
        for row in value.made
    ]
    listed = table(COLUMNS, items, value.snapshot, columns, desk.look.signs)
    told = _told(desk, value.snapshot, columns) if items else []
    more = [Entry(()), *told] if told else []
    return Listed([*listed.entries, *more], listed.head, listed.ranks)


WAITING = ListView(
    name="waiting",
    words="who is blocked at this moment: the longest waits first, all pods or one, hanging or refused",
    key=OPENING["waiting"],
    question=_question,
    listed=_listed,
    sorts=titles_of(COLUMNS),
    nothing="nobody is blocked now: no pod's latest attempt was dropped in the 75 s before the last record",
    headings={one.title: one.words for one in COLUMNS if one.title in ("WAITED", "FEELS")},
    help=(
        "Waiting: now is the time of the last record; a pod is blocked now when its latest attempt was "
        "dropped, and a record of it came in the 75 s before.",
    ),
)
