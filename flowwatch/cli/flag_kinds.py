"""What a flag is, and a group of them: the tables of flags are made of these."""

from __future__ import annotations

from typing import NamedTuple

from flowwatch.cli.values import Check, Choices

TEXT, NUMBER, SWITCH, LIST, FILTER = "text", "number", "switch", "list", "filter"


class Flag(NamedTuple):
    """One flag. A SWITCH needs no value; FILTER flags keep their order on the command line."""

    name: str
    kind: str
    help: str
    metavar: str = ""
    short: str = ""
    default: str = ""
    alone: str = ""
    """What it means when given without a value; "" if it needs one."""
    choices: Choices | None = None
    """Its values by name; ``{choices}`` in the help stands for them."""
    check: Check | None = None
    """What else a value must be."""

    @property
    def words(self) -> str:
        """What it means, with its values."""
        if self.choices is None or "{choices}" not in self.help:
            return self.help
        return self.help.replace("{choices}", self.choices.spelt())

    @property
    def takes_next(self) -> bool:
        """Whether the next word of the command line is its value."""
        return self.kind != SWITCH and not self.alone


class Group(NamedTuple):
    """Flags that stand together in ``--help``."""

    title: str
    flags: tuple[Flag, ...]
