"""From a parsed command line to a source: a Hubble server, or capture files.

The one place where flags become filters, a request and a connection, so that every verb and the
Python API read the same flows for the same flags.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowwatch.errors import UsageError
from flowwatch.hubble.captures import replay
from flowwatch.hubble.client import config, forward, h2, stream
from flowwatch.hubble.filters import request
from flowwatch.hubble.filters.flags import Filters, build
from flowwatch.hubble.filters.request import Window
from flowwatch.sources import questions
from flowwatch.sources.files import FileSource
from flowwatch.sources.keeping import Keeper, Keeping
from flowwatch.sources.live import LiveSource
from flowwatch.sources.merged import MergedSource
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.source import Source
    from flowwatch.hubble.client.config import Settings
    from flowwatch.hubble.client.connection import Connection
    from flowwatch.hubble.client.forward import Way
    from flowwatch.hubble.client.stream import MessageStream
    from flowwatch.sources.nodes import ServerNow


_GET_FLOWS = "/observer.Observer/GetFlows"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asks for, before anything is opened."""

    settings: Settings
    filters: Filters
    window: Window
    files: list[str]
    mask: tuple[str, ...] = ()
    servers: tuple[Settings, ...] = ()
    """Of each server, where ``--server`` names several; else empty."""
    keep_bad: str = ""
    """A folder for the records that can't be read; empty: they are only counted."""

    def keeper(self) -> Keeper | None:
        """What keeps them. Makes the folder; raises UsageError."""
        return Keeper(self.keep_bad) if self.keep_bad else None


def asked(
    parsed: Parsed,
    *,
    default: int = 0,
    follow: bool | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Asked:
    """Read the flags (and HUBBLE_… and the config file). Raises UsageError.

    ``default`` is the number of flows when nothing says which (0: all there are); ``follow``
    overrides the flag.
    """
    settings = config.load(parsed, environ)
    flag_or_config = {
        name: parsed.list(name) or list(getattr(settings, name))
        for name in ("allowlist", "denylist")
    }
    filters = build(parsed.filters, **flag_or_config, advice=parsed.advice)
    flags = request.Flags(parsed.get)
    files = parsed.list("input-file")
    if files and flags.follow:
        raise UsageError("cannot follow a capture file", "leave out --follow or --input-file")
    if follow is not None and not files:
        flags.follow = follow
    window = request.window(flags, default=0 if files else default)
    if not files:
        settings = forward.decide(settings, environ)
    servers: tuple[Settings, ...] = ()
    if len(parsed.servers) > 1 and not files:
        one_server(parsed)
        if settings.port_forward:
            raise UsageError(
                "a port-forward leads to one server, and several were given",
                "leave out --port-forward, or --server",
            )
        servers = tuple(replace(settings, server=server) for server in parsed.servers)
    mask, keep_bad = tuple(parsed.list("field-mask")), parsed.text("keep-bad")
    return Asked(settings, filters, window, files, mask, servers, keep_bad)


_MERGING = ("", "summary", "export")
"""Verbs that read several servers as one."""


def one_server(parsed: Parsed) -> None:
    """UsageError when several servers are named for a verb that can ask only one."""
    if len(parsed.servers) > 1 and parsed.verb.name not in _MERGING:
        raise UsageError(
            "several servers were given", "only the dashboard, summary and export merge them"
        )


def open_source(wanted: Asked, *, with_ring: bool = False, keep_trying: bool = False) -> Source:
    """The source of flows for ``wanted``; nothing is sent or read before it is iterated.

    ``with_ring``: a follow starts with what the ring holds. ``keep_trying``: a server that isn't
    there yet is waited for. Raises UsageError, and InputError for a file that isn't there.
    """
    if keeper := wanted.keeper():
        source = _open(wanted, with_ring=with_ring, keep_trying=keep_trying, keep=True)
        return Keeping(source, keeper)
    return _open(wanted, with_ring=with_ring, keep_trying=keep_trying)


def _open(wanted: Asked, *, with_ring: bool, keep_trying: bool, keep: bool = False) -> Source:
    if wanted.files:
        return FileSource(
            wanted.files, match=matcher(wanted.filters), window=file_window(wanted), keep=keep
        )
    if wanted.servers:
        each = [replace(wanted, settings=settings, servers=()) for settings in wanted.servers]
        names = [one.settings.address.text for one in each]
        if len(set(names)) < len(names):
            raise UsageError("--server names the same server twice", "name each once")
        return MergedSource(
            [_open(one, with_ring=with_ring, keep_trying=keep_trying) for one in each]
        )
    settings = wanted.settings
    return LiveSource(
        lambda: HubbleServer(wanted, with_ring),
        where=forward.where(settings),
        follow=wanted.window.follow,
        encrypted=settings.encrypted,
        keep_trying=keep_trying,
    )


def matcher(filters: Filters) -> replay.Match | None:
    """The filters as a function on flows; None when there are none. Raises UsageError."""
    if not filters:
        return None
    # Only for who filters here: it takes 50 ms to load.
    from flowwatch.hubble.filters.match import FilterError, compile_filters

    try:
        return compile_filters(filters)
    except FilterError as error:
        raise UsageError(safe(str(error))) from None


def file_window(wanted: Asked) -> replay.Window:
    """The window as it applies to a file: the same flags mean the same as live."""
    window = wanted.window
    number = 0 if window.number >= request.ALL else window.number
    # Live, "since" with a number means the oldest of them.
    first = window.first or (window.since is not None and number > 0)
    return replay.Window(
        since=window.since,
        until=window.until,
        first=number if first else 0,
        last=0 if first else number,
    )


class HubbleServer:
    """A connection as :class:`flowwatch.sources.live.LiveSource` uses it."""

    def __init__(self, wanted: Asked, with_ring: bool = False) -> None:
        self._wanted = wanted
        self._with_ring = with_ring
        self._connection: Connection | None = None
        self._way: Way | None = None

    @property
    def settings(self) -> Settings:
        """What is connected with: of the port-forward, which begins here, if there is one."""
        if self._way is None:
            self._way = forward.open_way(self._wanted.settings)
        return self._way.settings

    @property
    def connection(self) -> Connection:
        """The grpcio connection, made when it is first needed: importing grpcio takes 0.1 s."""
        if self._connection is None:
            from flowwatch.hubble.client.connection import connect

            self._connection = connect(self.settings)
        return self._connection

    def open(self, since: int | None) -> MessageStream:
        wanted = self._wanted
        asked_for = request.to_request(
            wanted.window,
            wanted.filters,
            mask=wanted.mask,
            with_ring=self._with_ring,
            resume=since,
        )
        settings = self.settings
        address = settings.address
        serialized = asked_for.SerializeToString()
        # Only a stream that follows may be quiet.
        silence = None if asked_for.follow else stream.SILENCE
        if h2.can_read(settings, address, serialized):
            messages: stream.Messages = h2.H2Stream(
                settings, address, _GET_FLOWS, serialized, silence
            )
            silence = None  # it counts bytes of records; where grpcio reads, only whole ones can be counted
        else:
            messages = self.connection.get_flows(asked_for)
        return stream.Follow(messages) if asked_for.follow else stream.ReadAll(messages, silence)

    def nodes(self) -> ServerNow:
        return questions.server_now(self.connection)

    def oldest(self) -> dict[str, int]:
        return questions.oldest(self.connection)

    def peek(self, since: int) -> list[bytes]:
        wanted = self._wanted
        return questions.peek(
            self.connection,
            request.to_request(wanted.window, wanted.filters, mask=wanted.mask, resume=since),
        )

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._way is not None:
            self._way.close()
