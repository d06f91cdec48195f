"""What keys are called in sentences: as this person has them, not as they were given out.

    names = KeyNames(key_map.keys)
    names.told("{pause} shows what came meanwhile")     # "p shows …", or "x shows …"

No sentence of the dashboard names a key by itself (tests/unit/tui/test_named.py). What is pressed while a
line is typed (enter, esc, tab) can't be changed, and is no action of the map.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowwatch.tui.keys import KEYS, OPENING, Key, label

TYPED = frozenset(
    {
        "copy", "detail", "direction", "drops", "export", "filter", "mark", "mouse", "noise", "pause",
        "private", "quit", "sort", "tail", "theme",
    }
)  # fmt: skip
"""Actions that are commands, too, by the same name."""


class KeyNames:
    """The first key of each action, by the action."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._first = {key.action: label(key.keys[0]) for key in keys if key.keys}

    def __getitem__(self, action: str) -> str:
        """``p``, ``esc``; of an action that has no key what is typed instead: ``:pause``."""
        if (first := self._first.get(action)) is not None:
            return first
        if action in TYPED or action in OPENING:
            return f":{action}"
        return f"{self._first.get('palette', '')} {action.replace('_', ' ')}".lstrip()

    def told(self, text: str) -> str:
        """``text`` with the keys of the actions that stand in it in braces."""
        return text.format_map(self)


NAMES = KeyNames((*KEYS, *(Key(name, keys, "") for name, keys in OPENING.items())))
"""As they are where nobody has a file of keys."""
