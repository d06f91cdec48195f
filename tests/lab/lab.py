"""The kernel lab, running: namespaces, the node with its datapath and Hubble, servers, and the application.

with Lab() as lab:
    lab.tries({"do": "tcp", "peer": "203.0.113.5", "port": 443})
    lab.policy("only-five.yaml")
    lab.tries(…)
    lab.truth()      # each try, what became of it, and what the kernel counted
    lab.server       # unix:///…: Hubble's API, for flowwatch
    lab.save(folder) # flows.jsonl.gz, truth.json and the policies
"""

from __future__ import annotations

import atexit
import contextlib
import gzip
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.interop.build import build
from tests.interop.program import PartFailed, Program
from tests.interop.real import hubble
from tests.lab import network
from tests.lab.network import Network, NoLab, needed

HERE = Path(__file__).parent
POLICIES = HERE / "policies"
POD_NAME = "weather/weather-app-7d9c6b5f4-lab01"
PORTS = {
    "TCP": [53, 80, 443, 5432, 8080, 8443, 9001, 9003, 9004, 9009],
    "UDP": [53, 443, 5000, 5001, 5002],
}
ZONE: dict[str, tuple[list[str], int]] = {
    "api.openweathermap.org": (["203.0.113.5", "2001:db8:cb::5"], 300),
    "tiles.openweathermap.org": (["203.0.113.20"], 300),
    "good.cdn.example.net": (["203.0.113.80"], 300),
    "bad.cdn.example.net": (["203.0.113.80"], 300),
    "short.example.org": (["203.0.113.90"], 1),
    "evil.example.com": (["203.0.113.66"], 300),
    "telemetry.example.com": (["198.51.100.9"], 300),
}
"""The names of the world outside: addresses, TTL in seconds."""
SETTLED = 0.03
"""Seconds until the last FINs have passed: two round trips between namespaces."""
Try = dict[str, Any]


def _cluster_labels(namespace: str, *more: str) -> list[str]:
    return sorted([
        *more,
        f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={namespace}",
        "k8s:io.cilium.k8s.policy.cluster=default",
        "k8s:io.cilium.k8s.policy.serviceaccount=default",
        f"k8s:io.kubernetes.pod.namespace={namespace}",
    ])  # fmt: skip


WORLD = {
    "pods": [
        {
            "name": POD_NAME.partition("/")[2], "namespace": "weather", "id": 77, "identity": 10001,
            "addresses": network.POD, "link": "lxc-pod",
            "labels": _cluster_labels("weather", "k8s:app=weather-app"),
        },
        {
            "name": "cache-0", "namespace": "weather", "id": 78, "identity": 10002,
            "addresses": network.PEER, "link": "lxc-peer",
            "labels": _cluster_labels("weather", "k8s:app=cache"),
        },
        {
            "name": "coredns-5d78c9869d-x2x9k", "namespace": "kube-system", "id": 0,
            "identity": 10004, "addresses": [network.DNS], "link": "",
            "labels": _cluster_labels("kube-system", "k8s:k8s-app=kube-dns"),
        },
    ],
    "ports": PORTS,
}  # fmt: skip


