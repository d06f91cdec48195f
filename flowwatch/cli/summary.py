"""``flowwatch summary``: the egress table once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.cli.shared.table import print_table
from flowwatch.errors import UsageError
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.output import put, say
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import flow_request

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed


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
    return print_table(parsed, open_source(wanted))
