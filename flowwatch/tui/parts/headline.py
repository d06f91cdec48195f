"""The figures: how many attempts were dropped, how many got through, and how sure that is."""

from __future__ import annotations

from textual import events
from textual.message import Message

from flowwatch.egress.rows import Snapshot
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.source import SourceState
from flowwatch.report.human import age, count, percent, span
from flowwatch.text import plural, safe
from flowwatch.tui.format import SECOND, Line, Piece, cut, ends, fill, joined, line_width, rate
from flowwatch.tui.named import NAMES, KeyNames
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.theme import Signs

_GAP: Piece = ("   ", "text")

LATE = 10.0
"""Seconds without a record, while others came faster, from which the age is marked."""


ALIVE = 25.0
"""Seconds since a sign of life in which a server counts as there: two polls, and their time."""


class Headline(Lines):
    """Two lines; the first alone where room is short."""

    DEFAULT_CSS = "Headline { height: 2; }"
    ABOUT = (
        "Numbers are attempts: one try of an application, however many records and retries it left.",
        "They are of the rows that are shown: '148 of 212' where a filter leaves some out. Share is",
        "dropped of all attempts with an outcome. Rates are over the last seconds, or over the window",
        "that was chosen: {span} the last minute, 5, 15, {earlier} {later} back and on by half of it,",
        "{now} back to now.",
        "Noise was dropped before any policy was asked (neighbour discovery, multicast): no figure",
        "has it but its own.",
        "'at least' means that records are missing: lost, of a node out of sight, or from a gap in",
        "the connection ({warnings} says which). Numbers can then only be higher.",
    )

    class Clicked(Message):
        """The line that warns was clicked."""

    def on_click(self, event: events.Click) -> None:
        event.stop()
        if event.y == 1 and any(role == "warn" for _, role in self.lines[1]):
            self.post_message(self.Clicked())

    def update_from(self, snapshot: Snapshot, state: SourceState, now: int, behind: int) -> None:
        look = self.look
        self.show(
            headline_lines(snapshot, state, now, behind, self.size.width, look.signs, look.keys)
        )


def headline_lines(
    snapshot: Snapshot,
    state: SourceState,
    now: int,
    behind: int,
    columns: int,
    signs: Signs,
    keys: KeyNames = NAMES,
) -> list[Line]:
    """Both lines. ``now`` is what ages are counted to (ns)."""
    return [
        _counts(snapshot, columns, signs, keys),
        _state(snapshot, state, now, behind, columns, keys),
    ]


def _counts(snapshot: Snapshot, columns: int, signs: Signs, keys: KeyNames) -> Line:
    totals, whole = snapshot.shown, snapshot.totals
    narrowed = totals.rows < whole.rows
    dropped = _number(totals.dropped, whole.dropped if narrowed else None, columns)
    forwarded = _number(totals.forwarded, whole.forwarded if narrowed else None, columns)
    least = "at least " if snapshot.coverage.at_least and columns >= 72 else ""
    hot = "drop" if totals.dropped else "strong"
    parts: list[Line] = [
        ((f" {signs.dropped} {least}{dropped} dropped", hot),),
        ((f"{signs.forwarded} {forwarded} forwarded", "ok"),),
    ]
    if totals.attempts - totals.unknown:
        parts.append(((f"{percent(totals.dropped_share)} dropped", "strong"),))
        if narrowed:
            parts.append(((f"{percent(whole.dropped_share)} in all", "dim"),))
    if noise := sum(totals.noise.values()):
        parts.append(((f"+ {count(noise)} noise ({keys['noise']})", "dim"),))
    if totals.audited:
        parts.append(((f"{signs.warned} {totals.audited:,} audited", "warn"),))
    if totals.errors:
        parts.append(((f"{signs.warned} {plural(totals.errors, 'error')}", "warn"),))
    if totals.unknown:
        parts.append(((f"{signs.unknown} {totals.unknown:,} unknown", "dim"),))
    if not snapshot.coverage.first_seen:
        return fill(parts, _GAP, columns)
    window: Line = ((f"{_window(snapshot)} ", "dim"),)
    # A number that is cut would be another number, and the share is what a filter is looked at for: the
    # window gives way.
    first = joined(parts[: 3 if narrowed else 2], _GAP)
    if line_width(first) + 1 + line_width(window) > columns:
        return fill(parts, _GAP, columns)
    return ends(fill(parts, _GAP, columns - line_width(window) - 1), window, columns)


