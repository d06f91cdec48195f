"""The Kubernetes API, as far as reaching relay needs it, over kr8s (docs/kubernetes.md: why it).

kr8s works in asyncio, so one thread with a loop serves all of flowwatch's forwards. Importing it
takes half a second: only a port-forward, or ``--tls-from-secret``, does.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import os
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import anyio
import httpx
import httpx_ws
import wsproto.utilities
from kr8s._api import Api
from kr8s._auth import KubeAuth
from kr8s._exceptions import APITimeoutError
from kr8s._exceptions import ServerError as ApiError

from flowwatch.errors import Refused, ServerError, Unreachable, UsageError
from flowwatch.gotext import is_loopback
from flowwatch.hubble.kube.kubeconfig import Access
from flowwatch.hubble.kube.material import Material
from flowwatch.text import safe

RELAY = "hubble-relay"
"""The service's name; the CLI looks for no other (hubble/cmd/common/conn/conn.go)."""
SERVER_CERTS, CLIENT_CERTS = "hubble-relay-server-certs", "hubble-ui-client-certs"
"""Secrets: ``ca.crt`` of the first is relay's CA; the second is the UI's client certificate."""

_QUEUED = 64
"""Messages (32 KiB each) read ahead of a slow reader: memory stays flat, TCP holds the rest."""

BROKEN = (
    httpx.HTTPError,
    httpx_ws.HTTPXWSException,
    wsproto.utilities.ProtocolError,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
    anyio.EndOfStream,
    OSError,
)
"""What the layers below raise when a connection ends, alone or in a group of anyio's."""

Result = TypeVar("Result")


class _Auth(KubeAuth):
    """Credentials that were read by flowwatch.hubble.kube.kubeconfig, and no files of kr8s' own."""

    def __init__(self, access: Access) -> None:
        super().__init__(url=access.server, kubeconfig="", serviceaccount="")
        self.access = access
        self.server = access.server
        self.tls_server_name = access.server_name or None

    async def reauthenticate(self) -> None:
        """Nothing to read anew: a new port-forward reads the kubeconfig, and asks its plugin."""

    async def ssl_context(self) -> ssl.SSLContext:
        return _context(self.access)


class _Api(Api):
    """kr8s' API object with our credentials, timeouts, and Go's rule for proxies."""

    def __init__(self, access: Access, timeout: float) -> None:
        super().__init__(bypass_factory=True)
        self.auth = self._credentials = _Auth(access)
        self._seconds = timeout

    async def _create_session(self) -> None:
        if self._session is not None:
            await self._session.aclose()
        access = self._credentials.access
        host = urlsplit(access.server).hostname or ""
        self._session = httpx.AsyncClient(
            base_url=access.server,
            headers=[("User-Agent", "flowwatch"), *access.headers],
            verify=await self._credentials.ssl_context(),
            timeout=self._seconds,
            proxy=access.proxy or None,
            # Go asks no proxy for the way to this host, whatever the environment says.
            trust_env=not is_loopback(host),
        )

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.aclose()
            self._session = None


def _context(access: Access) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if access.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif access.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=access.ca)
        except ssl.SSLError:
            raise UsageError(
                f"kubeconfig {safe(access.file)}: the certificate authority is no PEM certificate"
            ) from None
    if access.certificate:
        try:
            load_pair(context, access.certificate, access.key)
        except (ssl.SSLError, ValueError):
            raise UsageError(
                f"kubeconfig {safe(access.file)}: the client certificate and key of user "
                f"{safe(access.user)} do not fit together or are not PEM"
            ) from None
    return context


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give ``context`` a client certificate. Raises ssl.SSLError, ValueError for a locked key.

    Python's ssl reads keys from files only: on Linux it gets one in memory that has no name,
    elsewhere one that only its owner may read and that is gone when this returns.
    """

    def locked() -> str:
        raise ValueError("the key is protected by a password")

    both = certificate.rstrip() + b"\n" + key
    if sys.platform == "linux":
        number = os.memfd_create("certificate")
        try:
            os.write(number, both)
            context.load_cert_chain(f"/proc/self/fd/{number}", password=locked)
        finally:
            os.close(number)
        return
    number, path = tempfile.mkstemp()
    try:
        with open(number, "wb") as stream:
            stream.write(both)
        context.load_cert_chain(path, password=locked)
    finally:
        os.unlink(path)


# The thread ------------------------------------------------------------------------------------

_lock = threading.Lock()


def loop() -> asyncio.AbstractEventLoop:
    """The loop of the one background thread, started when first asked for."""
    with _lock:
        return _started()


@functools.cache
def _started() -> asyncio.AbstractEventLoop:
    new = asyncio.new_event_loop()
    threading.Thread(target=new.run_forever, name="kubernetes", daemon=True).start()
    return new


def wait(work: Coroutine[Any, Any, Result]) -> Result:
    """Run ``work`` in the background thread and give what it gives; Ctrl-C cancels it."""
    future = asyncio.run_coroutine_threadsafe(work, loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


# Calls -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of relay, and the port of it that the service leads to."""

    name: str
    port: int
    uid: str = ""


