"""The real Hubble for tests: observer, relay and CLI of Cilium 1.20.2, on loopback.

    with Observer(captures=[file]) as one, Observer(node="worker2") as two, Relay([one, two]) as relay:
        two.write({"verdict": "DROPPED", ...})
        print(hubble("observe", "--all", "-o", "jsonpb", server=relay).stdout)

* `Observer` is Cilium's own observer (ring, filters, field masks, lost events, gRPC server) in a
  program of ours, `hubble/observer`, that feeds it records instead of kernel events. What `write`
  was given can be read by clients when it returns. (An agent holds the newest record back until
  the next one comes; `hold_back=True` does that too.) Either way `num_flows` of ServerStatus counts
  that one slot more than can be read; `seen_flows` and the namespaces are exact.
* A follower that asks for no old records still gets the newest old one, as from an agent.
* A ring that is full makes `--all` report one lost record of HUBBLE_RING_BUFFER, when reading takes
  longer than a second: the real observer starts one slot too early. Nothing is lost.
* To see that lost record in earnest, read slowly from a small ring: `Observer(capacity=63, rate=20000)`.
* `Relay` is the real relay over the nodes given, which a small peer service of ours names to it.
* `hubble` runs the real CLI with an empty home, so that nobody's configuration leaks in.

Everything is a context manager; programs end with the test, at the interpreter's exit, and when the
interpreter is killed (they watch a pipe that closes then).
"""

import json
import os
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from tests.interop.build import Binaries, BuildFailed, GoMissing, build
from tests.interop.certificates import Certificates
from tests.interop.program import PartFailed, Program, free_port, wait_until

__all__ = [
    "Binaries",
    "BuildFailed",
    "Certificates",
    "Follow",
    "GoMissing",
    "NodeStatus",
    "Observer",
    "PartFailed",
    "Program",
    "Record",
    "Relay",
    "build",
    "free_port",
    "hubble",
    "wait_until",
]

Record: TypeAlias = Mapping[str, object] | str
"""A flow (bare, or wrapped in a GetFlowsResponse) or lost events, as an object or a JSON line."""

_CLI_SECONDS = 60.0


class _Part:
    """What observer and relay have in common: a start, an address, and several ways to end."""

    address: str
    """`host:port`; the same again after `restart`."""

    _program: Program | None = None

    def start(self) -> Self:
        """Start it and wait until it serves."""
        raise NotImplementedError

    def kill(self) -> None:
        """End it at once; open streams break as when a node dies."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    def restart(self) -> Self:
        """Kill it if it runs, and start it again on the same address."""
        self.kill()
        return self.start()

    @property
    def running(self) -> bool:
        """Whether it was started and not killed since."""
        return self._program is not None

    def hang(self) -> None:
        """Let it do nothing from now on, with all connections open (SIGSTOP)."""
        self.program.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End `hang`."""
        self.program.signal(signal.SIGCONT)

    @property
    def program(self) -> Program:
        """The running program.

        Raises:
            PartFailed: it was not started, or was killed.
        """
        if self._program is None:
            raise PartFailed(f"{type(self).__name__} is not running")
        return self._program

    def __enter__(self) -> Self:
        return self if self._program is not None else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()


