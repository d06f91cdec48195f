"""The command line (``:``): every command once, with its words, its completion and its errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flowwatch.egress.query import DIRECTIONS, ORDERS
from flowwatch.text import safe
from flowwatch.tui.keys import ANYWHERE, ROWS, TIMED, TRAFFIC
from flowwatch.tui.theme import THEMES

_SWITCH = ("on", "off")


@dataclass(frozen=True, slots=True)
class Command:
    """One command: an entry of actions.COMMAND_ACTIONS, given the argument's text, or a view's name."""

    name: str
    words: str
    """For help: a phrase."""
    usage: str = ""
    """How the argument reads in help; in brackets when it may be left out."""
    choices: tuple[str, ...] = ()
    """What the argument may be; empty: anything."""
    context: str = ANYWHERE
    """Of keys.CONTEXTS: what is gone back to before it is carried out, so that what it does is seen."""
    aliases: tuple[str, ...] = ()

    @property
    def synopsis(self) -> str:
        return f"{self.name} {self.usage}".rstrip()


FOLDS = "workload|namespace|pod|label:KEY"

COMMANDS: tuple[Command, ...] = (
    Command(
        "filter", "only rows in which all words occur (!word: doesn't)", "[WORDS]", context=TRAFFIC
    ),
    Command(
        "drops", "only rows with dropped or audited attempts", "[on|off]", _SWITCH, context=TRAFFIC
    ),
    Command(
        "noise", "list also what no policy was asked about", "[on|off]", _SWITCH, context=TRAFFIC
    ),
    Command("all", "all rows: no filter, not only drops, noise as well", context=TRAFFIC),
    Command("sort", "order of the rows", "|".join(ORDERS), tuple(ORDERS), context=ROWS),
    Command(
        "dir",
        "direction of the attempts",
        "|".join(DIRECTIONS),
        DIRECTIONS,
        aliases=("direction",),
    ),
    Command("fold", "what rows, and the map, are folded by", FOLDS, context=TRAFFIC),
    Command(
        "export",
        "write the rows to a file: .csv, .md, .json; or the screen as .svg",
        "[FILE]",
        (),
        TRAFFIC,
        ("w",),
    ),
    Command("mark", "a mark now or then (UTC), to compare before and after", "[HH:MM:SS|off]"),
    Command("export!", "the same, over a file that is there", "FILE", context=TRAFFIC),
    Command("pause", "hold the screen", "[on|off]", _SWITCH),
    Command("detail", "the selected row", "[on|off]", _SWITCH, context=ROWS),
    Command("tail", "the last records", "[on|off]", _SWITCH, context=ROWS),
    Command(
        "since",
        "numbers of the last 5m, 90s, 1h …; without one, of all that was read",
        "[DURATION|all]",
        context=TIMED,
    ),
    Command("ns", "only this namespace; without one, all", "[NAMESPACE]", context=TRAFFIC),
    Command("pod", "only this pod or workload; without one, all", "[POD]", context=TRAFFIC),
    Command("keep", "the filter, under this name", "NAME", context=TRAFFIC),
    Command(
        "use",
        "the filter that was kept under this name or number; without one, which there are",
        "[NAME]",
        context=TRAFFIC,
    ),
    Command("forget", "a filter that was kept, by its name or number", "NAME"),
    Command(
        "copy",
        "copy the command that shows the row's records, or that captures its packets",
        "[hubble|tcpdump|retina]",
        ("hubble", "tcpdump", "retina"),
        ROWS,
    ),
    Command(
        "columns",
        "these columns in this order, in sessions to come as well; default: those that fit",
        "[NAME,NAME|default]",
        context=ROWS,
    ),
    Command(
        "private",
        "pseudonyms in place of names and addresses, for a screenshot",
        "[on|off]",
        _SWITCH,
    ),
    Command("theme", "colours", "|".join(THEMES), tuple(THEMES)),
    Command("mouse", "mouse for the dashboard, or for the terminal", "[on|off]", _SWITCH),
    Command("save", "write the draft that is edited to a file", "[FILE]"),
    Command("quit", "leave; also :q", aliases=("q", "q!", "x")),
)


Seen = Callable[[str], Sequence[str]]
"""What a command's argument may be, by the command's name, beside choices that are always the same."""


def _nothing(_name: str) -> Sequence[str]:
    return ()


class BadCommand(Exception):
    """What was typed can't be carried out; the text is a safe line for the footer."""


class CommandLine:
    """Commands, found by what is typed."""

    def __init__(self, commands: Sequence[Command] = COMMANDS) -> None:
        self.commands = tuple(commands)
        self._by_name = {
            name: command for command in commands for name in (command.name, *command.aliases)
        }

    def parse(self, line: str) -> tuple[Command, str]:
        """The command and its argument; BadCommand with what to type instead."""
        name, _, argument = line.strip().partition(" ")
        argument = argument.strip()
        command = self._find(name)
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

    def _find(self, name: str) -> Command | None:
        """By name, alias, or an unambiguous beginning."""
        exact = self._by_name.get(name)
        if exact is not None:
            return exact
        found = [
            command
            for command in self.commands
            if name and command.name.startswith(name) and not command.name.endswith("!")
        ]
        return found[0] if len(found) == 1 else None

    def completions(self, line: str, seen: Seen = _nothing) -> list[str]:
        """What ``line`` may become: whole command lines. ``seen``: by a command's name, its arguments."""
        name, space, argument = line.lstrip().partition(" ")
        if not space:
            return [
                command.name + (" " if command.usage else "")
                for command in self.commands
                if command.name.startswith(name)
            ]
        command = self._find(name)
        if command is None:
            return []
        choices = command.choices or seen(command.name)
        return [f"{name} {choice}" for choice in choices if choice.startswith(argument.lstrip())]

    def completed(self, line: str, seen: Seen = _nothing) -> str:
        """``line``, as far as all completions agree."""
        found = self.completions(line, seen)
        if not found:
            return line
        common = found[0]
        while not all(other.startswith(common) for other in found):
            common = common[:-1]
        return max(common, line, key=len)

    def hint(self, line: str, seen: Seen = _nothing) -> str:
        """What could come next, for the eye: shown after the caret."""
        name, space, argument = line.lstrip().partition(" ")
        command = self._find(name)
        if command is not None and space and (names := seen(command.name)):
            typed = argument.lstrip()
            begun = [safe(one) for one in names if one.startswith(typed) and one != typed]
            if begun:
                return "  ".join(begun)
        if command is not None and (space or name == command.name):
            if argument or not command.usage:
                return command.words
            return f"{command.usage}  {command.words}"
        names = [command.name for command in self.commands if command.name.startswith(name)]
        return " ".join(names) if names else "no such command"
