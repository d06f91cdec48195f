"""What a live source needs of a server: a stream, and answers beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from flowwatch.errors import Refused
from flowwatch.sources.nodes import ServerNow


class Messages(Protocol):
    """What flowwatch.hubble.client.stream gives: chunks of raw GetFlowsResponse messages."""

    def chunks(self) -> Iterator[list[bytes]]: ...

    def close(self) -> None: ...

    @property
    def backlog(self) -> int: ...

    @property
    def reached(self) -> bool:
        """Whether the server has answered."""
        ...


class Server(Protocol):
    """An open connection, as far as a source needs it. All but ``open`` are called in any thread."""

    def open(self, since: int | None) -> Messages:
        """Start the stream; ``since`` (ns) resumes a follow stream there instead of its start."""
        ...

    def nodes(self) -> ServerNow:
        """How the server and its nodes are now."""
        ...

    def oldest(self) -> dict[str, int]:
        """Time of the oldest record that is still held, by node; that of an observer under ""."""
        ...

    def peek(self, since: int) -> list[bytes]:
        """The first messages from ``since`` (ns) on that the stream should have brought."""
        ...

    def close(self) -> None: ...


def unreadable(where: str, skipped: Mapping[str, int]) -> Refused:
    """The error of a server that sent records, and none that can be read.

    It would look as if there had been no traffic.
    """
    said = ", ".join(f"{count:,} × {why}" for why, count in list(skipped.items())[:5])
    return Refused(
        f"{where} sent no record that can be read ({said})",
        "--keep-bad DIR keeps them; the server may be newer than this flowwatch, or not Hubble",
    )
