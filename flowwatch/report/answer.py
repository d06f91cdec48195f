"""What a history's attempts answer, as text, JSON or CSV; and which questions there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowwatch.egress.schema import Column, Kind, column
from flowwatch.history.attempts.asking import Told
from flowwatch.history.attempts.questions import QUESTIONS
from flowwatch.output import Output
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import width
from flowwatch.report.jsontext import to_json
from flowwatch.report.tables import table_writer
from flowwatch.text import plural, safe

ANSWER_VERSION = 1
"""Of the JSON: raised when a key changes its meaning or goes."""
TIMES = ("at", "first_seen", "last_seen", "last_forwarded", "last_dropped")
"""Columns of times."""
_FORMAT = TimeFormat.iso()

Row = tuple[Any, ...]


def write_answer(answer: Told, form: str, out: Output) -> None:
    """Write ``answer`` as ``text``, ``json`` or ``csv``; the last without what else is to be told."""
    match form:
        case "json":
            out.write(to_json(answer_object(answer), indent=2) + "\n")
        case "csv":
            writer = table_writer("csv", columns_of(answer), out)
            for row in answer.rows:
                writer.write(row)
            writer.close()
        case _:
            for line in answer_lines(answer):
                out.write(line + "\n")


def columns_of(answer: Told) -> tuple[Column[Row], ...]:
    """The answer's columns, as formats take them."""
    sample = answer.rows[0] if answer.rows else ("",) * len(answer.columns)
    return tuple(
        [_column(at, *one) for at, one in enumerate(zip(answer.columns, sample, strict=True))]
    )


def _column(at: int, name: str, value: Any) -> Column[Row]:
    kind: Kind = "time" if name in TIMES else "int" if isinstance(value, int) else "text"
    return column(name, kind, name, lambda row: row[at])


def answer_object(answer: Told) -> dict[str, Any]:
    """The answer as JSON has it."""
    return {
        "schema_version": ANSWER_VERSION,
        "question": answer.question.name,
        "asks": answer.question.asks,
        "engine": answer.engine,
        "of": answer.table,
        "since": _time(answer.limits.since),
        "until": _time(answer.limits.until),
        "direction": answer.limits.direction,
        "records_until": _time(answer.until),
        "rows": [
            {
                name: _time(value) if name in TIMES else value
                for name, value in zip(answer.columns, row, strict=True)
            }
            for row in answer.rows
        ],
        "more": answer.more,
        "gaps": [
            {
                "start": _time(one.start),
                "end": _time(one.end),
                "nodes": list(one.nodes),
                "cause": one.why,
            }
            for one in answer.gaps
        ],
        "warnings": answer.notes,
    }


def _time(time: int | None) -> str | None:
    return _FORMAT.nanoseconds(time) if time else None


def _second(time: int) -> str:
    return f"{_FORMAT.nanoseconds(time)[:19]}Z" if time > 0 else ""


def told_lines(answer: Told) -> Iterator[str]:
    """What makes the answer less than the whole truth: a safe line each."""
    for one in answer.gaps:
        nodes = f" on {safe(', '.join(one.nodes))}" if one.nodes else ""
        yield (
            f"nothing was recorded{nodes} from {_second(one.start)} to {_second(one.end)}: {safe(one.why)}"
        )
    yield from map(safe, answer.notes)
    if answer.more:
        yield f"the first {plural(len(answer.rows), 'row')}: --limit 0 tells all"


def answer_lines(answer: Told) -> Iterator[str]:
    """A line a row under a heading, as wide as they are; one line where there is none."""
    if not answer.rows:
        yield "nothing"
        return
    cells = [[name.replace("_", " ").upper() for name in answer.columns]]
    cells += [
        [_cell(name, value) for name, value in zip(answer.columns, row, strict=True)]
        for row in answer.rows
    ]
    numbers = [isinstance(value, int) and name not in TIMES
               for name, value in zip(answer.columns, answer.rows[0], strict=True)]  # fmt: skip
    widths = [max(width(line[place]) for line in cells) for place in range(len(answer.columns))]
    for line in cells:
        parts = []
        for number, text, wide in zip(numbers, line, widths, strict=True):
            space = " " * (wide - width(text))
            parts.append(space + text if number else text + space)
        yield "  ".join(parts).rstrip()


def _cell(name: str, value: Any) -> str:
    if name in TIMES:
        return _second(value)
    match value:
        case int():
            # A number that is a name has no commas.
            return str(value) if name in ("port", "drop_reason_number") else f"{value:,}"
    return safe(str(value)) or "-"


def question_lines() -> Iterator[str]:
    """All questions, a line each."""
    wide = max(len(one.name) for one in QUESTIONS)
    for one in QUESTIONS:
        yield f"{one.name:{wide}}  {one.asks}"
