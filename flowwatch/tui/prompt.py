"""What is typed into the last line: the live filter after ``/``, commands after ``:``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.report.human import plural
from flowwatch.tui.actions import COMMAND_ACTIONS
from flowwatch.tui.commands import BadCommand, completions, hint, parse
from flowwatch.tui.editor import Editor

if TYPE_CHECKING:
    from flowwatch.tui.shell import Dashboard


def press(app: Dashboard, editor: Editor, key: str, character: str | None) -> None:
    """A key press while ``editor`` is open."""
    if key == "escape":
        leave(app, editor)
    elif key == "enter":
        app.editor = None
        _remember(app.history[editor.sign], editor.text)
        if editor.sign == ":":
            carry_out(app, editor.text)
    elif key in ("tab", "shift+tab") and editor.sign == ":":
        _complete(editor)
    elif key == "backspace" and not editor.text:
        # As in vim and less: there is nothing left to take away but the input itself.
        app.editor = None
    elif editor.key(key, character):
        changed(app, editor)
    app.repaint()


def leave(app: Dashboard, editor: Editor) -> None:
    """Close the input; a filter is cleared with it."""
    app.editor = None
    if editor.sign == "/":
        app.choose(text="")
    app.repaint()


def changed(app: Dashboard, editor: Editor) -> None:
    """The text has changed; a filter follows at once."""
    if editor.sign == "/":
        app.choose(text=editor.text)


def advice(app: Dashboard, editor: Editor) -> str:
    """What could be typed next, or what the filter finds."""
    if editor.sign == ":":
        return hint(editor.text)
    if app.frame is None or not editor.text:
        return "words that must all occur; !word must not"
    return f"{plural(app.frame.snapshot.matched, 'row')}  enter keeps, esc clears"


def carry_out(app: Dashboard, line: str) -> None:
    """Carry out a line of the command line; what is wrong with it is said."""
    if not line.strip():
        return
    try:
        command, argument = parse(line)
    except BadCommand as error:
        app.say(str(error), "warn")
        return
    COMMAND_ACTIONS[command.name](app, argument)


def _remember(history: list[str], text: str) -> None:
    if text and history[-1:] != [text]:
        history.append(text)


def _complete(editor: Editor) -> None:
    """As far as all completions agree."""
    found = completions(editor.text)
    if not found:
        return
    common = found[0]
    for other in found[1:]:
        while not other.startswith(common):
            common = common[:-1]
    if len(common) >= len(editor.text):
        editor.replace(common)
