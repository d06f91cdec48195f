"""What a policy changed, as text, JSON or Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowwatch.audits.ends import beside
from flowwatch.flows.clocks import time_of_day
from flowwatch.marks.changes import ChangesReport, Difference
from flowwatch.marks.compare import CHANGES, Change, ChangeRow, Side, Window
from flowwatch.marks.finding import Mark, Turned
from flowwatch.marks.sightings import Edge
from flowwatch.output import Writer
from flowwatch.report.audit.words import short_window
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import span
from flowwatch.report.summary_markdown import code
from flowwatch.report.summary_table import Style
from flowwatch.report.telling import Forms, evidence_lines
from flowwatch.text import plural, safe

CHANGES_FORMATS = ("text", "json", "markdown")
MAX_ROWS = 50
"""Rows of a mark in Markdown, as in the audit's."""
_SHOWN = 15
"""Rows that stayed the same shown in text; -o json has them all."""
_SIGNS: dict[Change, tuple[str, str, int]] = {
    "cut": ("✗", "x", 31),
    "new": ("+", "+", 33),
    "quiet": ("·", ".", 2),
    "same": ("=", "=", 2),
}
_TURNED: dict[Turned, str] = {
    "denied": "let through, then denied",
    "allowed": "denied, then let through",
    "asked": "no policy was asked, then one was",
    "unasked": "a policy was asked, then none was",
    "names": "let through by other policies than before",
}
"""What turned, the plainest first: an edge is told once."""
_SIDES = (
    ("forwarded", "✓", "ok"),
    ("dropped", "✗", "x"),
    ("audited", "!", "!"),
    ("errors", "!", "!"),
)


def write_changes(report: ChangesReport, form: str, out: Writer, *, style: Style) -> None:
    """Write ``report`` in one of CHANGES_FORMATS."""
    Forms(changes_object, _markdown, _text).write(report, form, out, style=style)


# Text ------------------------------------------------------------------------------------------


def _text(report: ChangesReport, style: Style) -> Iterator[str]:
    yield from evidence_lines(_evidence(report), report.notes, style)
    if not report.differences:
        yield ""
        yield NO_MARK
    for one in report.differences:
        yield ""
        yield style.paint(
            1, f"{'' if style.ascii else '▲ '}{clock(one.mark.time)}  {what(one.mark)}"
        )
        for line in _found(one.mark):
            yield f"    {line}"
        yield f"    {windows(one)}"
        yield from _text_rows(one, report, style)
    if report.differences:
        yield ""
        yield counts(report)


NO_MARK = (
    "No change of policies shows in this traffic, so there is nothing to compare: "
    "--mark TIME sets a mark by hand"
)


def _text_rows(one: Difference, report: ChangesReport, style: Style) -> Iterator[str]:
    several = len(report.coverage.clusters) > 1
    for change in CHANGES:
        rows = [row for row in one.rows if row.change == change]
        if not rows:
            continue
        sign, plain, color = _SIGNS[change]
        yield ""
        title = f"{TITLES[change]}: {plural(len(rows), 'row')}"
        yield f"  {style.paint(color, title)}"
        shown = rows[:_SHOWN] if change == "same" else rows
        for row in shown:
            mark = style.paint(color, plain if style.ascii else sign)
            yield f"  {mark} {who(row, several=several, ascii=style.ascii)}  {sides(row, ascii=style.ascii)}"
            said = said_of(row, answers=report.shows_answers)
            told = row.selected or row.change in ("cut", "new")
            if said and (told or _unanswered(row, answers=report.shows_answers)):
                yield f"      {safe(said)}"
        if len(rows) > len(shown):
            yield f"    and {plural(len(rows) - len(shown), 'more row')} (-o json has them all)"


TITLES: dict[Change, str] = {
    "cut": "CUT", "new": "NEW", "quiet": "GONE QUIET", "same": "SAME"
}  # fmt: skip


def what(mark: Mark) -> str:
    """What happened at a mark, safe."""
    parts = []
    for names, words in (
        (mark.came, "came into force"),
        (mark.changed, "changed"),
        (mark.gone, "no longer decides" if len(mark.gone) == 1 else "no longer decide"),
    ):
        if names:
            parts.append(f"{', '.join(safe(_short(name)) for name in names)} {words}")
    if parts:
        return "; ".join(parts)
    return "policies changed (no verdict names them)" if mark.turns else "set by hand"


