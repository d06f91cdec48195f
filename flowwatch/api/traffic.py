"""Opening a source of flows, and reading it: as rows, or batch by batch."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Unpack

from flowwatch.api.keywords import GivenKeywords, Keywords, Path
from flowwatch.egress.aggregate import MAX_ROWS, Aggregate
from flowwatch.egress.chosen import saying_filter
from flowwatch.egress.ends import RowEnds
from flowwatch.egress.folding import PLAIN, fold, read_by
from flowwatch.egress.frame import frame
from flowwatch.egress.matching import asks_for
from flowwatch.egress.query import DIRECTIONS, Query
from flowwatch.egress.schema import WAITING
from flowwatch.egress.view import labels_of, snapshot
from flowwatch.egress.waiting import waiting as waiting_rows
from flowwatch.errors import InputError, UsageError
from flowwatch.flows.guard import merge
from flowwatch.flows.model import Batch
from flowwatch.hubble.captures.files import CaptureReader
from flowwatch.sources import opening
from flowwatch.sources.files import FileSource
from flowwatch.sources.request import FlowRequest, flow_request
from flowwatch.text import safe

if TYPE_CHECKING:
    import pandas as pd

    from flowwatch.flows.source import Source


def open_source(
    *files: Path, with_ring: bool = False, keep_trying: bool = False, **keywords: Unpack[Keywords]
) -> Source:
    """A source of flows: capture files, or a Hubble server (several are read as one).

        with contextlib.closing(flowwatch.open_source(follow=True, namespace="weather")) as source:
            for batch in source.batches():
                for flow in batch.flows:
                    ...

    Nothing is sent or read before ``batches()`` is iterated. With ``follow=True`` it goes on for
    ever, comes back after a loss of the server, and yields an empty batch ten times a second.

    Args:
        files: paths of captures, ``-`` for standard input; without any, a server is asked.
        with_ring: what follows starts with the records that the server holds.
        keep_trying: a server that isn't there yet is waited for.
        keywords: filters, times and server, named as the flags of ``flowwatch summary`` with ``_``
            for ``-``: see :class:`flowwatch.api.keywords.Keywords`.

    Raises FlowwatchError, one line that says what to do; ``batches()`` does when reading fails.
    What the settings lack comes as UserWarning.
    """
    wanted = flow_request(GivenKeywords(keywords, files), several=True)
    _warn(wanted.settings.warnings)
    return opening.open_source(wanted, with_ring=with_ring, keep_trying=keep_trying)


def read(
    *files: Path,
    source: Source | None = None,
    direction: str = "egress",
    max_rows: int | str = MAX_ROWS,
    by: str = "",
    waiting: bool = False,
    filter: str = "",
    **keywords: Unpack[Keywords],
) -> pd.DataFrame:
    """The egress table of capture files, of a Hubble server, or of a source, as a pandas frame.

        flowwatch.read("flows.jsonl", namespace="weather", verdict="DROPPED")
        flowwatch.read(server="localhost:4245", since="5m", to_fqdn=["a.example", "b.example"])

    The same rows as the dashboard's; columns: see :data:`flowwatch.egress.schema.ROW`.

    Args:
        files: paths of captures, ``-`` for standard input; without any, a server is asked.
        source: read this instead, to its end: of :func:`flowwatch.open_source`, or one of your own
            (:class:`flowwatch.Source`). It is closed afterwards, and takes no ``keywords``.
        direction: ``egress``, ``ingress`` or ``both``.
        max_rows: rows kept, 4 at least; the least recent are folded into one.
        by: fold rows: ``workload``, ``workload,peer,port``, ``namespace,peer``, ``label:team`` …
        waiting: only who is blocked at the end of what was read, by workload and destination, the longest
            waits first; columns: see :data:`flowwatch.egress.schema.WAITING`. Takes no ``by``.
        filter: only the rows that it finds, in the dashboard's language:
            ``ns:shop !to:*.example.com port:443``.
        keywords: as :func:`flowwatch.open_source` takes them.

    What makes the numbers less than the whole truth comes as UserWarning. Raises FlowwatchError,
    one line that says what to do.
    """
    query = Query(direction=_direction(direction), text=filter_text(filter))
    folding = read_by(by) if by else PLAIN
    if waiting and by:
        raise UsageError("waiting is by workload and destination", "leave out by")
    try:
        aggregate = Aggregate(int(max_rows), keep_recent=False)
    except ValueError as error:
        raise UsageError(f"invalid max_rows: {safe(str(max_rows))}", safe(str(error))) from None
    if folding.label or asks_for(filter, "label"):
        aggregate.ends = RowEnds()
    source, told = ended_source(source, files, keywords, "a frame ends")
    try:
        for batch in source.batches():
            aggregate.join.add(batch)
    finally:
        source.close()
    taken = saying_filter(snapshot(aggregate, query), filter)
    _warn((*told, *taken.coverage.warnings))
    if waiting:
        return frame(waiting_rows(taken.rows, taken.coverage.last_seen), WAITING)
    return frame(fold(taken.rows, folding, labels_of(aggregate)))


def decode(records: bytes) -> Batch:
    """Flows out of text: JSON lines as Hubble prints or exports them, gzip or plain, whole records.

    For a :class:`flowwatch.Source` of your own. Records that can't be read are counted in
    ``skipped`` of the batch. The more at once, the faster: what repeats is read once a call.
    """
    whole = Batch()
    source = FileSource(["-"], reader=CaptureReader(["-"], stdin=io.BytesIO(records)))
    try:
        for batch in source.batches():
            merge(whole, batch)
    except InputError:
        # Of what could be read nothing is missing, and the rest is counted.
        return whole
    return whole


def ended_source(
    source: Source | None, files: tuple[Path, ...], keywords: Mapping[str, object], ends: str
) -> tuple[Source, tuple[str, ...]]:
    """The source that a call names, which must end, and what is to be told of it.

    Raises UsageError: ``ends`` says of what is asked that it does.
    """
    if source is not None:
        if files or keywords:
            first = next(iter(keywords), "the files")
            raise UsageError(
                "a source is read as it is", f"leave out {safe(first)}, or give them to open_source"
            )
        return source, ()
    wanted: FlowRequest = flow_request(GivenKeywords(keywords, files), several=True)
    if wanted.window.follow:
        raise UsageError(ends, "leave out follow")
    return opening.open_source(wanted), wanted.settings.warnings


def filter_text(text: str) -> str:
    """``text``, which is a filter that attempts and rows of now can be asked. Raises UsageError."""
    if asks_for(text, "staged"):
        raise UsageError("staged: asks what staged policies would do", "flowwatch --staged DIR")
    return text


def _direction(text: str) -> str:
    way = text.lower()
    if way not in DIRECTIONS:
        raise UsageError(f"invalid direction: {safe(text)}", f"one of {', '.join(DIRECTIONS)}")
    return way


def _warn(lines: tuple[str, ...]) -> None:
    for line in lines:
        warnings.warn(line, UserWarning, stacklevel=3)
