"""``flowwatch``: the live dashboard; without a terminal, a line that names the verbs for that."""

from __future__ import annotations

import time
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
    """Start with what the ring holds, then follow until ``q``; a window that ends is shown whole."""
    wanted = flow_request(parsed, follow=_follows(parsed), several=True)
    if wanted.window.until is not None and wanted.window.until > time.time_ns():
        raise UsageError(
            "--until is still to come, and the dashboard shows what was up to then",
            "leave it out: the dashboard goes on until q",
        )
    if parsed.switch("print-raw-filters"):
        put(raw_filters(wanted.filters), "json")
        return 0
    if not at_terminal() and not parsed.switch("plain"):
        raise UsageError(
            "the dashboard needs a terminal",
            "--plain prints what changes, flowwatch summary the table once, flowwatch observe -f flows",
        )
    source = open_source(wanted, with_ring=True, keep_trying=True)
    return show_dashboard(
        parsed,
        source,
        live=wanted.live,
        notes=wanted.settings.warnings,
        again=lambda: open_source(flow_request(parsed, several=True)),
    )


def _follows(parsed: Parsed) -> bool:
    """Whether flows that are still to come are wanted: not in a window that ends.

    hubble leaves --until aside where it follows (Cilium 1.20, hubble/cmd/observe/flows.go), so that
    the end that was asked for would never come.
    """
    ends = bool(parsed.get("until") or parsed.get("first"))
    if ends and parsed.get("until") and parsed.switch("follow"):
        raise UsageError("cannot set both --until and --follow", "leave out one of them")
    return not ends