def datapath(into: Path) -> Path:
    """The object file, made of the source by clang."""
    made = into / "lab.o"
    include = f"/usr/include/{platform.machine()}-linux-gnu"
    command = ["clang", "-O2", "-g", "-Wall", "-Werror", "-target", "bpf", "-I", include]
    done = subprocess.run(
        [*command, "-c", str(HERE / "datapath" / "lab.c"), "-o", str(made)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and "bpf/bpf_" in done.stderr:
        raise NoLab(
            "the kernel lab needs libbpf's headers (Debian, Ubuntu: apt install libbpf-dev)"
        )
    if done.returncode:
        raise NoLab(f"clang makes nothing of the datapath: {done.stderr.strip()[:2000]}")
    return made


def possible() -> None:
    """Try whether the lab can be here, step by step, and leave nothing.

    Raises:
        NoLab: not; the message says why, in words that don't mislead.
    """
    needed()
    with tempfile.TemporaryDirectory(prefix="fwlab-") as scratch:
        name = f"fwlab-{os.getpid():x}-try"
        try:
            network.ip("netns", "add", name)
        except NoLab as err:
            raise NoLab(f"the kernel lab may make no network namespace here ({err})") from None
        try:
            done = subprocess.run(
                ["ip", "netns", "exec", name, build().lab, "-try", "-object", datapath(Path(scratch))],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
        finally:
            network.ip("netns", "delete", name)
    if done.returncode:
        said = done.stderr.strip().splitlines()[0] if done.stderr.strip() else "no reason given"
        raise NoLab(f"the kernel lab may load no eBPF program here ({said})")


@dataclass
class Stage:
    """From when on a policy was in force; an empty name: none."""

    begun: float
    done: float
    policy: str
    said: str


class Lab:
    """See the module's text. Entering it makes all; leaving it, however, removes all."""

    def __init__(
        self, scenario: str = "", what: str = "", *, pages: int = 64, spread: bool = False
    ) -> None:
        """Say what it is to be; entering it starts it.

        Args:
            scenario: its name, and `what` it shows, for truth.json.
            what: a sentence.
            pages: of the ring through which each CPU's records go; few of them lose some.
            spread: run on all CPUs. Their rings are read one after the other, so that records of one
                connection can be told in another order than they were made; else one CPU does all.
        """
        self.scenario, self.what, self._pages, self._spread = scenario, what, pages, spread
        self.stages: list[Stage] = []
        self.texts: dict[str, str] = {}
        self.audit = False
        self.pace = 0.0
        """By what `pause` is multiplied: a story for eyes is slower than a test."""
        self.own: str | None = None
        """YAML that comes into force instead of the story's."""
        self.say: Callable[[str], object] = lambda _: None
        self._made = contextlib.ExitStack()
        self._wanted: set[int] = set()
        self._results: dict[int, Try] = {}
        self._begun = time.time()

    def __enter__(self) -> Self:
        """Build and start everything."""
        # A signal may end `__exit__` before it has begun to remove anything.
        atexit.register(self._remove)
        try:
            self._start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End and remove everything."""
        self._remove()

    def _remove(self) -> None:
        """All of it, also when a signal comes meanwhile: that is heard after."""
        ending = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
        try:
            self._made.close()
            atexit.unregister(self._remove)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _start(self) -> None:
        # A socket's path has room for 107 bytes, whatever TMPDIR is.
        self.folder = Path(tempfile.mkdtemp(prefix=f"fwlab-{os.getpid():x}-", dir="/tmp"))
        self._made.callback(shutil.rmtree, self.folder, ignore_errors=True)
        self.server = f"unix://{self.folder}/hubble.sock"
        binaries, made = build(), datapath(self.folder)
        net = self.network = Network()
        self._made.callback(net.remove)
        net.make()
        flags = [f"-object={made}", f"-socket={self.folder}/hubble.sock", f"-pages={self._pages}"]
        self._node = self._program(net.node, binaries.lab, *flags)
        self._node.send(json.dumps(WORLD) + "\n")
        python = sys.executable, HERE / "server.py"
        programs = [
            self._program(net.outside, *python, json.dumps(ZONE)),
            self._program(net.peer, *python, "{}"),
            self._program(net.pod, sys.executable, HERE / "client.py"),
        ]
        for each in programs:
            each.line()
        self._client = programs[-1]
        self._node.answer()

    def _program(self, where: str, *command: str | Path) -> Program:
        cpu = str(min(os.sched_getaffinity(0)))
        on = () if self._spread else ("taskset", "-c", cpu)
        program = Program(self.network.command(where, *on, *command))
        program.name = Path(str(command[0])).name
        self._made.callback(program.kill)
        return program

    # What happens -------------------------------------------------------------------------------

    def begin(self, *tries: Try) -> None:
        """The application makes these tries, side by side; they are waited for by `wait`."""
        for one in tries:
            number = len(self._wanted) + len(self._results)
            self._wanted.add(number)
            self._client.send(json.dumps({"id": number, **one}) + "\n")

    def pause(self, seconds: float) -> None:
        """Where it is watched."""
        time.sleep(seconds * self.pace)

    def wait(self, timeout: float = 60.0) -> None:
        """Until all that was begun is over."""
        until = time.monotonic() + timeout
        while self._wanted:
            said = json.loads(self._client.line(max(0.1, until - time.monotonic())))
            self._wanted.discard(said["id"])
            self._results[said.pop("id")] = said

    def tries(self, *tries: Try) -> list[Try]:
        """The application makes these tries, and all are over; what became of each."""
        first = len(self._wanted) + len(self._results)
        self.begin(*tries)
        self.wait()
        # The last packets of a connection come after the application's close().
        time.sleep(SETTLED)
        return [self._results[first + at] for at in range(len(tries))]

    def check(self, text: str) -> None:
        """Whether Cilium takes a policy, before anything happens.

        Raises:
            PartFailed: it doesn't; the message has its words.
        """
        for one in (text, ""):
            self._node.send(json.dumps({"policy": one}) + "\n")
            self._node.answer()

    def policy(self, name: str, *, audit: bool = False, text: str | None = None) -> None:
        """From now on this policy is in force (a file of `policies/`, or `text`); an empty name: none."""
        if text is None:
            text = (POLICIES / name).read_text() if name else ""
        begun = time.time()
        self._node.send(json.dumps({"policy": text, "audit": audit}) + "\n")
        said = self._node.answer()
        self.stages.append(Stage(begun, said["time"], name, f"entries={said['entries']}"))
        self.audit = self.audit or audit
        if name:
            self.texts[name] = text

    @contextlib.contextmanager
    def unread(self) -> Iterator[None]:
        """Meanwhile nobody reads the kernel's records, as by a node that is too busy."""
        self._node.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._node.signal(signal.SIGCONT)

    # What is told of it -------------------------------------------------------------------------

    def kernel(self) -> dict[str, Any]:
        """What the kernel counted, when all its records have been read."""
        self._node.send('{"truth": true}\n')
        said = self._node.answer()
        if said["unforeseen"]:
            raise PartFailed(f"{said['unforeseen']} packets to ports that lab.PORTS doesn't have")
        # Until Hubble shows the newest record (`reveal` in the node).
        time.sleep(0.15)
        return said

    def truth(self) -> dict[str, Any]:
        """The tries, each with what the kernel counted for it, and a table of destinations."""
        self.wait()
        kernel = self.kernel()
        by_ends = {_ends(one): one for one in kernel["truth"]}
        made = sorted((dict(one) for one in self._results.values()), key=lambda one: one["t"])
        for one in made:
            _judge(one, by_ends)
        return {
            "scenario": self.scenario,
            "what": self.what,
            "audit_mode": self.audit,
            "pod": POD_NAME,
            "stages": [
                {"t": one.begun, "done": one.done, "policy": one.policy, "said": one.said}
                for one in self.stages
            ],
            "kernel_events": {key: kernel[key] for key in ("sent", "failed", "read", "lost")},
            "seconds": round(time.time() - self._begun, 1),
            "peers": {
                network.DNS: "kube-system/coredns-5d78c9869d-x2x9k",
                network.PEER[0]: "weather/cache-0",
            },
            "table": table(made),
            "attempts": made,
        }

    def save(self, folder: Path) -> None:
        """Write flows.jsonl.gz (as the real `hubble` prints them), truth.json and the policies."""
        folder.mkdir(parents=True, exist_ok=True)
        truth = self.truth()
        said = hubble("observe", "--last", "65535", "-o", "json", server=self.server, check=True)
        with gzip.GzipFile(folder / "flows.jsonl.gz", "wb", mtime=0) as file:
            file.write(said.stdout.encode())
        (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
        for name, text in self.texts.items():
            (folder / name).write_text(text)


Ends = tuple[str, str, int, int, str]


def _ends(one: Try) -> Ends:
    return one["local"], one["remote"], one["local_port"], one["remote_port"], one["protocol"]


def _judge(one: Try, by_ends: dict[Ends, Try]) -> None:
    """Add what the kernel counted for a try, and what that makes of it."""
    six = ":" in one["peer"]
    own = network.POD[six]
    here = by_ends.get((own, one["peer"], one["sport"], one["port"], one["proto"]), {})
    there = by_ends.get((one["peer"], own, one["port"], one["sport"], one["proto"]), {})
    kinds = ("passed", "denied", "audited", "replies", "errors")
    one["kernel"] = {kind: here.get(kind, 0) for kind in kinds}
    denied = here.get("denied", 0) + there.get("denied_in", 0) + here.get("refused", 0)
    one["by_policy"] = bool(one["result"] != "ok" and denied)
    audited = not one["by_policy"] and one["kernel"]["audited"]
    one["outcome"] = "dropped" if one["by_policy"] else "audited" if audited else "forwarded"


def table(made: Sequence[Try]) -> dict[str, dict[str, int]]:
    """By destination: how many tries, and what became of them."""
    rows: dict[str, dict[str, int]] = defaultdict(
        lambda: dict.fromkeys(
            ("tried", "succeeded", "failed_by_policy", "failed_otherwise", "audited"), 0
        )
    )
    for one in made:
        row = rows[f"{one['peer']} {one['proto']} {one['port']}"]
        row["tried"] += 1
        ok = one["result"] == "ok"
        fate = "failed_by_policy" if one["by_policy"] else "succeeded" if ok else "failed_otherwise"
        row[fate] += 1
        row["audited"] += one["outcome"] == "audited"
    return dict(rows)
