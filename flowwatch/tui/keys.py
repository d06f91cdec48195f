"""Every key of the dashboard, once: what it does, its words, where it acts and where it is shown.

The footer and the help screen are made from this table and the keys of the views
(:mod:`flowwatch.tui.views`); the app looks keys up in both. A key is written as the character it types
(``/``, ``G``), or by its name (``ctrl+d``, ``enter``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ANYWHERE = "anywhere"
ROWS = "rows"
TRAFFIC = "traffic"
TIMED = "timed"
LISTED = "listed"
SORTED = "sorted"
OPENED = "opened"

CONTEXTS: dict[str, str] = {
    ROWS: "a table of rows",
    LISTED: "a list",
    SORTED: "a list with headings",
    TRAFFIC: "a view of traffic",
    TIMED: "a view of a window of time",
    OPENED: "a view that was opened over another",
    ANYWHERE: "all that is seen",
}
"""On what keys act, with the words for who presses one elsewhere. The first that has a key counts."""


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that keys do."""

    action: str
    """What it does: a name of actions.ACTIONS, or of a view."""
    keys: tuple[str, ...]
    words: str
    """For help: a phrase."""
    short: str = ""
    """For the footer; empty: not shown there."""
    group: str = "rows"
    context: str = ANYWHERE
    """Of CONTEXTS, or the name of the only view that has it."""


GROUPS: dict[str, str] = {
    "moving": "Moving",
    "rows": "Which rows",
    "row": "The selected row",
    "view": "The screen",
    "draft": "The draft",
    "views": "Views",
    "leaving": "Leaving",
}

KEYS: tuple[Key, ...] = (
    Key(
        "filter",
        ("/",),
        "filter rows as you type, by what they show (api.github.com:443, :8080, 53/udp, an address, a "
        "reason, a policy); words must all occur, !word must not",
        "filter",
        context=TRAFFIC,
    ),
    Key(
        "detail",
        ("enter",),
        "show or hide the detail of the selected row",
        "detail",
        "row",
        context=ROWS,
    ),
    Key("go_in", ("enter",), "the rows behind the selected line", "go in", "row", LISTED),
    Key(
        "drops",
        ("d",),
        "only rows with dropped or audited attempts, or all",
        "drops only",
        context=TRAFFIC,
    ),
    Key(
        "noise",
        ("n",),
        "list also what no policy was asked about (neighbour discovery, multicast), or fold it",
        context=TRAFFIC,
    ),
    Key(
        "sort", ("s",), "next order: drops, forwarded, rate, last, pod, peer", "sort", context=ROWS
    ),
    Key(
        "unfold",
        (" ",),
        "show the pods of a row that is folded, or fold them again",
        "unfold",
        context=ROWS,
    ),
    Key("open_fold", ("right",), "show the pods of a row", context=ROWS),
    Key("close_fold", ("left",), "fold them again", context=ROWS),
    Key(
        "fold_by",
        ("v",),
        "fold rows by workload, namespace or not at all; :fold label:KEY by a label",
        "fold by",
        context=ROWS,
    ),
    Key(
        "open_policy",
        ("o",),
        "open the file of the policy that blocked the row at its line, in $PAGER or $EDITOR",
        "",
        "row",
        context=ROWS,
    ),
    Key("reverse", ("S",), "turn the order round", context=ROWS),
    Key("sort_list", ("s",), "sort the list by its next heading", "sort", context=SORTED),
    Key("reverse_list", ("S",), "turn its order round", context=SORTED),
    Key("direction", ("i",), "egress, ingress, both: in every view"),
    Key("pause", ("p",), "hold the screen; reading and counting go on", "pause", "view"),
    Key(
        "tail", ("t",), "show or hide the last records, as they come", "tail", "view", context=ROWS
    ),
    Key("export", ("e",), "write the rows as asked for to a CSV file", "export", context=ROWS),
    Key(
        "copy",
        ("y",),
        "copy the hubble command that shows the row's records",
        "copy cmd",
        "row",
        context=ROWS,
    ),
    Key(
        "copy_row",
        ("Y",),
        "copy the whole detail as Markdown, for a ticket",
        "",
        "row",
        context=ROWS,
    ),
    Key(
        "span",
        ("W",),
        "numbers of the last minute, 5 minutes, 15 minutes, or all that was read; :since 90s any other",
        "window",
        "view",
        context=TIMED,
    ),
    Key("earlier", ("[",), "half a window back in time", "", "view", context=TIMED),
    Key("later", ("]",), "half a window on", "", "view", context=TIMED),
    Key(
        "hour_before",
        ("{",),
        "the whole hour before in which anything was, as in a history; at first the last one",
        "",
        "view",
        context=TIMED,
    ),
    Key("hour_after", ("}",), "the whole hour after it", "", "view", context=TIMED),
    Key(
        "now",
        ("L",),
        "back to now: after {earlier} {hour_before} and after a pause",
        "",
        "view",
        context=TIMED,
    ),
    Key("window", ("z",), "timeline: everything, or the latest alone", "", "view", context=ROWS),
    Key(
        "mark",
        ("M",),
        "set a mark now, in place of those that are found: {changes} compares before and after; :mark off "
        "ends that",
        "",
        "view",
    ),
    Key("retry", ("r",), "try to connect now, where that is waited for", "", "view"),
    Key(
        "private",
        ("N",),
        "pseudonyms in place of names and addresses, for a screenshot, or the names again",
        "",
        "view",
    ),
    Key(
        "theme",
        ("T",),
        "next theme: dark, light, contrast, contrast-light, ansi, mono, your own",
        "",
        "view",
    ),
    Key("mouse", ("m",), "give the mouse to the terminal (to select text), or take it", "", "view"),
    Key("palette", ("ctrl+p",), "find an action by what it does", "", "view"),
    Key("command", (":",), "command line; tab completes, :help lists all", "", "view"),
    Key("next_view", ("tab",), "the next of the numbered views", "", "views"),
    Key("previous_view", ("shift+tab",), "the one before", "", "views"),
    Key("last_view", ("-",), "the view that was seen last, and back", "", "views"),
    Key("down", ("j", "down"), "down a row", "", "moving"),
    Key("up", ("k", "up"), "up a row", "", "moving"),
    Key("half_down", ("ctrl+d",), "half a page down", "", "moving"),
    Key("half_up", ("ctrl+u",), "half a page up", "", "moving"),
    Key("page_down", ("pagedown", "ctrl+f", " "), "a page down", "", "moving"),
    Key("page_up", ("pageup", "ctrl+b", "b"), "a page up", "", "moving"),
    Key("top", ("g", "home"), "to the first row, and stay there", "", "moving"),
    Key("bottom", ("G", "end"), "to the last row", "", "moving"),
    Key("panel_down", ("J", "shift+down"), "scroll the detail down", "", "moving", context=ROWS),
    Key("panel_up", ("K", "shift+up"), "scroll the detail up", "", "moving", context=ROWS),
    Key("back", ("escape",), "close a view, detail, tail; then clear the filter", "", "leaving"),
    Key("suspend", ("ctrl+z",), "back to the shell; fg returns", "", "leaving"),
    Key("interrupt", ("ctrl+c",), "leave the input; pressed twice: quit", "", "leaving"),
    Key("close", ("q",), "close a view", "back", "leaving", OPENED),
    Key("quit", ("q",), "quit, from the table", "quit", "leaving"),
)

