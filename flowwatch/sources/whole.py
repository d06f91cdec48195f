"""Capture files whose flows carry their whole records."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from flowwatch.errors import InputError
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.model import Batch, Unread
from flowwatch.flows.source import SourceState
from flowwatch.flows.whole import decode_whole
from flowwatch.hubble.captures.replay import FileRecords, Match, Selection

_BATCH = 1024
"""Records."""


class WholeFiles:
    """As :class:`flowwatch.sources.files.FileSource`, with whole records."""

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        match: Match | None = None,
        window: Selection | None = None,
    ) -> None:
        self._unread: list[Unread] = []
        self._records = FileRecords(paths, match=match, window=window, unread=self._note)
        self._skipped: dict[str, int] = {}
        self._unwrapped: dict[str, int] = {}
        self._state = SourceState(self._records.where, "reading", since=time.time())

    def _note(self, number: int, why: str, data: bytes) -> None:
        self._unread.append(Unread(number, why, data))

    def batches(self) -> Iterator[Batch]:
        """The flows. InputError at the end, as a capture's."""
        decoder = WireDecoder()
        held: list[bytes] = []
        failure: InputError | None = None
        try:
            for response in self._records:
                held.append(response.SerializeToString())
                if len(held) >= _BATCH:
                    yield self._counted(decode_whole(decoder, held))
                    held = []
        except InputError as error:
            failure = error
        last = self._counted(decode_whole(decoder, held))
        last.notes += self._records.left_out
        yield last
        if failure is not None:
            raise failure

    def _counted(self, batch: Batch) -> Batch:
        batch.unread += self._unread
        self._unread = []
        for told, found, before in (
            (batch.skipped, self._records.skipped, self._skipped),
            (batch.unwrapped, self._records.unwrapped, self._unwrapped),
        ):
            for what, count in found.items():
                if more := count - before.get(what, 0):
                    told[what] = told.get(what, 0) + more
                before[what] = count
        return batch

    def state(self) -> SourceState:
        """Where it stands."""
        return self._state

    def close(self) -> None:
        """End soon."""
        self._records.close()