class Observer(_Part):
    """One node's Hubble."""

    def __init__(
        self,
        *,
        node: str = "worker1",
        captures: Iterable[Path] = (),
        generate: int = 0,
        seed: int = 1,
        density: float = 500.0,
        rate: float = 0.0,
        end: str | None = None,
        truth: Path | None = None,
        capacity: int = 65535,
        shift_to_now: bool = False,
        rename_node: bool = False,
        hold_back: bool = False,
        tls: Certificates | None = None,
        ask_client: bool = False,
    ) -> None:
        """Say what it is to be; `start`, or entering it, runs it.

        Args:
            node: its name, `node` or `cluster/node`; given to records that have none.
            captures: files for the ring: JSON lines or an array, wrapped or bare, gzip or not.
            generate: so many made-up records in the ring, the same for the same `seed`.
            seed: of the made-up records.
            density: made-up records per second of their own time.
            rate: then so many made-up records a second, live, with the time of writing.
            end: RFC 3339 time of the newest made-up record; now by default.
            truth: file for what happened in the `generate`d records: a JSON line per pod and egress
                destination (TCP, UDP) with its attempts forwarded, dropped and audited.
            capacity: of the ring, 2^n-1, at most 65535.
            shift_to_now: move the captures' times so that the newest record is of now.
            rename_node: give every record this node's name.
            hold_back: hold the newest record back as an agent does.
            tls: serve TLS with these.
            ask_client: with `tls`: take only clients with a certificate of that CA.
        """
        self.node = node
        self.tls = tls
        self.address = "127.0.0.1:0"
        self.records = 0
        """How many records were put into the ring at the start; if it holds fewer, the newest are left."""
        self.skipped = 0
        """How many records of the captures are not records that Hubble can read."""
        flags: dict[str, object] = {
            "node": node,
            "capacity": capacity,
            "generate": generate,
            "seed": seed,
            "density": density,
            "rate": rate,
        }
        if end is not None:
            flags["end"] = end
        if truth is not None:
            flags["truth"] = truth
        if tls is not None:
            flags |= {"tls-cert": tls.server, "tls-key": tls.server_key}
            if ask_client:
                flags["tls-client-ca"] = tls.ca
        self._flags = ["-stdin", "-exit-with-stdin"]
        self._flags += [f"-{name}={value}" for name, value in flags.items()]
        self._flags += [f"-capture={path}" for path in captures]
        switches = {
            "-shift-to-now": shift_to_now,
            "-rename-node": rename_node,
            "-hold-back": hold_back,
        }
        self._flags += [flag for flag, on in switches.items() if on]

    def start(self) -> Self:
        """Start it and wait until it serves; after `kill`, on the address it had."""
        self._program = Program([build().observer, f"-listen={self.address}", *self._flags])
        try:
            ready = self._program.answer()
        except PartFailed:
            self.kill()
            raise
        self.address, self.records, self.skipped = (
            ready["address"],
            ready["records"],
            ready["skipped"],
        )
        return self

    def write(self, *records: Record) -> int:
        """Write records to the ring, in the order given, and return how many this run has got so.

        All can be read by clients when it returns. Write them in time order: rewinding for `since`
        stops at the first older one. A record without a time gets now.

        Raises:
            PartFailed: the observer has ended, or can't read a record; the others were written.
        """
        lines = [r if isinstance(r, str) else json.dumps(r) for r in records]
        self.program.send("".join(f"{line.strip()}\n" for line in lines) + "\n")
        errors: list[str] = []
        while True:
            answer = json.loads(self.program.line())
            if "written" in answer:
                break
            errors.append(answer["error"])
        if errors:
            raise PartFailed(f"observer: {'; '.join(errors)}")
        written: int = answer["written"]
        return written


@dataclass(frozen=True)
class NodeStatus:
    """What relay says about a node, as `hubble list nodes` gets it."""

    name: str
    state: str
    """`NODE_CONNECTED`, `NODE_UNAVAILABLE`, `NODE_ERROR`, …"""
    address: str


