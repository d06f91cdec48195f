"""Before and after: what changed with a policy, as ``flowwatch changes`` tells it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from flowwatch.egress.query import Query
from flowwatch.errors import OutputError
from flowwatch.text import plural, safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.export import free_path
from flowwatch.tui.format import Line, wrap
from flowwatch.tui.keys import OPENING, Key
from flowwatch.tui.parts.page import TextView
from flowwatch.tui.question import Question, Readings
from flowwatch.tui.take_away import shown_path

if TYPE_CHECKING:
    from flowwatch.marks.changes import ChangesReport, Difference
    from flowwatch.marks.compare import Change, ChangeRow

SAME = 15
"""Rows that stayed the same that are shown; a file has them all."""

_BOUND = "\xa0"
_ROLES: dict[Change, str] = {"cut": "drop", "new": "warn", "quiet": "dim", "same": "ok"}


@dataclass(frozen=True, kw_only=True)
class ChangesSoFar(Question["ChangesReport | None"]):
    """What policies changed, by the marks ``given`` or by those that are found."""

    LEAST: ClassVar[float] = 1.0
    MOST: ClassVar[float] = float("inf")

    direction: str
    given: tuple[int, ...] = ()
    window: int = 0
    until: int = 0
    """As of a Query."""

    @property
    def slides(self) -> bool:
        return bool(self.window and not self.until)

    def answer(self, of: Readings) -> ChangesReport | None:
        if of.changes is None:
            return None
        both = frozenset({"egress", "ingress"})
        ways = both if self.direction == "both" else frozenset({self.direction})
        # The same moments as the figures of rows are of.
        window = Query(limit=0, window=self.window, until=self.until)
        within = of.monitor.snapshot(window).window if self.window else (0, 0)
        return of.changes.report(ways, self.given, within)


def _question(desk: Desk, key: int) -> ChangesSoFar:
    chosen = desk.chosen
    query = chosen.query
    return ChangesSoFar(
        direction=query.direction,
        given=chosen.marks,
        window=query.window,
        until=query.until,
        when=chosen.when,
    )


def _lines(desk: Desk, columns: int) -> list[Line]:
    answer = desk.answer(ChangesSoFar)
    if answer is None or answer.value is None:
        return [((" comparing what was read so far …", "dim"),)]
    return list(report_lines(answer.value, columns, desk))


def report_lines(report: ChangesReport, columns: int, desk: Desk) -> Iterator[Line]:
    """The page for a terminal of so many columns; every text of it is safe."""
    from flowwatch.report.changes import counts, window_told

    if report.differences:
        yield ((f" {counts(report)}", "drop" if report.cut else "strong"),)
    else:
        where = "this window" if report.within[1] else "what was read so far"
        by_hand = desk.look.keys.told("{mark} sets a mark by hand")
        text = f"No change of policies shows in {where}: {by_hand}."
        yield from _wrapped(text, columns, 1, "strong")
    if report.coverage.first_seen:
        yield from _wrapped(window_told(report), columns, 1, "dim")
    for note in report.notes:
        yield from _wrapped(f"! {safe(note)}", columns, 1, "warn")
    # The latest first: it is what whoever applied a policy looks for.
    for one in reversed(report.differences):
        yield ()
        yield from _difference(one, report, columns, desk)


def _difference(one: Difference, report: ChangesReport, columns: int, desk: Desk) -> Iterator[Line]:
    from flowwatch.marks.compare import CHANGES
    from flowwatch.report.changes import clock, found_from, what, windows

    sign = desk.look.signs.mark
    yield from _wrapped(f"{sign} {clock(one.mark.time)} UTC  {what(one.mark)}", columns, 1, "head")
    if found := found_from(one.mark):
        yield from _wrapped(f"found from {found}", columns, 3, "dim")
    yield from _wrapped(windows(one), columns, 3, "dim")
    for change in CHANGES:
        rows = [row for row in one.rows if row.change == change]
        shown = rows[:SAME] if change == "same" else rows
        for row in shown:
            yield from _row(row, report, columns, desk)
        if len(rows) > len(shown):
            writes = desk.look.keys.told("{export_changes} writes all")
            more = plural(len(rows) - len(shown), "more row")
            yield ((f"   and {more}: {writes}", "dim"),)


def _row(row: ChangeRow, report: ChangesReport, columns: int, desk: Desk) -> Iterator[Line]:
    from flowwatch.report.changes import TITLES, said_of, sides, who
    from flowwatch.tui.theme import FANCY

    plain = desk.look.signs.to != FANCY.to
    several = len(report.coverage.clusters) > 1
    role = _ROLES[row.change]
    # Both sides stay on one line.
    counted = sides(row, ascii=plain).replace(" ", _BOUND)
    title = f"   {TITLES[row.change]:<11}"
    text = f"{who(row, several=several, ascii=plain)}  {counted}"
    first, *rest = [part.replace(_BOUND, " ") for part in wrap(text, columns - len(title) - 1)]
    yield ((title, role), (first, "text"))
    yield from (((" " * len(title) + part, "text"),) for part in rest)
    said = said_of(row, answers=report.shows_answers)
    if said and (row.selected or row.change in ("cut", "new")):
        yield from _wrapped(safe(said), columns, len(title), "dim")


def _wrapped(text: str, columns: int, indent: int, role: str) -> Iterator[Line]:
    for part in wrap(text, columns - indent - 1):
        yield ((" " * indent + part, role),)


def _export(desk: Desk) -> None:
    """Write what is shown as Markdown, in a thread; the footer says where, or why not."""
    answer = desk.answer(ChangesSoFar)
    report = answer.value if answer is not None else None
    if report is None:
        desk.say("nothing to export yet", "warn")
        return
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = free_path(desk.options.export_dir, f"flowwatch-changes-{stamp}.md")

    def work() -> None:
        from flowwatch.output import open_output
        from flowwatch.report.changes import write_changes
        from flowwatch.report.summary_table import Style

        try:
            with open_output(str(path)) as out:
                write_changes(report, "markdown", out, style=Style())
        except OutputError as error:
            why = f"can't write {shown_path(desk, path)}" if desk.options.private else str(error)
            desk.from_beside(desk.say, why, "drop", 10.0)
            return
        rows = sum(len(one.rows) for one in report.differences)
        text = f"{plural(rows, 'row')} written to {shown_path(desk, path)}"
        desk.from_beside(desk.say, text, "strong", 8.0)

    desk.beside(work)


def _refusal(desk: Desk) -> str:
    readings = desk.readings
    return (
        "" if readings is not None and readings.changes is not None else "nothing has been read yet"
    )


CHANGES = TextView(
    name="changes",
    words="what a policy changed: before and after the moment it took effect",
    key=OPENING["changes"],
    short="before/after",
    title="What policies changed: before and after",
    question=_question,
    lines=_lines,
    refusal=_refusal,
    timed=True,
    keys={Key("export_changes", ("e",), "write the comparison as Markdown", "export"): _export},
)
