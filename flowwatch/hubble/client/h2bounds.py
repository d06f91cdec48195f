"""How much a server may send that brings no record: HTTP/2 lets it send such frames for ever.

Empty CONTINUATION, interim answers, empty or padded DATA, PING, SETTINGS, unknown frames: each costs
a reader some µs and its sender nothing. A limit on silence doesn't see them, as they are bytes. What
others do about it, each a part:

    grpc-go 1.83        internal/transport: 100 answers queued at most (controlbuf.go, throttle), the
                        headers' size (http2_client.go), the stream's window (flowcontrol.go, onData)
    golang.org/x/net    http2 0.56: all interim answers together as large as one header list
                        (transport.go, handleResponse); 10,000 answers queued (server.go,
                        maxQueuedControlFrames); no more fragments once headers are too large
                        (frame.go, readMetaFrame)
    nghttp2             1,000 answers queued, 8 CONTINUATION frames (option_set_max_continuations)
    RFC 9113            10.5: "an endpoint MAY treat activity that is suspicious as a connection error"
"""

from __future__ import annotations

import time
from collections.abc import Callable

from flowwatch.hubble.client.h2frames import Ended, broken

HEADER_LIMIT = 64 << 10
"""Bytes of an answer's headers, packed and unpacked, and of all interim answers together."""
FRAMES = 1_000
"""Frames in a row without a part of a record."""
FRAMES_SECONDS = 100.0
"""Seconds in which so many are too many. A quiet stream may see pings for days: ten a second."""
PART = 256
"""Bytes of a message that make a frame worth its head. We let 8 MiB come ahead, so that no server
has a reason to cut a message into less, but for its end."""


class Patience:
    """Counts what brings no part of a record, and the seconds since one came.

    ``silence``: seconds that a stream may last without; None for one that may be quiet.
    """

    def __init__(
        self, silence: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._silence = silence
        self._clock = clock
        self._frames = 0
        self._since = self._last = clock()
        self._interim = 0

    def came(self) -> None:
        """A record did."""
        self._frames = 0

    def frame(self, part: int) -> None:
        """A frame that isn't a record whole, but ``part`` bytes of one.

        Raises Ended when too many came without a record in too short a time.
        """
        if part >= PART:
            self._frames = 0
            return
        self._frames += 1
        if self._frames == 1:
            self._since = self._clock()
        elif self._frames > FRAMES:
            if self._clock() - self._since < FRAMES_SECONDS:
                broken(f"{FRAMES:,} frames in a row hold no part of a record")
            self._frames = 0

    def interim(self, fields: list[tuple[str, str]]) -> None:
        """An answer that announces another. Raises Ended when they grow too large together."""
        # 32 bytes a field: RFC 9113, 6.5.2.
        self._interim += sum(len(name) + len(value) + 32 for name, value in fields)
        if self._interim > HEADER_LIMIT:
            broken("interim answers larger than 64 KiB")

    def read(self, came: bool) -> None:
        """After each recv: whether it brought bytes of a record. Raises Ended after ``silence``."""
        if self._silence is None:
            return
        now = self._clock()
        if came:
            self._last = now
        elif now - self._last > self._silence:
            raise Ended("UNAVAILABLE", f"no part of a record came for {self._silence:g} s")
