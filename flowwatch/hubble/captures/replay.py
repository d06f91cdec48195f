"""Records of capture files as Hubble's own messages, filtered as a server would filter them.

For who prints or stores records as they are (``observe --input-file``). What counts flows reads
files through :class:`flowwatch.sources.files.FileSource`, which is several times faster.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from flowwatch.errors import InputError
from flowwatch.hubble.captures.files import CaptureReader
from flowwatch.hubble.wire.enum_names import newer_names
from flowwatch.hubble.wire.errors import NO_FLOW, NOT_JSON
from flowwatch.hubble.wire.jsonpb import FlowParser, NotAFlow, fields_in_both_cases
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.text import safe

Match = Callable[[flow_pb2.Flow], bool]
"""Whether a flow passes the filters. May have an attribute ``fields``, a set of the names of Flow's
fields that it looks at (None for all): only those are then converted for it."""


@dataclass(frozen=True, slots=True)
class Window:
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


def nothing_read(where: str, skipped: dict[str, int]) -> InputError | None:
    """The error to raise when a file gave no record at all, only what was passed over; else None."""
    foreign = {reason: skipped[reason] for reason in (NOT_JSON, NO_FLOW) if skipped.get(reason)}
    if not foreign:
        return None
    said = ", ".join(f"{number} × {reason}" for reason, number in foreign.items())
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
        window: Window | None = None,
        reader: CaptureReader | None = None,
    ) -> None:
        self._reader = reader or CaptureReader(paths)
        self._match = match
        self._window = window or Window()
        self._parser = FlowParser()
        self.skipped: dict[str, int] = {}
        """Records passed over so far, by reason."""
        self.read = 0
        """Records understood so far, matching or not."""

    @property
    def warnings(self) -> list[str]:
        """What was met that is newer than this version, in sentences."""
        return newer_things(self._parser)

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
                        self.read += 1
                        continue
                response = self._parser.response(record)
            except NotAFlow as error:
                self._skip(error.reason)
                continue
            self.read += 1
            if window.timed and not window.holds(_time(response)):
                continue
            if response.HasField("flow"):
                if match is not None and not match(response.flow):
                    continue
                yield response
                left -= 1
                if not left:
                    return
            else:
                yield response

    def _records(self) -> Iterator[bytes]:
        try:
            for chunk in self._reader.chunks(_plain_lines):
                yield from chunk.records if chunk.decoded is None else chunk.decoded
        finally:
            for reason, number in self._reader.take_skipped().items():
                self._skip(reason, number)
        if not self.read and (error := nothing_read(self._reader.where, self.skipped)):
            raise error

    def _skip(self, reason: str, number: int = 1) -> None:
        self.skipped[reason] = self.skipped.get(reason, 0) + number


def _plain_lines(block: bytes) -> list[bytes] | None:
    """The lines of ``block`` when each looks like one object; None when the splitter must look."""
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    plain = all(line[:1] == b"{" and line[-1:] == b"}" for line in lines)
    return lines if plain else None


def _time(response: observer_pb2.GetFlowsResponse) -> int:
    """When it was seen: the response's time, else its flow's (captures that lack the wrapping)."""
    stamp = response.time if response.HasField("time") else response.flow.time
    return stamp.seconds * 1_000_000_000 + stamp.nanos
