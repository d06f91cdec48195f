"""Keys of the user's own: ``~/.config/flowwatch/keys``, an action and its keys in each line.

pause = x
page_down = ctrl-f pgdn
tail = none
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from flowwatch.text import safe
from flowwatch.tui.keys import (
    ANYWHERE,
    LISTED,
    OPENED,
    ROWS,
    SORTED,
    TIMED,
    TRAFFIC,
    Key,
    KeyMap,
    label,
)
from flowwatch.tui.own import Entry, entries, meant

NONE = "none"
"""In place of keys: no key does it."""

_FIXED = ("interrupt",)
"""Actions that keep their keys: what always gets one out."""

_NAMED = (
    "enter", "tab", "escape", "backspace", "delete", "insert", "home", "end", "pageup", "pagedown",
    "up", "down", "left", "right", *(f"f{number}" for number in range(1, 13)),
)  # fmt: skip
"""Textual's names of keys that type nothing."""

_WITH = ("ctrl", "shift", "alt")

_ALSO = {"esc": "escape", "pgup": "pageup", "pgdn": "pagedown", "space": " ", "del": "delete"}
"""As the dashboard writes some of them."""

_TOGETHER = tuple(
    {one, other}
    for one, other in combinations((ROWS, TRAFFIC, TIMED, LISTED, SORTED), 2)
    if ROWS not in (one, other) or not {LISTED, SORTED} & {one, other}
)
"""Contexts that hold at a time, beside those that always do."""


def read_keys(path: Path, base: KeyMap) -> KeyMap:
    """``base`` with the file's keys. Raises UsageError for what can't be, with its line."""
    actions = {key.action: key for key in base.keys}
    said: dict[str, Entry] = {}
    chosen: dict[str, tuple[str, ...]] = {}
    for entry in entries(path):
        if entry.name not in actions:
            raise entry.wrong(f"no action '{safe(entry.name)}'", meant(entry.name, actions))
        if entry.name in _FIXED:
            raise entry.wrong(f"{entry.name} keeps its key")
        if entry.name in said:
            raise entry.wrong(f"{entry.name} has its keys in line {said[entry.name].line}")
        said[entry.name] = entry
        chosen[entry.name] = _keys(entry)
    made = [_with_keys(key, chosen.get(key.action, key.keys)) for key in base.keys]
    _refuse_doubles(base.keys, made, said)
    return KeyMap(made)


def _with_keys(key: Key, keys: tuple[str, ...]) -> Key:
    return Key(key.action, keys, key.words, key.short, key.group, key.context)


def _keys(entry: Entry) -> tuple[str, ...]:
    words = entry.value.split()
    if not words:
        raise entry.wrong(f"{entry.name} has no key", f"{entry.name} = {NONE} takes them away")
    return () if words == [NONE] else tuple(dict.fromkeys(_key(entry, word) for word in words))


def _key(entry: Entry, word: str) -> str:
    """Textual's name for a key as people write it: ``ctrl-d``, ``esc``, ``G``."""
    if len(word) == 1 and word.isprintable():
        return word
    *held, name = word.lower().replace("+", "-").split("-")
    name = _ALSO.get(name, name)
    if set(held) <= set(_WITH) and (name in _NAMED or (held and len(name) == 1) or name == " "):
        return "+".join([*held, "space" if held and name == " " else name])
    known = [*_NAMED, *_ALSO, "ctrl-a"]
    raise entry.wrong(f"no key '{safe(word)}'", meant(word, known))


def _refuse_doubles(before: Sequence[Key], keys: Sequence[Key], said: dict[str, Entry]) -> None:
    """A key of two actions that could both be meant, unless it is so without the file."""
    ours = {(one.action, name) for one in before for name in one.keys}
    for one, other in combinations(keys, 2):
        entry = said.get(other.action) or said.get(one.action)
        if entry is None or not _meet(one.context, other.context):
            continue
        for name in one.keys:
            if name in other.keys and not {(one.action, name), (other.action, name)} <= ours:
                raise entry.wrong(
                    f"{label(name)} is both {one.action} and {other.action}",
                    f"give one of them another key, or {NONE}",
                )


def _meet(one: str, other: str) -> bool:
    """Whether keys of both contexts may act at a time."""
    always = (ANYWHERE, OPENED)
    return one == other or one in always or other in always or {one, other} in _TOGETHER
