"""What leaves the dashboard: text to the clipboard, rows to a file."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowwatch.errors import OutputError
from flowwatch.report.human import plural
from flowwatch.text import safe
from flowwatch.tui import clipboard
from flowwatch.tui.export import file_name, free_path, write_csv

if TYPE_CHECKING:
    from flowwatch.tui.shell import Dashboard


def copy_text(app: Dashboard, text: str, what: str) -> None:
    """Hand ``text`` to the terminal's clipboard, and say how that went."""
    sequence = clipboard.osc52(text)
    if sequence:
        app.write(sequence)
    app.run_worker(lambda: clipboard.to_tmux(text), thread=True)
    kept = clipboard.keep(text)
    if kept is None:
        app.say(f"{what} copied, if your terminal takes OSC 52 (else m, then select)")
    else:
        app.say(f"{what} copied (OSC 52); also in {safe(str(kept))}")


def export_rows(app: Dashboard, path: Path | None) -> None:
    """Write what is shown, in a thread; the footer says where, or why not."""
    frame, monitor = app.frame, app.feed.monitor
    if frame is None or monitor is None:
        app.say("nothing to export yet", "warn")
        return
    # The screen holds the first rows only: all of them are written.
    query = replace(app.view.query, limit=None)
    target = path or free_path(app.options.export_dir, file_name(query, time.time()))
    paused = app.view.paused

    def work() -> None:
        taken = frame.snapshot if paused else monitor.snapshot(query)
        try:
            count, beside = write_csv(taken, target)
        except OutputError as error:
            app.call_from_thread(app.say, str(error), "drop", 10.0)
            return
        text = f"{plural(count, 'row')} written to {safe(str(target))}"
        if paused and frame.snapshot.matched > count:
            text += f", the first of {frame.snapshot.matched:,} (paused)"
        if beside:
            text += f"; what is missing: {safe(Path(beside).name)}"
        app.call_from_thread(app.say, text, "strong", 8.0)

    app.run_worker(work, thread=True)
