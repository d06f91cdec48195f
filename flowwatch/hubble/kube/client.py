"""One Kubernetes API server over httpx and httpx-ws: an answer to GET, and a websocket.

    client = Client(access, timeout=12.0)
    answer = await client.get("/api/v1/namespaces/kube-system/pods")
    async with client.websocket(path, {"ports": "4245"}) as session: ...

Each question is asked once: whoever is refused would be refused again. docs/kubernetes.md says why
no Kubernetes library does this.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import anyio
import httpx
import httpx_ws
import msgspec
import socksio.exceptions
import wsproto.utilities

from flowwatch.errors import UsageError
from flowwatch.gotext import is_loopback
from flowwatch.hubble.kube.access import Access
from flowwatch.hubble.kube.material import load_pair
from flowwatch.text import safe

MAX_ANSWER = 64 << 20
"""Bytes, unpacked. A page of 500 policies takes a few MB, and an object 1.5 MB at most (etcd)."""
MAX_REASON = 1 << 16
"""Bytes that are read of a refusal."""

_QUEUED = 64
"""Messages (32 KiB each) read ahead of a slow reader: memory stays flat, TCP holds the rest."""

BROKEN = (
    httpx.HTTPError,
    httpx_ws.HTTPXWSException,
    wsproto.utilities.ProtocolError,
    socksio.exceptions.SOCKSError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
)
"""What the layers below raise when a connection ends, alone or in a group of anyio's."""


class BadAnswer(ValueError):
    """An answer that no Kubernetes API server gives; says why, without a word of it."""


@dataclass(frozen=True, slots=True)
class KubeAnswer:
    """What came back."""

    status: int
    body: bytes = field(repr=False)

    def object(self) -> dict[str, Any]:
        """The JSON object in it. Raises BadAnswer when there is none."""
        try:
            found = msgspec.json.decode(self.body)
        except (ValueError, RecursionError):
            raise BadAnswer("is no JSON") from None
        if not isinstance(found, dict):
            raise BadAnswer("is no JSON object")
        return found


class NotUpgraded(Exception):
    """The answer that came in place of a websocket."""

    def __init__(self, answer: KubeAnswer) -> None:
        super().__init__(f"HTTP {answer.status}")
        self.answer = answer


class Client:
    """Asks one API server, as ``access`` says who asks. Used in one thread's loop."""

    def __init__(self, access: Access, timeout: float) -> None:
        """``timeout``: seconds for an answer, and for a websocket to open."""
        self._access, self._timeout = access, timeout
        self._session: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """End all connections; what is asked later opens new ones."""
        if self._session is not None:
            await self._session.aclose()
            self._session = None

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> KubeAnswer:
        """The answer, whatever its status is.

        Raises UsageError for certificates that can't be used, TimeoutError, one of BROKEN, and
        BadAnswer for one that is too large.
        """
        async with (
            asyncio.timeout(self._timeout),
            self._http().stream("GET", path, params=params, extensions=_extensions()) as response,
        ):
            return await _answer(response, MAX_ANSWER)

    @contextlib.asynccontextmanager
    async def websocket(
        self, path: str, params: Mapping[str, str]
    ) -> AsyncIterator[httpx_ws.AsyncWebSocketSession]:
        """An open websocket. Raises NotUpgraded, and what :meth:`get` raises."""
        handshake = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
        }
        async with (
            asyncio.timeout(self._timeout) as limit,
            self._http().stream(
                "GET", path, params=params, headers=handshake, extensions=_extensions()
            ) as response,
        ):
            if response.status_code != 101:
                raise NotUpgraded(await _answer(response, MAX_REASON))
            async with httpx_ws.AsyncWebSocketSession(
                response.extensions["network_stream"],
                queue_size=_QUEUED,
                # A half-open way to the API server is noticed within 40 s.
                keepalive_ping_interval_seconds=20,
                keepalive_ping_timeout_seconds=20,
            ) as session:
                limit.reschedule(None)
                yield session

    def _http(self) -> httpx.AsyncClient:
        if self._session is None:
            access = self._access
            verify = _context(access) if access.server.startswith("https:") else False
            host = urlsplit(access.server).hostname or ""
            if not _fits(access.server):
                raise _unusable(access, "a server as https://host:port")
            if access.proxy and not _fits(access.proxy):
                raise _unusable(access, "a proxy-url as http://host:port or socks5://host:port")
            # Go asks no proxy for the way to this host, whatever the environment says.
            ours = not access.proxy and not is_loopback(host)
            if ours and not all(map(_fits, _proxies())):
                raise _bad_proxy(access)
            try:
                self._session = httpx.AsyncClient(
                    base_url=access.server,
                    headers=[("User-Agent", "flowwatch"), *access.headers],
                    verify=verify,
                    timeout=self._timeout,
                    proxy=access.proxy or None,
                    trust_env=ours,
                )
            except (httpx.InvalidURL, ValueError):
                raise _bad_proxy(access) from None
        return self._session


