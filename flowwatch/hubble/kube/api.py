"""The Kubernetes API, as far as reaching relay needs it, over :mod:`flowwatch.hubble.kube.client`.

The client works in asyncio, so one thread with a loop serves all of flowwatch's forwards. Only a
port-forward, ``--tls-from-secret`` and ``--policies-from-cluster`` import it: that takes 0.1 s.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import functools
import os
import re
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import httpx_ws

from flowwatch import signals
from flowwatch.errors import Refused, ServerError, Unreachable
from flowwatch.hubble.kube.access import Access
from flowwatch.hubble.kube.client import BROKEN, BadAnswer, Client, KubeAnswer, NotUpgraded
from flowwatch.hubble.kube.material import Material
from flowwatch.text import safe

RELAY = "hubble-relay"
"""The service's name; the CLI looks for no other (hubble/cmd/common/conn/conn.go)."""
SERVER_CERTS, CLIENT_CERTS = "hubble-relay-server-certs", "hubble-ui-client-certs"
"""Secrets: ``ca.crt`` of the first is relay's CA; the second is the UI's client certificate."""

Result = TypeVar("Result")


# The thread ------------------------------------------------------------------------------------

_lock = threading.Lock()


def loop() -> asyncio.AbstractEventLoop:
    """The loop of the one background thread, started when first asked for."""
    with _lock:
        return _started()


@functools.cache
def _started() -> asyncio.AbstractEventLoop:
    # Interrupted while it is made, it would say on standard error that it lacks a socket.
    with signals.deferred():
        new = asyncio.new_event_loop()
    new.set_exception_handler(lambda _loop, context: unforeseen(context.get("exception")))
    threading.Thread(target=new.run_forever, name="kubernetes", daemon=True).start()
    return new


def unforeseen(error: BaseException | None) -> None:
    """Tell of what ended a task that nobody waits for, as of what ends a thread."""
    # asyncio goes on by itself where the system lacks descriptors for a connection.
    if isinstance(error, Exception) and not isinstance(error, OSError):
        about = (type(error), error, error.__traceback__, threading.current_thread())
        threading.excepthook(threading.ExceptHookArgs(about))


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