class Relay(_Part):
    """The relay over some observers (or other Hubble servers, as name and address)."""

    def __init__(
        self,
        nodes: Iterable[Observer | tuple[str, str]] = (),
        *,
        tls: Certificates | None = None,
        node_tls: Certificates | None = None,
        ask_client: bool = False,
        retry_seconds: float = 1.0,
        flags: Sequence[str] = (),
    ) -> None:
        """Say what it is to be; `start`, or entering it, runs it.

        Args:
            nodes: started observers, or (name, address).
            tls: serve TLS with these, made for `*.hubble-relay.cilium.io`.
            node_tls: dial the nodes with TLS and a client's certificate; made, as the observers' own,
                for `*.CLUSTER.hubble-grpc.cilium.io`. The cluster is `default`.
            ask_client: with `tls`: take only clients with a certificate of that CA.
            retry_seconds: until it dials a lost node again (30 in production).
            flags: more of `hubble-relay serve`.
        """
        self.address = f"127.0.0.1:{free_port()}"
        self._nodes = dict(_name_and_address(node) for node in nodes)
        self._tls, self._node_tls, self._ask_client = tls, node_tls, ask_client
        self._peer: Program | None = None
        self._flags = [
            f"--listen-address={self.address}",
            "--gops=false",
            f"--retry-timeout={retry_seconds}s",
        ]
        if tls is None:
            self._flags.append("--disable-server-tls")
        else:
            self._flags += [
                f"--tls-relay-server-cert-file={tls.server}",
                f"--tls-relay-server-key-file={tls.server_key}",
            ]
            if ask_client:
                self._flags.append(f"--tls-relay-client-ca-files={tls.ca}")
        if node_tls is None:
            self._flags.append("--disable-client-tls")
        else:
            self._flags += [
                f"--tls-hubble-client-cert-file={node_tls.client}",
                f"--tls-hubble-client-key-file={node_tls.client_key}",
                f"--tls-hubble-server-ca-files={node_tls.ca}",
            ]
        self._flags += flags

    @property
    def trust(self) -> list[str | Path]:
        """The CLI's flags for its TLS; none when it has none."""
        if self._tls is None:
            return []
        name = "instance.hubble-relay.cilium.io"
        words: list[str | Path] = [
            "--tls",
            "--tls-ca-cert-files",
            self._tls.ca,
            "--tls-server-name",
            name,
        ]
        if self._ask_client:
            words += ["--tls-client-cert-file", self._tls.client]
            words += ["--tls-client-key-file", self._tls.client_key]
        return words

    def start(self) -> Self:
        """Start it, and wait until it has dialled all nodes that answer."""
        binaries = build()
        secure = self._node_tls
        self._peer = Program(
            [binaries.peer]
            + ([f"-tls-cert={secure.server}", f"-tls-key={secure.server_key}"] if secure else [])
        )
        try:
            peer_address = self._peer.answer()["address"]
            for node in self._nodes.items():
                self.add(node)
            self._program = Program(
                [
                    binaries.leash,
                    binaries.relay,
                    "serve",
                    f"--health-listen-address=127.0.0.1:{free_port()}",
                    f"--peer-service={peer_address}",
                    *self._flags,
                ]
            )
            self._wait_until_listening()
            self._wait_until_known()
        except PartFailed:
            self.kill()
            raise
        return self

    def kill(self) -> None:
        """End it at once, and its peer service."""
        super().kill()
        if self._peer is not None:
            self._peer.kill()
            self._peer = None

    def nodes(self) -> dict[str, NodeStatus]:
        """Ask relay for its nodes, by name."""
        done = hubble("list", "nodes", "-o", "json", *self.trust, server=self, check=True)
        listed = json.loads(done.stdout) or ()
        found = [NodeStatus(n["name"], n["state"], n["address"]) for n in listed]
        return {node.name: node for node in found}

    def wait_for(self, name: str, state: str = "NODE_CONNECTED", timeout: float = 15.0) -> None:
        """Wait until relay says that a node is in a state."""

        def arrived() -> bool:
            node = self.nodes().get(name)
            return node is not None and node.state == state

        wait_until(arrived, f"relay to call {name} {state}", timeout)

    def wait_until_serving(self, timeout: float = 15.0) -> None:
        """Wait until its health service says SERVING, which it looks into every five seconds."""
        wait_until(
            lambda: hubble("status", *self.trust, server=self).returncode == 0,
            "relay to be SERVING",
            timeout,
        )

    def add(self, node: Observer | tuple[str, str]) -> None:
        """Tell relay of a new node, or of a new address of one it knows."""
        name, address = _name_and_address(node)
        self._nodes[name] = address
        tls_name = f" {_tls_name(name)}" if self._node_tls else ""
        self._tell_peers(f"add {name} {address}{tls_name}")

    def remove(self, name: str) -> None:
        """Tell relay that a node left the cluster."""
        del self._nodes[name]
        self._tell_peers(f"remove {name}")

    def _tell_peers(self, command: str) -> None:
        if self._peer is None:
            raise PartFailed("Relay is not running")
        self._peer.send(f"{command}\n")
        self._peer.answer()

    def _wait_until_listening(self) -> None:
        host, port = self.address.split(":")

        def listening() -> bool:
            if not self.program.running:
                raise PartFailed(f"relay ended at once\n{self.program.log()}")
            try:
                socket.create_connection((host, int(port)), timeout=1).close()
            except OSError:
                return False
            return True

        wait_until(listening, "relay to listen")

    def _wait_until_known(self) -> None:
        def all_known() -> bool:
            states = self.nodes()
            return all(
                name in states and (states[name].state == "NODE_CONNECTED" or not _listens(address))
                for name, address in self._nodes.items()
            )

        wait_until(all_known, "relay to dial its nodes")