class Cluster:
    """The calls, made in :func:`loop`'s thread. All raise ServerError in one line."""

    def __init__(self, access: Access, namespace: str, timeout: float) -> None:
        """``timeout``: seconds for each call."""
        self.access, self.namespace, self.timeout = access, namespace, timeout
        self._api = _Api(access, timeout)

    async def close(self) -> None:
        await self._api.aclose()

    async def relay(self) -> Pod:
        """The pod to forward to: as the hubble CLI, of those that the service selects."""
        service = await self._get(f"services/{RELAY}")
        if service is None:
            raise Refused(
                f"there is no service {RELAY} in namespace {safe(self.namespace)} "
                f"({self._where()})",
                "is Hubble relay enabled (cilium hubble enable)? "
                "--kube-namespace names another namespace, --kube-context another cluster",
            )
        selector = _at(service, "spec", "selector")
        ports = _at(service, "spec", "ports")
        if not isinstance(selector, dict) or not selector or not isinstance(ports, list):
            raise Refused(f"service {RELAY} in namespace {safe(self.namespace)} selects no pods")
        wanted = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
        listed = await self._get("pods", labelSelector=wanted)
        pods = [pod for pod in (listed or {}).get("items") or [] if isinstance(pod, dict)]
        if not pods:
            raise Unreachable(
                f"service {RELAY} in namespace {safe(self.namespace)} has no pod",
                f"see kubectl -n {safe(self.namespace)} get deployment {RELAY}",
            )
        best = max(pods, key=_activity)
        name = str(_at(best, "metadata", "name"))
        phase = str(_at(best, "status", "phase") or "unknown")
        if phase != "Running" or _at(best, "metadata", "deletionTimestamp"):
            state = "being deleted" if phase == "Running" else phase
            raise Unreachable(
                f"relay's pod {safe(name)} is not running ({safe(state)})",
                f"see kubectl -n {safe(self.namespace)} describe pod {safe(name)}",
            )
        port = ports[0] if ports and isinstance(ports[0], dict) else {}
        return Pod(name, _target(port, best), str(_at(best, "metadata", "uid") or ""))

    async def secrets(self) -> Material:
        """Relay's CA, and the UI's client certificate where there is one that may be read."""
        server = await self._secret(SERVER_CERTS)
        if server is None or not server.get("ca.crt"):
            lack = "does not exist" if server is None else "holds no ca.crt"
            raise Refused(
                f"secret {SERVER_CERTS} in namespace {safe(self.namespace)} {lack}",
                "relay speaks plain text (leave out --tls-from-secret), or its certificates come "
                "from elsewhere (give --tls-ca-cert-files)",
            )
        try:
            client = await self._secret(CLIENT_CERTS) or {}
        except Refused:
            # Most relays ask for none, and this secret holds a key: many may not read it. Where
            # one is asked for, the connection fails and says so.
            client = {}
        certificate, key = client.get("tls.crt", b""), client.get("tls.key", b"")
        if not certificate or not key:
            return Material(server["ca.crt"])
        return Material(server["ca.crt"], certificate, key)

    async def _secret(self, name: str) -> dict[str, bytes] | None:
        secret = await self._get(f"secrets/{name}")
        if secret is None:
            return None
        data = secret.get("data")
        found: dict[str, bytes] = {}
        for key, value in data.items() if isinstance(data, dict) else ():
            with contextlib.suppress(binascii.Error, ValueError):
                found[key] = base64.b64decode(str(value))
        return found

    async def _get(self, path: str, **params: str) -> dict[str, Any] | None:
        """An object or a list; None when it isn't there."""
        resource, _, name = path.partition("/")
        right = f"{'get' if name else 'list'} {resource}" + (f"/{name}" if name else "")
        with self._explained(right):
            try:
                async with asyncio.timeout(self.timeout):
                    async with self._api.call_api(
                        "GET", namespace=self.namespace, url=path, params=params or None
                    ) as response:
                        body = response.json()
            except ApiError as error:
                if error.response is not None and error.response.status_code == 404:
                    return None
                raise
        if not isinstance(body, dict):
            raise Refused(f"{safe(self.access.server)} is no Kubernetes API server")
        return body

    @contextlib.asynccontextmanager
    async def forward(self, pod: Pod) -> AsyncIterator[httpx_ws.AsyncWebSocketSession]:
        """A websocket to the pod's port: one TCP connection, in channel 0."""
        url = f"pods/{quote(pod.name, safe='')}/portforward"
        right = "create pods/portforward"
        with self._explained(right):
            opening = self._api.open_websocket(
                url=url,
                namespace=self.namespace,
                params={"ports": str(pod.port)},
                queue_size=_QUEUED,
                # A half-open way to the API server is noticed within 40 s.
                keepalive_ping_interval_seconds=20,
                keepalive_ping_timeout_seconds=20,
            )
            try:
                async with asyncio.timeout(self.timeout):
                    session = await opening.__aenter__()
            except httpx_ws.WebSocketUpgradeError as error:
                raise await self._not_upgraded(error.response.status_code, pod, url) from None
        try:
            yield session
        finally:
            try:
                await opening.__aexit__(None, None, None)
            except* BROKEN:
                # It was ending anyway; why, the one who read from it knows.
                pass

    async def _not_upgraded(self, status: int, pod: Pod, url: str) -> ServerError:
        """Why there was no websocket. Its answer has no body, so the same is asked without one."""
        if status in (401, 403):
            verb = "create"
            if status == 403:
                with contextlib.suppress(Unreachable):
                    # Before Kubernetes 1.35 "get" is the right that is asked for, since then both.
                    try:
                        await self._get(url)
                    except Refused as refused:
                        verb = "get" if "right to get" in refused.message else verb
            return self._status_error(status, f"{verb} pods/portforward")
        if status == 404:
            return Unreachable(f"relay's pod {safe(pod.name)} is gone")
        return Unreachable(
            f"the API server can't forward to relay's pod {safe(pod.name)} (HTTP {status})",
            f"see kubectl -n {safe(self.namespace)} describe pod {safe(pod.name)}",
        )

    # Errors -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _explained(self, right: str) -> Any:
        """Failures of kr8s and httpx as ours; ``right`` is the verb and resource asked for."""
        server = safe(self.access.server)
        try:
            yield
        except ApiError as error:
            status = error.response.status_code if error.response is not None else 0
            raise self._status_error(status, right) from None
        except (APITimeoutError, httpx.TimeoutException, TimeoutError):
            raise Unreachable(
                f"the Kubernetes API server {server} did not answer in time ({self._where()})",
                "is it reachable from here (VPN)? kubectl version tells",
            ) from None
        except BROKEN as error:
            raise _unreachable(error, server, self._where()) from None
        except ExceptionGroup as errors:
            if errors.split(BROKEN)[1] is not None:
                raise
            raise _unreachable(errors.exceptions[0], server, self._where()) from None
        except ValueError:
            raise Refused(f"{server} is no Kubernetes API server: its answer is no JSON") from None

    def _status_error(self, status: int, right: str) -> ServerError:
        who = f"user {safe(self.access.user)}" if self.access.user else "flowwatch"
        if status == 401:
            return Refused(
                f"the Kubernetes API server {safe(self.access.server)} does not accept the "
                f"credentials of {who} ({self._where()})",
                "they may have expired: log in again",
            )
        if status == 403:
            return Refused(
                f"{who} has no right to {right} in namespace {safe(self.namespace)} "
                f"({self._where()})",
                "docs/kubernetes.md has a Role that gives it",
            )
        return Unreachable(
            f"the Kubernetes API server {safe(self.access.server)} answers HTTP {status} to "
            f"{right} ({self._where()})"
        )

    def _where(self) -> str:
        return f"context {safe(self.access.context)}" if self.access.context else "this cluster"


