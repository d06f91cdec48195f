"""Flows: the last records, as they come; each whole, as a tree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from flowwatch.egress.rows import SECOND, Recent
from flowwatch.flows.clocks import time_of_day
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import Line
from flowwatch.tui.keys import Key
from flowwatch.tui.parts.listing import Entry, Listed, ListView
from flowwatch.tui.parts.page import TextView
from flowwatch.tui.parts.record_tree import record_lines
from flowwatch.tui.parts.records import RecordsAnswer, records_of_rows
from flowwatch.tui.parts.tail import tail_line
from flowwatch.tui.theme import Signs

_DROP_KINDS = {"policy-verdict", "drop"}
"""What one dropped packet leaves: the policy's verdict, and the drop (Cilium 1.20, bpf/lib/policy_log.h)."""


def pairs(records: Sequence[Recent]) -> list[tuple[Recent, ...]]:
    """The newest first; the two records of one drop together."""
    found: list[tuple[Recent, ...]] = []
    for record in reversed(records):
        if found and len(found[-1]) == 1 and _one_drop(found[-1][0], record):
            found[-1] = (record, *found[-1])
        else:
            found.append((record,))
    return found


def _one_drop(later: Recent, earlier: Recent) -> bool:
    return (
        {later.kind, earlier.kind} == _DROP_KINDS
        and later.verdict == earlier.verdict == "DROPPED"
        and (later.key, later.flags, later.node) == (earlier.key, earlier.flags, earlier.node)
        and abs(later.time - earlier.time) < SECOND
        and _ports(later) == _ports(earlier)
    )


def _ports(record: Recent) -> object:
    flow = record.flow
    if flow is None:
        return record.port
    return flow.source_ip, flow.source_port, flow.destination_ip, flow.destination_port


def _listed(desk: Desk, value: RecordsAnswer, columns: int) -> Listed:
    signs = desk.look.signs
    entries = []
    listed = pairs(value.made)
    for records in listed:
        line = partial(_pair_line, records, columns, signs)
        entries.append(Entry(line, str(records[-1].number), "record"))
    if not entries and value.snapshot.window[1] and value.held:
        entries.append(
            Entry((("   No record of this window is kept any more: its counts are", "strong"),))
        )
    of = desk.look.keys.told(
        "of the selected row ({follow}: of all rows)"
        if desk.chosen.row
        else "of all rows ({follow}: of the selected one)"
    )
    first = ", the newest first" if FLOWS.name not in desk.chosen.sorted else ""
    heading: Line = (
        (" TIME (UTC)    ", "head"),
        ("VERDICT      ", "head"),
        ("FROM, TO, KIND   ", "head"),
        (f"{_times(value)}, {of}{first}", "head"),
    )
    return Listed(entries, heading, lambda by: [_RANKS[by](one[-1]) for one in listed])


_RANKS: dict[str, Callable[[Recent], Any]] = {
    "time": lambda record: -record.time,
    "verdict": lambda record: record.verdict,
    "from": lambda record: (record.namespace, record.pod, record.peer, record.kind),
}
"""By what a heading is called; equal ones stay as they came, the newest first."""


def _times(value: RecordsAnswer) -> str:
    """From when to when records are listed: they are kept for less long than counts are."""
    start, end = value.snapshot.window
    if not end and value.made:
        return f"{time_of_day(value.made[0].time)}-{time_of_day(value.made[-1].time)}"
    kept = (
        f" (kept from {time_of_day(value.held)} on)"
        if value.held > max(start, value.snapshot.coverage.first_seen)
        else ""
    )
    return f"{time_of_day(start)}-{time_of_day(end)}{kept}" if end else "none"


def _pair_line(records: Sequence[Recent], columns: int, signs: Signs) -> Line:
    # Two records of one drop: how many, with room for the reason within 80 columns.
    kind = f"{len(records)}x drop" if len(records) > 1 else records[0].kind
    return tail_line(replace(records[-1], kind=kind), columns, signs)


def _enter(desk: Desk, entry: Entry) -> None:
    desk.chosen.record = int(entry.key)
    desk.go("record")


def _follow(desk: Desk) -> None:
    row = desk.chosen.picked if not desk.chosen.row else ""
    if not row and not desk.chosen.row:
        desk.say("no row was selected in a table before", "warn", 2.0)
    desk.chosen.row = row
    desk.ask()
    desk.repaint()


def _lines(desk: Desk, columns: int) -> list[Line]:
    from flowwatch.tui.parts.records import Records

    answer = desk.answer(Records)
    shown = () if answer is None else answer.value.made
    chosen = [one for pair in pairs(shown) for one in pair if desk.chosen.record in _numbers(pair)]
    if not chosen:
        return [((" the record is no longer among those that are kept", "warn"),)]
    return [line for one in chosen for line in record_lines(one, columns)]


def _numbers(pair: Sequence[Recent]) -> list[int]:
    return [one.number for one in pair]


def _refusal(desk: Desk) -> str:
    none = "no record was selected: {flows} lists them, {go_in} shows one"
    return "" if desk.chosen.record else desk.look.keys.told(none)


FLOWS = ListView(
    name="flows",
    words="the last records of the rows that are chosen, or of the selected row",
    number=8,
    tab="Flows",
    tab_short="Flows",
    question=records_of_rows,
    listed=_listed,
    enter=_enter,
    sorts=tuple(_RANKS),
    keys={
        Key("follow", ("f",), "records of the row selected in a table alone, or of all"): _follow
    },
    nothing="No record of these rows is among the last few thousand that are kept",
    advice=(
        "{follow} shows those of all rows",
        "{copy} in {rows} copies the hubble command that shows more",
    ),
    help=(
        "Flows: a dropped packet leaves two records, the policy's verdict and the drop: one line, 2x drop; "
        "{go_in} shows both whole.",
    ),
)

RECORD = TextView(
    name="record",
    words="a record of Flows whole, as a tree",
    title="The record, as it was read",
    ways="",
    question=records_of_rows,
    lines=_lines,
    refusal=_refusal,
)
