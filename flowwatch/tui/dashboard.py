"""The dashboard put together: the shell, with its views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from flowwatch.egress.query import Monitor
from flowwatch.tui.shell import Dashboard
from flowwatch.tui.state import Options
from flowwatch.tui.view import View
from flowwatch.tui.views import VIEWS

if TYPE_CHECKING:
    from flowwatch.audits.live import LiveAudit
    from flowwatch.drafts.drafting import Drafting
    from flowwatch.marks.live import LiveChanges


def dashboard(
    start: Callable[[], Monitor],
    options: Options | None = None,
    audit: LiveAudit | None = None,
    views: Sequence[View] = VIEWS,
    changes: Callable[[], LiveChanges | None] = lambda: None,
    drafting: Drafting | None = None,
) -> Dashboard:
    """The app over the monitor that ``start`` makes; ``audit`` where policies were given. ``changes`` is
    called after it. ``drafting`` where there is anything to edit a draft of."""
    return Dashboard(start, views, options, audit, changes, drafting)
