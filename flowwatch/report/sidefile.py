"""Beside an exported table: what it doesn't hold. A CSV has no place for that, and a screen is soon gone.

    note_beside("drops.csv", coverage, lines=12)

writes ``drops.csv.warnings.json`` when there is something to say, and takes an older one of that
name away when there isn't: no such file means that nothing is known to be missing.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

from flowwatch.egress.schema import SCHEMA_VERSION
from flowwatch.errors import OutputError
from flowwatch.flows.coverage import Coverage, unwrapped_words
from flowwatch.output import open_output
from flowwatch.report.coverage import COVERAGE, WINDOW, as_object
from flowwatch.report.jsontext import to_json
from flowwatch.text import safe

SUFFIX = ".warnings.json"


def side_object(coverage: Coverage, *, file: str, lines: int, partial: str = "") -> dict[str, Any]:
    """What is missing from the file ``file`` of ``lines`` lines; docs/formats.md describes it."""
    value = as_object([key for key in (WINDOW, *COVERAGE) if key.beside], coverage)
    if partial:
        value["warnings"] = [*value["warnings"], partial]
    return {
        "schema_version": SCHEMA_VERSION,
        "file": file,
        "lines": lines,
        "partial": bool(partial),
        **value,
    }


def note_beside(path: str, coverage: Coverage, *, lines: int, partial: str = "") -> str:
    """The path of the side file, "" when there was nothing to say. Raises OutputError.

    ``partial`` says why the table isn't whole, if so. A device or a pipe has nothing beside it.
    """
    beside = path + SUFFIX
    missing = set(coverage.warnings) - set(unwrapped_words(coverage.unwrapped))
    if not os.path.isfile(path):
        return ""
    if not missing and not partial:
        with contextlib.suppress(FileNotFoundError):
            try:
                os.unlink(beside)
            except PermissionError as error:
                raise OutputError(
                    f"can't take away {safe(beside)}, which is about an older file: {error.strerror}"
                ) from error
        return ""
    value = side_object(coverage, file=os.path.basename(path), lines=lines, partial=partial)
    with open_output(beside, "json") as out:
        out.write(to_json(value, indent=2) + "\n")
    return beside