def _unreachable(error: BaseException, server: str, where: str) -> ServerError:
    """Of the chain of causes, the innermost has the words."""
    reason = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Refused(
                f"the certificate of the Kubernetes API server {server} is not to be trusted: "
                f"{safe(cause.verify_message)} ({where})",
                "see certificate-authority of the kubeconfig",
            )
        if isinstance(cause, OSError) and cause.strerror:
            # asyncio's own words hide the reason, which the number has; names have other numbers.
            number = 0 if isinstance(cause, socket.gaierror) else cause.errno or 0
            reason = os.strerror(number) if number > 0 else cause.strerror
        cause = cause.__cause__ or cause.__context__
    reason = safe(reason.splitlines()[0] if reason else type(error).__name__)
    return Unreachable(
        f"the Kubernetes API server {server} can't be reached: {reason} ({where})",
        "is the cluster up, and reachable from here (VPN)?",
    )


def _at(body: Mapping[str, Any], *path: str) -> Any:
    value: Any = body
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _activity(pod: dict[str, Any]) -> tuple[bool, bool, bool, str]:
    """The order in which kubectl prefers pods: staying, running, ready, and the newest."""
    conditions = _at(pod, "status", "conditions") or []
    ready = any(c.get("type") == "Ready" and c.get("status") == "True" for c in conditions)
    return (
        not _at(pod, "metadata", "deletionTimestamp"),
        _at(pod, "status", "phase") == "Running",
        ready,
        str(_at(pod, "metadata", "creationTimestamp") or ""),
    )


def _target(port: Mapping[str, Any], pod: dict[str, Any]) -> int:
    """The container's port behind the service's first one, which may be a name."""
    target = port.get("targetPort") or port.get("port") or 4245
    if isinstance(target, int):
        return target
    for container in _at(pod, "spec", "containers") or []:
        for each in container.get("ports") or []:
            if each.get("name") == target and isinstance(each.get("containerPort"), int):
                number: int = each["containerPort"]
                return number
    raise Refused(
        f'pod {safe(str(_at(pod, "metadata", "name")))} has no port "{safe(str(target))}"'
    )
