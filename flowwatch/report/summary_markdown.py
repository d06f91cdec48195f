"""The summary as a Markdown table (GitHub's), for an issue or a wiki."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec

from flowwatch.egress.rows import Row, Snapshot
from flowwatch.egress.schema import OF_ROW
from flowwatch.output.forms import break_up
from flowwatch.report.came_back import noise_words
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import percent
from flowwatch.report.summary_table import peer_text, pod_text, policy_text, reason_text, worst
from flowwatch.text import plural, safe

_SIGNS = {
    "dropped": "❌",
    "audited": "⚠️",
    "errors": "⚠️",
    "forwarded": "✅",
    "unknown": "❔",
    "noise": "·",
}


def code(text: str) -> str:
    """``text`` as a code span that stays in its table cell: no markup, mention or link works in it.

    Nor a command of a CI runner, whatever prints it. A pipe would end the cell and is escaped; a
    backslash before it would undo that.
    """
    if not text:
        return ""
    text = break_up(safe(text)).replace("\\|", "\\x5c|").replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text[0] in "` " or text[-1] in "`\\ " else ""
    return f"{fence}{space}{text}{space}{fence}"


class _Column(msgspec.Struct, frozen=True):
    head: str
    cell: Callable[[Row], str]
    number: bool = False


def _count(name: str) -> _Column:
    return _Column(
        name.capitalize(),
        lambda row: f"{OF_ROW[name].value(row):,}{'+' if row.uncounted else ''}",
        True,
    )


def _head(name: str) -> str:
    return OF_ROW[name].title.capitalize()


def _pod(row: Row) -> str:
    direction = "" if row.direction == "egress" else f" ({row.direction})"
    return code(pod_text(row)) + direction


def _last_seen(row: Row) -> str:
    if not row.last_seen:
        return ""
    return TimeFormat("RFC3339").nanoseconds(row.last_seen)[:19].replace("T", " ")


_SIGN = _Column("", lambda row: _SIGNS[worst(row)])
_CLUSTER = _Column(_head("cluster"), lambda row: code(row.cluster))
_COLUMNS = (
    _Column(_head("pod"), _pod),
    _Column(_head("peer"), lambda row: code(peer_text(row))),
    _Column(_head("protocol"), lambda row: code(row.protocol)),
    _count("forwarded"),
    _Column(
        "Dropped", lambda row: f"**{row.dropped:,}**" if row.blocked else f"{row.dropped:,}", True
    ),
    _count("audited"),
    _count("errors"),
    _Column(_head("drop_reasons"), lambda row: code(reason_text(row))),
    _Column(_head("policies"), lambda row: code(policy_text(row))),
    _Column("Last seen (UTC)", _last_seen),
)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |\n"


def markdown(snapshot: Snapshot) -> str:
    """The table, the totals and the warnings."""
    times = TimeFormat("RFC3339")
    totals, seen = snapshot.totals, snapshot.coverage
    clusters = (_CLUSTER,) if len({row.cluster for row in snapshot.rows}) > 1 else ()
    shown = (_SIGN, *clusters, *_COLUMNS)
    text = _line(column.head for column in shown)
    text += _line("--:" if column.number else "---" for column in shown)
    text += "".join([_line([column.cell(row) for column in shown]) for row in snapshot.rows])
    least = "At least " if seen.at_least else ""
    text += (
        f"\n{least}{plural(totals.attempts, 'attempt')}: {totals.forwarded:,} forwarded, "
        f"{totals.dropped:,} dropped ({percent(totals.dropped_share)}), "
        f"{totals.audited:,} audited, {plural(totals.errors, 'error')}; "
        f"{plural(seen.records_read, 'record')}"
    )
    if seen.first_seen:
        start = times.nanoseconds(seen.first_seen)
        text += f", {start} to {times.nanoseconds(seen.last_seen)}"
    text += ".\n"
    if noise := noise_words(totals.noise):
        text += f"\nBeside these, {noise}.\n"
    for warning in seen.warnings:
        text += f"\n> {code(warning)}\n"
    return text
