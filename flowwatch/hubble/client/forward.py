"""The way to relay through the Kubernetes API: when to take it, and the port-forward itself.

    settings = forward.decide(settings)            # localhost, or relay by itself
    with forward.open_way(settings) as way:        # a port of this host that leads to relay
        connection = connect(way.settings)

The flags are hubble's (Cilium 1.20.2, hubble/cmd/common/config/flags.go); forwarding without a flag,
``--no-port-forward`` and ``--tls-from-secret`` are ours.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from msgspec.structs import replace

from flowwatch.errors import FlowwatchError, ServerError, UsageError
from flowwatch.hubble.client.config import DEFAULT, Settings
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.hubble.kube.access import Access
    from flowwatch.hubble.kube.portforward import Carrier

RELAY_NAME = "instance.hubble-relay.cilium.io"
"""A name that relay's certificate bears (``*.hubble-relay.cilium.io``); it has no address in it."""

_KNOCK_SECONDS = 1.0


def decide(settings: Settings, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings with ``port_forward`` on where nothing says where the server is.

    That is: no ``--server`` (nor variable, nor file), nothing listening at hubble's default address,
    a kubeconfig at hand, and no ``--no-port-forward``. A warning tells of it. Knocks at the default
    address, which is on this host; sends nothing.
    """
    if settings.no_port_forward:
        if settings.port_forward and settings.origin("port-forward").kind == "flag":
            raise UsageError("--port-forward and --no-port-forward contradict each other")
        return replace(settings, port_forward=False) if settings.port_forward else settings
    if settings.port_forward or settings.origin("port-forward") != DEFAULT:
        return settings
    if settings.origin("server") != DEFAULT:
        return settings
    from flowwatch.hubble.kube import kubeconfig

    if not kubeconfig.at_hand(settings.kubeconfig, environ):
        return settings
    if _answers(settings):
        return settings
    line = (
        f"nothing answers on {settings.address.text}: going through the Kubernetes API, "
        f"by port-forward to {place(settings)} (--no-port-forward forbids it)"
    )
    return replace(settings, port_forward=True, by_itself=True, warnings=(*settings.warnings, line))


def place(settings: Settings) -> str:
    """Where a port-forward leads, for people: ``relay in kube-system``."""
    context = f" of context {safe(settings.kube_context)}" if settings.kube_context else ""
    return f"relay in {safe(settings.kube_namespace)}{context}"


def where(settings: Settings) -> str:
    """What a view calls the server: its address, or that it is behind a port-forward."""
    return f"{place(settings)} (port-forward)" if settings.port_forward else settings.address.text


def _answers(settings: Settings) -> bool:
    try:
        settings.address.connect(_KNOCK_SECONDS).close()
    except OSError:
        return False
    return True


class Way:
    """How to get to the server; while it's open, ``settings`` can be connected with."""

    def __init__(self, settings: Settings, carrier: Carrier | None = None) -> None:
        """Made by :func:`open_way`."""
        self.settings = settings
        self._carrier = carrier

    @property
    def pod(self) -> str:
        """Relay's pod that is forwarded to, or "" without a port-forward."""
        return self._carrier.pod.name if self._carrier is not None else ""

    @property
    def failure(self) -> FlowwatchError | None:
        """Why a later connection could not be forwarded."""
        return self._carrier.failure if self._carrier is not None else None

    def close(self) -> None:
        """End the forward and what goes through it; may be called twice, from any thread."""
        if self._carrier is not None:
            self._carrier.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_way(
    settings: Settings,
    environ: Mapping[str, str] = os.environ,
    access: Access | None = None,
) -> Way:
    """Forward a port to relay, and fetch what ``--tls-from-secret`` asks for, as settings say.

    Without either it does nothing. ``access`` is what kubeconfig.load gave, where it was called
    already: its exec plugin runs once. Raises UsageError (kubeconfig, local port), Refused (rights,
    credentials, no relay) and Unreachable (API server, pod); each is one line.
    """
    if not (settings.port_forward or settings.tls_from_secret):
        return Way(settings)
    if access is None:
        from flowwatch.hubble.kube import kubeconfig

        access = kubeconfig.load(settings.kubeconfig, settings.kube_context, environ)
    # Only here: importing httpx and asyncio takes 0.1 s.
    from flowwatch.hubble.kube import api, portforward

    cluster = api.Cluster(access, settings.kube_namespace, settings.request_timeout)
    forward: Carrier | None = None
    sockets: list[socket.socket] = []
    try:
        if settings.port_forward:
            sockets = _listen(settings)
        material, pod = api.wait(
            portforward.prepare(
                cluster, secrets=settings.tls_from_secret, relay=settings.port_forward
            )
        )
        if pod is not None:
            forward = portforward.Carrier(cluster, pod, sockets)
        else:
            api.wait(cluster.close())
    finally:
        if forward is None:
            for each in sockets:
                each.close()
            with contextlib.suppress(ServerError):
                api.wait(cluster.close())
    changed = replace(settings, port_forward=False, tls_from_secret=False)
    if material is not None:
        changed = replace(changed, tls=True, tls_material=material)
    if forward is not None:
        scheme = "tls://" if settings.server.startswith("tls://") else ""
        changed = replace(changed, server=f"{scheme}127.0.0.1:{forward.port}", forwarded=True)
    if changed.encrypted and not changed.tls_server_name:
        changed = replace(changed, tls_server_name=RELAY_NAME)
    return Way(changed, forward)


def _listen(settings: Settings) -> list[socket.socket]:
    """A socket on ``--port-forward-port``; on any port if that wasn't asked for and is taken."""
    asked = settings.origin("port-forward-port") != DEFAULT
    ports = [settings.port_forward_port] if asked else [settings.port_forward_port, 0]
    if settings.by_itself and not asked:
        ports = [0]
    for port in ports:
        try:
            return [socket.create_server(("127.0.0.1", port))]
        except OSError as error:
            if port == ports[-1]:
                raise UsageError(
                    f"can't listen on port {port} of this host: "
                    f"{(error.strerror or str(error)).lower()}",
                    "--port-forward-port 0 takes any that is free",
                ) from None
    raise AssertionError("there is always a port to try")
