"""Writing the rows that are shown to a CSV file, under a name that says what they are."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from flowwatch.egress.folding import BY_WORKLOAD, by_text
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Snapshot

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


def file_name(query: Query, when: float) -> str:
    """``flowwatch-egress-drops-weather-20260131-102030.csv``: direction, filter, time in UTC."""
    parts = ["flowwatch", query.direction]
    if query.drops_only:
        parts.append("drops")
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
        count = write_rows(taken.rows, out, "csv", attributed=attributed)
    return count, note_beside(str(path), taken.coverage, lines=count)
