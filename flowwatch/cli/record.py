"""``flowwatch record``: keep what comes, to ask every verb about it later."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from flowwatch.cli.shared.reading import Reading
from flowwatch.cli.values import age_of, size_of
from flowwatch.errors import UsageError
from flowwatch.flows.join import Join, Joined
from flowwatch.history import arrow
from flowwatch.history.kept import Kept, kept_at
from flowwatch.history.recorder import Origin, Recorder
from flowwatch.history.resume import Resume
from flowwatch.history.retention import Limits
from flowwatch.hubble.client.config import seconds
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.output import StandardError, put, say
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import FlowRequest, flow_request, resumed
from flowwatch.text import plural, safe, size_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.source import Source

TRIMMED = 60.0
"""Seconds between looks at what has grown old."""
SHOWN, SAID = 1.0, 60.0
"""Seconds between words on how it goes: on a terminal, where one line changes, and elsewhere."""

BEHIND = 10.0
"""Seconds before the end from which on the last record is old: a server's memory was not read to its end, or
nothing happened."""

THRESHOLDS = (20_000, 20, 1_000_000)
"""Of the collector while it records. Flows and attempts hold no cycles, and are kept by the hundred thousand:
to look at them again and again took 4% of the CPU (150,000 flows, medians of five turns: 1.95 s, 1.87)."""
TIDY_EVERY = 60.0
"""Seconds between looks at all objects."""


def run(parsed: Parsed) -> int:
    """Record until the end, until ``--for`` is over, or until Ctrl-C, which is its end."""
    to = parsed.text("to")
    if not to:
        raise UsageError("nothing says where to keep what comes", "flowwatch record --to DIR")
    asked = flow_request(parsed, follow=_follows(parsed), several=True)
    wanted = replace(asked, raw=parsed.switch("raw"))
    if parsed.switch("print-raw-filters"):
        put(raw_filters(wanted.filters), "json")
        return 0
    for line in wanted.settings.warnings:
        say(line)
    arrow.load()
    kept = kept_at(to, parsed.text("spill"))
    limits = Limits(_amount(parsed, "keep", age_of), _amount(parsed, "max-size", size_of))
    kept.create(limits)
    for line in kept.recover():
        say(line)
    source, before, origin = _source(wanted, kept)
    recording = _Recording(kept, source, kept.recorder(origin), before, limits)
    return recording.run(seconds(parsed.text("for")) if parsed.text("for") else None)


def _amount(parsed: Parsed, flag: str, read: Callable[[str], int]) -> int:
    text = parsed.text(flag)
    return read(text) if text else 0


def _follows(parsed: Parsed) -> bool:
    """It goes on for ever, unless it is said which flows, or where they end."""
    ends = any(parsed.get(flag) for flag in ("all", "first", "last", "until"))
    return parsed.switch("follow") or not ends


def _source(wanted: FlowRequest, kept: Kept) -> tuple[Source, Resume, Origin]:
    """What is recorded, from where an earlier run of the same has ended."""
    filters = raw_filters(wanted.filters) if wanted.filters else ""
    source = open_source(wanted, with_ring=True, keep_trying=wanted.window.follow)
    origin = Origin(source.state().where, filters)
    before = kept.resume(origin, live=wanted.live)
    if wanted.window.follow and wanted.window.since is None and before.since is not None:
        again = resumed(wanted, before.since)
        source = open_source(again, with_ring=True, keep_trying=True)
    return source, before, origin


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Python's collector of cycles looks at young objects alone, and not often."""
    before = gc.get_threshold()
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Recording:
    """One run: reads, keeps, deletes what is old, and says how it goes."""

    def __init__(
        self, kept: Kept, source: Source, recorder: Recorder, before: Resume, limits: Limits
    ) -> None:
        self._kept, self._source, self._recorder = kept, source, recorder
        self._before, self._limits = before, limits
        self._join = Join()
        self._closed = 0
        """Attempts that are over."""
        self._live = StandardError().is_terminal
        self._next = time.monotonic() + (SHOWN if self._live else SAID)
        self._next_trim = 0.0
        self._next_tidy = time.monotonic() + TIDY_EVERY
        self._phase = ""
        self._failure = ""
        self._set_aside = False
        self._join.listen(self)

    def run(self, lasts: float | None) -> int:
        """Record for so many seconds, or to the end; the exit code."""
        end = None if lasts is None else time.monotonic() + lasts
        reading = Reading(self._source)
        why = "the source ended"
        with _seldom_collected():
            for batch in reading.batches():
                self._before.fresh(batch)
                self._recorder.take(batch)
                self._join.add(batch)
                self._look()
                if end is not None and time.monotonic() >= end:
                    why = self._time_over()
                    break
            self._source.close()
        if reading.failure is not None:
            why = str(reading.failure)
        elif reading.stopped is not None:
            why = reading.stopped.word
        self._clear()
        try:
            self._recorder.close(why)
        finally:
            say(self._words("kept"))
        if reading.stopped is not None:
            # All that came is kept, as was said: nothing is partial.
            return 0 if reading.stopped.by_hand else reading.stopped.exit_code
        return reading.finish()

    def _time_over(self) -> str:
        """Why it ends then. What a slow server hadn't sent by then isn't kept, so how far it came is told."""
        newest = self._recorder.progress.newest
        behind = (time.time_ns() - newest) / 1e9 if newest else 0.0
        if behind < BEHIND:
            return "the time was over"
        return f"the time was over, its last record {behind:.0f} s before"

    def take(self, joined: Joined) -> None:
        """Count the attempts that are over."""
        self._closed += len(joined.closed)

    def _look(self) -> None:
        now = time.monotonic()
        state = self._source.state()
        failure = self._recorder.progress.failure
        if state.phase != self._phase or failure != self._failure:
            self._clear()
            if state.phase == "lost":
                say(f"{safe(state.where)}: {state.message}; it is tried again")
            if failure and failure != self._failure:
                say(f"{failure}; what comes is held, and it is tried again")
            self._phase, self._failure = state.phase, failure
        self._look_aside()
        if now >= self._next_tidy:
            self._next_tidy = now + TIDY_EVERY
            gc.collect()
        if now >= self._next_trim:
            self._next_trim = now + TRIMMED
            self._trim()
        if now >= self._next:
            self._next = now + (SHOWN if self._live else SAID)
            words = self._words("recorded")
            if self._live:
                StandardError().write(f"\r\x1b[K{words}")
            else:
                say(words)

    def _look_aside(self) -> None:
        """Say that something is set aside, and that nothing is any more."""
        progress = self._recorder.progress
        if bool(progress.aside) == self._set_aside:
            return
        self._set_aside = bool(progress.aside)
        self._clear()
        if self._set_aside:
            say(f"what comes is set aside in {progress.place}, until it can be written")
        else:
            say(f"what was set aside in {progress.place} is written")

    def _trim(self) -> None:
        gone = self._kept.trim(self._limits, time.time_ns())
        if gone.files:
            self._recorder.tell(
                "deleted",
                name="old",
                count=gone.files,
                text=f"{gone.bytes} bytes",
                until=gone.until,
            )

    def _clear(self) -> None:
        """Take away the line that changes."""
        if self._live:
            StandardError().write("\r\x1b[K")

    def _words(self, done: str) -> str:
        progress = self._recorder.progress
        attempts = self._closed + sum(1 for _ in self._join.open_attempts())
        parts = [
            f"{plural(progress.kept if done == 'kept' else progress.flows, 'flow')} {done}",
            plural(attempts, "attempt"),
            f"{size_words(progress.bytes)} in {plural(progress.files, self._kept.written)}",
        ]
        if self._phase == "following" and progress.newest:
            parts.append(f"lag {max(0.0, (time.time_ns() - progress.newest) / 1e9):.1f} s")
        parts.append(plural(progress.gaps, "gap"))
        if self._before.repeats:
            parts.append(f"{self._before.repeats:,} were kept before")
        if progress.aside:
            parts.append(f"{progress.aside:,} set aside")
        if progress.lost:
            parts.append(f"{progress.lost:,} lost, as they could not be written")
        return ", ".join(parts)
