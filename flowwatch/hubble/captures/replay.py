"""Records of capture files as Hubble's own messages, filtered as a server would filter them.

For who prints or stores records as they are (``observe --input-file``). What counts flows reads
files through :class:`flowwatch.sources.files.FileSource`, which is several times faster.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import msgspec

from flowwatch.errors import InputError, defect
from flowwatch.hubble.captures.files import CaptureReader
from flowwatch.hubble.captures.readers import capture_reader
from flowwatch.hubble.captures.splitting import plain_lines
from flowwatch.hubble.wire.enum_names import newer_names
from flowwatch.hubble.wire.errors import AGENT_EVENT, DEBUG_EVENT, HUBBLE_TEXTS
from flowwatch.hubble.wire.jsonpb import FlowParser, NotAFlow, fields_in_both_cases
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.text import safe

Match = Callable[[flow_pb2.Flow], bool]
"""Whether a flow passes the filters. May have an attribute ``fields``, a set of the names of Flow's
fields that it looks at (None for all): only those are then converted for it."""


class Selection(msgspec.Struct, frozen=True):
    """Which of the matching flows, in the order of the file (Hubble's captures aren't sorted).

    Times are nanoseconds since 1970, both ends included; a record without a time is outside of any
    limit. ``first`` and ``last`` are numbers of flows, 0 for all; not both.
    """

    since: int | None = None
    until: int | None = None
    first: int = 0
    last: int = 0

    @property
    def timed(self) -> bool:
        """Whether the time of a record matters."""
        return self.since is not None or self.until is not None

    def holds(self, time: int) -> bool:
        """Whether a record of ``time`` (0: none) lies within."""
        if not self.timed:
            return True
        if not time:
            return False
        return (self.since is None or time >= self.since) and (
            self.until is None or time <= self.until
        )


# Hubble's, and understood: a file of nothing else isn't lost.
_EVENTS = (AGENT_EVENT, DEBUG_EVENT)
_NAMED = 5

_USUAL = re.compile(rb'\{\s*"flow"\s*:\s*\{')


def nothing_read(where: str, skipped: dict[str, int]) -> InputError | None:
    """The error of a file that gave no record at all, only what was passed over; else None.

    It would look as if there had been no traffic.
    """
    if all(reason in _EVENTS for reason in skipped):
        return None
    most = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    text = next((reason for reason, _ in most if reason in HUBBLE_TEXTS), "")
    if text:
        return InputError(
            f"{safe(where)} is {text}, which leaves out most of a record",
            "write the records: hubble observe -o jsonpb",
        )
    said = ", ".join(f"{number:,} × {safe(reason)}" for reason, number in most[:_NAMED])
    return InputError(
        f"{safe(where)} holds no Hubble flows ({said})",
        "hubble observe -o json, or the agent's export file, is what can be read",
    )


def newer_things(parser: FlowParser) -> list[str]:
    """Sentences about what was met that is newer than the wire contract; safe to show."""
    said = []
    if names := newer_names():
        said.append(f"names that this version doesn't know: {safe(', '.join(names[:10]))}")
    if fields := parser.unknown_fields:
        said.append(f"fields that this version doesn't know: {safe(', '.join(list(fields)[:10]))}")
    return said


class FileRecords:
    """Iterate once over the records of ``paths`` (``-`` is standard input) as GetFlowsResponse.

    A bare flow comes wrapped. Lost events and node status pass any ``match`` and don't count as
    flows, as on a server; only the times of ``window`` apply to them. Raises InputError after the
    last record when a file can't be read to its end, or holds nothing of Hubble's.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        match: Match | None = None,
        window: Selection | None = None,
        reader: CaptureReader | None = None,
        unread: Callable[[int, str, bytes], None] | None = None,
    ) -> None:
        """``unread`` is given what can't be read: its number (0: no record), why, and its bytes."""
        self._window = window or Selection()
        self._reader = reader or capture_reader(
            paths, keep=unread is not None, since=self._window.since, until=self._window.until
        )
        self._unread = unread
        self.number = 0
        """Of the record read last, from 1."""
        self._file_read = False
        self._file_skipped: dict[str, int] = {}
        self._match = match
        self._parser = FlowParser()
        self.skipped: dict[str, int] = {}
        """Records passed over so far, by reason."""
        self.read = 0
        """Records understood so far, matching or not."""

    @property
    def warnings(self) -> list[str]:
        """What was met that is newer than this version, in sentences."""
        return newer_things(self._parser)

    @property
    def left_out(self) -> list[str]:
        """Which files of folders were left out, in sentences; complete at the end."""
        return self._reader.notes()

    @property
    def unwrapped(self) -> dict[str, int]:
        """Records that stood inside of something else so far, by what that was; not made safe."""
        return self._reader.unwrapped

    @property
    def where(self) -> str:
        """The files, as they are told."""
        return self._reader.where

    def close(self) -> None:
        """End the iteration soon."""
        self._reader.close()

    def __iter__(self) -> Iterator[observer_pb2.GetFlowsResponse]:
        last = self._window.last
        if not last:
            yield from self._matching()
            return
        kept: deque[observer_pb2.GetFlowsResponse] = deque()
        flows = 0
        try:
            for response in self._matching():
                kept.append(response)
                flows += response.HasField("flow")
                while flows > last:
                    flows -= kept.popleft().HasField("flow")
        except InputError:
            yield from kept
            raise
        yield from kept

    def _matching(self) -> Iterator[observer_pb2.GetFlowsResponse]:
        window, match, left = self._window, self._match, self._window.first
        fields = getattr(match, "fields", None)
        only = None if fields is None else fields_in_both_cases(fields)
        for record in self._records():
            try:
                # Most records fail the filters: first only what these look at.
                if match is not None and only is not None:
                    glance = self._parser.peek(record, only)
                    if glance is not None and not match(glance):
                        self._understood()
                        continue
                response = self._parser.response(record)
                outside = window.timed and not window.holds(_time(response))
                is_flow = response.HasField("flow")
                other = match is not None and is_flow and not outside and not match(response.flow)
            except NotAFlow as error:
                self._bad(error.reason, record)
                continue
            except Exception as error:  # noqa: BLE001 - counted and told, and the text can be kept
                self._bad(defect(error), record)
                continue
            self._understood()
            if outside or other:
                continue
            if is_flow:
                yield response
                left -= 1
                if not left:
                    return
            else:
                yield response

    def _records(self) -> Iterator[bytes]:
        try:
            for chunk in self._reader.chunks(plain_lines):
                for record in chunk.records if chunk.decoded is None else chunk.decoded:
                    for one in self._opened(record):
                        self.number += 1
                        yield one
                self._passed_over()
                if chunk.ended is not None:
                    if not self._file_read:
                        chunk.problem = nothing_read(chunk.ended, self._file_skipped)
                    self._file_read, self._file_skipped = False, {}
        finally:
            self._passed_over()

    def _opened(self, record: bytes) -> Sequence[bytes]:
        """The record itself, or those that are wrapped in it."""
        if _USUAL.match(record):
            return (record,)
        return self._reader.unwrap(record) or (record,)

    def _passed_over(self) -> None:
        for reason, number in self._reader.take_skipped().items():
            self._skip(reason, number)
        for reason, data in self._reader.take_unread():
            if self._unread is not None:
                self._unread(0, reason, data)

    def _understood(self) -> None:
        self.read += 1
        self._file_read = True

    def _bad(self, why: str, record: bytes) -> None:
        self._skip(why)
        if self._unread is not None:
            self._unread(self.number, why, record)

    def _skip(self, reason: str, number: int = 1) -> None:
        for skipped in (self.skipped, self._file_skipped):
            skipped[reason] = skipped.get(reason, 0) + number


def _time(response: observer_pb2.GetFlowsResponse) -> int:
    """When it was seen: the response's time, else its flow's (captures that lack the wrapping)."""
    stamp = response.time if response.HasField("time") else response.flow.time
    return stamp.seconds * 1_000_000_000 + stamp.nanos
