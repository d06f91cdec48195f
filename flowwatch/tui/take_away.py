"""What leaves the dashboard: text to the clipboard, rows to a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from msgspec.structs import replace

from flowwatch.egress.rows import Snapshot
from flowwatch.errors import OutputError
from flowwatch.text import plural, safe
from flowwatch.tui import clipboard
from flowwatch.tui.desk import Desk
from flowwatch.tui.export import file_name, form_of, free_path, write_form, write_picture
from flowwatch.tui.format import window_words
from flowwatch.tui.parts.rows import Rows


def copy_text(desk: Desk, text: str, what: str) -> None:
    """Hand ``text`` to the terminal's clipboard, and say how that went."""
    sequence = clipboard.osc52(text)
    if sequence:
        desk.write(sequence)
    desk.beside(lambda: clipboard.to_tmux(text))
    kept = clipboard.keep(text)
    if kept is None:
        desk.say(
            f"{what} copied, if your terminal takes OSC 52 (else {desk.look.keys['mouse']}, then select)"
        )
    else:
        desk.say(f"{what} copied (OSC 52); also in {shown_path(desk, kept)}")


def shown_path(desk: Desk, path: Path) -> str:
    """A path for the screen; its name alone where names are hidden: a home has one of a person's."""
    return safe(path.name if desk.options.private else str(path))


def _folds_alone(snapshot: Snapshot) -> Snapshot:
    """Without the rows of open folds, which are counted in these."""
    rows = tuple([row for row in snapshot.rows if row.key not in snapshot.within])
    open_rows = len(snapshot.rows) - len(rows)
    return replace(snapshot, rows=rows, matched=snapshot.matched - open_rows)


def _limits(desk: Desk) -> str:
    """What limits the rows, in words: the command line's filters, then what was chosen since."""
    query = desk.chosen.query
    chosen = [f"/{query.text}"] if query.text else []
    chosen += ["drops only"] if query.drops_only else []
    chosen += [window_words(query)] if query.window else []
    return "  ".join(
        [word for word in (desk.chosen.filter_words, *chosen, query.direction) if word]
    )


def export_rows(desk: Desk, path: Path | None, *, over: bool = False) -> None:
    """Write what is shown, in a thread; the footer says where, or why not.

    ``over``: even where there is a file of that name.
    """
    shown, readings = desk.answer(Rows), desk.readings
    if shown is None or readings is None:
        desk.say("nothing to export yet", "warn")
        return
    # The screen holds the first rows only, and folds noise: all of them are written, the column tells.
    query = replace(desk.chosen.query, limit=None, noise=True, unfolded=frozenset())
    target = path or free_path(desk.options.export_dir, file_name(query, time.time()))
    if path is not None and os.path.lexists(path) and not over:
        desk.say(
            f"{safe(path.name)} is there already: :export! {safe(path.name)} writes over it",
            "warn",
            8.0,
        )
        return
    filters = _limits(desk)
    try:
        picture = desk.picture() if form_of(target) == "svg" else ""
    except OutputError as error:
        desk.say(str(error), "drop", 8.0)
        return
    held, paused = shown.value.snapshot, desk.chosen.paused

    def work() -> None:
        taken = _folds_alone(held) if paused else readings.monitor.snapshot(query)
        try:
            if picture:
                write_picture(picture, target, taken, filters)
                desk.from_beside(
                    desk.say, f"the screen is in {shown_path(desk, target)}", "strong", 8.0
                )
                return
            attributed = readings.audit is not None
            count, beside = write_form(taken, target, filters, attributed=attributed)
        except OutputError as error:
            why = f"can't write {shown_path(desk, target)}" if desk.options.private else str(error)
            desk.from_beside(desk.say, why, "drop", 10.0)
            return
        text = f"{plural(count, 'row')} written to {shown_path(desk, target)}"
        if paused and taken.matched > count:
            text += f", the first of {taken.matched:,} (paused)"
        if beside:
            # The end alone: a line of 80 columns holds both names.
            text += f" + {safe(Path(beside).name.removeprefix(target.name))}"
        desk.from_beside(desk.say, text, "strong", 8.0)

    desk.beside(work)
