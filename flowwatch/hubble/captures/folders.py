"""A folder of captures, as Hubble's exporter leaves one on each node: rotated files, gzip or not.

Its writer (lumberjack, by Cilium 1.20's ``pkg/hubble/exporter/writer.go``) renames ``events.log`` to
``events-2026-11-28T10-00-00.000.log`` and packs that; logrotate's ``events.log.1`` and
``events.log-20261128`` are known too. What belongs together by its name and its node is one series, read in
the order of first records. Several series are merged by the times of their records, and a record that two
of them have counts once. Which file is Hubble's is told by what is in it, never by a name.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import BinaryIO

from flowwatch.errors import InputError
from flowwatch.hubble.captures.files import BLOCK
from flowwatch.hubble.captures.lines import Line, lines_of
from flowwatch.hubble.captures.splitting import RecordSplitter
from flowwatch.hubble.captures.unpack import unpack
from flowwatch.text import safe

MOST = 10_000
"""Files: past that a folder is none of captures alone."""
DEEPEST = 4
"""Folders inside of each other: a node's in a cluster's, and room."""
LOOKED_INTO = 1024 * 1024
"""Bytes of a file in which a record of Hubble's must begin."""
SLACK = 600_000_000_000
"""Nanoseconds by which records of a file may be out of their order: an interval of aggregation, and a step
of a clock."""

_HISTORY = "history.json"
_ROTATED = re.compile(
    r"(?P<lumberjack>-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3})(?P<ext>(?:\.[^.]*)?)\Z"
    r"|(?:\.\d{1,4}|-\d{8}(?:-?\d{1,10})?)\Z"
)
_PACKED = ".gz"


@dataclass(frozen=True, slots=True)
class Member:
    """A file of Hubble's records."""

    path: str
    series: tuple[str, str]
    """Its name without what rotation adds, and the node of its first record."""
    first: Line
    """Its first record, by which it is known again when it was renamed, or packed."""

    size: int
    """Bytes."""

    @property
    def since(self) -> int:
        """About when its records begin, ns since 1970; 0 where that isn't known."""
        return self.first.time


@dataclass(slots=True)
class Folder:
    """What lies in one."""

    path: str
    series: list[list[Member]]
    """Each in the order in which it was written."""
    left_out: list[str]
    """Files that aren't read, with why: a safe line each."""

    def within(self, since: int | None, until: int | None) -> list[list[Member]]:
        """The series without files that can have nothing of that time (ns since 1970, both included)."""
        found = []
        for members in self.series:
            ends = [later.since for _, later in pairwise(members)] + [0]
            kept = [
                one
                for one, end in zip(members, ends, strict=True)
                if not (since is not None and one.since and end and end + SLACK < since)
                and not (until is not None and one.since and one.since - SLACK > until)
            ]
            if kept:
                found.append(kept)
        return found


def look_into(path: str) -> Folder:
    """What lies in the folder at ``path``. InputError where that can't be told, or it holds no captures."""
    if os.path.exists(os.path.join(path, _HISTORY)):
        raise InputError(
            f"{safe(path)} is a history, no folder of captures", "--history DIR reads it"
        )
    left_out: list[str] = []
    members = []
    names = list(_files(path, left_out))
    for name in names:
        if name.endswith(_PACKED) and name.removesuffix(_PACKED) in names:
            # Its writer packs a file beside it, and takes the file away after that.
            left_out.append(f"{safe(name)} is being made of {safe(name.removesuffix(_PACKED))}")
            continue
        found = _member(path, name)
        if isinstance(found, str):
            left_out.append(f"{safe(name)} {found}")
        elif found is not None:
            members.append(found)
    if not members and names:
        raise InputError(
            f"{safe(path)} holds no Hubble flows ({'; '.join(left_out[:3])})"
            if left_out
            else f"{safe(path)} holds no Hubble flows: all files in it are empty",
            "the folder of hubble-export-file-path is what can be read",
        )
    if not names:
        raise InputError(f"{safe(path)} is a directory without files", "name one with captures")
    return Folder(path, _series(members), left_out)


