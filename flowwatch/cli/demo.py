"""``flowwatch demo``: the weather app's story on an embedded Hubble server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flowwatch.cli import dashboard, summary
from flowwatch.cli.flags import parse
from flowwatch.cli.reading import at_terminal
from flowwatch.cli.sources import asked, open_source
from flowwatch.errors import Stopped, UsageError
from flowwatch.hubble.client.config import seconds
from flowwatch.output import put, say

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.demo.server import DemoServer
    from flowwatch.flows.source import Source

ANY_PORT = "127.0.0.1:0"


def run(parsed: Parsed) -> int:
    """Serve the story; show it in the dashboard, or without a terminal print its summary."""
    if parsed.switch("print-policy"):
        put(policy_text())
        return 0
    from flowwatch.demo.server import DemoServer

    serve = parsed.was_set("serve")
    terminal = at_terminal()
    if parsed.was_set("policies") and (serve or not terminal):
        raise UsageError(
            "--policies is for the demo's dashboard",
            "flowwatch audit -f FILE --demo judges its story",
        )
    text = parsed.text("duration")
    duration = seconds(text) if text else 0.0
    with DemoServer(
        parsed.text("serve") if serve else ANY_PORT,
        seed=parsed.number("seed"),
        speed=float(parsed.text("speed")),
        live=serve or terminal,
        # Without a terminal it is how much of the story is told.
        duration=None if serve or terminal else duration or None,
    ) as server:
        if serve:
            return _serve(server, duration)
        return _show(parsed, server.address, terminal, duration)


def policy_text() -> str:
    """The policy that the story applies, as YAML."""
    import importlib.resources

    return importlib.resources.files("flowwatch.demo").joinpath("policy.yaml").read_text("utf-8")


BEFORE_OR_AFTER = {"all": None, "before": 1e6, "after": 0.0}
"""Seconds until the policy is applied, by what ``--demo`` may say; None for the story's own."""


@contextmanager
def traffic(when: str, filters: list[tuple[str, str]]) -> Iterator[Source]:
    """The demo's whole story as a source, for verbs that judge it."""
    from flowwatch.demo.server import DemoServer

    with DemoServer(ANY_PORT, live=False, policy_after=BEFORE_OR_AFTER[when]) as server:
        words = [
            "summary",
            "--server",
            server.address,
            *(f"--{name}={value}" for name, value in filters),
        ]
        yield open_source(asked(parse(words), follow=False, environ={}))


def _serve(server: DemoServer, duration: float) -> int:
    try:
        put(f"serving the demo on {server.address}; Ctrl-C ends it\n")
        say(f"try: flowwatch --namespace weather --server {server.address}")
        until = time.monotonic() + duration if duration else float("inf")
        # A story that breaks is raised when the server is left.
        while server.failure is None and time.monotonic() < until:
            time.sleep(0.2)
    except KeyboardInterrupt as error:
        if not Stopped.of(error).by_hand:
            raise
        put("\n")
    return 0


def _show(parsed: Parsed, address: str, terminal: bool, duration: float) -> int:
    words = ["--server", address]
    for name, value in parsed.filters:
        words.append(f"--{name}={value}")
    # No configuration of the user's may come between the demo and its own server.
    wanted = asked(parse(words if terminal else ["summary", *words]), follow=terminal, environ={})
    if not terminal:
        return summary.show(parsed, open_source(wanted))
    source = open_source(wanted, with_ring=True)
    if duration:
        import threading

        timer = threading.Timer(duration, source.close)
        timer.daemon = True
        timer.start()
    return dashboard.show(parsed, source, live=True, server=address)
