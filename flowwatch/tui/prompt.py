"""What comes of a line that is typed: the live filter after ``/``, commands after ``:``."""

from __future__ import annotations

from collections.abc import Sequence

from flowwatch.tui import palette, saved
from flowwatch.tui.actions import COMMAND_ACTIONS
from flowwatch.tui.commands import BadCommand, CommandLine
from flowwatch.tui.desk import Desk
from flowwatch.tui.finding import advice, bad_word, completed
from flowwatch.tui.parts.prompt import Way


def ways(desk: Desk, line: CommandLine) -> dict[str, Way]:
    """What is done with a line, by its sign."""

    def seen(command: str) -> Sequence[str]:
        """What a command's argument may be by what was seen or kept."""
        if command in ("use", "forget"):
            return saved.names(desk)
        if command in ("ns", "pod") and desk.readings is not None:
            return desk.readings.monitor.seen(command)
        return ()

    return {
        "/": Way(
            advice=lambda text: advice(desk, text),
            changed=lambda text: desk.choose(text=text),
            entered=lambda text: desk.choose(text=text),
            left=lambda: desk.choose(text=""),
            completed=lambda text: completed(desk, text),
            bad=bad_word,
        ),
        ">": Way(
            advice=lambda text: palette.advice(desk, text),
            changed=lambda text: desk.repaint(),
            entered=lambda text: palette.carry_out(desk, text),
            left=desk.repaint,
            completed=lambda text: text,
        ),
        ":": Way(
            advice=lambda text: line.hint(text, seen),
            changed=lambda text: desk.repaint(),
            entered=lambda text: _carry_out(desk, line, text),
            left=desk.repaint,
            completed=lambda text: line.completed(text, seen),
        ),
    }


def _carry_out(desk: Desk, commands: CommandLine, line: str) -> None:
    """Carry out a line of the command line; what is wrong with it is said."""
    desk.repaint()
    if not line.strip():
        return
    try:
        command, argument = commands.parse(line)
    except BadCommand as error:
        desk.say(str(error), "warn")
        return
    desk.come_back_to(command.context)
    action = COMMAND_ACTIONS.get(command.name)
    if action is not None:
        action(desk, argument)
    else:
        desk.go(command.name)
