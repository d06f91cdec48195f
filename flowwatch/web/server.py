"""The server of the page: a program for each websocket, for as long as that is open."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import textual_serve
from aiohttp import WSCloseCode, WSMsgType, web

from flowwatch.errors import Stopped, UsageError
from flowwatch.signals import handled_by
from flowwatch.text import safe
from flowwatch.web.guard import Guard
from flowwatch.web.page import FONT_SIZES, HEADERS, page
from flowwatch.web.tab import Tab

MOST_TABS = 32
"""Each is a process that holds rows of its own."""

LONGEST = 1 << 20
"""Bytes of a message: what is pasted at once."""

HEARTBEAT = 15.0
"""Seconds after which a page that doesn't answer is taken for closed."""

_STATIC = Path(textual_serve.__file__).parent / "static"


class Pages:
    """What is answered, and to whom."""

    def __init__(self, words: Sequence[str], guard: Guard, title: str) -> None:
        """``words``: what each tab's flowwatch is called with."""
        self._words = tuple(words)
        self._guard = guard
        self._title = title
        self._open: set[web.WebSocketResponse] = set()

    def app(self) -> web.Application:
        """The routes, guarded."""
        app = web.Application(middlewares=[self._guarded])
        app.on_response_prepare.append(_with_headers)
        app.on_shutdown.append(self._close)
        app.router.add_get("/", self._page)
        app.router.add_get("/tab/{token}", self._tab)
        app.router.add_static("/static", _STATIC)
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        refusal = self._guard.refusal(request.headers)
        if refusal is not None:
            return web.Response(status=refusal.status, text=refusal.text + "\n")
        answer: web.StreamResponse = await handler(request)
        return answer

    def _denied(self, token: str) -> web.Response | None:
        if self._guard.knows(token):
            return None
        text = "wrong or missing token: open the address that flowwatch web printed\n"
        return web.Response(status=401, text=text, headers={"WWW-Authenticate": "Bearer"})

    async def _page(self, request: web.Request) -> web.StreamResponse:
        token = request.query.get("token", "")
        denied = self._denied(token)
        if denied is not None:
            return denied
        secure = request.headers.get("X-Forwarded-Proto") == "https"
        size = _number(request.query.get("fontsize", ""), 16)
        size = min(max(size, FONT_SIZES[0]), FONT_SIZES[-1])
        text, policy = page(self._title, request.host, token, size, secure=secure)
        return web.Response(
            text=text, content_type="text/html", headers={"Content-Security-Policy": policy}
        )

    async def _tab(self, request: web.Request) -> web.StreamResponse:
        denied = self._denied(request.match_info["token"])
        if denied is not None:
            return denied
        if len(self._open) >= MOST_TABS:
            return web.Response(status=503, text=f"{MOST_TABS} tabs are open, no more can be\n")
        # textual-serve's script appends ?width=…&height=….
        columns = _number(request.query.get("width", ""), 80)
        lines = _number(request.query.get("height", ""), 24)
        websocket = web.WebSocketResponse(heartbeat=HEARTBEAT, max_msg_size=LONGEST)
        await websocket.prepare(request)
        self._open.add(websocket)
        try:
            tab = await Tab.open(self._words, columns, lines)
            try:
                await _between(websocket, tab)
            finally:
                # Also when the server ends meanwhile: nothing is left behind.
                await asyncio.shield(tab.end())
        except OSError as error:
            await websocket.send_bytes(f"can't start: {safe(str(error))}\r\n".encode())
            await websocket.close()
        finally:
            self._open.discard(websocket)
        return websocket

    async def _close(self, _app: web.Application) -> None:
        going = [one.close(code=WSCloseCode.GOING_AWAY) for one in self._open]
        await asyncio.gather(*going)


async def _with_headers(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
    response.headers.popall("Server", None)


async def _between(websocket: web.WebSocketResponse, tab: Tab) -> None:
    """Carry both ways until one end is gone."""
    showing = asyncio.create_task(_show(websocket, tab))
    try:
        async for message in websocket:
            if message.type is WSMsgType.TEXT:
                for answer in heard(message.data, tab):
                    await websocket.send_str(answer)
    finally:
        showing.cancel()
        with suppress(asyncio.CancelledError, ConnectionError):
            await showing


async def _show(websocket: web.WebSocketResponse, tab: Tab) -> None:
    with suppress(ConnectionError):
        while data := await tab.read():
            await websocket.send_bytes(data)
    await websocket.close()


class Listener(Protocol):
    """A tab, as far as its page speaks to it."""

    def type(self, text: str) -> None: ...

    def resize(self, columns: int, lines: int) -> None: ...


def heard(text: str, tab: Listener) -> list[str]:
    """Do what the page's script says, and what to answer; what it can't have said is left aside."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return []
    match said:
        case ["stdin", str(typed)]:
            tab.type(typed)
        case ["resize", {"width": int(columns), "height": int(lines)}]:
            tab.resize(columns, lines)
        case ["ping", str(number)]:
            return [json.dumps(["pong", number[:40]])]
    return []


def _number(text: str, otherwise: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else otherwise


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is any that is free. Raises UsageError in one line."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(family[4][:2], family=family[0])
    except (OSError, UnicodeError) as error:
        taken = "--listen ADDRESS:0 takes a free port" if port else "--listen names another address"
        number = error.errno if isinstance(error, OSError) else 0
        # Python adds the address to the words of some, and the resolver has words of its own.
        why = os.strerror(number) if number and number > 0 else getattr(error, "strerror", error)
        raise UsageError(f"can't listen on {safe(host)}:{port} ({safe(str(why))})", taken) from None


def serve(pages: Pages, at: socket.socket, ready: Callable[[], None]) -> None:
    """Answer until a signal ends it, which is raised as Stopped once all programs have ended."""
    stopped: list[Stopped] = []

    async def answer() -> None:
        loop, end = asyncio.get_running_loop(), asyncio.Event()

        def stop(number: int) -> None:
            stopped.append(Stopped(number))
            loop.call_soon_threadsafe(end.set)

        with handled_by(stop):
            runner = web.AppRunner(pages.app(), access_log=None, shutdown_timeout=10.0)
            await runner.setup()
            try:
                await web.SockSite(runner, at).start()
                ready()
                await end.wait()
            finally:
                await runner.cleanup()

    asyncio.run(answer())
    if stopped:
        raise stopped[0]
