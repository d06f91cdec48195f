"""``flowwatch summary``: the egress table once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.cli.shared.table import print_table
from flowwatch.cli.shared.whole import is_of_all
from flowwatch.errors import UsageError
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.output import put, say
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import flow_request

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.sources.request import FlowRequest


def run(parsed: Parsed) -> int:
    """Read what is there, print the table, and on standard error what it doesn't hold."""
    wanted = flow_request(parsed, several=True)
    if parsed.switch("print-raw-filters"):
        put(raw_filters(wanted.filters), "json")
        return 0
    if wanted.window.follow:
        raise UsageError("a summary ends", "use flowwatch (the dashboard) to follow")
    for line in wanted.settings.warnings:
        say(line)
    if is_of_all(parsed, wanted, _OTHER) and _tells(parsed) and _kept(parsed, wanted):
        return 0
    return print_table(parsed, open_source(wanted))


def _tells(parsed: Parsed) -> bool:
    """Whether the table that is kept tells what is asked for."""
    by = parsed.text("by")
    return not by.startswith("label") and not (by and parsed.switch("waiting"))


def _kept(parsed: Parsed, wanted: FlowRequest) -> bool:
    from pathlib import Path

    from flowwatch.cli.shared.rows import print_kept

    return print_kept(parsed, Path(wanted.history))


_OTHER = ("filter", "max-rows", "policies", "policies-from-cluster", "cilium-config")
"""Flags that ask for more than what is kept of a history."""
