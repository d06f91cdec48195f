"""The command line (``:``): every command once, with its words, its completion and its errors."""

from __future__ import annotations

from dataclasses import dataclass

from flowwatch.egress.query import DIRECTIONS, ORDERS
from flowwatch.text import safe
from flowwatch.tui.theme import THEMES

_SWITCH = ("on", "off")


@dataclass(frozen=True, slots=True)
class Command:
    """One command; the app's method ``command_…`` carries it out, given the argument's text."""

    name: str
    words: str
    """For help: a phrase."""
    usage: str = ""
    """How the argument reads in help; in brackets when it may be left out."""
    choices: tuple[str, ...] = ()
    """What the argument may be; empty: anything."""

    @property
    def synopsis(self) -> str:
        return f"{self.name} {self.usage}".rstrip()


COMMANDS: tuple[Command, ...] = (
    Command("filter", "only rows in which all words occur (!word: doesn't)", "[WORDS]"),
    Command("drops", "only rows with dropped or audited attempts", "[on|off]", _SWITCH),
    Command("all", "all rows again: no filter, not only drops"),
    Command("sort", "order of the rows", "|".join(ORDERS), tuple(ORDERS)),
    Command("dir", "direction of the attempts", "|".join(DIRECTIONS), DIRECTIONS),
    Command("export", "write the rows to a CSV file", "[FILE]"),
    Command("pause", "hold the screen", "[on|off]", _SWITCH),
    Command("detail", "the selected row", "[on|off]", _SWITCH),
    Command("tail", "the last records", "[on|off]", _SWITCH),
    Command("copy", "copy the hubble command of the row"),
    Command("notices", "what the numbers don't include"),
    Command("audit", "what the policies given say of the traffic"),
    Command("theme", "colours", "|".join(THEMES), tuple(THEMES)),
    Command("mouse", "mouse for the dashboard, or for the terminal", "[on|off]", _SWITCH),
    Command("help", "keys and commands"),
    Command("quit", "leave; also :q"),
)

_ALIASES = {"q": "quit", "q!": "quit", "x": "quit", "h": "help", "w": "export", "direction": "dir"}
_BY_NAME = {command.name: command for command in COMMANDS}


class BadCommand(Exception):
    """What was typed can't be carried out; the text is a safe line for the footer."""


def parse(line: str) -> tuple[Command, str]:
    """The command and its argument; BadCommand with what to type instead."""
    name, _, argument = line.strip().partition(" ")
    argument = argument.strip()
    command = _find(name)
    if command is None:
        raise BadCommand(f"no command '{safe(name)}': :help lists them all")
    if command.choices:
        if not argument and command.usage.startswith("["):
            return command, ""
        found = [choice for choice in command.choices if choice.startswith(argument)]
        if argument in command.choices:
            found = [argument]
        if len(found) != 1 or not argument:
            raise BadCommand(f"usage: :{command.synopsis}")
        argument = found[0]
    elif argument and not command.usage:
        raise BadCommand(f":{command.name} takes no argument")
    return command, argument


def _find(name: str) -> Command | None:
    """By name, alias, or an unambiguous beginning."""
    exact = _BY_NAME.get(_ALIASES.get(name, name))
    if exact is not None:
        return exact
    found = [command for command in COMMANDS if name and command.name.startswith(name)]
    return found[0] if len(found) == 1 else None


def completions(line: str) -> list[str]:
    """What ``line`` may become: whole command lines."""
    name, space, argument = line.lstrip().partition(" ")
    if not space:
        return [
            command.name + (" " if command.usage else "")
            for command in COMMANDS
            if command.name.startswith(name)
        ]
    command = _find(name)
    if command is None:
        return []
    return [f"{name} {choice}" for choice in command.choices if choice.startswith(argument)]


def hint(line: str) -> str:
    """What could come next, for the eye: shown after the caret."""
    name, space, argument = line.lstrip().partition(" ")
    command = _find(name)
    if command is not None and (space or name == command.name):
        if argument or not command.usage:
            return command.words
        return f"{command.usage}  {command.words}"
    names = [command.name for command in COMMANDS if command.name.startswith(name)]
    return " ".join(names) if names else "no such command"
