"""What a history's attempts answer, as text, JSON or CSV; and which questions there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from flowwatch.egress.schema import Column, Kind, column
from flowwatch.history.attempts.asking import Told
from flowwatch.history.attempts.questions import QUESTIONS
from flowwatch.output import Output
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import fold, shorten, width
from flowwatch.report.jsontext import to_json
from flowwatch.report.tables import table_writer
from flowwatch.text import plural, safe

ANSWER_VERSION = 1
"""Of the JSON: raised when a key changes its meaning or goes."""
TIMES = ("at", "first_seen", "last_seen", "last_forwarded", "last_dropped")
"""Columns of times."""
_FORMAT = TimeFormat.iso()

Row = tuple[Any, ...]


def write_answer(answer: Told, form: str, out: Output, *, columns: int = 0) -> None:
    """Write ``answer`` as ``text``, ``json`` or ``csv``; the last without what else is to be told.

    ``columns``: how wide text may be, 0 for as wide as it is.
    """
    match form:
        case "json":
            out.write(to_json(answer_object(answer), indent=2) + "\n")
        case "csv":
            writer = table_writer("csv", columns_of(answer), out)
            for row in answer.rows:
                writer.write(row)
            writer.close()
        case _:
            for line in answer_lines(answer, columns):
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
        yield (f"gap{nodes} from {_second(one.start)} to {_second(one.end)}: {safe(one.why)}")
    yield from map(safe, answer.notes)
    if answer.limits.since is not None and answer.limits.since > answer.until:
        yield f"what it was asked of came until {_second(answer.until)}"
    if answer.more:
        yield f"the first {plural(len(answer.rows), 'row')}: --limit 0 tells all"


def answer_lines(answer: Told, columns: int = 0) -> Iterator[str]:
    """A line a row under a heading, as wide as they are, or as ``columns`` let them; a word where none is.

    What is left out for want of room is told in a line.
    """
    if not answer.rows:
        yield "nothing"
        return
    every = [_cells(at, name, answer.rows) for at, name in enumerate(answer.columns)]
    shown = every
    for name in _LESS:
        if columns and _wide(shown) > columns:
            shown = [one for one in shown if one.name != name]
    for name in ("peer", "pod", "workload", "policy"):
        over = _wide(shown) - columns
        if columns and over > 0:
            shown = [one.narrower(over) if one.name == name else one for one in shown]
    for place in range(len(answer.rows) + 1):
        yield "  ".join([one.padded(place) for one in shown]).rstrip()
    if len(shown) < len(every):
        there = {one.name for one in shown}
        left = ", ".join(name for name in answer.columns if name not in there)
        yield from fold(f"(too narrow for {left.replace('_', ' ')}: -o csv has all)", columns)


_LESS = (
    "records", "first_seen", "peer_kind", "unknown", "error", "tries", "audited", "direction", "protocol",
    "node", "last_seen",
)  # fmt: skip
"""Columns that go where there is no room, the first ones first."""
_LEAST = 12
"""Columns of the screen that a name keeps."""


class _Cells(NamedTuple):
    """One column, spelt out, its heading first."""

    name: str
    texts: list[str]
    number: bool

    @property
    def width(self) -> int:
        return max(map(width, self.texts))

    def narrower(self, by: int) -> _Cells:
        """With names that are shortened in their middle."""
        wide = max(_LEAST, self.width - by)
        return self._replace(texts=[shorten(text, wide) for text in self.texts])

    def padded(self, place: int) -> str:
        text = self.texts[place]
        space = " " * (self.width - width(text))
        return space + text if self.number else text + space


def _cells(at: int, name: str, rows: list[Row]) -> _Cells:
    texts = [name.replace("_", " ").upper(), *[_cell(name, row[at]) for row in rows]]
    return _Cells(name, texts, isinstance(rows[0][at], int) and name not in TIMES)


def _wide(shown: list[_Cells]) -> int:
    return sum(one.width for one in shown) + 2 * (len(shown) - 1)


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
