"""The archive as a file: a zip whose bytes depend on its entries alone; one to be read may be a stranger's.

Entries are stored as they are, in the order of their names, with one time: no compressor's version
changes a byte, and nothing unfolds to more than it is. What is read may be hostile: it is refused whole,
with one line, before anything is written.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from flowwatch.errors import InputError
from flowwatch.text import plural, safe, size_words

MANIFEST = "manifest.json"
FLOWS = "flows/"
"""What holds the flows, as a history."""

Content = bytes | Path
"""What an entry holds, or where that lies."""

_TIME = (1980, 1, 1, 0, 0, 0)
MOST_ENTRIES = 50_000
"""A million flows are 31 files, of one hour: a thousand million flows have room."""
MOST_TEXT = 256 << 20
"""Bytes of what isn't flows, taken together: it is held in memory."""
_NAME = re.compile(r"[A-Za-z0-9_=.%+~-]+(/[A-Za-z0-9_=.%+~-]+)*", re.ASCII)
_LONGEST = 250
_DIRECTORY = MOST_ENTRIES * (_LONGEST + 50)
"""Bytes of the list of entries, which is read whole."""
_PIECE = 1 << 20


def pack(entries: Mapping[str, Content], out: BinaryIO) -> None:
    """Write ``entries`` as an archive. Raises OSError."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            about = zipfile.ZipInfo(name, _TIME)
            about.create_system, about.external_attr = 3, 0o100644 << 16
            content = entries[name]
            if isinstance(content, bytes):
                archive.writestr(about, content)
                continue
            about.file_size = content.stat().st_size
            with content.open("rb") as file, archive.open(about, "w") as entry:
                shutil.copyfileobj(file, entry, _PIECE)


def digest_of(content: Content) -> tuple[int, str]:
    """Its bytes, and their SHA-256 in hexadecimal. Raises OSError."""
    if isinstance(content, bytes):
        return len(content), sha256(content).hexdigest()
    made, size = sha256(), 0
    with content.open("rb") as file:
        while piece := file.read(_PIECE):
            made.update(piece)
            size += len(piece)
    return size, made.hexdigest()


class Archive:
    """One that is read. As a context it is open."""

    def __init__(self, path: str) -> None:
        """Look at what ``path`` lists, and refuse what is none of ours. InputError."""
        self.path, self._shown = path, safe(path)
        try:
            if not _small(path):
                raise self._refused(
                    "its list of entries is too long, or something stands behind it"
                )
            self._zip = zipfile.ZipFile(path)
        except OSError as error:
            why = safe(error.strerror or str(error))
            raise InputError(f"cannot read {self._shown}: {why}") from None
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError):
            raise self._refused("it is no zip, or was cut off") from None
        try:
            self._check()
        except InputError:
            self._zip.close()
            raise

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def _refused(self, why: str) -> InputError:
        return InputError(f"{self._shown} is no proof: {why}", "flowwatch proof -o FILE makes one")

    def _check(self) -> None:
        every = self._zip.infolist()
        if len(every) > MOST_ENTRIES:
            raise self._refused(f"{plural(len(every), 'entry', 'entries')}: too many")
        seen: set[str] = set()
        text = 0
        for one in every:
            why = _odd(one)
            if not why and one.filename.lower() in seen:
                why = "is there twice"
            if why:
                raise self._refused(f"its entry {_short(one.filename)} {why}")
            seen.add(one.filename.lower())
            text += 0 if one.filename.startswith(FLOWS) else one.file_size
        if MANIFEST not in seen:
            raise self._refused(f"it has no {MANIFEST}")
        size = os.stat(self.path).st_size
        if text > MOST_TEXT or sum(one.file_size for one in every) > size:
            raise self._refused(
                f"its entries claim to be larger than {size_words(min(size, MOST_TEXT))}"
            )

    @property
    def names(self) -> list[str]:
        """The entries."""
        return [one.filename for one in self._zip.infolist()]

    def read(self, name: str) -> bytes:
        """The content of an entry that isn't flows. InputError where it is damaged."""
        return b"".join(self._pieces(name))

    def unpack(self, folder: Path) -> dict[str, Content]:
        """All entries: what isn't flows in memory, the rest below ``folder``. InputError, OSError."""
        found: dict[str, Content] = {}
        for name in self.names:
            if not name.startswith(FLOWS):
                found[name] = self.read(name)
                continue
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                for piece in self._pieces(name):
                    file.write(piece)
            found[name] = target
        return found

    def _pieces(self, name: str) -> Iterator[bytes]:
        try:
            with self._zip.open(name) as entry:
                while piece := entry.read(_PIECE):
                    yield piece
        except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError):
            raise self._refused(f"its entry {_short(name)} is damaged") from None
        except OSError as error:
            why = safe(error.strerror or str(error))
            raise InputError(f"cannot read {self._shown}: {why}") from None


def _small(path: str) -> bool:
    """Whether the list of entries has a length that may be read; also of what is no zip at all."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END))
        end = file.read(_END)
    if end[-22:-18] != b"PK\5\6":
        # With a comment behind it a zip is none of ours.
        return not zipfile.is_zipfile(path)
    length = int.from_bytes(end[-10:-6], "little")
    if end[-42:-38] == b"PK\6\7":
        length = int.from_bytes(end[-58:-50], "little")
    return length <= _DIRECTORY


_END = 98
"""Bytes of the end of a zip, also of a large one (APPNOTE.TXT 4.3.14 to 4.3.16)."""


def _odd(one: zipfile.ZipInfo) -> str:
    """Why an entry is none that we write; "" where it may be."""
    name = one.orig_filename
    if len(name) > _LONGEST or not _NAME.fullmatch(name) or {".", ".."} & set(name.split("/")):
        return "has a name that no entry has"
    if one.flag_bits & 0x1:
        return "is encrypted"
    if one.compress_type != zipfile.ZIP_STORED or one.compress_size != one.file_size:
        return "is compressed: it was packed again"
    if one.external_attr >> 16 & 0o170000 not in (0, 0o100000):
        return "is no regular file"
    return ""


def _short(name: str) -> str:
    shown = safe(name)
    return shown if len(shown) <= 80 else f"{shown[:80]}…"


def same_bytes(entries: Mapping[str, Content], path: str, scratch: Path) -> bool:
    """Whether the archive at ``path`` is what ``entries`` make, to the byte. Raises OSError."""
    again = scratch / "again.zip"
    with again.open("w+b") as out:
        pack(entries, out)
    try:
        return digest_of(again) == digest_of(Path(path))
    finally:
        again.unlink()


def counted(names: list[str]) -> str:
    """``3 entries``."""
    return plural(len(names), "entry", "entries")