def _short(reference: str) -> str:
    """A policy without its kind."""
    return reference.partition(" (")[0]


def _found(mark: Mark) -> Iterator[str]:
    found = found_from(mark)
    if found:
        before = (
            f"; nothing was different yet at {clock(mark.not_before)}" if mark.not_before else ""
        )
        yield f"found from {found}{before}"
    if len(mark.nodes) > 1:
        nodes = ", ".join(
            f"{safe(node)} {clock(time)}" for node, time in sorted(mark.nodes.items()) if node
        )
        yield f"first seen on {nodes}"


def found_from(mark: Mark) -> str:
    """The evidence of a mark in words, safe; empty where it was set by hand."""
    told = []
    known: set[Edge] = set()
    for turned, words in _TURNED.items():
        edges = {one.edge for one in mark.turns if one.turned == turned} - known
        known |= edges
        if edges:
            told.append(f"{plural(len(edges), 'destination')} ({words})")
    return ", ".join(told)


def windows(one: Difference) -> str:
    """The two windows of a mark, in words."""
    before, after = one.before, one.after
    return (
        f"before {clock(before.start)} to {clock(before.end)}, "
        f"after {clock(after.start)} to {clock(after.end)} UTC ({_length(before)} each)"
    )


def _length(window: Window) -> str:
    if window.seconds < 1:
        return f"{window.seconds * 1000:.0f} ms"
    return span(window.seconds)


def clock(nanoseconds: int) -> str:
    """``11:17:43.250``."""
    return TimeFormat.iso().nanoseconds(nanoseconds)[11:23]


def who(row: ChangeRow, *, several: bool, ascii: bool = False) -> str:
    """``pod → destination``, safe; with its cluster where there are ``several``."""
    arrows = ("->", "<-") if ascii else ("→", "←")
    edge = row.edge
    cluster = f" ({safe(edge.cluster)})" if edge.cluster and several else ""
    arrow = arrows[edge.direction != "egress"]
    return f"{safe(edge.subject)}{cluster} {arrow} {safe(destination(row))}"


def destination(row: ChangeRow) -> str:
    """``peer:port/protocol``; of a row of ingress the port is the pod's own. Not made safe."""
    edge = row.edge
    return beside(edge.direction, edge.peer, edge.port, edge.protocol)


def sides(row: ChangeRow, *, ascii: bool = False) -> str:
    """Both sides in counts: ``✓ 25 → ✗ 38``."""
    return (
        f"{_side(row.before, ascii=ascii)} {'->' if ascii else '→'} {_side(row.after, ascii=ascii)}"
    )


def _side(side: Side, *, ascii: bool) -> str:
    parts = [
        f"{plain if ascii else sign} {getattr(side, name):,}"
        for name, sign, plain in _SIDES
        if getattr(side, name)
    ]
    if side.unknown:
        parts.append(f"? {side.unknown:,}")
    return " ".join(parts) or "-"


def _unanswered(row: ChangeRow, *, answers: bool) -> bool:
    """Whether nobody answers any more, though the policies let it through."""
    return answers and bool(row.before.answered and row.after.passed and not row.after.answered)


def said_of(row: ChangeRow, *, answers: bool) -> str:
    """What there is to say of a row; not made safe. ``answers``: whether the records show them."""
    parts = [row.cause] if row.cause else []
    if _unanswered(row, answers=answers):
        parts.append("let through, but no answer any more")
    if row.opened:
        parts.insert(0, "was denied before")
    if row.earlier and not row.before.attempts:
        parts.append(f"{plural(row.earlier, 'attempt')} before the window")
    if row.cut_connections:
        parts.append(f"{plural(row.cut_connections, 'connection')} cut in the middle")
    if row.lasting:
        parts.append(f"{plural(row.lasting, 'connection')} from before went on")
    return "; ".join(parts)


def _evidence(report: ChangesReport) -> Iterator[str]:
    seen = report.coverage
    if not seen.records_read:
        yield "no flows at all"
        return
    attempts = plural(report.attempts, "attempt")
    yield f"{plural(seen.records_read, 'record')} in {span(seen.seconds)}, {attempts}"
    if report.within[1]:
        yield window_told(report)
    if note := short_window(seen):
        yield note


