"""The door to the dashboard.

    code = run(lambda: monitor, title="flowwatch", filter_words="--namespace weather",
               export_dir=Path.cwd())

This file is light, so that the terminal can be asked for its background while the rest loads.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowwatch.egress.query import Monitor
from flowwatch.errors import UsageError
from flowwatch.tui.background import Background
from flowwatch.tui.garbage import Pauses

if TYPE_CHECKING:
    from flowwatch.audit.live import LiveAudit

AWAY_PATIENCE = 0.6
"""Seconds to wait for the terminal's background over SSH, beyond the loading."""


def run(
    monitor: Monitor | Callable[[], Monitor],
    *,
    title: str = "flowwatch",
    filter_words: str = "",
    export_dir: Path | None = None,
    theme: str = "auto",
    direction: str = "egress",
    drops_only: bool = False,
    hubble: Sequence[str] = ("hubble", "observe"),
    mouse: bool = True,
    audit: LiveAudit | None = None,
) -> int:
    """Show ``monitor`` until the user leaves; returns the exit code.

    ``monitor`` may be a function that makes (and starts) it: it is called in a thread once the
    first frame is on the screen, so that importing and connecting keep nobody waiting; what it
    raises is raised here, with the terminal restored. Stopping the monitor is the caller's task.

    ``title``: the first words on the screen. ``filter_words``: the filters that rows went through
    before, as typed. ``export_dir``: where ``e`` writes, the working directory by default.
    ``theme``: a key of theme.THEMES. ``direction``, ``drops_only``: what is shown at first.
    ``hubble``: how the commands begin that show a row's records, with ``--server`` if need be.
    ``audit``: of the policies that were given; it must hear of what ``monitor`` reads.

    Exit codes: 0 left by the user, 143 and 129 ended by SIGTERM and SIGHUP. UsageError if the
    theme is unknown or there is no terminal.
    """
    if sys.__stdin__ is None or not sys.__stdin__.isatty():
        raise UsageError("the dashboard needs a terminal", "use 'flowwatch summary' in a pipe")
    if os.environ.get("NO_COLOR") == "":
        # Empty means unset (no-color.org); Textual looks only whether it is there.
        del os.environ["NO_COLOR"]
    # Nothing that is made while loading is ever garbage.
    gc.disable()
    background = Background()
    shade = ""
    try:
        if theme == "auto":
            background.ask()
        try:
            from flowwatch.tui import theme as themes
            from flowwatch.tui.shell import Dashboard, Options
        finally:
            away = "SSH_CONNECTION" in os.environ or "SSH_TTY" in os.environ
            shade = background.answer(AWAY_PATIENCE if away else 0.15)
    finally:
        gc.freeze()
        gc.enable()
    if theme not in themes.THEMES:
        raise UsageError(f"no theme '{theme}'", f"choose one of {', '.join(themes.THEMES)}")
    encoding = sys.__stderr__.encoding if sys.__stderr__ is not None else "utf-8"
    options = Options(
        title=title,
        filter_words=filter_words,
        export_dir=export_dir or Path.cwd(),
        theme=themes.auto_theme(os.environ, shade) if theme == "auto" else theme,
        auto_theme=themes.auto_theme(os.environ, shade),
        signs=themes.signs_for(os.environ, encoding),
        direction=direction,
        drops_only=drops_only,
        hubble=tuple(hubble),
        mouse=mouse,
        deaf=background.unanswered,
    )

    def start() -> Monitor:
        return monitor() if callable(monitor) else monitor

    app = Dashboard(start, options, audit)
    with Pauses():
        try:
            code = app.run(mouse=mouse)
        finally:
            app.feed.stop()
    if app.feed.failure is not None:
        raise app.feed.failure
    if code is None:
        # Textual has printed the traceback of what went wrong.
        return app.return_code or 1
    return code
