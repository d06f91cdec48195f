"""What reports of findings share: a form chosen, lines folded to the terminal, the evidence at the top."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from flowwatch.output import Writer
from flowwatch.report.human import fold
from flowwatch.report.jsontext import to_json
from flowwatch.report.summary_table import Style
from flowwatch.text import safe

T = TypeVar("T")
HEEDED = 33
"""The colour of what is to be heeded, as SGR numbers it: yellow."""


@dataclass(frozen=True, slots=True)
class Forms(Generic[T]):
    """How a report is told in each of its formats."""

    json: Callable[[T], dict[str, Any]]
    """The object that scripts read."""
    markdown: Callable[[T], Iterable[str]]
    """Lines, never folded."""
    text: Callable[[T, Style], Iterable[str]]
    """Lines for people, folded to the terminal's width."""

    def write(self, report: T, form: str, out: Writer, *, style: Style) -> None:
        """Write ``report`` as ``form`` says: ``json``, ``markdown``, or else text in ``style``."""
        if form == "json":
            out.write(to_json(self.json(report), indent=2) + "\n")
        elif form == "markdown":
            write_lines(self.markdown(report), out)
        else:
            write_lines(self.text(report, style), out, width=style.width)


def write_lines(lines: Iterable[str], out: Writer, *, width: int = 0) -> None:
    """Write ``lines``, each folded to ``width`` columns; 0: as long as they are."""
    for line in lines:
        for part in fold(line, width):
            out.write(part + "\n")


def evidence_lines(lines: Iterable[str], notes: Iterable[str], style: Style) -> Iterator[str]:
    """What a report goes by, as ``Evidence: …`` (safe lines), and ``notes`` of any text to be heeded."""
    for at, line in enumerate(lines):
        yield f"{'' if at else 'Evidence:':10}{line}"
    for note in notes:
        yield style.paint(HEEDED, f"        ! {safe(note)}")
