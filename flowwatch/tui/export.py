"""Writing the rows that are shown to a file: CSV, JSON or Markdown, as its name says."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from flowwatch.egress.folding import BY_WORKLOAD, by_text
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Snapshot
from flowwatch.errors import OutputError
from flowwatch.text import safe
from flowwatch.tui.format import window_words

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def file_name(query: Query, when: float) -> str:
    """``flowwatch-egress-drops-weather-20260131-102030.csv``: direction, window, filter, time in UTC."""
    parts = ["flowwatch", query.direction]
    if query.drops_only:
        parts.append("drops")
    if query.window:
        parts.append(_UNSAFE.sub("", window_words(query).replace(" ", "-")))
    if query.by != BY_WORKLOAD:
        parts.append(_UNSAFE.sub("-", f"by-{by_text(query.by)}")[:40])
    words = _UNSAFE.sub("-", query.text.replace("!", "not-")).strip("-.")[:40]
    if words:
        parts.append(words)
    parts.append(time.strftime("%Y%m%d-%H%M%S", time.gmtime(when)))
    return "-".join(parts) + ".csv"


def free_path(directory: Path, name: str) -> Path:
    """A path in ``directory`` that nothing has yet: ``name``, else with ``-2``, ``-3`` …"""
    path = directory / name
    number = 2
    # Path.exists() raises for a name that is too long; writing there then says so.
    while os.path.lexists(path):
        path = directory / f"{Path(name).stem}-{number}{Path(name).suffix}"
        number += 1
    return path


def write_csv(taken: Snapshot, path: Path, *, attributed: bool = False) -> tuple[int, str]:
    """Write the rows whole or not at all; how many there were. OutputError says why not.

    ``attributed``: with what blocked them, as policies were given.

    Also the path of the file beside it that says what is missing, "" when nothing is.
    """
    # Not before it is wanted: it loads what the first frame doesn't need.
    from flowwatch.output import open_output
    from flowwatch.report.export import write_rows
    from flowwatch.report.sidefile import note_beside

    with open_output(str(path)) as out:
        staged = bool(taken.staged)
        count = write_rows(taken.rows, out, "csv", attributed=attributed, staged=staged)
    return count, note_beside(str(path), taken.coverage, lines=count)


FORMS = ("csv", "md", "json", "svg")
"""What a file's name may end in; without an end it is CSV."""


def form_of(path: Path) -> str:
    """One of FORMS. Raises OutputError for another."""
    form = path.suffix.removeprefix(".").lower() or "csv"
    if form not in FORMS:
        ends = ", ".join([f".{one}" for one in FORMS])
        raise OutputError(f"{safe(path.name)}: its name says no format that is known ({ends})")
    return form


def write_form(
    taken: Snapshot, path: Path, filters: str, *, attributed: bool = False
) -> tuple[int, str]:
    """Write the rows in the form that the name says; see :func:`write_csv`.

    ``filters``: what limits them, in words. JSON and Markdown have it, with the window and what is missing.
    """
    form = form_of(path)
    if form == "csv":
        return write_csv(taken, path, attributed=attributed)
    from flowwatch.output import open_output
    from flowwatch.report.jsontext import to_json
    from flowwatch.report.summary import summary_object
    from flowwatch.report.summary_markdown import code, markdown

    with open_output(str(path), "json" if form == "json" else "markdown") as out:
        if form == "json":
            value = {**summary_object(taken, attributed=attributed), "filter": filters}
            out.write(to_json(value, indent=2) + "\n")
        else:
            out.write(f"Filter: {code(filters) or 'none'}\n\n{markdown(taken)}")
    return len(taken.rows), ""


def write_picture(svg: str, path: Path, taken: Snapshot, filters: str) -> None:
    """Write the screen as a picture, with what limits it and what is missing in its description."""
    from xml.sax.saxutils import escape

    from flowwatch.flows.clocks import time_of_day
    from flowwatch.output import open_output

    seen = taken.coverage
    times = taken.window if taken.window[1] else (seen.first_seen, seen.last_seen)
    window = f"{time_of_day(times[0])} to {time_of_day(times[1])} UTC"
    lines = [f"Filter: {filters or 'none'}", f"Window: {window}", *seen.warnings]
    head, sign, rest = svg.partition(">")
    told = f"<desc>{escape(safe(chr(10).join(lines)))}</desc>"
    with open_output(str(path), "svg") as out:
        out.write(head + sign + told + rest)
