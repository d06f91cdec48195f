"""The demo as a Hubble server that any client can use: relay over two nodes, on an address.

    with DemoServer() as demo:
        print(demo.address)     # hubble observe --server …, flowwatch --server …

Live, the rings hold the last four minutes of the story when it starts, the policy's moment among
them, and the story goes on. Otherwise a whole story is in them, its last record just now.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import grpc

from flowwatch.demo import health
from flowwatch.demo.exchange import SECOND
from flowwatch.demo.ring import MAX_CAPACITY, Entry, Ring, capacity_at
from flowwatch.demo.service import MAX_STREAMS, Namespaces, Observer, Unknown
from flowwatch.demo.stage import Moment
from flowwatch.demo.story import Story
from flowwatch.demo.truth import Truth
from flowwatch.errors import FlowwatchError, UsageError
from flowwatch.policy.engine import PolicySet
from flowwatch.text import safe

PAST = 240.0
"""Seconds of the story that the rings hold when it starts live: half before the policy."""

WHOLE = 300.0
"""Seconds of the story that is played at once."""

LONGEST = 3600.0
"""Seconds that can be played at once: all of it must fit in the rings."""

SLOWEST, FASTEST = 0.01, 1000.0

# Threads beside those of the flow streams, for calls that answer at once.
_SPARE_THREADS = 16

_TICK = 0.005
"""Seconds between two looks at the clock, at least; the records' own times are exact.