OPENING: dict[str, tuple[str, ...]] = {
    "rows": ("1",),
    "workloads": ("2",),
    "destinations": ("3",),
    "policies": ("4",),
    "causes": ("5",),
    "map": ("6",),
    "audit": ("7", "A"),
    "flows": ("8",),
    "nodes": ("9",),
    "changes": ("c",),
    "waiting": ("H",),
    "warnings": ("w",),
    "draft": ("D",),
    "help": ("?", "f1"),
}
"""The keys that open views, by the view. A numbered one's number is one of them."""

_NAMES = {
    " ": "space", "escape": "esc", "pagedown": "pgdn", "pageup": "pgup",
    "up": "↑", "down": "↓", "right": "→", "left": "←", "shift+up": "shift-↑", "shift+down": "shift-↓",
}  # fmt: skip


class KeyMap:
    """Keys, looked up by what is seen."""

    def __init__(self, keys: Iterable[Key] = KEYS) -> None:
        """Raises ValueError when a key means two things in one context."""
        self.keys = tuple(keys)
        self._by_name: dict[str, dict[str, Key]] = {}
        self._acting: dict[tuple[str, ...], tuple[Key, ...]] = {}
        for key in self.keys:
            for name in key.keys:
                found = self._by_name.setdefault(name, {}).setdefault(key.context, key)
                if found is not key:
                    raise ValueError(f"{label(name)} is both {found.action} and {key.action}")

    def lookup(self, key: str, character: str | None, contexts: Sequence[str]) -> Key | None:
        """What a key press means where ``contexts`` hold, the nearest first.

        ``key`` is Textual's name for it, ``character`` what it types.
        """
        known = self.everywhere(key, character)
        return next((known[context] for context in contexts if context in known), None)

    def everywhere(self, key: str, character: str | None) -> dict[str, Key]:
        """What a key press means, by context."""
        typed = character is not None and character.isprintable()
        return self._by_name.get(character if typed and character else key, {})

    def acting(self, contexts: Sequence[str]) -> tuple[Key, ...]:
        """The keys that act where ``contexts`` hold, in the order of the table."""
        found = self._acting.get(tuple(contexts))
        if found is None:
            found = self._acting[tuple(contexts)] = tuple(
                key
                for key in self.keys
                if any(self.lookup(name, name, contexts) is key for name in key.keys)
            )
        return found


def label(key: str) -> str:
    """A key as people write it: ``esc``, ``ctrl-d``, ``G``."""
    return _NAMES.get(key) or key.replace("ctrl+", "ctrl-")


def labels(key: Key) -> str:
    """All keys for one thing: ``j ↓``."""
    return " ".join([label(name) for name in key.keys])
