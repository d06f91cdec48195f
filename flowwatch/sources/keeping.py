"""``--keep-bad DIR``: records that could not be read, each as a file with the bytes as they came.

keeper = Keeper("bad")
for batch in Keeping(source, keeper).batches():     # the same batches
    ...
keeper.words()                                      # what is in the folder now
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

from flowwatch.errors import UsageError
from flowwatch.flows.model import Batch, Unread
from flowwatch.flows.source import Source, SourceState, try_again
from flowwatch.sources.private import PrivateSource
from flowwatch.text import safe

LIMIT = 1000
"""Records kept in one run: enough to see a pattern, and no hostile server fills the disk with them."""

_RECORDS = "records that could not be read are"
_NO_NAME = re.compile(r"[^A-Za-z0-9]+")


class Keeper:
    """Writes unread records into ``folder``. One thread."""

    def __init__(self, folder: str) -> None:
        """Makes ``folder`` where there is none; UsageError when it can't be written to."""
        self._folder = folder
        self._kept = 0
        self._left_out = 0
        self._failure = ""
        try:
            os.makedirs(folder, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(f"cannot keep records in {safe(folder)}", str(reason)) from None
        if not os.access(self._folder, os.W_OK | os.X_OK):
            raise UsageError(f"cannot keep records in {safe(folder)}", "permission denied")

    def keep(self, unread: Iterable[Unread]) -> None:
        """Write each of ``unread``; one that can't be written is counted, and told by :meth:`words`."""
        for one in unread:
            if self._kept >= LIMIT:
                self._left_out += 1
                continue
            try:
                self._write(one)
                self._kept += 1
            except OSError as error:
                self._left_out += 1
                self._failure = error.strerror or str(error)

    def _write(self, one: Unread) -> None:
        """A file of its own: of an earlier run, or of another that is running, none is overwritten."""
        ending = "json" if one.data[:1] in (b"{", b"[") else "bin"
        why = _NO_NAME.sub("-", one.why.partition("):")[0]).strip("-")[:80]
        for again in range(LIMIT):
            name = f"record-{one.number:06d}-{why}{f'-{again}' if again else ''}.{ending}"
            try:
                with open(os.path.join(self._folder, name), "xb") as file:
                    file.write(one.data)
            except FileExistsError:
                continue
            return
        raise OSError("too many records of that name")

    def words(self) -> list[str]:
        """What was kept, and what wasn't, a safe line each; nothing when all could be read."""
        folder = safe(self._folder)
        said = []
        if self._kept:
            records = "record that could not be read is" if self._kept == 1 else _RECORDS
            said.append(f"{self._kept:,} {records} kept in {folder}")
        if self._left_out:
            why = self._failure or f"{LIMIT:,} are enough"
            were = "was" if self._left_out == 1 else "were"
            said.append(f"{self._left_out:,} more {were} not kept in {folder}: {safe(why)}")
        return said


class Keeping:
    """A source whose unread records are kept; everything else is the source's."""

    def __init__(self, source: Source, keeper: Keeper) -> None:
        self._source = source
        self._keeper = keeper

    def batches(self) -> Iterator[Batch]:
        for batch in self._source.batches():
            self._keeper.keep(batch.unread)
            yield batch

    def state(self) -> SourceState:
        return self._source.state()

    def retry(self) -> None:
        """Have it try now, if it waits."""
        try_again(self._source)

    def close(self) -> None:
        self._source.close()

    def words(self) -> list[str]:
        """See :meth:`Keeper.words`."""
        return self._keeper.words()


def kept_words(source: Source) -> list[str]:
    """What ``source`` has kept, if it keeps anything."""
    source = source.within if isinstance(source, PrivateSource) else source
    return source.words() if isinstance(source, Keeping) else []
