"""The timeline: dropped and forwarded attempts by the time they began, a row of bars each."""

from __future__ import annotations

import time
from collections.abc import Sequence

from textual import events
from textual.message import Message

from flowwatch.egress.rows import Snapshot, Timeline
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.model import Gap
from flowwatch.report.human import count, pad, span
from flowwatch.report.human import width as width_of
from flowwatch.text import plural, safe
from flowwatch.tui.format import SECOND, Line, cut
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.theme import Signs

Marks = Sequence[tuple[int, str]]
"""When policies changed (ns), and in what words; in order."""


class TimelineView(Lines):
    """Two rows of bars, each to its own scale, and the time below them."""

    DEFAULT_CSS = "TimelineView { height: 3; }"
    ABOUT = (
        "The timeline has a row for dropped and one for forwarded attempts, each to its own scale:",
        "'max' is its highest bar. It is of the rows that are shown. Time is UTC, as hubble prints it;",
        "{window} shows all of it, or the end alone. A drag on it makes the numbers those of that time.",
        "Times are held for up to 16,384 rows, by the second at first, by 2, 4, 8 … where 131,072 places",
        "run out.",
        "A mark stands where policies changed, as found in verdicts or set with {mark}: {changes} compares.",
        "Shaded is a gap: the connection was lost, and what was recorded then can't be had any more.",
    )

    ALLOW_SELECT = False

    class Chosen(Message):
        """A window was drawn on it: from, to (ns)."""

        def __init__(self, start: int, end: int) -> None:
            super().__init__()
            self.start, self.end = start, end

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[Snapshot, bool, int, Marks] | None = None
        self._from: int | None = None
        """The column in which the mouse was pressed, while it is."""
        self._drawn: tuple[int, int] | None = None
        """The window that is being drawn."""

    def update_from(self, snapshot: Snapshot, whole: bool, now: int, marks: Marks = ()) -> None:
        """``now`` (ns): time up to which it is drawn; 0: to the last attempt."""
        self._shown = snapshot, whole, now, marks
        line, gaps = snapshot.timeline, snapshot.coverage.gaps
        window = self._drawn or snapshot.window
        self.show(
            timeline_lines(
                line,
                whole or before(line, now, self.size.width, window[0]),
                now,
                self.size.width,
                self.look.signs,
                gaps,
                of_words(snapshot),
                marks,
                window,
            )
        )

    def _time(self, column: int) -> int:
        """When the column of the widget began (ns); 0 where nothing is drawn."""
        if self._shown is None:
            return 0
        snapshot, whole, now, _ = self._shown
        line, width = snapshot.timeline, self.size.width
        room = width - label_width(width) - 1
        if not line.buckets or room < 8:
            return 0
        window = self._drawn or snapshot.window
        whole = whole or before(line, now, width, window[0])
        per, kept, _, start = _columns(line, whole, now, room)
        place = min(max(column - label_width(width), 0), len(kept))
        return start + place * per * line.width

    def on_mouse_down(self, event: events.MouseDown) -> None:
        event.stop()
        if self._time(event.x):
            self._from = event.x
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        if self._from is None or self._shown is None:
            return
        first, last = sorted((self._from, event.x))
        self._drawn = self._time(first), self._time(last + 1)
        self.update_from(*self._shown)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        event.stop()
        self.release_mouse()
        drawn, moved = self._drawn, self._from is not None and event.x != self._from
        self._from = self._drawn = None
        if drawn is not None and moved and drawn[0] < drawn[1]:
            self.post_message(self.Chosen(*drawn))


def of_words(snapshot: Snapshot) -> str:
    """What the timeline is of, where that goes not without saying: ``6 of 18 rows``."""
    if snapshot.of_all:
        return f"of all {plural(snapshot.totals.rows, 'row')}"
    if snapshot.shown.rows < snapshot.totals.rows:
        return f"of {plural(snapshot.shown.rows, 'row')}"
    return ""