def _window(snapshot: Snapshot) -> str:
    """Which time the numbers are of."""
    if snapshot.window[1]:
        start, end = map(time_of_day, snapshot.window)
        return f"{start} to {end} UTC"
    all_of = "all of it, too many rows for a window: " if snapshot.all_of_time else "in "
    return f"{all_of}{span(snapshot.coverage.seconds)}"


def _number(shown: int, whole: int | None, columns: int) -> str:
    """How many attempts of the rows shown, and ``148 of 212`` where there are more."""
    texts = [
        f"{one:,}" if columns >= 60 else count(one) for one in (shown, whole) if one is not None
    ]
    return " of ".join(texts)


def _state(
    snapshot: Snapshot, state: SourceState, now: int, behind: int, columns: int, keys: KeyNames
) -> Line:
    seen = snapshot.coverage
    parts: list[Line] = []
    if behind:
        parts.append(((f"{plural(behind, 'record')} behind", "warn"),))
    if state.backlog_limit and state.backlog > state.backlog_limit // 2:
        full = 100 * state.backlog // state.backlog_limit
        parts.append(((f"can't keep up: buffer {full}% full", "warn"),))
    if seen.lost_events:
        fast = f", {rate(snapshot.lost_rate)}/s" if snapshot.lost_rate >= 0.05 else ""
        parts.append(
            (
                (
                    f"{count(seen.lost_events)} {'event' if seen.lost_events == 1 else 'events'} lost{fast}",
                    "warn",
                ),
            )
        )
    if unseen := unseen_nodes(snapshot, state, now):
        parts.append(((unseen, "warn"),))
    if seen.gaps:
        seconds = sum(gap.seconds for gap in seen.gaps)
        word = "gap" if len(seen.gaps) == 1 else f"{len(seen.gaps)} gaps,"
        parts.append(((f"{word} {span(seconds)}", "warn"),))
    # Of what was there before, rates and ages say nothing yet.
    live = state.phase in ("following", "lost", "connecting") and state.progress is None
    if live or snapshot.record_rate:
        parts.append(_rates(snapshot))
    if seen.last_seen and live:
        old = (now - seen.clock_late - seen.last_seen) / SECOND
        # Quiet is not dead: the server is asked now and then.
        answers = now / SECOND - state.heard < ALIVE and old > ALIVE
        alive = ", server answers" if answers and state.phase == "following" else ""
        role = "warn" if old > LATE and not alive else "dim"
        parts.append(((f"last record {age(old)} ago{alive}", role),))
    if not live and seen.records_read:
        parts.append(((f"{plural(seen.records_read, 'record')}", "dim"),))
    skipped = sum(seen.records_skipped.values())
    if skipped:
        parts.append(((f"{plural(skipped, 'record')} not read", "warn"),))
    if (more := len(seen.warnings) - seen.said_short) > 0:
        parts.append(((f"{plural(more, 'warning')} ({keys['warnings']})", "warn"),))
    elif seen.warnings:
        parts.append(((f"{keys['warnings']}: why", "warn"),))
    return cut(joined([((" ", "text"),), fill(parts, _GAP, columns - 1)], ("", "text")), columns)


def unseen_nodes(snapshot: Snapshot, state: SourceState, now: int) -> str:
    """``2 of 9 nodes unseen for 40s: a, b``; empty when all are seen."""
    seen = snapshot.coverage
    since = {away.name: away.since for away in seen.nodes_away}
    away = sorted({*state.unavailable, *seen.nodes_unavailable})
    if not away:
        return ""
    connected = state.nodes_connected or 0
    total = max(seen.nodes_known, len(away), connected + (state.nodes_unavailable or 0))
    began = [at for at in since.values() if at]
    long = f" for {span(max(now - min(began), 0) / SECOND)}" if began else ""
    word = "node" if total == 1 else "nodes"
    return f"{len(away)} of {total} {word} unseen{long}: {safe(', '.join(away))}"


def _rates(snapshot: Snapshot) -> Line:
    hot = "drop" if snapshot.dropped_rate >= 0.05 else "dim"
    narrowed = snapshot.shown.rows < snapshot.totals.rows
    # Records belong to the stream, which no filter of ours makes smaller.
    in_all = " in all" if narrowed else ""
    beside = in_all if snapshot.of_all else ""
    return (
        (f"{rate(snapshot.dropped_rate)} dropped/s{beside}", hot),
        (f"  {rate(snapshot.forwarded_rate)} forwarded/s{beside}", "dim"),
        (f"  {rate(snapshot.record_rate)} records/s{in_all}", "dim"),
    )
