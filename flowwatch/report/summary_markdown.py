"""The summary as a Markdown table (GitHub's), for an issue or a wiki."""

from __future__ import annotations

import re

from flowwatch.egress.rows import Row, Snapshot
from flowwatch.output.forms import break_up
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import percent
from flowwatch.report.summary_table import peer_text, pod_text, policy_text, reason_text, worst
from flowwatch.text import safe

_SIGNS = {"dropped": "❌", "audited": "⚠️", "errors": "⚠️", "forwarded": "✅", "unknown": "❔"}
_HEADER = (
    ("", "Pod", "Destination", "Protocol", "Forwarded", "Dropped", "Audited", "Errors", "Reason",
     "Policy", "Last seen (UTC)"),
    ("---", "---", "---", "---", "--:", "--:", "--:", "--:", "---", "---", "---"),
)  # fmt: skip


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


def _line(row: Row, times: TimeFormat, clusters: bool) -> str:
    direction = "" if row.direction == "egress" else f" ({row.direction})"
    cells = (
        _SIGNS[worst(row)],
        *([code(row.cluster)] if clusters else []),
        code(pod_text(row)) + direction,
        code(peer_text(row)),
        code(row.protocol),
        f"{row.forwarded:,}",
        f"**{row.dropped:,}**" if row.dropped else "0",
        f"{row.audited:,}",
        f"{row.errors:,}",
        code(reason_text(row)),
        code(policy_text(row)),
        times.nanoseconds(row.last_seen)[:19].replace("T", " ") if row.last_seen else "",
    )
    return "| " + " | ".join(cells) + " |\n"


def markdown(snapshot: Snapshot) -> str:
    """The table, the totals and the warnings."""
    times = TimeFormat("RFC3339")
    totals, seen = snapshot.totals, snapshot.coverage
    clusters = len({row.cluster for row in snapshot.rows}) > 1
    more = ("Cluster", "---") if clusters else None
    text = ""
    for number, cells in enumerate(_HEADER):
        shown = (cells[0], *([more[number]] if more else []), *cells[1:])
        text += "| " + " | ".join(shown) + " |\n"
    text += "".join([_line(row, times, clusters) for row in snapshot.rows])
    least = "At least " if seen.at_least else ""
    text += (
        f"\n{least}{totals.attempts:,} attempts: {totals.forwarded:,} forwarded, "
        f"{totals.dropped:,} dropped ({percent(totals.dropped_share)}), "
        f"{totals.audited:,} audited, {totals.errors:,} errors; "
        f"{seen.records_read:,} records"
    )
    if seen.first_seen:
        start = times.nanoseconds(seen.first_seen)
        text += f", {start} to {times.nanoseconds(seen.last_seen)}"
    text += ".\n"
    for warning in seen.warnings:
        text += f"\n> {code(warning)}\n"
    return text