class Cluster:
    """The calls, made in :func:`loop`'s thread. All raise ServerError in one line."""

    def __init__(self, access: Access, namespace: str, timeout: float) -> None:
        """``timeout``: seconds for each call."""
        self.access, self.namespace, self.timeout = access, namespace, timeout
        self._client = Client(access, timeout)

    async def close(self) -> None:
        await self._client.close()

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
        ports = _dicts(service, "spec", "ports")
        if not isinstance(selector, dict) or not selector:
            raise Refused(f"service {RELAY} in namespace {safe(self.namespace)} selects no pods")
        wanted = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
        listed = await self._get("pods", labelSelector=wanted)
        pods = _dicts(listed, "items")
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
        return Pod(name, _target(ports[0] if ports else {}, best))

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

    async def _get(self, place: str, **params: str) -> dict[str, Any] | None:
        """An object or a list; None when it isn't there."""
        resource, _, name = place.partition("/")
        right = f"{'get' if name else 'list'} {resource}" + (f"/{name}" if name else "")
        with self._explained(right):
            answer = await self._client.get(path("v1", self.namespace, place), params)
            if answer.status == 404:
                return None
            if answer.status != 200:
                raise self._status_error(answer.status, right)
            return answer.object()

    @contextlib.asynccontextmanager
    async def forward(self, pod: Pod) -> AsyncIterator[httpx_ws.AsyncWebSocketSession]:
        """A websocket to the pod's port: one TCP connection, in channel 0."""
        url = path("v1", self.namespace, f"pods/{quote(pod.name, safe='')}/portforward")
        opening = self._client.websocket(url, {"ports": str(pod.port)})
        with self._explained("create pods/portforward"):
            try:
                session = await opening.__aenter__()
            except NotUpgraded as refusal:
                raise self._not_upgraded(refusal.answer, pod) from None
        try:
            yield session
        finally:
            try:
                await opening.__aexit__(None, None, None)
            except* BROKEN:
                # It was ending anyway; why, the one who read from it knows.
                pass

    def _not_upgraded(self, answer: KubeAnswer, pod: Pod) -> ServerError:
        """Why there was no websocket."""
        if answer.status in (401, 403):
            return self._status_error(answer.status, f"{_verb(answer)} pods/portforward")
        if answer.status == 404:
            return Unreachable(f"relay's pod {safe(pod.name)} is gone")
        return Unreachable(
            f"the API server can't forward to relay's pod {safe(pod.name)} (HTTP {answer.status})",
            f"see kubectl -n {safe(self.namespace)} describe pod {safe(pod.name)}",
        )

    # Errors -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _explained(self, right: str) -> Iterator[None]:
        """Failures of httpx as ours; ``right`` is the verb and resource asked for."""
        server = safe(self.access.server)
        try:
            yield
        except (httpx.TimeoutException, TimeoutError):
            raise Unreachable(
                f"the Kubernetes API server {server} did not answer in time ({self._where()})",
                "is it reachable from here (VPN)? kubectl version tells",
            ) from None
        except httpx.InvalidURL as why:
            # A name or a selector of the server's own, or a namespace that was asked for.
            raise Refused(
                f"the Kubernetes API server {server} can't be asked to {right}: {safe(str(why))} "
                f"({self._where()})"
            ) from None
        except BROKEN as error:
            raise _unreachable(error, server, self._where()) from None
        except ExceptionGroup as errors:
            if errors.split(BROKEN)[1] is not None:
                raise
            raise _unreachable(errors.exceptions[0], server, self._where()) from None
        except BadAnswer as why:
            raise Refused(
                f"{server} is no Kubernetes API server: its answer to {right} {why} "
                f"({self._where()})"
            ) from None

    def _status_error(self, status: int, right: str) -> ServerError:
        who = f"user {safe(self.access.user)}" if self.access.user else "flowwatch"
        if status == 401:
            return Refused(
                f"the Kubernetes API server {safe(self.access.server)} does not accept the "
                f"credentials of {who} ({self._where()})",
                "they may have expired: log in again"
                if self.access.server.startswith("https:")
                else "none are sent over http://: give the cluster a server with https://",
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
        access = self.access
        context = f"context {safe(access.context)}" if access.context else "this cluster"
        return f"{context}, through the proxy {access.through}" if access.proxy else context


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


def path(version: str, namespace: str, rest: str) -> str:
    """Of a resource; ``version`` with its group, if it has one."""
    inside = f"namespaces/{quote(namespace, safe='')}/" if namespace else ""
    return f"/{'apis' if '/' in version else 'api'}/{version}/{inside}{rest}"


# apiserver, pkg/endpoints/handlers/responsewriters/errors.go. Before Kubernetes 1.35 "get" is the
# right that is asked for, since then both.
_FORBIDDEN = re.compile(rb" cannot (get|create) resource ")


def _verb(refusal: KubeAnswer) -> str:
    """Which of the two rights to forward is missing."""
    found = _FORBIDDEN.search(refusal.body)
    return found[1].decode() if found else "create"


def _at(body: Any, *names: str) -> Any:
    """What a field of a field … of ``body`` holds, or None."""
    for name in names:
        body = body.get(name) if isinstance(body, dict) else None
    return body


def _dicts(body: Any, *names: str) -> list[dict[str, Any]]:
    """The objects of a list in it."""
    found = _at(body, *names)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _activity(pod: dict[str, Any]) -> tuple[bool, bool, bool, str]:
    """The order in which kubectl prefers pods: staying, running, ready, and the newest."""
    ready = any(
        one.get("type") == "Ready" and one.get("status") == "True"
        for one in _dicts(pod, "status", "conditions")
    )
    return (
        not _at(pod, "metadata", "deletionTimestamp"),
        _at(pod, "status", "phase") == "Running",
        ready,
        str(_at(pod, "metadata", "creationTimestamp") or ""),
    )


def _target(port: Mapping[str, Any], pod: dict[str, Any]) -> int:
    """The container's port behind the service's first one, which may be a name."""
    target = port.get("targetPort") or port.get("port") or 4245
    if isinstance(target, str):
        named = [
            each.get("containerPort")
            for container in _dicts(pod, "spec", "containers")
            for each in _dicts(container, "ports")
            if each.get("name") == target
        ]
        number = named[0] if named else None
    else:
        number = target
    if isinstance(number, int) and 0 < number < 1 << 16:
        return number
    raise Refused(
        f'pod {safe(str(_at(pod, "metadata", "name")))} has no port "{safe(str(target))}"'
    )
