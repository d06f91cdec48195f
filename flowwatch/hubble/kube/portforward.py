"""A port-forward at work: each TCP connection to a local port goes over a websocket to relay's pod.

Runs in the thread of :func:`flowwatch.hubble.kube.api.loop`. Reading stops where nobody reads on the
other side, both ways, so that a paused view costs no memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

import httpx_ws
import wsproto.utilities

from flowwatch.errors import FlowwatchError, Unreachable
from flowwatch.hubble.kube import api
from flowwatch.hubble.kube.api import Cluster, Pod
from flowwatch.hubble.kube.client import BROKEN
from flowwatch.hubble.kube.material import Material
from flowwatch.text import safe

_CHUNK = 1 << 16
_DATA, _ERROR = 0, 1
"""The channels of the first port (k8s.io/cri-streaming, portforward/websocket.go): each begins with
a message of two bytes, the port's number."""
_SPARE_SECONDS = 10.0
"""How long the way that was opened as a trial waits for the first connection."""
_CLOSE_SECONDS = 5.0

Error = TypeVar("Error", bound=Exception)
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def prepare(
    cluster: Cluster, *, secrets: bool, relay: bool
) -> tuple[Material | None, Pod | None]:
    """What must be asked before anything is forwarded: the secrets and relay's pod, if wanted."""
    material = await cluster.secrets() if secrets else None
    pod = await cluster.relay() if relay else None
    return material, pod


class Carrier:
    """Forwards ``port`` of 127.0.0.1 to a pod until it is closed."""

    def __init__(self, cluster: Cluster, pod: Pod, sockets: list[socket.socket]) -> None:
        """Tries the way to the pod at once. Raises ServerError, and then has closed all it has."""
        self.pod = pod
        self.port: int = sockets[0].getsockname()[1]
        self.failure: FlowwatchError | None = None
        self._cluster = cluster
        self._legs: set[asyncio.Task[None]] = set()
        self._spare: asyncio.Future[Streams] | None = None
        self._server: asyncio.Server | None = None
        self._closed = False
        api.wait(self._start(sockets))

    def close(self) -> None:
        """End it and all that goes through it; the second time does nothing."""
        if not self._closed:
            self._closed = True
            with contextlib.suppress(TimeoutError):
                api.wait(asyncio.wait_for(self._stop(), _CLOSE_SECONDS))

    async def _start(self, sockets: list[socket.socket]) -> None:
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._spare = asyncio.get_running_loop().create_future()
        self._begin(self._leg(self._spare, opened))
        await opened
        self._server = await asyncio.start_server(self._accept, sock=sockets[0], limit=_CHUNK)

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
        legs = list(self._legs)
        for leg in legs:
            leg.cancel()
        await asyncio.gather(*legs, return_exceptions=True)
        await self._cluster.close()

    def _begin(self, leg: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(leg)
        self._legs.add(task)
        task.add_done_callback(self._end)

    def _end(self, leg: asyncio.Task[None]) -> None:
        self._legs.discard(leg)
        error = None if leg.cancelled() else leg.exception()
        if isinstance(error, Exception):
            api.unforeseen(_first(ExceptionGroup("", [error])))

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spare, self._spare = self._spare, None
        if spare is not None and not spare.done():
            spare.set_result((reader, writer))
            return
        streams: asyncio.Future[Streams] = asyncio.get_running_loop().create_future()
        streams.set_result((reader, writer))
        self._begin(self._leg(streams))

    async def _leg(
        self, streams: asyncio.Future[Streams], opened: asyncio.Future[None] | None = None
    ) -> None:
        """One websocket from its opening to its end; then the connection that it carried ends."""
        failure: Exception = Unreachable("the port-forward was closed")
        try:
            async with self._cluster.forward(self.pod) as session:
                if opened is not None:
                    opened.set_result(None)
                try:
                    async with asyncio.timeout(_SPARE_SECONDS):
                        reader, writer = await asyncio.shield(streams)
                except TimeoutError:
                    streams.cancel()
                    return
                await self._carry(session, reader, writer)
        except* FlowwatchError as errors:
            failure = self.failure = _first(errors)
        except* BROKEN as errors:
            failure = self.failure = Unreachable(
                f"the port-forward broke: {safe(str(_first(errors)))}"
            )
        except* Exception as errors:
            # Told by the one who waits, or by nobody else.
            if opened is None or opened.done():
                raise
            failure = _first(errors)
        finally:
            if opened is not None and not opened.done():
                opened.set_exception(failure)
            if streams.done() and not streams.cancelled():
                streams.result()[1].close()

    async def _carry(
        self,
        session: httpx_ws.AsyncWebSocketSession,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Until either side ends: the protocol can't close one direction only."""
        ways = [
            asyncio.create_task(_up(session, reader)),
            asyncio.create_task(self._down(session, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            results = await asyncio.gather(*ways, return_exceptions=True)
        for result in results:
            # Closed in good order, or in the midst of our own sending.
            if isinstance(result, httpx_ws.WebSocketDisconnect | wsproto.utilities.ProtocolError):
                continue
            if isinstance(result, Exception):
                raise result

    async def _down(
        self, session: httpx_ws.AsyncWebSocketSession, writer: asyncio.StreamWriter
    ) -> None:
        begun = set()
        while True:
            message = await session.receive_bytes()
            if not message:
                continue
            channel = message[0]
            if channel not in begun:
                begun.add(channel)
            elif channel == _DATA:
                writer.write(memoryview(message)[1:])
                await writer.drain()
            elif channel == _ERROR:
                words = safe(message[1:301].decode("utf-8", "replace"))
                raise Unreachable(f"relay's pod {safe(self.pod.name)}: {words}")


def _first(errors: ExceptionGroup[Error]) -> Error:
    first = errors.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first


async def _up(session: httpx_ws.AsyncWebSocketSession, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(_CHUNK):
        await session.send_bytes(bytes((_DATA,)) + data)
