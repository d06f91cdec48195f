"""The dashboard over spoilt messages, while somebody presses keys."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from random import Random

from flowwatch.audits.live import LiveAudit
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.errors import FlowwatchError
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch
from flowwatch.flows.source import SourceState
from flowwatch.policy import load
from flowwatch.tui.dashboard import dashboard
from flowwatch.tui.state import Options
from flowwatch.tui.view import key_map
from flowwatch.tui.views import VIEWS
from tests.fuzz.inputs import Input
from tests.fuzz.program import Fault, alone, bounded
from tests.fuzz.readers import POLICY
from tests.fuzz.targets.wire import Wire

_LEFT_OUT = {"quit", "suspend", "interrupt"}
_TYPED = (
    "/",
    "escape",
    "a",
    "[",
    "backslash",
    "!",
    "space",
    ":",
    "tab",
    "enter",
    "exclamation_mark",
    "é",
)
_LINES = (
    ":export ~nosuchuser/x", ":export " + "x" * 300, ":export /", ":filter [", ":sort nothing", ":dir",
    ":theme x", ":export a/b", "/!", "/(((", "/[red]", ":help me", ":", "/" + "x" * 200, ":window 5",
    ":copy", ":é",
)  # fmt: skip
_NAMES = {" ": "space", "/": "slash", ":": "colon", "?": "question_mark"}


class Screens:
    """Some seconds each: rarer than the others."""

    name = "screens"
    what = "messages"

    def __init__(self) -> None:
        self._wire = Wire()
        self._keys = [
            _NAMES.get(name, name)
            for key in key_map(VIEWS).keys
            if key.action not in _LEFT_OUT
            for name in key.keys
        ]

    def make(self, random: Random) -> Input:
        messages = [self._wire.spoilt(random) for _ in range(60)]
        keys = [random.choice((*self._keys, *self._keys, *_TYPED)) for _ in range(20)]
        if random.random() < 0.5:
            at = random.randrange(len(keys))
            keys[at:at] = ["escape", "escape", *map(_key, random.choice(_LINES)), "enter"]
        files = {f"{number:02}.bin": message for number, message in enumerate(messages)}
        return Input(tuple(keys), files, len(messages))

    def run(self, given: Input, place: Path) -> None:
        messages = [*self._wire.good, *(data for _, data in sorted(given.files.items()))]
        with alone(place, {}), bounded():
            asyncio.run(asyncio.wait_for(_shown(messages, given.call, place), 60))

    def close(self) -> None:
        self._wire.close()


class _Source:
    """The messages, and then silence until it is closed."""

    def __init__(self, messages: list[bytes]) -> None:
        self._messages = messages
        self._closed = threading.Event()

    def batches(self) -> Iterator[Batch]:
        decoder = WireDecoder()
        for message in self._messages:
            yield decoder.decode([message])
        self._closed.wait(60)

    def state(self) -> SourceState:
        return SourceState("relay:4245", "following")

    def close(self) -> None:
        self._closed.set()


async def _shown(messages: list[bytes], keys: tuple[str, ...], place: Path) -> None:
    join = Join()
    audit = LiveAudit(load([("policy.yaml", POLICY.decode())]), join)
    monitor = LiveMonitor(_Source(messages), live=False, join=join, teller=audit.causes)
    monitor.start()
    app = dashboard(lambda: monitor, Options(theme="mono", export_dir=place), audit)
    try:
        async with app.run_test(size=(100, 30)) as pilot:
            for key in keys:
                await pilot.press(key)
                await pilot.pause()
            shown = "".join(strip.text for strip in app.screen._compositor.render_strips())
    finally:
        app.feed.stop()
        monitor.stop()
    for failure in (monitor.failure, app.feed.failure):
        if failure is not None and not isinstance(failure, FlowwatchError):
            raise failure
    if odd := {letter for letter in shown if ord(letter) < 0x20 or 0x7F <= ord(letter) < 0xA0}:
        raise Fault(f"control characters on the screen: {odd}")


def _key(letter: str) -> str:
    return _NAMES.get(letter, letter)