Also how long the writer writes without a rest: one that never rests keeps the interpreter from the
threads that send.
"""

_BEHIND = SECOND
"""When the writer is that late (the machine is busy), the story waits for it."""


class DemoServer:
    """A Hubble server with the story in it. Raises UsageError for arguments out of range."""

    def __init__(
        self,
        address: str = "127.0.0.1:0",
        *,
        seed: int = 1,
        speed: float = 1.0,
        duration: float | None = None,
        live: bool = True,
        history: bool = True,
        capacity: int | None = None,
        policy_after: float | None = None,
        policies: PolicySet | None = None,
    ) -> None:
        """Say what it is to be; ``start``, or entering it, serves it.

        Args:
            address: ``host:port`` (0 for any port) or ``unix:PATH``.
            seed: of the story.
            speed: live, how fast the story goes on: 1 is some 25 records a second.
            duration: seconds; live, of new records after the start (None for no end); else of the
                whole story (:data:`WHOLE` by default, :data:`LONGEST` at most).
            live: go on with the story; else all of it is there at once.
            history: live, begin with the past in the rings; else they are empty, the story is at
                its beginning, and the policy is still to be applied.
            capacity: records per node; by default as many as are needed.
            policy_after: not live, seconds until the policy is applied.
            policies: applied instead of the story's own, as far as they select the weather app.
        """
        if not SLOWEST <= speed <= FASTEST:
            raise UsageError(f"invalid speed {speed:g}", f"from {SLOWEST:g} to {FASTEST:g}")
        if duration is not None and not 0 < duration <= (float("inf") if live else LONGEST):
            limit = "" if live else f" and at most {LONGEST:g}"
            raise UsageError(f"invalid duration {duration:g}", f"seconds, above 0{limit}")
        self._wanted = address
        self._speed, self._duration, self._live = speed, duration, live
        self._past = int(PAST * SECOND) if history else 0
        if live:
            self._story = Story(seed, policies=policies)
        else:
            self._story = Story(
                seed, policies=policies, duration=duration or WHOLE, policy_after=policy_after
            )
        self._moments = self._story.moments()
        self._news = threading.Condition()
        self._stopped = threading.Event()
        nodes = self._story.cluster.nodes
        size = capacity or (capacity_at(speed) if live else MAX_CAPACITY)
        self._rings = {node: Ring(node.name, size, self._news) for node in nodes}
        self._namespaces = Namespaces()
        self._observer = Observer(
            nodes, tuple(self._rings.values()), self._namespaces, self._news, self._stopped
        )
        self._server: grpc.Server | None = None
        self._writer = threading.Thread(target=self._go_on, name="flowwatch-demo", daemon=True)
        self.address = ""
        """Where it serves, with the real port; empty before the start."""
        self.policy_time = 0
        """When the policy is applied, nanoseconds since 1970; an estimate while it is to come."""
        self.begin_time = 0
        """When the story began, nanoseconds since 1970."""
        self.failure: BaseException | None = None
        """What ended the story if not its end: a defect. Leaving the server's context raises it."""

    @property
    def selected(self) -> bool:
        """Whether the policies that it applies are about the weather app at all."""
        story = self._story
        return any(map(story.enforcer.selects, story.cluster.pods("weather/weather-app")))

    @property
    def truth(self) -> Truth:
        """The attempts of the story so far; of all that the rings hold while they aren't full."""
        return self._story.truth

    def start(self) -> Self:
        """Fill the rings and serve. Raises FlowwatchError when the address can't be had."""
        pool = ThreadPoolExecutor(MAX_STREAMS + _SPARE_THREADS, thread_name_prefix="flowwatch-demo")
        # Without this two demos could share a port, each getting some of the clients.
        server = grpc.server(pool, options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers(
            (self._observer.handler(), health.handler(self._stopped), Unknown())
        )
        self.address = _listen(server, self._wanted)
        self._tell_past()
        server.start()
        self._server = server
        if self._live:
            self._writer.start()
        return self

    def stop(self) -> None:
        """End all streams and the story; safe to call twice."""
        self._stopped.set()
        with self._news:
            self._news.notify_all()
        if self._writer.is_alive():
            self._writer.join()
        if self._server is not None:
            self._server.stop(grace=1.0).wait()
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        if error is None and self.failure is not None:
            raise self.failure

    def _tell_past(self) -> None:
        """Put into the rings what happened before the start."""
        now = time.time_ns()
        if not self._live:
            moments = list(self._moments)
            self.begin_time = now - moments[-1].offset
            for moment in moments:
                self._write(moment, self.begin_time + moment.offset)
            self._moments = iter(())
        else:
            self.begin_time = now - self._past
            for moment in self._moments:
                if moment.offset > self._past:
                    self._next: Moment | None = moment
                    break
                self._write(moment, self.begin_time + moment.offset)
        self.policy_time = self.begin_time + self._story.policy_at
        ahead = self._story.policy_at - self._past
        if self._live and ahead > 0:
            self.policy_time += int(ahead / self._speed) - ahead

    def _go_on(self) -> None:
        try:
            self._write_live()
        except BaseException as error:  # noqa: BLE001 - handed over, not swallowed
            self.failure = error

    def _write_live(self) -> None:
        # Where the past ends, so that there is no gap between it and what follows.
        begin = self.begin_time + self._past
        ends = None if self._duration is None else begin + int(self._duration * SECOND)
        moment, rested = self._next, time.monotonic()
        while moment is not None and not self._stopped.is_set():
            due = begin + int((moment.offset - self._past) / self._speed)
            now = time.time_ns()
            if ends is not None and max(due, now) > ends:
                return
            if due > now or time.monotonic() - rested > _TICK:
                with self._news:
                    self._news.notify_all()
                self._stopped.wait(max((due - now) / SECOND, _TICK))
                rested = time.monotonic()
                continue
            if now - due > _BEHIND:
                begin += now - due
                due = now
            self._write(moment, due)
            moment = next(self._moments, None)

    def _write(self, moment: Moment, at: int) -> None:
        entry = Entry(at, moment.response(at))
        self._rings[moment.node].write(entry)
        self._namespaces.add(entry)


def _listen(server: grpc.Server, address: str) -> str:
    """Bind ``address``; returns it with the real port."""
    wrong = FlowwatchError(
        f"can't serve on {safe(address)}", "give a free host:port, as 127.0.0.1:4245, or port 0"
    )
    plain = address.removeprefix("tls://")
    if plain.startswith("unix:"):
        path = plain.removeprefix("unix:").removeprefix("//")
        target, named = f"unix:{path}", f"unix://{os.path.abspath(path)}"
    else:
        target, named = plain, ""
        if not plain.rpartition(":")[2].isdecimal():
            raise wrong
    try:
        port = server.add_insecure_port(target)
    except RuntimeError as error:
        raise wrong from error
    if not port:
        raise wrong
    return named or f"{plain.rpartition(':')[0] or '127.0.0.1'}:{port}"
