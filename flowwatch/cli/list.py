"""``flowwatch list nodes`` and ``flowwatch list namespaces``: as hubble's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.hubble.client import config, forward
from flowwatch.output import put, say
from flowwatch.report.status import check_list_output, namespaces_text, nodes_text
from flowwatch.sources.request import one_server

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed


def run(parsed: Parsed) -> int:
    """Print what the server lists."""
    from flowwatch.hubble.client.connection import connect

    form = check_list_output(parsed.text("output"))
    one_server(parsed)
    settings = forward.decide(config.load(parsed))
    for line in settings.warnings:
        say(line)
    with connect(settings) as connection:
        if parsed.verb.name == "list nodes":
            text = nodes_text(connection.nodes().nodes, form)
        else:
            text = namespaces_text(connection.namespaces().namespaces, form)
    put(text, form)
    return 0