def _files(folder: str, left_out: list[str]) -> Iterator[str]:
    """Names below it of what may be captures, as paths from there."""
    found = 0
    for where, below, names in os.walk(folder, onerror=_raise):
        inside = os.path.relpath(where, folder)
        depth = 0 if inside == "." else inside.count(os.sep) + 1
        below[:] = sorted(one for one in below if not one.startswith(".") and depth < DEEPEST)
        for name in sorted(names):
            if name.startswith("."):
                continue
            found += 1
            if found > MOST:
                raise InputError(
                    f"{safe(folder)} holds more than {MOST:,} files", "name the folder of captures"
                )
            whole = name if inside == "." else os.path.join(inside, name)
            try:
                regular = stat.S_ISREG(os.stat(os.path.join(folder, whole)).st_mode)
            except OSError as error:
                left_out.append(f"{safe(whole)} can't be read: {error.strerror}")
                continue
            if regular:
                yield whole
            else:
                left_out.append(f"{safe(whole)} is no file")


def _raise(error: OSError) -> None:
    name = str(error.filename)
    raise InputError(f"cannot read {safe(name)}", error.strerror or str(error))


def _member(folder: str, name: str) -> Member | str | None:
    """A file as a member; why it is none, or None where it is empty."""
    path = os.path.join(folder, name)
    try:
        with open(path, "rb", buffering=0) as file:
            first = first_line(file, name)
            size = os.fstat(file.fileno()).st_size
    except InputError as error:
        return str(error).removeprefix(safe(name)).strip().partition(":")[0]
    except OSError as error:
        return f"can't be read: {error.strerror}"
    if first is None:
        return None
    if not first.record:
        return "holds no Hubble flows"
    return Member(path, (_without_rotation(name), first.node), first, size)


def first_line(file: BinaryIO, name: str) -> Line | None:
    """The first record of Hubble's in ``file``, if it is near the beginning; None where all is empty.

    A line without a record where there is none. InputError for what can't be unpacked.
    """
    splitter = RecordSplitter(LOOKED_INTO, lambda _: None, None, _opened)
    read, nothing = 0, True
    for block in unpack(iter(lambda: os.read(file.fileno(), BLOCK), b""), name):
        read += len(block)
        nothing = nothing and not block.strip()
        if found := _hubbles(splitter.feed(block)):
            return found
        if read >= LOOKED_INTO:
            break
    return _hubbles(splitter.finish()) or (None if nothing else Line(b""))


def _hubbles(records: list[bytes]) -> Line | None:
    return next((line for record in records for line in lines_of(record) if line.hubble), None)


def again(folder: str, member: Member) -> str:
    """Where a file is by now, whatever it was renamed to; "" where it went away."""
    for name in _files(folder, []):
        path = os.path.join(folder, name)
        if _without_rotation(name) != member.series[0]:
            continue
        found = _member(folder, name)
        if isinstance(found, Member) and found.first.record == member.first.record:
            return path
    return ""


def _opened(text: bytes) -> list[bytes]:
    from flowwatch.hubble.captures.unwrapping import unwrap_line

    return [record for _, record in unwrap_line(text)]


def _without_rotation(name: str) -> str:
    """``a/events-2026-11-28T10-00-00.000.log.gz`` as ``a/events.log``."""
    name = name.removesuffix(_PACKED)
    found = _ROTATED.search(name)
    return name if found is None else name[: found.start()] + (found["ext"] or "")


def _series(members: list[Member]) -> list[list[Member]]:
    """Those that follow each other. One that begins just where another does is a copy, beside it."""
    made = []
    ordered = sorted(members, key=lambda one: (one.series, one.since, one.path))
    for _, group in groupby(ordered, key=lambda one: one.series):
        row: list[Member] = []
        for one in group:
            if row and (not one.since or one.since == row[-1].since):
                made.append([one])
            else:
                row.append(one)
        made.append(row)
    return made
