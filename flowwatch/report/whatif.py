"""What a draft would change, as text, JSON or Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowwatch.audits.comparison import CHANGES, Change
from flowwatch.audits.ends import beside
from flowwatch.audits.whatif import WhatIfReport, WhatIfRow
from flowwatch.output import Writer
from flowwatch.report.agent_options import options_object
from flowwatch.report.audit.words import short_window
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import span
from flowwatch.report.summary_markdown import code
from flowwatch.report.summary_table import Style
from flowwatch.report.telling import Forms, evidence_lines
from flowwatch.text import plural, safe

WHATIF_FORMATS = ("text", "json", "markdown")
_SIGNS: dict[Change, tuple[str, str, int]] = {
    "newly denied": ("✗", "x", 31),
    "newly allowed": ("+", "+", 33),
    "can't tell": ("?", "?", 33),
    "unchanged": ("·", ".", 2),
}
MAX_ROWS = 50
"""Rows of a kind in Markdown, as in the audit's."""
_SHOWN = 15
"""Unchanged rows shown in text; -o json has them all."""


def write_whatif(report: WhatIfReport, form: str, out: Writer, *, style: Style) -> None:
    """Write ``report`` in one of WHATIF_FORMATS."""
    Forms(whatif_object, _markdown, _text).write(report, form, out, style=style)


def _text(report: WhatIfReport, style: Style) -> Iterator[str]:
    yield from evidence_lines(_evidence(report), (*report.notes, *_first(report)), style)
    arrow, back = ("->", "<-") if style.ascii else ("→", "←")
    for change in CHANGES:
        rows = [row for row in report.rows if row.change == change]
        if not rows:
            continue
        sign, plain, color = _SIGNS[change]
        yield ""
        yield style.paint(color, f"{change.upper()}: {plural(report.counts[change], 'attempt')}")
        shown = rows[:_SHOWN] if change == "unchanged" else rows
        for row in shown:
            mark = style.paint(color, plain if style.ascii else sign)
            way = arrow if row.direction == "egress" else back
            who = f"{safe(row.subject)} {way} {safe(_destination(row))}"
            yield f"  {mark} {who}  {row.attempts:,}x {row.then if change == 'unchanged' else ''}".rstrip()
            if change != "unchanged":
                yield f"      {safe(row.reason)}"
        if len(rows) > len(shown):
            yield f"    and {plural(len(rows) - len(shown), 'more row')} (-o json has them all)"
    yield ""
    yield _counts(report)


def _markdown(report: WhatIfReport) -> Iterator[str]:
    yield f"## flowwatch whatif: {_counts(report)}"
    yield ""
    yield from (f"- {line}" for line in _evidence(report))
    yield from (f"- ⚠️ {code(note)}" for note in (*report.notes, *_first(report)))
    for change in CHANGES:
        rows = [row for row in report.rows if row.change == change]
        if not rows:
            continue
        attempts = plural(report.counts[change], "attempt")
        title = f"{change[0].upper()}{change[1:]}, {attempts}"
        folded = change == "unchanged"
        yield ""
        yield f"<details><summary>{title}</summary>" if folded else f"### {title}"
        yield ""
        yield "| Direction | Pod | Peer | Attempts | Now | Then | Why |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for row in rows[:MAX_ROWS]:
            why = code(row.reason)
            cells = (row.direction, code(row.subject), code(_destination(row)), f"{row.attempts:,}")
            yield f"| {' | '.join((*cells, row.now, row.then, why))} |"
        if len(rows) > MAX_ROWS:
            yield ""
            yield f"… and {plural(len(rows) - MAX_ROWS, 'more row')} (`-o json` has them all)"
        if folded:
            yield ""
            yield "</details>"


def _evidence(report: WhatIfReport) -> Iterator[str]:
    seen = report.coverage
    if not seen.records_read:
        yield "no flows at all"
        return
    attempts = plural(report.attempts, "attempt")
    yield f"{plural(seen.records_read, 'record')} in {span(seen.seconds)}, {attempts}"
    if note := short_window(seen):
        yield note
    yield report.options.judged_by


def _first(report: WhatIfReport) -> Iterator[str]:
    """What to know of the draft before its numbers. Texts as they came."""
    for policy in report.selecting_nothing:
        yield f"{policy.reference} ({policy.file}:{policy.line}) selects nothing that was seen"
    for hint in report.hints:
        yield f"probable mistake, {hint.name}: {hint.policy.file}:{hint.line}: {hint.text}"


def _counts(report: WhatIfReport) -> str:
    return ", ".join(f"{report.counts.get(change, 0):,} {change}" for change in CHANGES)


def _destination(row: WhatIfRow) -> str:
    return beside(row.direction, row.peer, row.port, row.protocol)


def whatif_object(report: WhatIfReport) -> dict[str, Any]:
    """The object that ``-o json`` prints."""
    times = TimeFormat.iso()
    seen = report.coverage
    return {
        "schema_version": 1,
        "window": {
            "first": times.nanoseconds(seen.first_seen) if seen.first_seen else None,
            "last": times.nanoseconds(seen.last_seen) if seen.last_seen else None,
        },
        "records": seen.records_read,
        "attempts": report.attempts,
        "counts": {change: report.counts.get(change, 0) for change in CHANGES},
        "filter": seen.filter,
        "warnings": list(report.notes),
        "options": options_object(report.options),
        "selecting_nothing": [policy.reference for policy in report.selecting_nothing],
        "hints": [
            {
                "name": one.name,
                "policy": one.policy.reference,
                "file": one.policy.file,
                "line": one.line,
                "text": one.text,
                "attempts": one.attempts,
            }
            for one in report.hints
        ],
        "rows": [
            {
                "change": row.change,
                "direction": row.direction,
                "subject": row.subject,
                "peer": row.peer,
                "protocol": row.protocol,
                "port": row.port,
                "attempts": row.attempts,
                "first_seen": times.nanoseconds(row.first),
                "last_seen": times.nanoseconds(row.last),
                "now": row.now,
                "then": row.then,
                "reason": row.reason,
                "rules": [
                    {
                        "policy": one.policy.reference,
                        "place": one.place,
                        "file": one.policy.file,
                        "line": one.line,
                    }
                    for one in row.entries
                ],
            }
            for row in report.rows
        ],
    }
