"""The thread that answers questions, so that a key press never waits for one.

The app says what it asks (:meth:`Feed.ask`) and is told when there is a newer frame; it then takes
:attr:`Feed.frame`. Answers come no faster than their question wants them, and slower when they are
dear: no more than a tenth of the time goes into them. When nothing changes, none is made; once a
second the app is told all the same, as ages on the screen go on. The last answer to each kind of
question is kept: it is what is seen until a newer one is there, and what a pause holds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, cast

from flowwatch.flows.source import SourceState
from flowwatch.tui.question import A, Question, Readings

COSTLY = 0.25
"""Seconds between frames that repaint much of a large screen: four a second."""

FAST_LINE = 15_000
"""Columns a second that may be painted before frames get rarer; with their styling some 25 KB."""

FIRST_EVERY = 0.02
"""Seconds between looks for the first record: until it is there, a screen says nothing at all."""

STATE_EVERY = 0.25
"""Seconds between looks at the source's state (lost, back again)."""

QUICK = 0.1
"""Seconds that an answer may have taken that a pause makes anew, for a view that isn't seen."""

OVER = ("ended", "failed")
"""Phases of a source that nothing more comes of."""

SLIDES_EVERY = 1.0
"""Seconds between looks at a window of time that moves on, while nothing more is read."""

HELD_EVERY = 0.5
"""Seconds between looks at how far a pause is behind."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[A]):
    """What was answered last to a kind of question."""

    question: Question[A]
    value: A
    taken: float
    """time.time() of it."""
    records: int
    """Read until then."""
    revision: int
    """The monitor's: while it is the same, the answer would be, too."""
    due: float
    """time.monotonic() before which it isn't made anew."""
    spent: float = 0.0
    """Seconds that it took."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What the app shows until the next one."""

    question: Question[Any] | None
    """What was asked, and is answered."""
    state: SourceState
    answers: Mapping[type[Question[Any]], Answer[Any]] = field(default_factory=dict)
    behind: int = 0
    """When the question is about a moment that is past: records read since."""
    number: int = 0
    """Grows with each answer that was read anew."""

    def answer(self, kind: type[Question[A]]) -> Answer[A] | None:
        """The last answer to a question of this kind; None until there is one."""
        return cast("Answer[A] | None", self.answers.get(kind))


