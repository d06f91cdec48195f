"""``flowwatch``: the live dashboard; without a terminal, a line that names the verbs for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.cli.shared.reading import at_terminal
from flowwatch.cli.shared.screen import show_dashboard
from flowwatch.errors import UsageError
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.output import put
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import flow_request

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed


def run(parsed: Parsed) -> int:
    """Start with what the ring holds, then follow until ``q``."""
    wanted = flow_request(parsed, follow=True, several=True)
    if parsed.switch("print-raw-filters"):
        put(raw_filters(wanted.filters), "json")
        return 0
    if not at_terminal():
        raise UsageError(
            "the dashboard needs a terminal",
            "flowwatch summary prints the table once, flowwatch observe -f prints flows",
        )
    source = open_source(wanted, with_ring=True, keep_trying=True)
    return show_dashboard(parsed, source, live=not wanted.files, notes=wanted.settings.warnings)