def window_told(report: ChangesReport) -> str:
    """Which time was compared, and whether marks lie outside it."""
    seen, (start, end) = report.coverage, report.within
    if not end:
        return f"of {time_of_day(seen.first_seen)} to {time_of_day(seen.last_seen)} UTC, all that was read"
    marks = plural(report.outside, "mark lies", "marks lie")
    outside = f"; {marks} outside" if report.outside else ""
    return f"of {time_of_day(start)} to {time_of_day(end)} UTC alone{outside}"


def counts(report: ChangesReport) -> str:
    """The sum in one line."""
    total = {
        change: sum(one.counts.get(change, 0) for one in report.differences) for change in CHANGES
    }
    marks = plural(len(report.differences), "mark")
    return f"{marks}: " + ", ".join(f"{total[one]:,} {TITLES[one].lower()}" for one in CHANGES)


# Markdown --------------------------------------------------------------------------------------


def _markdown(report: ChangesReport) -> Iterator[str]:
    yield f"## flowwatch changes: {counts(report)}"
    yield ""
    yield from (f"- {line}" for line in _evidence(report))
    yield from (f"- ⚠️ {code(note)}" for note in report.notes)
    if not report.differences:
        yield f"- {NO_MARK}"
    for one in report.differences:
        yield ""
        yield f"### {clock(one.mark.time)} UTC: {code(what(one.mark))}"
        yield ""
        if found := found_from(one.mark):
            yield f"- found from {found}"
        yield f"- {windows(one)}"
        yield ""
        yield "| Change | Direction | Pod | Peer | Before | After | Why |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for row in one.rows[:MAX_ROWS]:
            said = said_of(row, answers=report.shows_answers)
            cells = (
                row.change, row.edge.direction, code(row.edge.subject), code(destination(row)),
                _side(row.before, ascii=False), _side(row.after, ascii=False), code(said),
            )  # fmt: skip
            yield f"| {' | '.join(cells)} |"
        if len(one.rows) > MAX_ROWS:
            yield ""
            yield f"… and {plural(len(one.rows) - MAX_ROWS, 'more row')} (`-o json` has them all)"


# JSON ------------------------------------------------------------------------------------------


def changes_object(report: ChangesReport) -> dict[str, Any]:
    """The object that ``-o json`` prints."""
    times = TimeFormat.iso()

    def time(nanoseconds: int) -> str | None:
        return times.nanoseconds(nanoseconds) if nanoseconds else None

    def window(one: Window) -> dict[str, str | None]:
        return {"from": time(one.start), "to": time(one.end)}

    seen = report.coverage
    return {
        "schema_version": 1,
        "window": {"first": time(seen.first_seen), "last": time(seen.last_seen)},
        "records": seen.records_read,
        "attempts": report.attempts,
        "filter": seen.filter,
        "warnings": list(report.notes),
        "marks": [
            {
                "number": number,
                "time": time(one.mark.time),
                "not_before": time(one.mark.not_before),
                "nodes": [
                    {"node": node, "time": time(at)} for node, at in sorted(one.mark.nodes.items())
                ],
                "policies": list(one.mark.policies),
                "came": list(one.mark.came),
                "changed": list(one.mark.changed),
                "gone": list(one.mark.gone),
                "found_from": found_from(one.mark) or "set by hand",
                "before": window(one.before),
                "after": window(one.after),
                "counts": {change: one.counts.get(change, 0) for change in CHANGES},
            }
            for number, one in enumerate(report.differences, 1)
        ],
        "rows": [
            {
                "mark": row.mark,
                "change": row.change,
                "direction": row.edge.direction,
                "subject": row.edge.subject,
                "cluster": row.edge.cluster,
                "peer": row.edge.peer,
                "protocol": row.edge.protocol,
                "port": row.edge.port,
                "before": _numbers(row.before, answers=report.shows_answers),
                "after": _numbers(row.after, answers=report.shows_answers),
                "earlier": row.earlier,
                "later": row.later,
                "opened": row.opened,
                "connections_cut": row.cut_connections,
                "connections_lasting": row.lasting,
                "cause": row.cause,
            }
            for one in report.differences
            for row in one.rows
        ],
    }


def _numbers(side: Side, *, answers: bool) -> dict[str, int | None]:
    return {
        "attempts": side.attempts,
        "forwarded": side.forwarded,
        "dropped": side.dropped,
        "denied": side.denied,
        "audited": side.audited,
        "errors": side.errors,
        "unknown": side.unknown,
        "answered": side.answered if answers else None,
    }
