"""Steps from the settings to Hubble's answers, one after the other: what ``flowwatch doctor`` looks at.

    visit = Visit(settings)
    for step in visit.steps():
        print(step.name, step.state, step.what, step.next)

A step that fails keeps those that need it from being tried: they are told as skipped, with the
reason. What the records themselves say is in :mod:`flowwatch.doctor.evidence`.
"""

from __future__ import annotations

import platform
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from flowwatch import __version__
from flowwatch.doctor import tls
from flowwatch.errors import FlowwatchError, Refused
from flowwatch.hubble.client import config, faults, forward
from flowwatch.hubble.client.config import DEFAULT, Settings
from flowwatch.hubble.client.connection import Connection, connect
from flowwatch.hubble.kube import kubeconfig
from flowwatch.hubble.wire import scanner
from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb
from flowwatch.hubble.wire.pb.relay import relay_pb2
from flowwatch.redact import redact
from flowwatch.text import safe

_NAMES = 5
"""Connected nodes that are named; the missing ones all are."""
_SECRET = ("basic-auth-password",)
# Those that don't decide how a connection is made.
_NO_MATTER = ("allowlist", "denylist", "debug")


class State(StrEnum):
    """How a step went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the answer."""

    name: str
    state: State
    what: str
    """What was found, or why it was skipped. May hold text from the network."""
    next: str = ""
    """What to do about it."""

    def __post_init__(self) -> None:
        for name in ("what", "next"):
            object.__setattr__(self, name, redact(getattr(self, name)))


Look = Callable[[], Step]


def run(looks: Iterable[tuple[str, Look, bool]], blocked: str = "") -> Generator[Step, None, str]:
    """Each look's step. ``looks``: name, what to call, and whether the later ones need it.

    ``blocked``: why even the first is skipped; returns why what comes after must be, or "".
    """
    for name, look, needed in looks:
        if blocked:
            yield Step(name, State.SKIPPED, blocked)
            continue
        gone = False
        try:
            step = look()
        except FlowwatchError as error:
            step = Step(name, State.FAIL, error.message, error.hint)
            # Whoever asks on would wait for each timeout anew, or couldn't ask at all.
            gone = not isinstance(error, Refused)
        yield step
        if gone or (needed and step.state is State.FAIL):
            blocked = f"not possible, as {name} failed"
    return blocked


def _ourselves() -> Step:
    what = (
        f"{__version__}, Python {platform.python_version()}; reads records by {scanner.at_work()}"
    )
    return Step("flowwatch", State.OK, what)


