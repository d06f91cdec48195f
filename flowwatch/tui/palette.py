"""The palette: actions found by what they do, in whatever words come to mind."""

from __future__ import annotations

from collections.abc import Iterator

from flowwatch.tui.desk import Desk
from flowwatch.tui.keys import labels

_SHOWN = 3

MEANINGS = {
    "filter": "search find grep narrow",
    "drops": "blocked denied failing problems errors",
    "direction": "ingress egress incoming outgoing inbound outbound",
    "pause": "freeze stop hold",
    "export": "save csv download write",
    "copy": "clipboard yank command",
    "copy_row": "clipboard yank ticket",
    "private": "hide names addresses screenshot mask anonymous pseudonyms privacy",
    "theme": "colour color dark light contrast",
    "quit": "exit leave end",
    "tail": "log stream follow",
    "sort": "order arrange",
    "workloads": "deployments apps services",
    "destinations": "peers targets hosts who talks",
    "policies": "rules networkpolicy cnp deny allow",
    "causes": "why reason blocked explanation",
    "waiting": "harm hanging stuck blocked now outage",
    "map": "graph topology matrix picture",
    "flows": "records packets log",
    "nodes": "machines relay agents lost",
    "warnings": "missing gaps losses",
    "audit": "verify check compliance",
}
"""Other words for what an action does; each is the name of an action or of a view."""


def found(desk: Desk, text: str) -> list[tuple[str, str, str]]:
    """Actions whose words have all that was typed, the best first: name, keys, words."""
    wanted = text.casefold().split()
    ranked = []
    for place, (action, shown, words) in enumerate(_actions(desk)):
        name = action.replace("_", " ")
        meant = MEANINGS.get(action, "")
        every = f"{name} {words} {meant}".casefold()
        if wanted and all(word in every for word in wanted):
            rank = (
                0
                if name.startswith(text.casefold())
                else 1
                if wanted[0] in f"{name} {meant}"
                else 2
            )
            ranked.append((rank, place, (action, shown, words)))
    return [entry for _, _, entry in sorted(ranked)]


def _actions(desk: Desk) -> Iterator[tuple[str, str, str]]:
    for key in desk.keys:
        if key.group not in ("moving", "leaving") or key.action == "quit":
            yield key.action, labels(key), desk.look.keys.told(key.words)


def advice(desk: Desk, text: str) -> str:
    """What enter would do, and what else there is."""
    if not text:
        return "what do you want to do? blocked, export, who talks, colours …"
    entries = found(desk, text)[:_SHOWN]
    if not entries:
        return desk.look.keys.told("no action is like that: {help} lists all")
    return "   ".join([f"{keys}  {words}" for _, keys, words in entries])


def carry_out(desk: Desk, text: str) -> None:
    """Do the best of what is found."""
    desk.repaint()
    entries = found(desk, text)
    if entries:
        desk.do(entries[0][0])
