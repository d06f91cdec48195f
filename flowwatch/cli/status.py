"""``flowwatch status``: how the server is, in hubble's words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.errors import FlowwatchError, Unreachable
from flowwatch.hubble.client import config, forward
from flowwatch.output import put, say
from flowwatch.report.status import check_status_output, health_line, status_text
from flowwatch.sources.request import one_server

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed


def run(parsed: Parsed) -> int:
    """Print health and ServerStatus; exit code 1 when it isn't healthy."""
    from flowwatch.hubble.client.connection import connect

    form = check_status_output(parsed.text("output"))
    one_server(parsed)
    settings = forward.decide(config.load(parsed))
    for line in settings.warnings:
        say(line)
    with connect(settings) as connection:
        health = connection.health()
        if form == "compact" or health != "SERVING":
            put(health_line(settings.address.text, health) + "\n")
        if health != "SERVING":
            raise Unreachable("not healthy")
        try:
            status = connection.server_status()
        except FlowwatchError as error:
            raise type(error)(f"failed to get status: {error}") from None
    put(status_text(status, form), form)
    return 0
