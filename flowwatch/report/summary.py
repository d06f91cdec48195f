"""``summary``: the egress table once, as a table, JSON, CSV or Markdown.

    with open_output(None) as out:
        write_summary(snapshot, "table", out, width=80)
    for line in warning_lines(snapshot):
        print(line, file=sys.stderr)

Everything shown stands in the snapshot; nothing is computed here but how it looks.
"""

from __future__ import annotations

from typing import Any

from flowwatch.egress.rows import SCHEMA_VERSION, Snapshot
from flowwatch.egress.schema import ROW, VERSION
from flowwatch.errors import UsageError
from flowwatch.output import Output
from flowwatch.report.columns import json_object
from flowwatch.report.export import write_rows
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.jsontext import to_json
from flowwatch.report.summary_markdown import markdown
from flowwatch.report.summary_table import Style, table_lines
from flowwatch.text import safe

SUMMARY_FORMATS: dict[str, str] = {
    "table": "for reading, as wide as the terminal",
    "json": "one object: rows, totals, window, what was lost or skipped",
    "csv": "the rows; the same columns as export --grouped",
    "markdown": "the rows as a table for an issue or a wiki",
}
"""What ``-o`` may say."""


def write_summary(
    snapshot: Snapshot,
    summary_format: str,
    out: Output,
    *,
    style: Style | None = None,
) -> None:
    """Write ``snapshot`` in one of SUMMARY_FORMATS; UsageError for any other.

    ``style`` says how wide the table may be, and whether it has colours.
    """
    if summary_format == "table":
        for line in table_lines(snapshot, style or Style()):
            out.write(line + "\n")
    elif summary_format == "json":
        out.write(to_json(summary_object(snapshot), indent=2) + "\n")
    elif summary_format == "csv":
        write_rows(snapshot.rows, out, "csv")
    elif summary_format == "markdown":
        out.write(markdown(snapshot))
    else:
        known = ", ".join(SUMMARY_FORMATS)
        raise UsageError(f"invalid output format: {safe(summary_format)}", f"choose one of {known}")


def warning_lines(snapshot: Snapshot) -> list[str]:
    """What makes the numbers less than the whole truth, a safe line each. JSON has them inside."""
    return [safe(warning) for warning in snapshot.warnings]


def summary_object(snapshot: Snapshot) -> dict[str, Any]:
    """The object that ``-o json`` prints; docs/formats.md describes it."""
    times = TimeFormat.iso()
    # The version is said once for the object.
    row_object = json_object(tuple([one for one in ROW if one is not VERSION]))
    totals = snapshot.totals

    def moment(time: int) -> str | None:
        return times.nanoseconds(time) if time else None

    return {
        "schema_version": SCHEMA_VERSION,
        "window": {
            "first_seen": moment(snapshot.first_seen),
            "last_seen": moment(snapshot.last_seen),
            "seconds": round((snapshot.last_seen - snapshot.first_seen) / 1e9, 3),
        },
        "totals": {
            "attempts": totals.attempts,
            "forwarded": totals.forwarded,
            "dropped": totals.dropped,
            "audited": totals.audited,
            "errors": totals.errors,
            "unknown": totals.unknown,
            "dropped_share": round(totals.dropped_share, 4),
            "rows": totals.rows,
        },
        "rows_matched": snapshot.matched,
        "rows": [row_object(row) for row in snapshot.rows],
        "records_read": snapshot.records_read,
        "records_skipped": sum(snapshot.records_skipped.values()),
        "skipped_by_reason": snapshot.records_skipped,
        "values_unknown": snapshot.values_unknown,
        "replies": snapshot.replies,
        "unattributed": snapshot.unattributed,
        "folded_rows": snapshot.folded_rows,
        "lost_events": snapshot.lost_events,
        "lost": [
            {
                "node": lost.node,
                "source": lost.source,
                "cause": lost.cause,
                "count": lost.count,
                "rate": round(lost.rate, 3),
                "last_seen": moment(lost.last),
            }
            for lost in snapshot.lost
        ],
        "clusters": list(snapshot.clusters),
        "servers_failed": list(snapshot.servers_failed),
        "nodes": list(snapshot.nodes),
        "nodes_known": snapshot.nodes_known,
        "nodes_unavailable": list(snapshot.nodes_unavailable),
        "nodes_away": [
            {"node": away.name, "since": moment(away.since), "reason": away.why}
            for away in snapshot.nodes_away
        ],
        "gaps": [
            {
                "start": moment(gap.start),
                "end": moment(gap.end),
                "seconds": round(gap.seconds, 3),
                "nodes": list(gap.nodes),
                "server": gap.origin,
                "cause": gap.why,
            }
            for gap in snapshot.gaps
        ],
        "clock_skews": [
            {
                "node": skew.node,
                "seconds_ahead": round(skew.ahead / 1e9, 3),
                "of": skew.of,
                "connections": skew.connections,
            }
            for skew in snapshot.clock_skews
        ],
        "at_least": snapshot.at_least,
        "warnings": warning_lines(snapshot),
    }
