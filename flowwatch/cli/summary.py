"""``flowwatch summary``: the egress table once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.cli.shared.table import print_table
from flowwatch.errors import UsageError
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.hubble.filters.request import ALL
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
    if _is_of_all(parsed, wanted) and _kept(parsed, wanted):
        return 0
    return print_table(parsed, open_source(wanted))


def _is_of_all(parsed: Parsed, wanted: FlowRequest) -> bool:
    """Whether all records of a history are asked for, and nothing that its table doesn't tell."""
    window = wanted.window
    return (
        bool(wanted.history)
        and "://" not in wanted.history
        and not wanted.filters
        and window.since is None
        and window.until is None
        and window.number in (0, ALL)
        and not any(parsed.was_set(name) for name in _OTHER)
        and not parsed.text("by").startswith("label")
        and not (parsed.text("by") and parsed.switch("waiting"))
    )


def _kept(parsed: Parsed, wanted: FlowRequest) -> bool:
    from pathlib import Path

    from flowwatch.cli.shared.rows import print_kept

    return print_kept(parsed, Path(wanted.history))


_OTHER = ("filter", "max-rows", "policies", "policies-from-cluster", "cilium-config")
"""Flags that ask for more than what is kept of a history."""