def _fits(url: str) -> bool:
    """Whether httpx can go to ``url``. It asks more of a name than kubectl, and some of it only later."""
    try:
        taken = httpx.URL(url)
        return bool(taken.host) and 0 < (taken.port or 1) < 1 << 16
    except (httpx.InvalidURL, ValueError):
        return False


def _extensions() -> dict[str, Any]:
    """For httpcore: it leaves a connection open whose SOCKS proxy then refuses, or stays silent."""
    opened: list[Any] = []

    async def trace(event: str, info: dict[str, Any]) -> None:
        if event == "socks.connect_tcp.complete":
            opened.append(info["return_value"])
        elif event == "socks.setup_socks5_connection.failed":
            await opened.pop().aclose()

    return {"trace": trace}


def _proxies() -> list[str]:
    """Those of the environment, with a scheme as httpx gives them one."""
    found = getproxies()
    urls = [found[name] for name in ("http", "https", "all") if name in found]
    return [url if "://" in url else f"http://{url}" for url in urls]


_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")


def _bad_proxy(access: Access) -> UsageError:
    """A URL of the environment, as those of the kubeconfig were looked at when it was read."""
    names = [name for name in _PROXIES if os.environ.get(name) or os.environ.get(name.lower())]
    return UsageError(
        f"{', '.join(names)}: a proxy as http://host:port or socks5://host:port is wanted",
        f"mend it, or set NO_PROXY for the way to {safe(access.server)}",
    )


async def _answer(response: httpx.Response, most: int) -> KubeAnswer:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > most:
            raise BadAnswer(f"is larger than {most >> 20} MiB")
    return KubeAnswer(response.status_code, bytes(body))


# TLS -------------------------------------------------------------------------------------------


class _Context(ssl.SSLContext):
    """A context that expects one name, whatever host is connected to (``tls-server-name``).

    httpcore can be told so by request, but forgets it behind an HTTP proxy.
    """

    name = ""

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        name = self.name or server_hostname
        return super().wrap_bio(incoming, outgoing, server_side, name, session)


def _context(access: Access) -> ssl.SSLContext:
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.name = access.server_name
    if access.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca:
        try:
            context.load_verify_locations(cadata=access.ca)
        except (ssl.SSLError, ValueError):
            raise _unusable(
                access, f"certificate-authority of context {access.context}: a certificate in PEM"
            ) from None
    else:
        context.load_default_certs()
    if access.certificate:
        try:
            load_pair(context, access.certificate, access.key)
        except (ssl.SSLError, ValueError):
            raise _unusable(
                access,
                f"client-certificate and client-key of user {access.user}: a certificate in PEM "
                "and the key that fits to it",
            ) from None
    return context


def _unusable(access: Access, wanted: str) -> UsageError:
    file = f"kubeconfig {access.file}" if access.file else "the pod's own account"
    return UsageError(
        safe(f"{file} can't be used: {wanted} is wanted"),
        "mend it, or give another with --kubeconfig",
    )
