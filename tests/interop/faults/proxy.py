"""A TCP proxy on loopback that does to connections what networks do, switchable while they run.

with Proxy(relay.address) as between:
    ...  # connect to between.address
    between.link = Link(latency=2.0)
    between.stall()
    between.calm()
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeVar

_T = TypeVar("_T")
# Small, so that connections share a narrow link fairly, and a cut falls inside a message.
_PIECE = 4096
_AHEAD = 64
# Closing with a linger of 0 s sends RST.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Link:
    """What the way is like, each direction for itself; the default passes everything on at once."""

    latency: float = 0.0
    """Seconds that each byte is under way."""
    rate: float = 0.0
    """Bytes a second that all connections share; 0 is without limit."""
    refused: float = 0.0
    """Share of new connections that are reset at once."""


class _Connection:
    """A client's connection and the one to the server that it is carried on."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near, self.far = near, far
        self.dead = False
        self.passes: int | None = None
        """Bytes that still reach the client before it is cut."""

    def reset(self) -> None:
        for writer in (self.near, self.far):
            sock = writer.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


class Proxy:
    """Carries connections to ``target`` (``host:port``); all but ``link`` may be called any time."""

    def __init__(self, target: str, seed: int = 1) -> None:
        """``seed`` is of the choice which connections are refused."""
        self.lead_to(target)
        self._random = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stalled = False
        self._listener: asyncio.Server | None = None
        self._free: dict[bool, float] = {True: 0.0, False: 0.0}
        self._port = 0
        self.link = Link()
        self.accepted = 0
        self.refused = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def lead_to(self, target: str) -> None:
        """Carry new connections to another server."""
        host, _, port = target.rpartition(":")
        self._target = host, int(port)

    def stall(self) -> None:
        """Half-open: connections stay, and swallow everything; new ones too, until ``calm``."""
        self._call(self._stall)

    def calm(self) -> None:
        """Be a good network again. Connections that stalled stay dead, as they would."""

        def calm() -> None:
            self._stalled = False
            self.link = Link()

        self._call(calm)
        self.listen()

    def cut(self, after: int = 0) -> None:
        """Reset every connection, when ``after`` more bytes of the server's have reached it."""

        def cut() -> None:
            for connection in tuple(self._connections):
                if after:
                    connection.passes = after
                else:
                    connection.reset()

        self._call(cut)

    def close(self) -> None:
        """Refuse connections, as where nothing listens; those that are open go on."""

        async def close() -> None:
            if self._listener is not None:
                self._listener.close()
                self._listener = None

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)

    def listen(self) -> None:
        """End ``close``: listen on the same port again."""

        async def listen() -> None:
            if self._listener is None:
                self._listener = await asyncio.start_server(
                    self._accept, "127.0.0.1", self._port, limit=_PIECE
                )
                self._port = self._listener.sockets[0].getsockname()[1]

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        self.cut()

        async def end() -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, what: Callable[[], _T]) -> _T:
        async def call() -> _T:
            return what()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def _stall(self) -> None:
        self._stalled = True
        for connection in self._connections:
            connection.dead = True

    async def _accept(self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._carry(near_in, near)
        except (OSError, asyncio.CancelledError):
            # The test is over, or the server isn't there: the client sees its connection end.
            near.transport.abort()
        finally:
            self._tasks.discard(task)

    async def _carry(self, near_in: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        if self._random.random() < self.link.refused:
            self.refused += 1
            near.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            near.transport.abort()
            return
        self.accepted += 1
        far_in, far = await asyncio.open_connection(*self._target, limit=_PIECE)
        connection = _Connection(near, far)
        connection.dead = self._stalled
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._pass(connection, near_in, far, down=False),
                self._pass(connection, far_in, near, down=True),
            )
        finally:
            self._connections.discard(connection)
            for writer in (near, far):
                writer.transport.abort()

    async def _pass(
        self,
        connection: _Connection,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
        *,
        down: bool,
    ) -> None:
        """Carry one direction; ends when its source does."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_AHEAD)
        deliver = asyncio.create_task(self._deliver(connection, under_way, sink, down=down))
        try:
            data = b"-"
            while data:
                try:
                    data = await source.read(_PIECE)
                except OSError:
                    data = b""
                # An end of one side is no news to the other while the line between is dead.
                if connection.dead and down:
                    if not data:
                        await asyncio.sleep(3600)
                    continue
                if connection.dead:
                    continue
                await under_way.put((self._loop.time() + self.link.latency, data))
            await deliver
        finally:
            deliver.cancel()

    async def _deliver(
        self,
        connection: _Connection,
        under_way: asyncio.Queue[tuple[float, bytes]],
        sink: asyncio.StreamWriter,
        *,
        down: bool,
    ) -> None:
        while True:
            due, data = await under_way.get()
            now = self._loop.time()
            if rate := self.link.rate:
                due = self._free[down] = max(self._free[down], due, now) + len(data) / rate
            if due > now:
                await asyncio.sleep(due - now)
            if connection.dead:
                continue
            if down and connection.passes is not None:
                data = data[: connection.passes] if data else data
                connection.passes -= len(data)
            with contextlib.suppress(OSError):
                if not data:
                    sink.write_eof()
                    return
                sink.write(data)
                await sink.drain()
            if down and connection.passes is not None and connection.passes <= 0:
                # What was written has to leave first: a reset takes back what is still here.
                await asyncio.sleep(0.05)
                connection.reset()
                return
