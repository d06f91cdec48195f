"""Reading folders of captures: each as if it were one file, its records in the order of time."""

from __future__ import annotations

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from io import FileIO
from typing import TypeVar

from flowwatch.errors import InputError
from flowwatch.hubble.captures.files import BLOCK, CaptureReader, Chunk
from flowwatch.hubble.captures.folders import Folder, Member, again, first_line, look_into
from flowwatch.hubble.captures.lines import Line, lines_of
from flowwatch.hubble.captures.splitting import plain_lines
from flowwatch.text import left_out, safe

KNOWN = 500_000
"""Records remembered at least, to know their copies again: 40 MB at most."""

_T = TypeVar("_T")


class FolderReader(CaptureReader):
    """As a reader of files, and of folders beside them."""

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        *,
        keep: bool,
        since: int | None,
        until: int | None,
    ) -> None:
        self._folders: dict[str, Folder] = {}
        self._since, self._until = since, until
        super().__init__(paths, keep=keep)

    def _look_at(self, path: str) -> None:
        if path != "-" and os.path.isdir(path):
            folder = self._folders[path] = look_into(path)
            if self._size is not None:
                within = folder.within(self._since, self._until)
                self._size += sum(one.size for members in within for one in members)
        else:
            super()._look_at(path)

    def notes(self) -> list[str]:
        notes = []
        for path, folder in self._folders.items():
            notes += left_out(folder.left_out, safe(path))
        return notes

    def begins(self) -> list[int]:
        return [
            member.since
            for folder in self._folders.values()
            for members in folder.series
            for member in members
        ]

    def _chunks(self, path: str, fast: Callable[[bytes], _T | None]) -> Iterator[Chunk[_T]]:
        folder = self._folders.get(path)
        if folder is None:
            yield from super()._chunks(path, fast)
            return
        series = folder.within(self._since, self._until)
        if len(series) == 1:
            yield from self._through(folder, series[0], fast)
        else:
            yield from self._merged(folder, series, fast)
        yield Chunk(None, [], os.path.basename(os.path.normpath(path)))

    def _through(
        self, folder: Folder, members: list[Member], fast: Callable[[bytes], _T | None]
    ) -> Iterator[Chunk[_T]]:
        """One series: nothing of it has to be looked at."""
        reader = _Members(folder, members, keep=self._keep is not None)
        try:
            for chunk in reader.chunks(fast):
                self._take_from(reader)
                if self._closed:
                    reader.close()
                    return
                chunk.ended = None
                yield chunk
        except InputError:
            self._take_from(reader)
            self._problems_of(folder, reader)

    def _take_from(self, reader: _Members) -> None:
        for reason, number in reader.take_skipped().items():
            self.skipped[reason] = self.skipped.get(reason, 0) + number
        for what, number in reader.take_unwrapped().items():
            self.unwrapped[what] = self.unwrapped.get(what, 0) + number
        self._unread += reader.take_unread()
        self._taken += reader.take_taken()

    def _problems_of(self, folder: Folder, reader: _Members) -> None:
        for problem in reader.problems:
            folder.left_out.append(str(problem).removeprefix(f"{safe(folder.path)}/"))

    def _merged(
        self, folder: Folder, series: list[list[Member]], fast: Callable[[bytes], _T | None]
    ) -> Iterator[Chunk[_T]]:
        held: list[bytes] = []
        size = 0
        for record in _Copies().without(self._in_order(folder, series)):
            held.append(record)
            size += len(record)
            if size >= BLOCK:
                yield _chunk(held, fast)
                held, size = [], 0
            if self._closed:
                return
        yield _chunk(held, fast)

    def _in_order(self, folder: Folder, series: list[list[Member]]) -> Iterator[tuple[int, Line]]:
        """Records of all series by their times, with the number of their series.

        Each is opened when it is due.
        """
        due: list[tuple[int, int]] = [
            (members[0].since, number) for number, members in enumerate(series)
        ]
        heapq.heapify(due)
        lines: dict[int, Iterator[Line]] = {}
        waiting: dict[int, Line] = {}
        while due:
            time, number = due[0]
            if number in waiting:
                yield number, waiting.pop(number)
            elif number not in lines:
                lines[number] = self._lines(folder, series[number])
            line = next(lines[number], None)
            if line is None:
                heapq.heappop(due)
                continue
            waiting[number] = line
            # What has no time comes after what it came after.
            heapq.heapreplace(due, (line.time or time, number))

    def _lines(self, folder: Folder, members: list[Member]) -> Iterator[Line]:
        reader = _Members(folder, members, keep=self._keep is not None)
        try:
            for chunk in reader.chunks(plain_lines):
                self._take_from(reader)
                for record in chunk.records if chunk.decoded is None else chunk.decoded:
                    found = lines_of(record)
                    if not (len(found) == 1 and found[0].record is record):
                        # Counted as unwrapped.
                        self.unwrap(record)
                    yield from found
        except InputError:
            self._take_from(reader)
            self._problems_of(folder, reader)


def _chunk(records: list[bytes], fast: Callable[[bytes], _T | None]) -> Chunk[_T]:
    block = b"".join(record + b"\n" for record in records)
    decoded = fast(block) if records and block.count(b"\n") == len(records) else None
    return Chunk(decoded, [] if decoded is not None else records)


class _Copies:
    """Knows the records again that another series has brought."""

    def __init__(self) -> None:
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}

    def without(self, lines: Iterator[tuple[int, Line]]) -> Iterator[bytes]:
        for number, line in lines:
            of = self._young.get(line.key)
            if of is None:
                of = self._old.get(line.key, number)
                self._young[line.key] = of
            if of == number:
                yield line.record
            if len(self._young) >= KNOWN:
                self._old, self._young = self._young, {}


class _Members(CaptureReader):
    """Reads the files of one series, wherever they were renamed to meanwhile."""

    def __init__(self, folder: Folder, members: list[Member], *, keep: bool) -> None:
        super().__init__((), keep=keep)
        self._folder = folder
        self._members = {one.path: one for one in members}
        self.paths = list(self._members)

    def take_taken(self) -> int:
        """Bytes that were read since the last call."""
        taken, self._taken = self._taken, 0
        return taken

    def _blocks(self, path: str) -> Iterator[bytes]:
        with self._open(self._members[path]) as file:
            yield from self._read(file)

    def _open(self, member: Member) -> FileIO:
        for path in (member.path, ""):
            with suppress(FileNotFoundError, InputError):
                file = FileIO(path or again(self._folder.path, member))
                first = first_line(file, path)
                if first is not None and first.record == member.first.record:
                    file.seek(0)
                    return file
                # A new file has taken its name.
                file.close()
        raise InputError(f"{safe(member.path)} went away while it was being read")
