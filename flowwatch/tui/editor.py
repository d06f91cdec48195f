"""The line that is typed after ``/`` and ``:``: text, caret, history, as readline users expect it."""

from __future__ import annotations

from collections.abc import Callable

from flowwatch.text import safe

LONGEST = 1_000
"""Characters that a line may have; the rest of a paste is left out."""


class Editor:
    """A line of text being edited. Feed it keys; ask for :attr:`text` and :attr:`caret`."""

    def __init__(self, sign: str, text: str = "", history: list[str] | None = None) -> None:
        """``sign`` is ``/`` or ``:``; ``history`` holds earlier lines, the newest last."""
        self.sign = sign
        self.text = text
        self.caret = len(text)
        self._history = history if history is not None else []
        self._place = len(self._history)
        self._draft = text

    def key(self, key: str, character: str | None) -> bool:
        """Take a key press; whether it meant anything here."""
        edit = _EDITS.get(key)
        if edit is not None:
            edit(self)
            return True
        if character is not None and character.isprintable():
            self.insert(character)
            return True
        return False

    def insert(self, text: str) -> None:
        """Put ``text`` in at the caret, control characters written out."""
        before = self.text[: self.caret]
        text = text.replace("\n", " ").replace("\r", "")
        # An accent may be typed after its letter.
        text = safe("a" + text)[1:] if before else safe(text)
        text = text[: LONGEST - len(self.text)]
        self.text = before + text + self.text[self.caret :]
        self.caret += len(text)

    def replace(self, text: str) -> None:
        """Another text, with the caret at its end."""
        self.text = text[:LONGEST]
        self.caret = len(self.text)

    def _move(self, caret: int) -> None:
        self.caret = max(0, min(caret, len(self.text)))

    def _cut(self, start: int, end: int) -> None:
        start, end = max(start, 0), min(end, len(self.text))
        self.text = self.text[:start] + self.text[end:]
        self.caret = start

    def _word_left(self) -> int:
        place = self.caret
        while place and self.text[place - 1] == " ":
            place -= 1
        while place and self.text[place - 1] != " ":
            place -= 1
        return place

    def _recall(self, step: int) -> None:
        if self._place == len(self._history):
            self._draft = self.text
        place = self._place + step
        while 0 <= place < len(self._history) and self._history[place] == self.text:
            # The filter that is set stands in the line, and was entered last.
            place += step
        if 0 <= place <= len(self._history):
            self._place = place
            self.replace(self._history[place] if place < len(self._history) else self._draft)


_EDITS: dict[str, Callable[[Editor], None]] = {
    "left": lambda e: e._move(e.caret - 1),
    "ctrl+b": lambda e: e._move(e.caret - 1),
    "right": lambda e: e._move(e.caret + 1),
    "ctrl+f": lambda e: e._move(e.caret + 1),
    "ctrl+left": lambda e: e._move(e._word_left()),
    "home": lambda e: e._move(0),
    "ctrl+a": lambda e: e._move(0),
    "end": lambda e: e._move(len(e.text)),
    "ctrl+e": lambda e: e._move(len(e.text)),
    "backspace": lambda e: e._cut(e.caret - 1, e.caret),
    "ctrl+h": lambda e: e._cut(e.caret - 1, e.caret),
    "delete": lambda e: e._cut(e.caret, e.caret + 1),
    "ctrl+d": lambda e: e._cut(e.caret, e.caret + 1),
    "ctrl+w": lambda e: e._cut(e._word_left(), e.caret),
    "ctrl+u": lambda e: e._cut(0, e.caret),
    "ctrl+k": lambda e: e._cut(e.caret, len(e.text)),
    "up": lambda e: e._recall(-1),
    "ctrl+p": lambda e: e._recall(-1),
    "down": lambda e: e._recall(1),
    "ctrl+n": lambda e: e._recall(1),
}
"""Keys while a line is edited: those of emacs, readline and the shells."""
