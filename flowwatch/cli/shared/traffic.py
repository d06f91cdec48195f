"""Where the traffic comes from that an audit or a what-if judges: a server, captures, or the demo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.output import put, say
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import FlowRequest, PlainOptions, flow_request

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.source import Source

ANY_PORT = "127.0.0.1:0"

BEFORE_OR_AFTER = {"all": None, "before": 1e6, "after": 0.0}
"""Seconds until the policy is applied, by what ``--demo`` may say; None for the story's own."""


@contextmanager
def source_of(parsed: Parsed) -> Iterator[Source | None]:
    """A source of what ``parsed`` names; None when only the filters are printed."""
    if parsed.was_set("demo"):
        with demo_traffic(parsed.text("demo") or "all", parsed) as source:
            yield source
        return
    wanted = flow_request(parsed)
    if parsed.switch("print-raw-filters"):
        put(raw_filters(wanted.filters), "json")
        yield None
        return
    for line in wanted.settings.warnings:
        say(line)
    yield open_source(wanted, with_ring=wanted.window.follow)


@contextmanager
def again_of(parsed: Parsed) -> Iterator[tuple[Callable[[], Source], str]]:
    """How what ``parsed`` names is opened, as often as one likes; and the demo's own server, or "" ."""
    if not parsed.was_set("demo"):
        yield (lambda: open_source(flow_request(parsed))), ""
        return
    from flowwatch.demo.server import DemoServer

    when = BEFORE_OR_AFTER[parsed.text("demo") or "all"]
    with DemoServer(ANY_PORT, live=False, policy_after=when) as server:
        yield (lambda: open_source(of_demo(server.address, parsed))), server.address


@contextmanager
def demo_traffic(when: str, parsed: Parsed) -> Iterator[Source]:
    """The demo's whole story as a source, for verbs that judge it; ``when`` as ``--demo`` says."""
    from flowwatch.demo.server import DemoServer

    with DemoServer(ANY_PORT, live=False, policy_after=BEFORE_OR_AFTER[when]) as server:
        yield open_source(of_demo(server.address, parsed))


def of_demo(address: str, parsed: Parsed, *, follow: bool = False) -> FlowRequest:
    """What the demo's own server at ``address`` has, through the filters of ``parsed``.

    Nothing else that is configured comes between the demo and its own server.
    """
    options = PlainOptions({"server": address}, parsed.filters, parsed.advice)
    return flow_request(options, follow=follow, environ={})