class Visit:
    """One look at one server. Close it when done."""

    def __init__(self, settings: Settings) -> None:
        """``settings`` as flowwatch.hubble.client.forward.decide left them."""
        self.asked = settings
        self.settings = settings
        """The same with the port-forward's end and the cluster's certificates, once there."""
        self.connection: Connection | None = None
        self.status: pb.ServerStatusResponse | None = None
        self.nodes: tuple[str, ...] = ()
        """Names of those that are connected, where relay told them."""
        self.blocked = ""
        """Why nothing more can be asked; "" if all went well enough."""
        self.access: kubeconfig.Access | None = None
        """The way to the Kubernetes API, where the server is reached through it."""
        self._way: forward.Way | None = None
        self._direct = True

    def steps(self) -> Iterator[Step]:
        """Look, and tell each step as it is done. Takes a few timeouts at the very most."""
        looks: tuple[tuple[str, Look, bool], ...] = (
            ("flowwatch", _ourselves, False),
            ("config", self._config, False),
            ("kubeconfig", self._kubeconfig, True),
            ("port-forward", self._forward, True),
            ("name", self._name, True),
            ("tcp", self._tcp, True),
            ("tls", self._tls, True),
            ("health", self._health, False),
            ("version", self._version, True),
            ("nodes", self._nodes, False),
        )
        self.blocked = yield from run(looks)

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        if self._way is not None:
            self._way.close()

    # The way there ----------------------------------------------------------------------------

    def _config(self) -> Step:
        settings = self.asked
        file = f"file {settings.config_file}" if settings.config_file else "no config file"
        told = []
        for name in config.NAMES:
            origin = settings.origin(name)
            if name in _NO_MATTER or (origin == DEFAULT and name != "server"):
                continue
            value = getattr(settings, name.replace("-", "_"))
            shown = "(hidden)" if name in _SECRET else _shown(value)
            place = "file" if origin.kind == "file" else str(origin)
            told.append(f"{name} {shown} ({place})")
        what = f"{file}; {', '.join(told)}"
        # The last one, that it goes through the Kubernetes API by itself, belongs to the next step.
        warnings = settings.warnings[:-1] if settings.by_itself else settings.warnings
        if warnings:
            return Step("config", State.WARN, f"{what}; {'; '.join(warnings)}")
        return Step("config", State.OK, what)

    def _kubeconfig(self) -> Step:
        asked = self.asked
        if not (asked.port_forward or asked.tls_from_secret):
            what = f"not needed: the server is {asked.address.text}"
            if asked.origin("server") == DEFAULT and not kubeconfig.at_hand(asked.kubeconfig):
                what = "there is none to reach relay through (KUBECONFIG, ~/.kube/config)"
            return Step("kubeconfig", State.SKIPPED, what)
        self.access = access = kubeconfig.load(asked.kubeconfig, asked.kube_context)
        place = f"{access.file}: context {access.context}" if access.file else "this pod's account"
        user = f", user {access.user}" if access.user else ""
        why = f"; nothing answers on {asked.address.text}, so this way" if asked.by_itself else ""
        return Step("kubeconfig", State.OK, f"{place}, cluster {access.server}{user}{why}")

    def _forward(self) -> Step:
        asked = self.asked
        if self.access is None:
            return Step("port-forward", State.SKIPPED, "not asked for (--port-forward)")
        self._way = way = forward.open_way(asked, access=self.access)
        self.settings = way.settings
        told = []
        if asked.port_forward:
            told.append(f"to pod {way.pod} in {asked.kube_namespace}")
        if asked.tls_from_secret:
            told.append("certificates taken from the cluster's secrets")
        return Step("port-forward", State.OK, "; ".join(told))

    def _name(self) -> Step:
        address = self.settings.address
        if self.settings.forwarded:
            return Step("name", State.SKIPPED, "not needed: through the port-forward")
        if address.path:
            return Step("name", State.SKIPPED, f"not needed: {address.text} is a socket's path")
        if address.is_ip:
            return Step("name", State.SKIPPED, f"not needed: {address.host} is an address")
        try:
            found = _resolve(address.host, address.port, self.settings.connect_timeout)
        except OSError as error:
            words = f"{safe(address.host)} does not resolve: {safe(error.strerror or str(error))}"
            proxy = self._proxy()
            if proxy:
                self._direct = False
                return Step(
                    "name", State.WARN, f"{words}; it is left to the proxy", f"check {proxy}"
                )
            where = self.settings.origin("server")
            hint = f"check the name in {where}; names of services resolve inside the cluster only"
            return Step("name", State.FAIL, words, f"{hint} (from outside: --port-forward)")
        return Step("name", State.OK, f"{address.host} is {', '.join(found)}")

    def _tcp(self) -> Step:
        address = self.settings.address
        if self.settings.forwarded:
            return Step("tcp", State.SKIPPED, "not needed: through the port-forward")
        if not self._direct:
            return Step("tcp", State.SKIPPED, f"through the proxy in {self._proxy()}")
        began = time.monotonic()
        try:
            address.connect(self.settings.connect_timeout).close()
        except OSError as error:
            refused = faults.no_connection(self.settings, address, error)
            if proxy := self._proxy():
                self._direct = False
                return Step("tcp", State.WARN, f"{refused.message}; left to the proxy in {proxy}")
            raise refused from None
        took = (time.monotonic() - began) * 1000
        return Step("tcp", State.OK, f"{address.text} accepts connections, in {took:.0f} ms")

    def _proxy(self) -> str:
        """The variable with a proxy that gRPC would go through, if it does."""
        return "" if self.settings.address.is_loopback else faults.proxy_variable()

    def _tls(self) -> Step:
        if not self._direct:
            return Step("tls", State.SKIPPED, f"through the proxy in {self._proxy()}")
        told = tls.examine(self.settings)
        return Step("tls", State.WARN if told.doubtful else State.OK, told.what, told.next)

    # Hubble -----------------------------------------------------------------------------------

    def _health(self) -> Step:
        # UsageError of certificates that can't be read belongs to the step before; it raised there.
        self.connection = connect(self.settings)
        try:
            health = self.connection.health()
        except FlowwatchError as error:
            raise self._cause(error) from None
        if health == "SERVING":
            return Step("health", State.OK, "Hubble's health service says SERVING")
        return Step(
            "health",
            State.FAIL,
            f"Hubble's health service says {health}",
            "relay says so for five seconds after its start, and while no node is connected: "
            "kubectl -n kube-system logs deployment/hubble-relay",
        )

    def _cause(self, error: FlowwatchError) -> FlowwatchError:
        """What the port-forward knows, where there is one: it ended the connection."""
        return (self._way.failure if self._way is not None else None) or error

    def _version(self) -> Step:
        assert self.connection is not None
        try:
            self.status = status = self.connection.server_status()
        except FlowwatchError as error:
            raise self._cause(error) from None
        kind = "relay" if status.HasField("num_connected_nodes") else "one node's observer"
        what = f"{status.version or 'it tells no version'} ({kind}), observer API over HTTP/2" + (
            " and TLS" if self.settings.encrypted else ""
        )
        return Step("version", State.OK, what)

    def _nodes(self) -> Step:
        assert self.connection is not None
        assert self.status is not None
        if not self.status.HasField("num_connected_nodes"):
            return Step(
                "nodes",
                State.WARN,
                "this is one node's observer: what other nodes see isn't here",
                "for the whole cluster ask relay: --port-forward, or its address with --server",
            )
        try:
            nodes = list(self.connection.nodes().nodes)
        except Refused:
            # An older relay: up to ten names are in its status.
            return _counted(self.status)
        by_state: dict[bool, list[str]] = {True: [], False: []}
        versions = set()
        for node in nodes:
            by_state[node.state == relay_pb2.NODE_CONNECTED].append(node.name)
            if node.version:
                versions.add(node.version)
        self.nodes = tuple(sorted(by_state[True]))
        step = _told(self.nodes, len(self.nodes), sorted(by_state[False]), len(by_state[False]))
        if step.state is State.OK and len(versions) > 1:
            return Step(
                "nodes",
                State.WARN,
                f"{step.what}; of several versions: {', '.join(sorted(versions))}",
                "after an upgrade this passes",
            )
        return step


