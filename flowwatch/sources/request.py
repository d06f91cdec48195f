"""What is asked for, before anything is opened: which flows, and of whom.

The one place where options become filters, a window and a connection, so that every verb and the
Python API read the same flows for the same words.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec.structs import replace

from flowwatch.errors import UsageError
from flowwatch.hubble.client import config
from flowwatch.hubble.filters import request
from flowwatch.hubble.filters.flags import Filters, build
from flowwatch.hubble.filters.request import Window
from flowwatch.sources.keeping import Keeper

if TYPE_CHECKING:
    from flowwatch.hubble.client.config import Settings


class RequestOptions(config.Flags, Protocol):
    """Where a request comes from: a command line, keywords of a call, or plain values.

    Names are those of the command line's flags, without the dashes before them.
    """

    @property
    def filters(self) -> Sequence[tuple[str, str]]:
        """Name and value of each filter, in order: ``--not`` is about the one that comes next."""
        ...

    @property
    def servers(self) -> Sequence[str]:
        """Every server that was named; the value of ``server`` is the last."""
        ...

    def advice(self, name: str, text: str) -> str:
        """What to write instead of ``text``, which the filter ``name`` was refused with; may be ""."""
        ...


class PlainOptions(msgspec.Struct, frozen=True):
    """Options that the program itself gives; what isn't named has its default."""

    values: Mapping[str, object] = msgspec.field(default_factory=dict)
    filters: Sequence[tuple[str, str]] = ()
    advise: Callable[[str, str], str] = lambda _name, _text: ""
    """What answers :meth:`advice`."""

    @property
    def servers(self) -> Sequence[str]:
        return [str(self.values["server"])] if "server" in self.values else []

    def get(self, name: str) -> object:
        return self.values.get(name)

    def was_set(self, name: str) -> bool:
        return name in self.values

    def advice(self, name: str, text: str) -> str:
        return self.advise(name, text)


class FlowRequest(msgspec.Struct, frozen=True):
    """Which flows, and of which server or files."""

    settings: Settings
    filters: Filters
    window: Window
    files: list[str]
    mask: tuple[str, ...] = ()
    """Fields to ask the server for; none: all."""
    servers: tuple[Settings, ...] = ()
    """Of each server, where several are named; else empty."""
    keep_bad: str = ""
    """A folder for the records that can't be read; empty: they are only counted."""
    history: str = ""
    """A folder of what `flowwatch record` has kept, instead of a server or files; empty: none."""

    raw: bool = False
    """Whether flows carry their whole records."""

    @property
    def live(self) -> bool:
        """Whether a server is asked: what is stored has an end."""
        return not self.files and not self.history

    def keeper(self) -> Keeper | None:
        """What keeps them. Makes the folder; raises UsageError."""
        return Keeper(self.keep_bad) if self.keep_bad else None


def flow_request(
    options: RequestOptions,
    *,
    default: int = 0,
    follow: bool | None = None,
    several: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> FlowRequest:
    """Read the options (and HUBBLE_… and the config file). Raises UsageError.

    ``default`` is the number of flows when nothing says which (0: all there are); ``follow``
    overrides the option; ``several``: whether more than one server may be named.
    """
    settings = config.load(options, environ)
    option_or_config = {
        name: texts(options.get(name)) or list(getattr(settings, name))
        for name in ("allowlist", "denylist")
    }
    filters = build(options.filters, **option_or_config, advice=options.advice)
    flags = request.RequestFlags(options.get)
    files = texts(options.get("input-file"))
    history = str(options.get("history") or "")
    stored = _stored(files, history, flags.follow)
    if history and options.get("keep-bad"):
        raise UsageError("a history keeps what could be read", "--keep-bad is for flowwatch record")
    if follow is not None and not stored:
        flags.follow = follow
    window = request.window(flags, default=0 if stored else default)
    if not stored:
        from flowwatch.hubble.client import forward

        settings = forward.decide(settings, environ)
    servers: tuple[Settings, ...] = ()
    if len(options.servers) > 1 and not stored:
        if not several:
            one_server(options)
        if settings.port_forward:
            raise UsageError(
                "a port-forward leads to one server, and several were given",
                "leave out --port-forward, or --server",
            )
        servers = tuple(replace(settings, server=server) for server in options.servers)
    mask, keep_bad = tuple(texts(options.get("field-mask"))), str(options.get("keep-bad") or "")
    return FlowRequest(settings, filters, window, files, mask, servers, keep_bad, history)


def _stored(files: Sequence[str], history: str, follow: bool) -> bool:
    """Whether flows are read that lie somewhere. UsageError where that can't be, as written."""
    if files and history:
        raise UsageError("cannot set both --input-file and --history", "leave out one of them")
    if files and follow:
        raise UsageError("cannot follow a capture file", "leave out --follow or --input-file")
    if history and follow:
        raise UsageError("cannot follow a history", "leave out --follow or --history")
    return bool(files or history)


def resumed(wanted: FlowRequest, since: int) -> FlowRequest:
    """The same, from ``since`` (ns since 1970) on."""
    return replace(wanted, window=replace(wanted.window, since=since))


def one_server(options: RequestOptions) -> None:
    """UsageError when several servers are named for who can ask only one."""
    if len(options.servers) > 1:
        raise UsageError(
            "several servers were given", "only the dashboard, summary and export merge them"
        )


def texts(value: object) -> list[str]:
    """The values of an option that may have several."""
    if value is None or value is False:
        return []
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [str(value)]
    return [str(one) for one in value]
