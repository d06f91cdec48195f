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

from flowwatch import signals, userfile
from flowwatch.egress.query import Monitor
from flowwatch.errors import Stopped, UsageError
from flowwatch.output.standard import terminal_stream
from flowwatch.tui.background import Background
from flowwatch.tui.garbage import Pauses
from flowwatch.tui.restored import Restored
from flowwatch.userfile import config_folder, theme_names

if TYPE_CHECKING:
    from flowwatch.audits.live import LiveAudit
    from flowwatch.drafts.drafting import Drafting
    from flowwatch.marks.live import LiveChanges
    from flowwatch.tui.shell import Dashboard

_SIGNALLED = 128
"""Exit codes above this are those of signals."""

IN_BROWSER = "FLOWWATCH_IN_BROWSER"
"""Set by ``flowwatch web`` for what its tabs run."""

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
    noise: bool = False,
    text: str = "",
    hubble: Sequence[str] = ("hubble", "observe"),
    mouse: bool = True,
    audit: LiveAudit | None = None,
    changes: Callable[[], LiveChanges | None] = lambda: None,
    drafting: Drafting | None = None,
    opened: str = "",
    private: bool = False,
    hidden_words: str = "names hidden",
) -> int:
    """Show ``monitor`` until the user leaves; returns the exit code.

    ``monitor`` may be a function that makes (and starts) it: it is called in a thread once the
    first frame is on the screen, so that importing and connecting keep nobody waiting; what it
    raises is raised here, with the terminal restored. Stopping the monitor is the caller's task.

    ``title``: the first words on the screen. ``filter_words``: the filters that rows went through
    before, as typed. ``export_dir``: where ``e`` writes, the working directory by default.
    ``theme``: a key of theme.THEMES. ``direction``, ``drops_only``, ``noise``, ``text`` (a filter): what is
    shown at first.
    ``hubble``: how the commands begin that show a row's records, with ``--server`` if need be.
    ``audit``: of the policies that were given; it must hear of what ``monitor`` reads, and so must what
    ``changes`` gives, which is called after ``monitor``.
    ``drafting``: what the editor edits. ``opened``: the view that is seen at first, over the rows.
    ``private``: no name and no path is shown but those that ``monitor`` has. ``hidden_words``: what stands in
    place of the filters where names are hidden.

    Returns 0 when the user leaves. Raises Stopped when a signal ended it, or the terminal went away;
    UsageError if the theme is unknown or there is no terminal.
    """
    screen = terminal_stream()
    if sys.__stdin__ is None or not sys.__stdin__.isatty() or screen is None:
        raise UsageError("the dashboard needs a terminal", "use 'flowwatch summary' in a pipe")
    if os.environ.get("NO_COLOR") == "":
        # Empty means unset (no-color.org); Textual looks only whether it is there.
        del os.environ["NO_COLOR"]
    with Restored():
        shade, deaf = _load(ask=theme == "auto")
        from flowwatch.tui import theme as themes
        from flowwatch.tui.dashboard import dashboard
        from flowwatch.tui.own_table import known as known_table
        from flowwatch.tui.saved import saved_file
        from flowwatch.tui.state import Options
        from flowwatch.tui.views import LISTS

        place = Path(config_folder(os.environ))
        own_keys = place / "keys"
        arranged = known_table(place / "table", LISTS)
        own = {name: place / "themes" / name for name in theme_names(os.environ)}
        if theme not in themes.THEMES and theme not in own:
            known = ", ".join([*themes.THEMES, *own])
            raise UsageError(f"no theme '{theme}'", f"choose one of {known}")
        options = Options(
            title=title,
            filter_words=filter_words,
            export_dir=export_dir or Path.cwd(),
            theme=themes.auto_theme(os.environ, shade) if theme == "auto" else theme,
            auto_theme=themes.auto_theme(os.environ, shade),
            columns=arranged.columns,
            order=arranged.order,
            reverse=arranged.reverse,
            sorted=arranged.lists,
            arranged_file=place / "table",
            themes=own,
            keys=own_keys if userfile.exists(own_keys) else None,
            signs=themes.signs_for(os.environ, screen.encoding),
            direction=direction,
            drops_only=drops_only,
            noise=noise,
            text=text,
            hubble=tuple(hubble),
            mouse=mouse,
            deaf=deaf,
            opened=opened,
            in_browser=bool(os.environ.get(IN_BROWSER)),
            saved=saved_file(os.environ) if not private else None,
            private=private,
            hidden_words=hidden_words,
        )

        def start() -> Monitor:
            return monitor() if callable(monitor) else monitor

        return _shown(dashboard(start, options, audit, changes=changes, drafting=drafting))


def _load(*, ask: bool) -> tuple[str, bool]:
    """Load the screen's parts, and meanwhile ask the terminal for its background.

    Returns ``dark``, ``light`` or "", and whether an answer may still come.
    """
    # Nothing that is made while loading is ever garbage.
    gc.disable()
    background = Background()
    shade = ""
    try:
        if ask:
            background.ask()
        try:
            import flowwatch.tui.dashboard  # noqa: F401
        finally:
            away = "SSH_CONNECTION" in os.environ or "SSH_TTY" in os.environ
            shade = background.answer(AWAY_PATIENCE if away else 0.15)
    finally:
        gc.freeze()
        gc.enable()
    return shade, background.unanswered


def _shown(app: Dashboard) -> int:
    """Run the app to its end, whatever that is, and raise what ended it."""
    with Pauses(), signals.handled_by(app.stop):
        try:
            code = app.run(mouse=app.options.mouse)
        except BaseException:
            app.give_up()
            raise
        finally:
            app.feed.stop()
    for failure in (app.defect, app.stopped, app.feed.failure):
        if failure is not None:
            raise failure
    if code is None:
        raise RuntimeError("the dashboard ended without saying why")
    if code > _SIGNALLED:
        raise Stopped(code - _SIGNALLED)
    return code
