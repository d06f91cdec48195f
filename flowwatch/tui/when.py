"""Which time the numbers are of: windows, and steps back through what is held in memory."""

from __future__ import annotations

from flowwatch.flows.coverage import Coverage
from flowwatch.gotext import parse_duration
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import SECOND, window_words
from flowwatch.tui.parts.rows import Rows

WINDOWS = (0, 60 * SECOND, 300 * SECOND, 900 * SECOND)
"""What the key goes through; 0: all that was read."""

HOUR = 3_600 * SECOND


def next_window(desk: Desk) -> None:
    """The next of WINDOWS, to the same end."""
    longer = [one for one in WINDOWS if one > desk.chosen.query.window]
    _choose(desk, longer[0] if longer else 0)


def since(desk: Desk, text: str) -> None:
    """Numbers of the last ``text``, as hubble's ``--since`` writes a duration."""
    try:
        window = 0 if text in ("", "all") else parse_duration(text)
    except ValueError:
        window = -1
    if window < 0:
        desk.say("usage: :since [DURATION|all], as 5m, 90s, 1h30m", "warn")
        return
    desk.choose(until=0)
    _choose(desk, max(window, SECOND) if window else 0)


def _choose(desk: Desk, window: int) -> None:
    query, paused = desk.chosen.query, desk.chosen.when.at
    if paused and not query.until:
        # What came since isn't seen yet.
        paused -= _seen(desk).clock_late
    desk.choose(window=window, until=(query.until or paused) if window else 0)
    words = window_words(desk.chosen.query) or "all that was read"
    desk.say(
        f"numbers of {words} {desk.look.keys.told('({span}; {earlier} {later} steps, {now} back to now)')}",
        seconds=3.0,
    )


def step(desk: Desk, steps: int) -> None:
    """So many half windows on, or back where it is less than 0; no further than what was seen."""
    query, seen = desk.chosen.query, _seen(desk)
    if not seen.first_seen:
        desk.say("nothing was read yet", "warn")
        return
    window = query.window or WINDOWS[1]
    last = _last(desk, seen)
    until = (query.until or last) + steps * window // 2
    if until >= last:
        now(desk)
        return
    earliest = min(seen.first_seen + window, last)
    desk.choose(window=window, until=max(until, earliest))
    more = ", the first that is held" if until <= earliest else ""
    desk.say(
        f"{window_words(desk.chosen.query)} UTC{more}: {desk.look.keys['now']} goes back to now",
        seconds=3.0,
    )


def hour(desk: Desk, steps: int) -> None:
    """The whole hour before what is seen, or after it, in which anything began; at first the last one.
    A history's files are parted so."""
    query, readings = desk.chosen.query, desk.readings
    known = readings.monitor.hours(query.direction) if readings is not None else []
    if not known:
        desk.say("nothing was read yet", "warn")
        return
    seen = (query.until - 1) // HOUR if query.until else known[-1] + 1
    beyond = [one for one in known if (one > seen if steps > 0 else one < seen)]
    if steps > 0 and not beyond:
        now(desk)
        return
    # Of the first hour that is held there is none before.
    to = known[0] if not beyond else beyond[0] if steps > 0 else beyond[-1]
    desk.choose(window=HOUR, until=(to + 1) * HOUR)
    more = ", the first hour that is held" if to == known[0] else ""
    desk.say(
        f"{window_words(desk.chosen.query)} UTC{more}: {desk.look.keys['now']} goes to the end",
        seconds=3.0,
    )


def between(desk: Desk, start: int, end: int) -> None:
    """The window that was drawn on the timeline."""
    desk.choose(window=max(end - start, SECOND), until=end)
    ways = desk.look.keys.told("{now} goes back to now, {span} to all")
    desk.say(f"{window_words(desk.chosen.query)} UTC: {ways}", seconds=3.0)


def now(desk: Desk) -> None:
    """Go on with what comes, whatever was looked at before."""
    if desk.chosen.paused:
        desk.hold(False)
    desk.choose(until=0)
    where = "now" if desk.state.phase == "following" else "the end"
    desk.say(f"{where}: {window_words(desk.chosen.query) or 'all that was read'}", seconds=2.0)


def _seen(desk: Desk) -> Coverage:
    shown = desk.answer(Rows)
    return shown.value.snapshot.coverage if shown is not None else Coverage()


def _last(desk: Desk, seen: Coverage) -> int:
    """Up to when there is anything: now, where records still come."""
    if desk.state.phase != "following":
        return seen.last_seen
    return max(seen.last_seen, desk.seen.now_ns() - seen.clock_late)