def timeline_lines(
    timeline: Timeline,
    whole: bool,
    now: int,
    columns: int,
    signs: Signs,
    gaps: tuple[Gap, ...] = (),
    of: str = "",
    marks: Marks = (),
    window: tuple[int, int] = (0, 0),
) -> list[Line]:
    """Both rows and the axis; ``gaps`` are shaded where nothing was counted in them, ``marks`` stand on it.

    ``of``: what it is of, in a few words. ``window``: the time that numbers are of, drawn on the axis.
    """
    label = label_width(columns)
    room = columns - label - 1
    if not timeline.buckets or room < 8:
        empty = pad("", max(room, 0))
        return [((pad(" dropped", label), "dim"), (empty, "dim"))]
    per, kept, dropped, start = _columns(timeline, whole, now, room)
    width = per * timeline.width
    each = f"per {span(width / SECOND)}"
    shaded = _shaded(gaps, start, width, len(kept))
    rows: list[Line] = []
    for name, sign, role, values in (
        ("dropped", signs.dropped, "drop", dropped),
        ("forwarded", signs.forwarded, "ok", kept),
    ):
        top = max(values)
        most = f" max {count(top)}" if columns >= 72 else ""
        painted = role if top else "dim"
        bars = _bars(values, top, signs.bars)
        label_piece = (pad(f" {sign} {name}{most}", label), painted)
        rows.append((label_piece, *_marked(bars, shaded, painted, signs.gap)))
    # The first column may begin before there was anything to count, the last end after now.
    end = min(start + len(kept) * width, max(now, (timeline.buckets[-1] + 1) * timeline.width))
    left, right = _ends(max(start, timeline.start), end)
    rest = room - len(left) - len(right) - 2
    rule = signs.rule * max(rest, 0)
    if shaded and rest > 0:
        lost = sum(gap.seconds for gap in gaps)
        note = f" {signs.gap} gap of {span(lost)} "
        rule = note + rule[len(note) :] if len(note) <= rest else rule
    if rest > 0 and window[1]:
        first, last = ((at - start) // width - len(left) - 1 for at in (window[0], window[1] - 1))
        first, last = max(first, 0), min(last + 1, len(rule))
        rule = rule[:first] + signs.window * max(last - first, 0) + rule[max(last, first) :]
    if rest > 0 and marks:
        places = [((time - start) // width - len(left) - 1, time, words) for time, words in marks]
        rule = _with_marks(rule, places, signs.mark)
    axis = f"{left} {rule} {right}" if rest >= 0 else right
    told = f"   {each}, {of}" if of else f"   {each}"
    told = told if width_of(told) < label else f"   {of or each}"
    rows.append(cut(((pad(told, label), "dim"), (axis, "dim")), columns))
    return rows


def label_width(columns: int) -> int:
    """Columns that the names of the rows take at the left."""
    return 24 if columns >= 72 else 13


def before(timeline: Timeline, now: int, columns: int, time: int) -> bool:
    """Whether ``time`` (ns; 0: never) is before what is drawn of the end alone."""
    room = columns - label_width(columns) - 1
    if not time or not timeline.buckets or room < 8:
        return False
    return time < _columns(timeline, False, now, room)[3]


def short_policy(reference: str) -> str:
    """``weather-egress`` of ``weather/weather-egress (CiliumNetworkPolicy)``; safe."""
    return safe(reference.partition(" (")[0].rpartition("/")[2])


def _with_marks(rule: str, places: Sequence[tuple[int, int, str]], sign: str) -> str:
    """The axis with a sign at each mark, and when that was and what changed as far as there is room."""
    ends = [place for place, _, _ in places[1:]] + [len(rule)]
    for (place, at, words), end in zip(places, ends, strict=True):
        if not 0 <= place < len(rule):
            continue
        texts = (f"{sign}{time_of_day(at)} {words} ", f"{sign}{time_of_day(at)} ", sign)
        room = min(end, len(rule)) - place
        text = next((one for one in texts if width_of(one) == len(one) <= room), sign)
        rule = rule[:place] + text + rule[place + len(text) :]
    return rule


def _ends(start: int, end: int) -> tuple[str, str]:
    """The times at both ends of the axis, with their days where these differ."""
    left, right = time_of_day(start), f"{time_of_day(end)} UTC"
    days = [time.strftime("%Y-%m-%d", time.gmtime(ns // SECOND)) for ns in (start, end)]
    return (left, right) if days[0] == days[1] else (f"{days[0]} {left}", f"{days[1]} {right}")


def _columns(
    timeline: Timeline, whole: bool, now: int, room: int
) -> tuple[int, list[int], list[int], int]:
    """Buckets per column, the two rows of columns, and the time of the first (ns)."""
    # Quiet time since the last attempt is time too.
    first, last = timeline.buckets[0], max(timeline.buckets[-1], now // timeline.width)
    per = 1
    if whole:
        # Columns begin at multiples, so that they don't change as time goes on.
        while last // per - first // per >= room:
            per = max(per + 1, (last - first) // room)
    end = last // per
    begin = max(first // per, end - room + 1)
    kept, dropped = ([0] * (end - begin + 1) for _ in range(2))
    counted = zip(timeline.buckets, timeline.forwarded, timeline.dropped, strict=True)
    for bucket, through, lost in counted:
        if (column := bucket // per - begin) >= 0:
            kept[column] += through
            dropped[column] += lost
    return per, kept, dropped, begin * per * timeline.width


def _bars(values: list[int], top: int, glyphs: str) -> str:
    """A glyph for each value; nothing is blank, and anything more than nothing isn't."""
    if not top:
        return " " * len(values)
    steps = len(glyphs)
    return "".join([glyphs[-(-value * steps // top) - 1] if value else " " for value in values])


def _shaded(gaps: tuple[Gap, ...], start: int, width: int, columns: int) -> set[int]:
    """The columns of the timeline that a gap touches."""
    found: set[int] = set()
    for gap in gaps:
        first, last = (gap.start - start) // width, (gap.end - 1 - start) // width
        found.update(range(max(first, 0), min(last, columns - 1) + 1))
    return found


def _marked(bars: str, shaded: set[int], role: str, sign: str) -> Line:
    """``bars`` with the gap's sign where they are blank and shaded, in pieces of one role each."""
    if not shaded:
        return ((bars, role),)
    pieces: list[tuple[str, str]] = []
    for column, bar in enumerate(bars):
        gap = column in shaded and bar == " "
        piece = (sign, "warn") if gap else (bar, role)
        if pieces and pieces[-1][1] == piece[1]:
            pieces[-1] = (pieces[-1][0] + piece[0], piece[1])
        else:
            pieces.append(piece)
    return tuple(pieces)
