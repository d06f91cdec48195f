"""The scanner, where it is installed: reads Hubble's records some times as fast, and to the same end.

``flowwatch-scan`` (its source is in ``native/``) is compiled and optional. It knows formats only: what
it doesn't recognise to the last byte, and the first of what repeats, is left to the decoders here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Protocol, cast

INTERFACE = 1
"""The version of what is called here: another's scanner isn't used."""
VARIABLE = "FLOWWATCH_SCANNER"
"""``off``: read without it."""

Token = tuple[int, int, int, int, int]
Varying = tuple[int, str, str, int, int, str, bytes | None]
"""Time (ns since 1970), addresses and ports of source and destination, uuid, layer 7 as it came."""
Run = tuple[int, int, list[Any] | None, list[tuple[Any, ...]] | None]
"""Where a run of records starts and ends; what was made of each; or the token and what varies of each
whose parts aren't all known; neither where they weren't recognised."""


class Scanner(Protocol):
    """Reads records and remembers their parts. One thread."""

    def lines(self, block: bytes, /) -> list[Run]:
        """Records in a block of lines; places are those in the block."""
        ...

    def messages(self, messages: list[bytes], latest: int, /) -> list[Run]:
        """The same of serialized responses; places count them."""
        ...

    def learn(
        self,
        token: Token,
        kind: object,
        more: object,
        view: int,
        source: object,
        destination: object,
        names: object,
        /,
    ) -> None:
        """What the parts of a record are: its kind and what goes with that; its names in such a ``view``."""
        ...


class Module(Protocol):
    """What ``flowwatch_scan`` has."""

    __version__: str
    INTERFACE: int
    UNREAD: tuple[str, ...]
    """Fields of a flow that it passes over."""

    def Scanner(  # noqa: N802 - a class
        self,
        make: Callable[..., object],
        join: Callable[..., object],
        layer7: Callable[[bytes], object],
        limit: int,
        /,
    ) -> Scanner: ...

    def frames(self, data: bytes, at: int, stream: int, limit: int, /) -> tuple[list[bytes], int]:
        """Messages in frames that hold one each, and where the first other frame begins."""
        ...


def module(environ: Mapping[str, str] = os.environ) -> Module | None:
    """The scanner's module, if it is installed, of our version, and wanted."""
    found = _installed()
    wanted = environ.get(VARIABLE) != "off"
    return found if wanted and found is not None and found.INTERFACE == INTERFACE else None


def at_work(environ: Mapping[str, str] = os.environ) -> str:
    """What reads records, in a few words."""
    if found := module(environ):
        return f"flowwatch-scan {found.__version__}"
    if _installed() is None:
        return "Python alone (pip install flowwatch[fast]: some times as fast)"
    if environ.get(VARIABLE) == "off":
        return f"Python alone, as {VARIABLE} is off"
    return "Python alone, as flowwatch-scan is of another version"


@cache
def _installed() -> Module | None:
    try:
        import flowwatch_scan
    except ImportError:
        return None
    return cast(Module, flowwatch_scan)
