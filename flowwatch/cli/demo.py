"""``flowwatch demo``: the weather app's story on an embedded Hubble server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from flowwatch.api.policy_files import policy_files, read_policies, read_text, shown
from flowwatch.cli.shared.causes import asks_for_policies
from flowwatch.cli.shared.reading import at_terminal
from flowwatch.cli.shared.screen import show_dashboard
from flowwatch.cli.shared.table import print_table
from flowwatch.cli.shared.traffic import ANY_PORT, of_demo
from flowwatch.errors import Stopped, UsageError
from flowwatch.hubble.client.config import seconds
from flowwatch.output import put, say
from flowwatch.sources.opening import open_source

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.demo.server import DemoServer
    from flowwatch.policy.engine import PolicySet


def run(parsed: Parsed) -> int:
    """Serve the story; show it in the dashboard, or without a terminal print its summary."""
    if parsed.was_set("print-policy"):
        from flowwatch.demo.story import OTHERS, WEATHER, beside, policy_text

        others = [OTHERS] if parsed.text("print-policy") == "all" else []
        put(f"{policy_text()}---\n{beside(WEATHER, *others)}")
        return 0
    from flowwatch.demo.server import DemoServer

    serve = parsed.was_set("serve")
    terminal = at_terminal() or parsed.switch("plain")
    if asks_for_policies(parsed) and serve:
        raise UsageError(
            "a server judges nothing",
            "flowwatch --policies FILE --server ADDRESS does, of what it serves",
        )
    if parsed.list("staged") and (serve or not terminal):
        raise UsageError(
            "--staged is for the dashboard, which needs a terminal",
            "flowwatch whatif --demo -f DIR prints the same",
        )
    text = parsed.text("duration")
    duration = seconds(text) if text else 0.0
    files = parsed.list("policy")
    with DemoServer(
        parsed.text("serve") if serve else ANY_PORT,
        seed=parsed.number("seed"),
        speed=float(parsed.text("speed")),
        live=serve or terminal,
        # Without a terminal it is how much of the story is told.
        duration=None if serve or terminal else duration or None,
        policies=read_policies(files, say) if files else None,
    ) as server:
        if not server.selected:
            say(
                "none of these policies selects what the demo's weather app sends: nothing is denied"
            )
        if serve:
            return _serve(server, duration)
        return _show(parsed, server.address, terminal, duration)


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
    wanted = of_demo(address, parsed, follow=terminal)
    if not terminal:
        return print_table(parsed, open_source(wanted))
    source = open_source(wanted, with_ring=True)
    if duration:
        import threading

        timer = threading.Timer(duration, source.close)
        timer.daemon = True
        timer.start()
    return show_dashboard(
        parsed,
        source,
        live=True,
        server=address,
        policies=_of_the_story(parsed),
        again=lambda: open_source(of_demo(address, parsed)),
    )


def _of_the_story(parsed: Parsed) -> PolicySet | None:
    """What is in force in the demo's cluster, ``--policy`` included; None where others were given."""
    if parsed.was_set("policies"):
        return None
    from flowwatch.demo.story import OTHERS, WEATHER, beside, policy_text
    from flowwatch.policy import load

    applied = [(shown(file), read_text(file)) for file in policy_files(parsed.list("policy"))]
    others = [(name, beside(name)) for name in (WEATHER, OTHERS)]
    return load([*(applied or [("policy.yaml", policy_text())]), *others])
