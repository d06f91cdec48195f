"""``summary``: the egress table once, as a table, JSON, CSV or Markdown.

    with open_output(None) as out:
        write_summary(snapshot, "table", out, width=80)
    for line in warning_lines(snapshot.coverage):
        print(line, file=sys.stderr)

Everything shown stands in the snapshot; nothing is computed here but how it looks.
"""

from __future__ import annotations

from typing import Any

from flowwatch.egress.rows import Row, Snapshot
from flowwatch.egress.schema import ROW, SCHEMA_VERSION, VERSION, Column, row_columns
from flowwatch.errors import UsageError
from flowwatch.flows.coverage import Coverage
from flowwatch.output import Output
from flowwatch.report.columns import json_object
from flowwatch.report.coverage import COVERAGE, WINDOW, JsonKey, as_object
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
    attributed: bool = False,
) -> None:
    """Write ``snapshot`` in one of SUMMARY_FORMATS; UsageError for any other.

    ``style`` says how wide the table may be, and whether it has colours; ``attributed`` that policies were
    given, which JSON and CSV have columns for.
    """
    if summary_format == "table":
        for line in table_lines(snapshot, style or Style()):
            out.write(line + "\n")
    elif summary_format == "json":
        from flowwatch.report.jsontext import to_json

        value = summary_object(snapshot, attributed=attributed)
        out.write(to_json(value, indent=2) + "\n")
    elif summary_format == "csv":
        from flowwatch.report.export import write_rows

        write_rows(snapshot.rows, out, "csv", attributed=attributed)
    elif summary_format == "markdown":
        from flowwatch.report.summary_markdown import markdown

        out.write(markdown(snapshot))
    else:
        known = ", ".join(SUMMARY_FORMATS)
        raise UsageError(f"invalid output format: {safe(summary_format)}", f"choose one of {known}")


def _totals(snapshot: Snapshot) -> dict[str, Any]:
    totals = snapshot.totals
    return {
        "attempts": totals.attempts,
        "forwarded": totals.forwarded,
        "dropped": totals.dropped,
        "audited": totals.audited,
        "errors": totals.errors,
        "unknown": totals.unknown,
        "dropped_share": round(totals.dropped_share, 4),
        "noise": totals.noise,
        "rows": totals.rows,
    }


def _rows(snapshot: Snapshot, columns: tuple[Column[Row], ...] = ROW) -> list[dict[str, Any]]:
    # The version is said once for the object.
    row_object = json_object(tuple([one for one in columns if one is not VERSION]))
    return [row_object(row) for row in snapshot.rows]


def _of_coverage(key: JsonKey[Coverage]) -> JsonKey[Snapshot]:
    return JsonKey(key.name, key.meaning, lambda snapshot: key.value(snapshot.coverage))


SUMMARY: tuple[JsonKey[Snapshot], ...] = (
    JsonKey("schema_version", f"{SCHEMA_VERSION}", lambda _: SCHEMA_VERSION),
    _of_coverage(WINDOW),
    JsonKey(
        "totals",
        "object: `attempts`, `forwarded`, `dropped`, `audited`, `errors`, `unknown` (attempts), "
        "`dropped_share` (0 to 1, of those with a final outcome), `noise` (object: dropped attempts that no "
        "policy was asked about, by kind; all else here is without them), `rows`; over all rows of the "
        "direction asked for, also those that a filter or limit hides",
        _totals,
    ),
    JsonKey(
        "rows_matched", "rows that matched, before `rows` was cut to a limit", lambda s: s.matched
    ),
    JsonKey(
        "rows",
        "array of objects with the columns of the table above, `schema_version` excepted",
        _rows,
    ),
    JsonKey(
        "filter",
        "what `--filter` chose the rows by, as it was typed; empty without",
        lambda s: s.coverage.filter,
    ),
    *map(_of_coverage, COVERAGE),
)
"""The keys of ``-o json``; docs/formats.md has them."""


def summary_object(
    snapshot: Snapshot, *, attributed: bool = False, columns: tuple[Column[Row], ...] = ()
) -> dict[str, Any]:
    """The object that ``-o json`` prints; ``attributed``: where policies were given; ``columns``: more of a
    row's."""
    made = as_object(SUMMARY, snapshot)
    shown = (*row_columns(attributed=attributed, staged=bool(snapshot.staged)), *columns)
    return made if shown == ROW else {**made, "rows": _rows(snapshot, shown)}
