"""From a request to a source: a Hubble server, several as one, capture files, or a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from flowwatch.errors import UsageError
from flowwatch.hubble.filters import request
from flowwatch.hubble.wire.refusals import way_out
from flowwatch.sources.keeping import Keeping
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.flows.source import Source
    from flowwatch.hubble.captures import replay
    from flowwatch.hubble.filters.flags import Filters
    from flowwatch.sources.request import FlowRequest


def open_source(
    wanted: FlowRequest, *, with_ring: bool = False, keep_trying: bool = False
) -> Source:
    """The source of flows for ``wanted``; nothing is sent or read before it is iterated.

    ``with_ring``: a follow starts with what the ring holds. ``keep_trying``: a server that isn't
    there yet is waited for. Raises UsageError, and InputError for a file that isn't there.
    """
    if keeper := wanted.keeper():
        source = _open(wanted, with_ring=with_ring, keep_trying=keep_trying, keep=True)
        return Keeping(source, keeper)
    return _open(wanted, with_ring=with_ring, keep_trying=keep_trying)


def _open(wanted: FlowRequest, *, with_ring: bool, keep_trying: bool, keep: bool = False) -> Source:
    if wanted.history:
        return _history(wanted)
    if wanted.files:
        return _files(wanted, keep)
    if wanted.servers:
        from flowwatch.sources.merged import MergedSource

        each = [replace(wanted, settings=settings, servers=()) for settings in wanted.servers]
        names = [one.settings.address.text for one in each]
        if len(set(names)) < len(names):
            raise UsageError("--server names the same server twice", "name each once")
        return MergedSource(
            [_open(one, with_ring=with_ring, keep_trying=keep_trying) for one in each]
        )
    return _server(wanted, with_ring, keep_trying)


# What is imported here only who reads so has to load: 15 ms for files, 20 for a server.


def _files(wanted: FlowRequest, keep: bool) -> Source:
    from flowwatch.sources.files import FileSource
    from flowwatch.sources.sought import Sought

    if wanted.raw:
        from flowwatch.sources.whole import WholeFiles

        return WholeFiles(wanted.files, match=matcher(wanted.filters), window=file_window(wanted))
    return FileSource(
        wanted.files,
        match=matcher(wanted.filters),
        window=file_window(wanted),
        keep=keep,
        sought=Sought(wanted.filters),
    )


def _history(wanted: FlowRequest) -> Source:
    from flowwatch.history.kept import kept_at
    from flowwatch.history.matching import Matching
    from flowwatch.sources.sought import Sought

    match, filters = matcher(wanted.filters), wanted.filters
    return kept_at(wanted.history).source(
        matching=Matching(filters, match, Sought(filters)) if match is not None else None,
        window=file_window(wanted),
    )


def _server(wanted: FlowRequest, with_ring: bool, keep_trying: bool) -> Source:
    from flowwatch.hubble.client import forward
    from flowwatch.sources.hubble_server import HubbleServer
    from flowwatch.sources.live import LiveSource

    settings = wanted.settings
    return LiveSource(
        lambda: HubbleServer(wanted, with_ring),
        where=forward.where(settings),
        follow=wanted.window.follow,
        raw=wanted.raw,
        encrypted=settings.encrypted,
        keep_trying=keep_trying,
    )


def matcher(filters: Filters) -> replay.Match | None:
    """The filters as a function on flows; None when there are none. Raises UsageError."""
    if not filters:
        return None
    # Only for who filters here: it takes 50 ms.
    from flowwatch.hubble.filters.match import FilterError, compile_filters

    try:
        return compile_filters(filters)
    except FilterError as error:
        raise UsageError(safe(str(error)), way_out(str(error))) from None


def file_window(wanted: FlowRequest) -> replay.Selection:
    """The window as it applies to a file: the same flags mean the same as live."""
    from flowwatch.hubble.captures import replay

    window = wanted.window
    number = 0 if window.number >= request.ALL else window.number
    # Live, "since" with a number means the oldest of them.
    first = window.first or (window.since is not None and number > 0)
    return replay.Selection(
        since=window.since,
        until=window.until,
        first=number if first else 0,
        last=0 if first else number,
    )
