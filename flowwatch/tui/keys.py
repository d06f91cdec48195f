"""Every key of the dashboard, once: what it does, its words, and where it is shown.

The footer and the help screen are made from this table; the app looks keys up in it.
A key is written as the character it types (``/``, ``G``), or by its name (``ctrl+d``, ``enter``).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that keys do."""

    action: str
    """The app's method ``action_…``, or the pager's for those of the group ``moving``."""
    keys: tuple[str, ...]
    words: str
    """For help: a phrase."""
    short: str = ""
    """For the footer; empty: not shown there."""
    group: str = "rows"


GROUPS: dict[str, str] = {
    "moving": "Moving",
    "rows": "Which rows",
    "row": "The selected row",
    "view": "The screen",
    "leaving": "Leaving",
}

KEYS: tuple[Key, ...] = (
    Key(
        "filter", ("/",), "filter rows as you type; words must all occur, !word must not", "filter"
    ),
    Key("detail", ("enter",), "show or hide the detail of the selected row", "detail", "row"),
    Key("drops", ("d",), "only rows with dropped or audited attempts, or all", "drops only"),
    Key("sort", ("s",), "next order: drops, forwarded, rate, last, pod, peer", "sort"),
    Key("reverse", ("S",), "turn the order round"),
    Key("direction", ("i",), "egress, ingress, both"),
    Key("pause", ("p",), "hold the screen; reading and counting go on", "pause", "view"),
    Key("tail", ("t",), "show or hide the last records, as they come", "tail", "view"),
    Key("export", ("e",), "write the rows as asked for to a CSV file", "export"),
    Key("copy", ("y",), "copy the hubble command that shows the row's records", "copy cmd", "row"),
    Key("copy_row", ("Y",), "copy the row as text", "", "row"),
    Key("notices", ("w",), "what the numbers don't include: losses, nodes, warnings", "", "view"),
    Key("audit", ("A",), "what the policies given (--policies) say of the traffic", "", "view"),
    Key("window", ("z",), "timeline: everything, or the latest alone", "", "view"),
    Key("theme", ("T",), "next theme: dark, light, ansi, mono", "", "view"),
    Key("mouse", ("m",), "give the mouse to the terminal (to select text), or take it", "", "view"),
    Key("command", (":",), "command line; tab completes, :help lists all", "", "view"),
    Key("help", ("?", "f1"), "this page", "help", "view"),
    Key("down", ("j", "down"), "down a row", "", "moving"),
    Key("up", ("k", "up"), "up a row", "", "moving"),
    Key("half_down", ("ctrl+d",), "half a page down", "", "moving"),
    Key("half_up", ("ctrl+u",), "half a page up", "", "moving"),
    Key("page_down", ("pagedown", "ctrl+f", " "), "a page down", "", "moving"),
    Key("page_up", ("pageup", "ctrl+b", "b"), "a page up", "", "moving"),
    Key("top", ("g", "home"), "to the first row, and stay there", "", "moving"),
    Key("bottom", ("G", "end"), "to the last row", "", "moving"),
    Key("panel_down", ("J", "shift+down"), "scroll the detail down", "", "moving"),
    Key("panel_up", ("K", "shift+up"), "scroll the detail up", "", "moving"),
    Key("back", ("escape",), "close help, detail, tail; then clear the filter", "", "leaving"),
    Key("suspend", ("ctrl+z",), "back to the shell; fg returns", "", "leaving"),
    Key("interrupt", ("ctrl+c",), "leave the input; pressed twice: quit", "", "leaving"),
    Key("quit", ("q",), "quit", "quit", "leaving"),
)

_BY_KEY: dict[str, Key] = {name: key for key in KEYS for name in key.keys}

_NAMES = {
    " ": "space", "escape": "esc", "pagedown": "pgdn", "pageup": "pgup",
    "up": "↑", "down": "↓", "shift+up": "shift-↑", "shift+down": "shift-↓",
}  # fmt: skip


def lookup(key: str, character: str | None) -> Key | None:
    """What a key press means; ``key`` is Textual's name for it, ``character`` what it types."""
    if character is not None and character.isprintable():
        return _BY_KEY.get(character)
    return _BY_KEY.get(key)


def label(key: str) -> str:
    """A key as people write it: ``esc``, ``ctrl-d``, ``G``."""
    return _NAMES.get(key) or key.replace("ctrl+", "ctrl-")


def labels(key: Key) -> str:
    """All keys for one thing: ``j ↓``."""
    return " ".join([label(name) for name in key.keys])