def _counted(status: pb.ServerStatusResponse) -> Step:
    names = sorted(status.unavailable_nodes)
    return _told((), status.num_connected_nodes.value, names, status.num_unavailable_nodes.value)


def _told(names: tuple[str, ...], connected: int, missing: list[str], away: int) -> Step:
    total = connected + away
    if not total:
        return Step(
            "nodes",
            State.FAIL,
            "relay knows no node",
            "is Hubble on in the agents (hubble.enabled)? relay asks the service hubble-peer",
        )
    if not away:
        shown = f": {', '.join(names[:_NAMES])}" if names else ""
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        return Step("nodes", State.OK, f"all {total} connected{shown}{more}")
    more = f" and {away - len(missing)} more" if away > len(missing) else ""
    return Step(
        "nodes",
        State.FAIL,
        f"{connected} of {total} connected; missing: {', '.join(missing)}{more}",
        "what these nodes see is not counted: look at their agents "
        "(kubectl -n kube-system get pods -l k8s-app=cilium -o wide) and port 4244 from relay",
    )


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g} s"
    return str(value)


def _resolve(host: str, port: int, timeout: float) -> list[str]:
    """The addresses of ``host``. Raises OSError, also after ``timeout`` seconds."""
    outcome: list[list[str] | OSError] = []

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            outcome.append(list(dict.fromkeys(str(each[4][0]) for each in found)))
        except OSError as error:
            outcome.append(error)
        except UnicodeError:
            outcome.append(OSError(0, "this can't be a host's name"))

    # getaddrinfo has no timeout of its own.
    thread = threading.Thread(target=ask, name="flowwatch-resolve", daemon=True)
    thread.start()
    thread.join(timeout)
    if not outcome:
        raise TimeoutError(0, f"no answer within {timeout:g} s")
    if isinstance(outcome[0], OSError):
        raise outcome[0]
    return outcome[0]