class Feed:
    """Answers in a thread of its own; all methods may be called from any thread."""

    def __init__(
        self,
        start: Callable[[], Readings],
        told: Callable[[], None],
        question: Question[Any] | None = None,
    ) -> None:
        """``start`` is called once, in the thread; ``told`` whenever there is a newer frame."""
        self._start = start
        self._told = told
        self._question = question
        self._wake = threading.Condition()
        self._stopped = False
        self._frame: Frame | None = None
        self._readings: Readings | None = None
        self._hidden: Readings | None = None
        """The same with pseudonyms, once that was asked for."""
        self._hide = False
        self._second = 0
        self._read = 0
        """Records in the last answer."""
        self.painted = 0
        """Columns that the last frame changed on the screen; told by the app."""
        self.failure: BaseException | None = None
        """What ended the thread, if not :meth:`stop`: for the app to raise."""
        self._thread = threading.Thread(target=self._run, name="flowwatch-feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns soon."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(1.0)

    def ask(self, question: Question[Any] | None) -> None:
        """Ask something else (None: nothing); an answer comes as soon as it can be made."""
        with self._wake:
            if question != self._question:
                self._question = question
                self._wake.notify()

    def let_pass(self, on: bool) -> None:
        """Answers, and reading, wait while something is on its way to the screen."""
        if self._readings is not None:
            passing = self._readings.monitor.passing
            (passing.begin if on else passing.end)()

    @property
    def asked(self) -> Question[Any] | None:
        """What is asked now."""
        return self._question

    @property
    def frame(self) -> Frame | None:
        """The newest frame; None until the monitor has started."""
        return self._frame

    @property
    def readings(self) -> Readings | None:
        """What is asked, once it has started."""
        if self._hide and self._hidden is None and self._readings is not None:
            from flowwatch.flows.hiding import Hiding

            self._hidden = self._readings.hidden(Hiding())
        return self._hidden if self._hide else self._readings

    def hide(self, on: bool) -> Frame | None:
        """Ask for pseudonyms in place of names, or for these again: what was answered before is gone at
        once. The frame that is seen until the next."""
        with self._wake:
            self._hide = on
            of = self.readings
            if of is not None:
                self._frame = Frame(None, of.monitor.state())
            self._wake.notify()
            return self._frame

    def _run(self) -> None:
        try:
            self._readings = self._start()
            while not self._stopped and (of := self.readings) is not None:
                of.monitor.passing.wait()
                question = self._question
                # Before the numbers: of what is said to be complete all must be in them.
                state, revision = of.monitor.state(), of.monitor.revision
                frame = self._frame or Frame(question, state)
                over = state.phase in OVER and frame.state.phase not in OVER
                frame, seen, due = self._next(of, question, frame, revision, over=over)
                if frame.question is not question:
                    frame = replace(frame, question=question)
                self._deliver(of, frame, state)
                self._sleep(question, due if of.monitor.revision != seen else 0.0)
        except BaseException as error:  # noqa: BLE001 - handed to the app, which raises it
            self.failure = error
            self._told()

    def _next(
        self,
        of: Readings,
        question: Question[Any] | None,
        frame: Frame,
        revision: int,
        *,
        over: bool,
    ) -> tuple[Frame, int, float]:
        """The frame with ``question`` answered; its revision, and when it is due again.

        ``over``: the source has just ended, and what it gave is answered at once.
        """
        if question is None:
            return frame, revision, 0.0
        if question.when.at and (frame.question is None or frame.question.when != question.when):
            frame = self._held(of, question, frame, revision)
        held = frame.answer(type(question))
        now = time.monotonic()
        if held is None or held.question.when.at not in (0, question.when.at):
            return self._anew(of, question, frame, revision)
        if question != held.question:
            value = question.amend(of, held.question, held.value)
            if value is None:
                return self._anew(of, question, frame, revision)
            held = replace(held, question=question, value=value)
            frame = _with(frame, held)
        elif (revision != held.revision and (over or now >= held.due)) or (
            question.slides and not question.when.at and now >= held.due + SLIDES_EVERY
        ):
            if not question.when.at:
                return self._anew(of, question, frame, revision)
            # The moment asked for is past: only how long ago, in records, goes on.
            held = replace(held, revision=revision, due=now + HELD_EVERY)
            behind = max(of.records - held.records, 0)
            frame = replace(_with(frame, held), behind=behind)
        if not question.when.at and frame.behind:
            frame = replace(frame, behind=0)
        return frame, held.revision, held.due

    def _held(self, of: Readings, question: Question[Any], frame: Frame, revision: int) -> Frame:
        """A moment is to be kept: the other views, seen later, shall be of the same one."""
        for kind, held in frame.answers.items():
            if kind is not type(question) and held.revision != revision and held.spent < QUICK:
                then = replace(held.question, when=question.when)
                frame, _, _ = self._anew(of, then, frame, revision)
        return frame

    def _anew(
        self, of: Readings, question: Question[Any], frame: Frame, revision: int
    ) -> tuple[Frame, int, float]:
        # What it costs others: a wait for the thread that reads, or for a core, costs them nothing.
        began = time.thread_time()
        value = question.answer(of)
        spent = time.thread_time() - began
        slow_line = min(self.painted / FAST_LINE, COSTLY)
        pause = min(max(question.LEAST, slow_line, spent * 10), question.MOST)
        records = self._read = question.records(of, value)
        if not records:
            pause = FIRST_EVERY
        due = time.monotonic() + pause
        answer = Answer(question, value, time.time(), records, revision, due, spent)
        frame = replace(_with(frame, answer), behind=0, number=frame.number + 1)
        return frame, revision, due

    def _deliver(self, of: Readings, frame: Frame, state: SourceState) -> None:
        if state != frame.state:
            frame = replace(frame, state=state)
        second = int(time.time())
        with self._wake:
            # By names that aren't shown any more.
            if of is not self.readings:
                return
            news = frame is not self._frame or second != self._second
            self._frame, self._second = frame, second
        if news:
            self._told()

    def _sleep(self, question: Question[Any] | None, due: float) -> None:
        """Until something else is asked, the next answer is due, or the state should be looked at."""
        with self._wake:
            if self._stopped or question is not self._question:
                return
            most = STATE_EVERY if self._read else FIRST_EVERY
            left = due - time.monotonic() if due else most
            self._wake.wait(min(max(left, 0.005), most))


def _with(frame: Frame, answer: Answer[Any]) -> Frame:
    return replace(frame, answers={**frame.answers, type(answer.question): answer})
