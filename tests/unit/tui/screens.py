"""What stands in tests/data/screens: screens by the keys that lead to them, in all their cells.

Each line of a file is a line of the screen, with a digest of its styles in every theme.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from textual.events import Paste

from flowwatch.tui.shell import Dashboard
from tests.unit.tui.driven import Driven

SCREENS = Path(__file__).parents[2] / "data" / "screens"
THEMES = ("dark", "light", "mono")
QUIET = 0.5
"""Seconds without a change after which a screen is taken as it is."""
PATIENCE = 3.0
"""The same for one that isn't what it should be: on a busy machine it may still come."""

Cells = list[str]
"""A screen: of each line its styles' digests and its text."""


@dataclass(frozen=True)
class Shot:
    """One screen, and how to get there."""

    name: str
    keys: tuple[str, ...] = ()
    """Keys by their names; ``/text``, ``:text`` and ``>text`` are typed, and entered with a line end."""
    sees: str = ""
    """What is there once all is: for what is made beside the screen."""
    back: tuple[str, ...] = ("1",)
    """Keys that lead back to the rows."""


_SIGNS = {"/": "slash", ":": "colon", ">": "ctrl+p"}


async def _type(driven: Driven, keys: Iterable[str]) -> None:
    for key, times in groupby(keys):
        if len(key) > 1 and key[0] in _SIGNS:
            await driven.press(_SIGNS[key[0]])
            # At once: a key takes 30 ms.
            driven.app.post_message(Paste(key[1:].rstrip("\n")))
            await driven.press(*["enter"] * key.endswith("\n"))
        else:
            await driven.press(*times)
        await driven.settled()


async def taken(driven: Driven, shots: Sequence[Shot], known: dict[str, Cells]) -> dict[str, Cells]:
    """All ``shots`` of an app in turn. A screen that is as ``known`` isn't waited for any longer."""
    # What is said in the last line stays there until the next screen.
    object.__setattr__(driven.app, "set_timer", lambda *_: None)
    found = {}
    for shot in shots:
        await _type(driven, shot.keys)
        await driven.sees(shot.sees)
        found[shot.name] = await cells(driven, known.get(shot.name, []))
        await _type(driven, shot.back)
        driven.app._unsay()
    return found


async def cells(driven: Driven, known: Cells) -> Cells:
    """The screen in every theme; at once where it is as ``known``."""
    wanted = [line.partition("|")[2] for line in known]
    for _ in range(5):
        text = await _still(driven, wanted)
        themes = [
            await _styles(driven, theme, [line.split()[number] for line in known])
            for number, theme in enumerate(THEMES)
        ]
        driven.app.relook(THEMES[0])
        if driven.screen == text:
            return [
                f"{' '.join(styles)} |{line}" for *styles, line in zip(*themes, text, strict=True)
            ]
    raise AssertionError(f"it goes on changing\n{driven.text}")


async def _still(driven: Driven, wanted: list[str]) -> list[str]:
    """The text on the screen once it is as wanted, or hasn't changed for a while."""
    loop = asyncio.get_running_loop()
    since, before = loop.time(), list[str]()
    while True:
        await driven.settled()
        seen = driven.screen
        if seen != before or not _answered(driven.app):
            since, before = loop.time(), seen
        if seen == wanted or loop.time() - since > (PATIENCE if wanted else QUIET):
            return seen
        await asyncio.sleep(0.05)


def _answered(app: Dashboard) -> bool:
    """Whether what is seen is of all that was read."""
    asked, frame, readings = app.feed.asked, app.frame, app.readings
    if asked is None or frame is None or readings is None:
        return asked is None
    answer = frame.answer(type(asked))
    return answer is not None and answer.revision == readings.monitor.revision


async def _styles(driven: Driven, theme: str, wanted: list[str]) -> list[str]:
    """The digests of all lines in a theme, once they are as wanted, or haven't changed for a while."""
    driven.app.relook(theme)
    before: list[str] = []
    for _ in range(20 if wanted else 3):
        await driven.settled()
        seen = digests(driven)
        if seen == wanted or (seen == before and not wanted):
            break
        before = seen
        await asyncio.sleep(0.05)
    return seen


def digests(driven: Driven) -> list[str]:
    """The style of every cell of a line, in six characters."""
    return [
        hashlib.sha256(
            "\n".join(
                f"{style}*{sum(segment.cell_length for segment in run)}"
                for style, run in groupby(strip, lambda segment: str(segment.style or ""))
            ).encode()
        ).hexdigest()[:6]
        for strip in driven.app.screen._compositor.render_strips()
    ]


def read(path: Path) -> dict[str, Cells]:
    """What a file has, by name; nothing where there is none."""
    found: dict[str, Cells] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        if line.startswith("=== "):
            lines = found[line[4:]] = []
        else:
            lines.append(line)
    return found


def write(path: Path, found: dict[str, Cells]) -> None:
    text = "".join(f"=== {name}\n" + "".join(f"{line}\n" for line in found[name]) for name in found)
    SCREENS.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(path.name)
