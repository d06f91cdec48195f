"""Capture files as a source of flows."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from flowwatch.errors import InputError, defect
from flowwatch.flows.decode_json import LineDecoder
from flowwatch.flows.first_or_last import first_or_last
from flowwatch.flows.guard import count, merge, unread
from flowwatch.flows.json_structs import JsonLine, is_flow, may_wrap, texts_of, time_of
from flowwatch.flows.model import Batch, Flow, Unread
from flowwatch.flows.scanning import New, Scanning
from flowwatch.flows.source import SourceState, in_hundredths
from flowwatch.flows.within import Within
from flowwatch.hubble.captures.files import CaptureReader
from flowwatch.hubble.captures.readers import capture_reader
from flowwatch.hubble.captures.replay import Match, Selection, newer_things, nothing_read
from flowwatch.hubble.wire.errors import NotAFlow
from flowwatch.hubble.wire.jsonpb import Raws, fields_in_both_cases
from flowwatch.sources.sought import Sought


class FileSource:
    """Flows of ``paths`` (``-`` is standard input) that pass ``match``, within ``window``.

    In the order of the files, one file after the other. Lost events and node status pass any
    ``match`` and don't count as flows; only the times of the window apply to them. ``batches()``
    raises InputError at its end when a file can't be read to its end, or holds nothing of Hubble's:
    what was readable has been yielded by then. The constructor raises it for a file that isn't
    there.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        match: Match | None = None,
        window: Selection | None = None,
        reader: CaptureReader | None = None,
        keep: bool = False,
        sought: Sought | None = None,
    ) -> None:
        """``keep``: batches carry also what is no record, with its bytes. ``sought``: who says, when no
        flow passes ``match``, why that may be."""
        self._window = window or Selection()
        self._reader = reader or capture_reader(
            paths, keep=keep, since=self._window.since, until=self._window.until
        )
        self._within = Within(self._window)
        self._match = match
        self._decoder = LineDecoder()
        self._scanning = Scanning(self._decoder.layer7)
        fields = getattr(match, "fields", None)
        self._only = None if fields is None else fields_in_both_cases(fields)
        self._sought = sought
        self._passed = False
        """Whether a flow has passed ``match``."""
        self._read = False
        """Whether anything of the present file was; what was skipped of it."""
        self._before = 0
        """Records decoded before the present block."""
        self._skipped: dict[str, int] = {}
        self._state = SourceState(self._reader.where, "connecting", since=time.time())

    @property
    def warnings(self) -> list[str]:
        """What was met that is newer than this version, in sentences; complete at the end."""
        return newer_things(self._decoder.parser)

    def state(self) -> SourceState:
        """Where it stands; the message of a failed source says what could not be read."""
        state = self._state
        if state.phase != "reading":
            return state
        return replace(state, progress=in_hundredths(self._reader.progress))

    def close(self) -> None:
        """End ``batches()`` soon."""
        self._reader.close()

    def batches(self) -> Iterator[Batch]:
        """Yield the flows; empty batches while a pipe is silent. See the class."""
        self._phase("reading")
        try:
            yield from first_or_last(self._all(), self._window.first, self._window.last)
        except InputError as error:
            self._phase("failed", str(error))
            raise
        self._phase("ended")

    def _phase(self, phase: str, message: str = "") -> None:
        self._state = SourceState(self._reader.where, phase, message, since=time.time())

    def _all(self) -> Iterator[Batch]:
        """Every matching flow in time."""
        try:
            for chunk in self._reader.chunks(self._block):
                batch = chunk.decoded or self._records(chunk.records)
                self._count(batch)
                if chunk.ended is not None:
                    if not self._read:
                        chunk.problem = nothing_read(chunk.ended, self._skipped)
                    self._read, self._skipped = False, {}
                yield batch
        except InputError:
            yield self._rest()
            raise
        rest = self._rest()
        if not self._reader.closed:
            rest.notes += self._within.words(self._reader.begins())
        yield rest

    def _rest(self) -> Batch:
        batch = Batch(notes=self._reader.notes())
        self._count(batch)
        if self._sought is not None and not self._passed:
            batch.notes += self._sought.words()
        return batch

    def _count(self, batch: Batch) -> None:
        """Add to ``batch`` what the reader passed over; all that is skipped counts for its file."""
        for reason, number in self._reader.take_skipped().items():
            count(batch.skipped, reason, number)
        for what, number in self._reader.take_unwrapped().items():
            count(batch.unwrapped, what, number)
        for reason, data in self._reader.take_unread():
            batch.unread.append(Unread(0, reason, data))
        for reason, number in batch.skipped.items():
            count(self._skipped, reason, number)

    def _block(self, block: bytes) -> Batch | None:
        """The records of ``block``, lines of JSON; None when some line isn't what can be read at once."""
        if self._match is not None:
            # What a filter asks for may be anything of a record.
            lines = self._decoder.structs(block)
            return None if lines is None else self._lines(lines, block)
        runs = self._scanning.lines(block)
        if len(runs) == 1 and runs[0][2] is not None:
            return self._made(runs[0][2])
        texts = [block[start:end] for start, end, _, _ in runs]
        read: list[list[JsonLine] | None] = []
        for (_, _, made, _), text in zip(runs, texts, strict=True):
            read.append([] if made is not None else self._decoder.structs(text))
            if read[-1] is None:
                return None
        batch = Batch()
        for (_, _, made, new), text, lines in zip(runs, texts, read, strict=True):
            more = self._made(made) if made is not None else self._lines(lines or [], text, new)
            if more is None:
                return None
            merge(batch, more)
        return batch

    def _made(self, flows: list[Flow]) -> Batch:
        """The records that the scanner has made, within the window."""
        self._before += len(flows)
        self._read = True
        if not self._window.timed:
            return Batch(flows=flows)
        return Batch(flows=[flow for flow in flows if self._within.holds(flow.time)])

    def _lines(
        self, lines: list[JsonLine], block: bytes, new: list[New] | None = None
    ) -> Batch | None:
        """The records of ``block``, read; ``new`` is what the scanner saw in each."""
        if any(may_wrap(line) for line in lines if line.flow is None):
            opened = self._opened(lines, block)
            if opened is not None:
                return self._records(opened)
        try:
            batch = self._batch(lines, block)
        except NotAFlow:
            return None
        if new:
            sound = len(batch.flows) == len(new) and not (batch.odd or batch.skipped)
            self._scanning.learn(
                new, batch.flows if sound else None, lambda at: self._alone(lines[at])
            )
        return batch

    def _alone(self, line: JsonLine) -> Flow | None:
        """One record, if nothing is amiss in it."""
        batch = self._decoder.batch([line])
        sound = len(batch.flows) == 1 and not (batch.odd or batch.skipped)
        return batch.flows[0] if sound else None

    def _opened(self, lines: list[JsonLine], block: bytes) -> list[bytes] | None:
        """The records of ``block``, those that are wrapped taken out; None when none is."""
        opened: list[bytes] = []
        wrapped = False
        for line, text in zip(lines, texts_of(block), strict=True):
            found = self._reader.unwrap(text) if may_wrap(line) else []
            wrapped |= bool(found)
            opened += found or [text]
        return opened if wrapped else None

    def _records(self, records: list[bytes]) -> Batch:
        """Records that the reader had to find one by one; together again they may be a block."""
        together = self._block(b"\n".join(records)) if len(records) > 1 else None
        if together is not None:
            return together
        batch = Batch()
        for record in records:
            self._record(record, batch)
        return batch

    def _record(self, record: bytes, batch: Batch) -> None:
        """Add one record that no block could hold, by the long way when it needs that."""
        try:
            plain, lines = self._decoder.any_record(record)
            if not (may_wrap(lines[0]) and self._inner(record, batch)):
                merge(batch, self._batch(lines, plain, record))
            return
        except NotAFlow as error:
            if self._inner(record, batch):
                return
            why = error.reason
        except Exception as error:  # noqa: BLE001 - counted and told, and the text can be kept
            why = defect(error)
        self._before += 1
        unread(batch, why, self._here, record)

    def _inner(self, record: bytes, batch: Batch) -> bool:
        """Add the records that are wrapped in ``record``; whether there are any."""
        inner = self._reader.unwrap(record)
        if inner:
            merge(batch, self._records(inner))
        return bool(inner)

    def _here(self, record: bytes) -> tuple[int, bytes]:
        return self._before, record

    def _batch(self, lines: list[JsonLine], block: bytes, record: bytes = b"") -> Batch:
        """The records of ``block`` that pass; ``record`` is what a single one was, as it came."""
        where = _Places(lines, block, record, self._before)
        batch = Batch()
        if self._match is not None or self._window.timed:
            wanted = self._wanted(lines, block, where, batch)
        else:
            wanted = lines
        merge(batch, self._decoder.batch(wanted, where))
        self._before += len(lines)
        if len(lines) > sum(batch.skipped.values()):
            self._read = True
        return batch

    def _wanted(
        self, lines: list[JsonLine], block: bytes, where: _Places, batch: Batch
    ) -> list[JsonLine]:
        """Those of ``lines``, the records of ``block``, that pass; ``batch`` gets the unreadable."""
        match, only = self._match, self._only
        timed, holds = self._window.timed, self._within.holds
        to_flow = self._decoder.parser.flow
        messages: Sequence[Raws | None] = (
            self._decoder.raws(block) if match is not None else [None] * len(lines)
        )
        wanted = []
        for line, raws in zip(lines, messages, strict=True):
            try:
                if timed and not holds(time_of(line)):
                    continue
                if match is None or raws is None or not is_flow(line):
                    wanted.append(line)
                elif match(to_flow(raws, only)):
                    wanted.append(line)
                    self._passed = True
                elif self._sought is not None and not self._passed:
                    self._sought.refused(partial(self._decoder.ends, line))
            except NotAFlow as error:
                unread(batch, error.reason, where, line)
            except Exception as error:  # noqa: BLE001 - as above
                unread(batch, defect(error), where, line)
        return wanted


class _Places:
    """Where the records of a block stand, and their text: found out when somebody asks."""

    def __init__(self, lines: list[JsonLine], block: bytes, record: bytes, before: int) -> None:
        self._lines, self._block, self._record, self._before = lines, block, record, before
        self._texts: list[bytes] = []
        self._places: dict[int, int] = {}

    def __call__(self, line: JsonLine) -> tuple[int, bytes]:
        if not self._places:
            self._places = {id(one): place for place, one in enumerate(self._lines)}
            self._texts = [self._record] if self._record else texts_of(self._block)
        place = self._places[id(line)]
        return self._before + place + 1, self._texts[place]
