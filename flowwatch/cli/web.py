"""``flowwatch web``: the dashboard in a browser, on this machine alone unless told otherwise."""

from __future__ import annotations

import importlib.util
import os
import secrets
import string
from typing import TYPE_CHECKING, NamedTuple

from flowwatch.cli import program
from flowwatch.cli.shared.listening import host_and_port
from flowwatch.errors import UsageError
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.output import put, say
from flowwatch.sources.request import flow_request
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed

TOKEN = "FLOWWATCH_TOKEN"
OWN = ("listen", "token", "host")
"""Flags of the page; all others are those of what it shows."""

_IN_ADDRESSES = frozenset(string.ascii_letters + string.digits + "-._~")
_GUESSED = 16
"""Letters: a shorter token can be guessed by whoever may ask."""

_STANDARD_INPUT = ("input-file", "policies", "policy", "staged", "cilium-config")


class Place(NamedTuple):
    """Where the page is served."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def run(parsed: Parsed) -> int:
    """Serve the page until a signal ends it, and with it what each tab runs."""
    if parsed.switch("print-raw-filters"):
        put(raw_filters(flow_request(parsed).filters), "json")
        return 0
    shown = parsed.verb.name.removeprefix("web").strip()
    _refuse_standard_input(parsed)
    if not shown:
        # Each tab would say what is wrong with it; better once, here.
        flow_request(parsed, several=True)
    place = read_place(parsed.text("listen"))
    if not importlib.util.find_spec("textual_serve"):
        raise UsageError("the page needs the extra 'web'", "pip install 'flowwatch[web]'")
    from flowwatch.gotext import is_address
    from flowwatch.web.guard import Guard, host_name, is_loopback
    from flowwatch.web.server import Pages, listen, serve

    alone = is_loopback(place.host)
    token = _token(parsed, alone=alone)
    names = [host_name(name) for name in parsed.list("host")]
    if not is_address(place.host):
        names.append(place.host)
    at = listen(*place)
    place = Place(place.host, at.getsockname()[1])

    def ready() -> None:
        put(f"http://{place}/?token={token}\n")
        say("the dashboard is at this address, in a browser; Ctrl-C ends it")
        if not alone:
            say(
                "over plain HTTP whoever is on the way reads the token: put TLS before it, or use ssh -L"
            )

    title = " ".join([program.name(), shown]).strip()
    serve(Pages(words(parsed, shown), Guard(token, names), title), at, ready)
    return 0


def words(parsed: Parsed, verb: str) -> list[str]:
    """The command line of what a tab shows."""
    taken = [f"--{name}={value}" for name, value in parsed.given if name not in OWN]
    edit = ["--edit"] if verb == "draft" and not parsed.switch("edit") else []
    return [*verb.split(), *taken, *edit]


def read_place(text: str) -> Place:
    """Where to listen. Raises UsageError."""
    return Place(*host_and_port(text, "--listen", "127.0.0.1:8245"))


def _token(parsed: Parsed, *, alone: bool) -> str:
    """What is asked for; made here where only this machine is served. Raises UsageError."""
    given = parsed.text("token") or os.environ.get(TOKEN, "")
    if not given and not alone:
        raise UsageError(
            f"--listen {safe(parsed.text('listen'))} would let others in, who could act as you",
            f"give a --token (or {TOKEN}) that they can't guess",
        )
    if not given:
        return secrets.token_urlsafe(24)
    if not _IN_ADDRESSES.issuperset(given):
        raise UsageError("invalid --token", "letters, digits and -._~ alone")
    if not alone and len(given) < _GUESSED:
        raise UsageError("--token is short enough to be guessed", f"{_GUESSED} letters at least")
    return given


def _refuse_standard_input(parsed: Parsed) -> None:
    for flag in _STANDARD_INPUT:
        if flag not in parsed.flags:
            continue
        value = parsed.get(flag)
        if value == "-" or (isinstance(value, list) and "-" in value):
            raise UsageError(
                f"--{flag} - can be read once, and each tab reads anew", "name a file instead"
            )
