"""flowwatch as its dashboard runs it, in a process of its own, asked from a test what it shows and costs.

    with Follower("--server", between.address) as program:
        program.state().rows

The process reads its standard input: a line in, what it knows out. Threads, descriptors, memory and
CPU are then those of the program alone, not those of the proxy and the test.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from flowwatch.cli.flags import parse
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.query import Query
from flowwatch.sources.hubble_server import HubbleServer
from flowwatch.sources.live import LiveSource
from flowwatch.sources.phases import FIRST_RETRY, Retries
from flowwatch.sources.request import flow_request
from tests.command import ROOT, clean_environment
from tests.interop.program import Program

POLL_EVERY, QUIET = 0.5, 1.0
"""Seconds; the program's own are 10 and 30: a test has no time for them."""


@dataclass(frozen=True)
class State:
    """What the program shows."""

    phase: str
    message: str
    rows: dict[str, int] = field(default_factory=dict)
    """Blocked attempts by pod."""
    gaps: list[dict[str, Any]] = field(default_factory=list)
    """``start`` and ``end`` (ns), ``why`` and ``nodes``."""
    warnings: list[str] = field(default_factory=list)
    unavailable: list[str] = field(default_factory=list)
    at_least: bool = False
    failure: str = ""

    @property
    def dropped(self) -> int:
        return sum(self.rows.values())


@dataclass(frozen=True)
class Cost:
    """What the process holds."""

    threads: int
    descriptors: int
    memory: float
    """MiB, resident."""


class Follower:
    """The running program."""

    def __init__(
        self,
        *arguments: str,
        poll: float = POLL_EVERY,
        quiet: float = QUIET,
        first_retry: float = FIRST_RETRY,
    ) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="follower-home-")
        self._no_names = Path(self._home.name) / "no-names"
        command = [sys.executable, "-m", "tests.interop.faults.follower", str(self._no_names)]
        command += [str(seconds) for seconds in (poll, quiet, first_retry)]
        # The checkout is the folder of the tests' modules too.
        environ = clean_environment(self._home.name) | {"PYTHONPATH": str(ROOT)}
        self._program = Program([*command, *arguments], environ)
        self._process = psutil.Process(self._program.pid)

    def state(self) -> State:
        """Ask it; raises PartFailed when it has ended."""
        self._program.send("\n")
        return State(**self._program.answer())

    def forget_names(self, forget: bool = True) -> None:
        """From now on, or no longer, names can't be resolved in that process."""
        if forget:
            self._no_names.touch()
        else:
            self._no_names.unlink(missing_ok=True)

    def cost(self) -> Cost:
        return Cost(
            self._process.num_threads(),
            self._process.num_fds(),
            self._process.memory_info().rss / (1 << 20),
        )

    def cpu(self) -> float:
        """Seconds of CPU that it has used since its start."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._program.kill()
        self._home.cleanup()


def _told(monitor: LiveMonitor) -> dict[str, object]:
    taken, state = monitor.snapshot(Query()), monitor.state()
    rows: dict[str, int] = {}
    for row in taken.rows:
        rows[row.pod] = rows.get(row.pod, 0) + row.dropped
    return {
        "phase": state.phase,
        "message": state.message,
        "rows": rows,
        "gaps": [
            {"start": g.start, "end": g.end, "why": g.why, "nodes": list(g.nodes)}
            for g in taken.coverage.gaps
        ],
        "warnings": list(taken.coverage.warnings),
        "unavailable": list(taken.coverage.nodes_unavailable),
        "at_least": taken.coverage.at_least,
        "failure": str(monitor.failure or ""),
    }


def _resolve_unless(no_names: Path) -> None:
    """Let the system's resolver fail while the file ``no_names`` is there, in its own way."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
        if no_names.exists() and not str(host).replace(".", "").isdigit():
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(host, *arguments, **named)

    socket.getaddrinfo = getaddrinfo


def main(no_names: str, poll: str, quiet: str, first_retry: str, *arguments: str) -> None:
    """Follow until standard input ends; answer each line of it."""
    _resolve_unless(Path(no_names))
    wanted = flow_request(parse(list(arguments)), follow=True)
    source = LiveSource(
        lambda: HubbleServer(wanted, with_ring=True),
        where=wanted.settings.address.text,
        follow=True,
        encrypted=wanted.settings.encrypted,
        keep_trying=True,
        poll_every=float(poll),
        quiet=float(quiet),
        retries=Retries(float(first_retry)),
    )
    monitor = LiveMonitor(source)
    monitor.start()
    for _ in sys.stdin:
        print(json.dumps(_told(monitor)), flush=True)
    monitor.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
