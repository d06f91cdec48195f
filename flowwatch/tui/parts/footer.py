"""The last line: the keys that matter here, what just happened, or what is being typed."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from textual import events
from textual.message import Message

from flowwatch.report.human import width
from flowwatch.tui.editor import Editor
from flowwatch.tui.format import Line, Piece, cut, fill
from flowwatch.tui.keys import Key, label
from flowwatch.tui.parts.lines import Lines

LAST = ("help", "close", "quit")
"""Actions whose keys stand at the right end."""

_GAP: Piece = ("  ", "text")


class Footer(Lines):
    """Keys; a message takes its place for a while, an input for as long as it lasts."""

    DEFAULT_CSS = "Footer { height: 1; dock: bottom; }"

    class Clicked(Message):
        """The word of a key was clicked."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    _acting: Sequence[Key] = ()

    def keys(self, acting: Sequence[Key], first: Sequence[str] = ()) -> None:
        """The keys that act now, with those for the actions ``first`` before the others."""
        self._acting = acting
        self.show([keys_line(acting, first, self.size.width)])

    def on_click(self, event: events.Click) -> None:
        event.stop()
        action = action_at(self.lines[0] if self.lines else (), event.x, self._acting)
        if action:
            self.post_message(self.Clicked(action))

    def message(self, text: str, role: str = "strong") -> None:
        """One safe line."""
        self._acting = ()
        self.show([cut(((f" {text}", role),), self.size.width)])

    def editor(self, editor: Editor, hint: str, bad: tuple[int, int] = (0, 0)) -> None:
        """What is being typed, and what could be typed next; ``bad``: where a word is wrong, and how long."""
        self._acting = ()
        self.show([editor_line(editor, hint, self.size.width, bad)])


def action_at(line: Line, column: int, acting: Sequence[Key]) -> str:
    """The action whose key or word stands in this column of the line of keys; "" for none."""
    start, name = 0, ""
    for text, role in line:
        start += width(text)
        name = text if role == "accent" else name
        if column < start:
            return "" if role == "text" else _action_of(name, acting)
    return ""


def _action_of(name: str, acting: Sequence[Key]) -> str:
    found = (key.action for key in acting if key.keys and label(key.keys[0]) == name)
    return next(found, "")


def keys_line(acting: Sequence[Key], first: Sequence[str], columns: int) -> Line:
    """As many keys as fit; help and the way out are among them unless nothing fits."""
    acting = [key for key in acting if key.keys]
    shown = [key for key in acting if key.short]
    last = [key for key in shown if key.action in LAST]
    order = [key for action in first for key in acting if key.action == action]
    order += [key for key in shown if key not in order and key not in last]

    def part(key_name: str, words: str) -> Line:
        return ((key_name, "accent"), (f" {words}", "dim"))

    always = fill([part(label(k.keys[0]), k.short) for k in last], _GAP, columns)
    room = columns - sum(width(text) for text, _ in always) - 3
    rest = fill(
        [part(label(k.keys[0]), k.short or k.action.replace("_", " ")) for k in order],
        _GAP,
        max(room, 0),
    )
    if room < 8:
        return cut(((" ", "text"), *always), columns)
    return cut(((" ", "text"), *rest, _GAP, *always), columns)


def editor_line(editor: Editor, hint: str, columns: int, bad: tuple[int, int] = (0, 0)) -> Line:
    """Sign, text with its caret, hint; scrolled so that the caret is always seen. What is ``bad`` (its place
    and length) is marked."""
    caret, start = editor.caret, 0
    room = max(columns - 4, 1)
    while width(editor.text[start:caret]) > room:
        start += 1
    at, length = bad
    pieces: list[Piece] = [(f" {editor.sign}", "accent")]
    ends = sorted({start, at, at + length, caret, caret + 1, len(editor.text) + 1})
    for begin, end in pairwise([place for place in ends if place >= start]):
        text = editor.text[begin:end] or (" " if begin == caret else "")
        wrong = at <= begin < at + length
        pieces.append((text, "caret" if begin == caret else "drop" if wrong else "input"))
    left = columns - sum(width(text) for text, _ in pieces)
    told = hint if length else _fitting(hint, left)
    return cut((*pieces, (f"  {told}", "warn" if length else "dim")), columns)


def _fitting(hint: str, columns: int) -> str:
    """As many of its parts, which have two spaces between them, as fit; the first in any case."""
    first, *parts = hint.split("  ")
    for part in parts:
        if width(f"  {first}  {part}") > columns:
            break
        first += f"  {part}"
    return first