def _name_and_address(node: Observer | tuple[str, str]) -> tuple[str, str]:
    return (node.node, node.address) if isinstance(node, Observer) else node


def _tls_name(node: str) -> str:
    """The name in an observer's certificate, as Cilium makes it of `node` or `cluster/node`."""
    cluster, _, name = node.rpartition("/")
    parts = [part.replace(".", "-") for part in (name, cluster or "default")]
    return ".".join([*parts, "hubble-grpc.cilium.io"])


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


Server: TypeAlias = str | Observer | Relay | None


def hubble(
    *args: str | Path,
    server: Server = None,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = _CLI_SECONDS,
    check: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run the real CLI to its end.

    Args:
        args: after `hubble`.
        server: for `--server`; an address, observer or relay. None leaves the flag out.
        input: for its standard input, which is empty otherwise.
        env: variables beside PATH, HOME and XDG_CONFIG_HOME, which point to an empty folder.
        timeout: seconds; then it is killed and subprocess.TimeoutExpired raised.
        check: raise PartFailed, with its stderr, unless it ends with 0.
    """
    with tempfile.TemporaryDirectory(prefix="hubble-home-") as home:
        done = subprocess.run(
            _cli(args, server),
            input=input if input is not None else "",
            env=_cli_env(home, env),
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )
    if check and done.returncode != 0:
        raise PartFailed(f"hubble {' '.join(map(str, args))}: {done.stderr.strip()}")
    return done


class Follow:
    """The real CLI in the background: `with Follow("observe", "-f", server=relay) as cli: cli.line()`."""

    def __init__(
        self, *args: str | Path, server: Server = None, env: Mapping[str, str] | None = None
    ) -> None:
        """As for `hubble`; it starts when entered."""
        self._args, self._server, self._env = args, server, env
        self._home = tempfile.TemporaryDirectory(prefix="hubble-home-")

    def __enter__(self) -> Program:
        command = [build().leash, *_cli(self._args, self._server)]
        self._program = Program(command, _cli_env(self._home.name, self._env))
        return self._program

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._program.kill()
        self._home.cleanup()


def _cli(args: Sequence[str | Path], server: Server) -> list[str | Path]:
    words: list[str | Path] = [build().hubble, *args]
    if server is not None:
        words += ["--server", server if isinstance(server, str) else server.address]
    return words


def _cli_env(home: str, more: Mapping[str, str] | None) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": home,
        "XDG_CONFIG_HOME": f"{home}/config",
        **(more or {}),
    }
