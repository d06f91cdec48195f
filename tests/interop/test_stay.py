"""Staying connected to real servers: what was missed is told, with its seconds, and by whom."""

from __future__ import annotations

import asyncio
import calendar
import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from flowwatch import read
from flowwatch.cli.flags import parse
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Snapshot
from flowwatch.sources.hubble_server import HubbleServer
from flowwatch.sources.live import LiveSource
from flowwatch.sources.request import flow_request
from flowwatch.tui.theme import FANCY
from tests.command import flowwatch
from tests.interop.real import Observer, Relay
from tests.interop.test_follow import attempt, eventually
from tests.unit.tui.driven import run as driven_run
from tests.unit.tui.driven import shown

ALL = Query()


@dataclass
class Watched:
    """A monitor over a source that polls each half second."""

    monitor: LiveMonitor

    @property
    def taken(self) -> Snapshot:
        return self.monitor.snapshot(ALL)

    @property
    def dropped(self) -> int:
        return self.taken.totals.dropped

    @property
    def phase(self) -> str:
        return self.monitor.state().phase

    def changes(self) -> list[tuple[str, str]]:
        return [(change.name, change.state) for change in self.monitor.state().changes]


@contextmanager
def watching(*arguments: str, quiet: float = 30.0) -> Iterator[Watched]:
    """What the dashboard runs, with shorter times between polls."""
    wanted = flow_request(parse(list(arguments)), follow=True, environ={})
    source = LiveSource(
        lambda: HubbleServer(wanted, with_ring=True),
        where=wanted.settings.address.text,
        follow=True,
        keep_trying=True,
        poll_every=0.5,
        quiet=quiet,
    )
    monitor = LiveMonitor(source)
    monitor.start()
    try:
        yield Watched(monitor)
    finally:
        monitor.stop()
        assert monitor.failure is None


def skewed(seconds: float, *records: dict[str, object]) -> list[dict[str, object]]:
    """``records`` as a node tells them whose clock is ahead by so much."""
    moved = []
    for record in records:
        whole, _, fraction = str(record["time"]).rstrip("Z").partition(".")
        at = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + seconds
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
        moved.append(record | {"time": f"{stamp}.{fraction}Z"})
    return moved


def test_a_restarted_server_leaves_a_gap_with_its_seconds() -> None:
    with Observer() as observer, watching("--server", observer.address) as watched:
        observer.write(*attempt(1), *attempt(2))
        eventually(lambda: watched.dropped == 2, "the first two")
        killed = time.time()
        observer.kill()
        eventually(lambda: watched.phase == "lost", "the loss is told")
        time.sleep(1.5)
        observer.restart()
        back = time.time()
        eventually(lambda: watched.phase == "following", "it is back")
        observer.write(*attempt(3))
        eventually(lambda: watched.dropped == 3, "what comes counts")
        (gap,) = watched.taken.coverage.gaps
        assert gap.start / 1e9 < killed + 0.5
        assert gap.end / 1e9 <= back + 0.5
        assert 1.5 <= gap.seconds < 30
        assert "restarted" in gap.why
        assert any("gap of" in warning for warning in watched.taken.coverage.warnings)


@pytest.mark.parametrize("ahead", [0, -300])
def test_a_ring_that_wrapped_while_nobody_listened_leaves_a_gap(ahead: int) -> None:
    with (
        Observer(capacity=15) as observer,
        Relay([observer]) as relay,
        watching("--server", relay.address) as watched,
    ):
        observer.write(*skewed(ahead, *attempt(1), *attempt(2)))
        eventually(lambda: watched.dropped == 2, "the first two")
        # Its clock is known by records that come as they are made.
        time.sleep(2.5)
        observer.write(*skewed(ahead, *attempt(3)))
        eventually(lambda: watched.dropped == 3, "the third")
        relay.kill()
        eventually(lambda: watched.phase == "lost", "the loss is told")
        time.sleep(1.2)
        for number in range(10, 40):
            observer.write(*skewed(ahead, *attempt(number)))
        relay.restart()
        eventually(lambda: watched.phase == "following", "relay is back")
        eventually(lambda: bool(watched.taken.coverage.gaps), "the gap is told")
        (gap,) = watched.taken.coverage.gaps
        assert "wrapped" in gap.why
        assert gap.nodes == ("worker1",)
        assert 1.0 <= gap.seconds < 30
        assert watched.taken.coverage.at_least


@pytest.mark.parametrize("seconds", [-300, 300])
def test_nodes_whose_clocks_differ_by_minutes_lose_nothing_at_a_reconnect(seconds: int) -> None:
    with (
        Observer(node="worker1") as one,
        Observer(node="worker2") as two,
        Relay([one, two]) as relay,
        watching("--server", relay.address) as watched,
    ):

        def write(number: int) -> None:
            one.write(*attempt(number, "app-1", "worker1"))
            two.write(*skewed(seconds, *attempt(number, "app-2", "worker2")))

        # Relay holds back what comes from the future, until its own clock is there.
        pods = ["app-1", "app-2"] if seconds < 0 else ["app-1"]

        def dropped() -> list[int]:
            rows = watched.taken.rows
            return [sum(row.dropped for row in rows if row.pod == pod) for pod in pods]

        write(1)
        if seconds > 0:
            # Its queue holds one record of each node: more of them push the first ones out.
            two.write(
                *skewed(seconds, *attempt(8, "app-2", "worker2"), *attempt(9, "app-2", "worker2"))
            )
            eventually(lambda: len(watched.taken.coverage.nodes) == 2, "something from the future")
        eventually(lambda: dropped() == [1] * len(pods), "what the nodes saw")
        relay.kill()
        eventually(lambda: watched.phase == "lost", "the loss is told")
        write(2)
        relay.restart()
        eventually(lambda: dropped() == [2] * len(pods), "what was missed")
        write(3)
        eventually(lambda: dropped() == [3] * len(pods), "what comes")
        assert watched.taken.coverage.gaps == ()


def test_a_relay_that_was_away_and_missed_nothing_leaves_no_gap() -> None:
    with (
        Observer() as observer,
        Relay([observer]) as relay,
        watching("--server", relay.address) as watched,
    ):
        observer.write(*attempt(1))
        eventually(lambda: watched.dropped == 1, "the first")
        relay.kill()
        eventually(lambda: watched.phase == "lost", "the loss is told")
        observer.write(*attempt(2), *attempt(3))
        relay.restart()
        eventually(lambda: watched.dropped == 3, "what was missed comes")
        eventually(lambda: watched.phase == "following", "relay is back")
        time.sleep(1.5)
        assert watched.taken.coverage.gaps == ()
        assert watched.dropped == 3
        assert not watched.taken.coverage.at_least


def test_a_node_that_goes_and_returns_is_told_with_since_when() -> None:
    with (
        Observer(node="worker1") as one,
        Observer(node="worker2") as two,
        Relay([one, two], retry_seconds=1) as relay,
        watching("--server", relay.address) as watched,
    ):
        one.write(*attempt(1, "app-1", "worker1"))
        two.write(*attempt(1, "app-2", "worker2"))
        eventually(lambda: watched.dropped == 2, "both nodes' attempts")
        assert watched.taken.coverage.nodes_known == 2
        killed = time.time()
        two.kill()
        eventually(lambda: watched.taken.coverage.nodes_unavailable == ("worker2",), "it is missed")
        (away,) = watched.taken.coverage.nodes_away
        assert killed - 1 <= away.since / 1e9 <= time.time()
        assert any(
            w.startswith("1 of 2 nodes unseen for ") for w in watched.taken.coverage.warnings
        )
        assert watched.taken.coverage.at_least
        two.restart()
        eventually(lambda: watched.taken.coverage.nodes_unavailable == (), "it is back")
        assert watched.changes() == [("worker2", "unavailable"), ("worker2", "back")]
        (gap,) = watched.taken.coverage.gaps
        assert gap.nodes == ("worker2",)
        # It may have been back within a moment; what its ring held before is gone all the same.
        assert 0 < gap.seconds < 30
        relay.remove("worker2")
        eventually(lambda: ("worker2", "gone") in watched.changes(), "it left")
        eventually(lambda: watched.taken.coverage.nodes_known == 1, "nobody misses it")


def test_a_silent_stream_is_told_from_a_dead_one() -> None:
    with Observer() as observer, watching("--server", observer.address, quiet=0.5) as watched:
        observer.write(*attempt(1))
        eventually(lambda: watched.dropped == 1, "the first")
        # Nothing comes, and the server answers that there is nothing.
        time.sleep(3)
        assert watched.phase == "following"
        assert time.time() - watched.monitor.state().heard < 2.5
        observer.write(*attempt(2))
        eventually(lambda: watched.dropped == 2, "the stream lives")


def test_a_server_that_hangs_is_lost_and_comes_back_whole() -> None:
    with (
        Observer() as observer,
        watching("--server", observer.address, "--request-timeout", "1s") as watched,
    ):
        observer.write(*attempt(1))
        eventually(lambda: watched.dropped == 1, "the first")
        observer.hang()
        try:
            eventually(lambda: watched.phase == "lost", "no sign of life")
        finally:
            observer.go_on()
        observer.write(*attempt(2))
        eventually(lambda: watched.dropped == 2, "it goes on")
        assert watched.taken.coverage.gaps == ()


def test_a_summary_and_an_export_say_which_nodes_they_lack(tmp_path: Path) -> None:
    with Observer(node="worker1") as one, Observer(node="worker2") as two:
        one.write(*attempt(1, "app-1", "worker1"))
        two.write(*attempt(1, "app-2", "worker2"))
        with Relay([one, two]) as relay:
            two.kill()
            relay.wait_for("worker2", "NODE_UNAVAILABLE")
            table = flowwatch("summary", "--server", relay.address)
            assert "counts are 'at least'" in table.stdout
            assert "1 of 2 nodes unseen: worker2" in table.stderr
            told = json.loads(flowwatch("summary", "--server", relay.address, "-o", "json").stdout)
            assert told["nodes_away"][0]["node"] == "worker2"
            assert told["at_least"] is True
            assert told["totals"]["dropped"] == 1
            path = tmp_path / "drops.csv"
            done = flowwatch("export", "--server", relay.address, "--output", path)
            assert done.returncode == 0, done.stderr
            beside = json.loads((tmp_path / "drops.csv.warnings.json").read_text())
            assert beside["nodes_unavailable"] == ["worker2"]
            assert beside["nodes_known"] == 2


class Between:
    """A TCP relay on loopback that can be cut, or whose first connection can be stopped."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self.stopped = threading.Event()
        """Set: the first connection stays open, and nothing passes."""
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self._first = True
        self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
            except OSError:
                return
            self._sockets += (near, far)
            stops, self._first = self._first, False
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(source, sink, stops), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, stops: bool) -> None:
        try:
            while data := source.recv(65_536):
                if stops and self.stopped.is_set():
                    # Swallowed: neither end learns of it.
                    continue
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def cut(self) -> None:
        """End all connections, and take no more."""
        for one in (self._listener, *self._sockets):
            # Closing alone would leave a thread in its call.
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._sockets.clear()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._serve()

    def __enter__(self) -> Between:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()


@contextmanager
def reached_through_another(
    capacity: int = 65535,
) -> Iterator[tuple[Observer, Observer, Between, Watched]]:
    """Two nodes under relay, the second behind a connection that can be cut."""
    with (
        Observer(node="worker1") as one,
        Observer(node="worker2", capacity=capacity) as two,
        Between(two.address) as between,
        Relay([one, ("worker2", between.address)], retry_seconds=1) as relay,
        watching("--server", relay.address) as watched,
    ):
        one.write(*attempt(1, "app-1", "worker1"))
        two.write(*attempt(1, "app-2", "worker2"))
        eventually(lambda: watched.dropped == 2, "both nodes' attempts")
        eventually(lambda: watched.taken.coverage.nodes_known == 2, "both are known")
        yield one, two, between, watched


def test_a_node_out_of_reach_for_a_while_has_its_records_counted_when_it_is_back() -> None:
    with reached_through_another() as (one, two, between, watched):
        between.cut()
        eventually(lambda: watched.taken.coverage.nodes_unavailable == ("worker2",), "it is missed")
        two.write(*attempt(2, "app-2", "worker2"), *attempt(3, "app-2", "worker2"))
        one.write(*attempt(2, "app-1", "worker1"))
        eventually(lambda: watched.dropped == 3, "the other goes on")
        between.mend()
        eventually(lambda: watched.taken.coverage.nodes_unavailable == (), "it is back")
        eventually(lambda: watched.dropped == 5, "what it saw meanwhile counts")
        time.sleep(1.5)
        assert watched.dropped == 5
        assert watched.taken.coverage.gaps == ()
        assert not watched.taken.coverage.at_least


def test_a_node_whose_ring_wrapped_out_of_reach_leaves_a_gap_of_its_own() -> None:
    with reached_through_another(capacity=15) as (one, two, between, watched):
        between.cut()
        eventually(lambda: watched.taken.coverage.nodes_unavailable == ("worker2",), "it is missed")
        time.sleep(1)
        for number in range(10, 30):
            two.write(*attempt(number, "app-2", "worker2"))
        between.mend()
        eventually(lambda: bool(watched.taken.coverage.gaps), "the gap is told")
        (gap,) = watched.taken.coverage.gaps
        assert gap.nodes == ("worker2",)
        assert "wrapped" in gap.why
        assert 0.5 < gap.seconds < 30
        one.write(*attempt(2, "app-1", "worker1"))
        eventually(
            lambda: any(row.pod == "app-1" and row.dropped == 2 for row in watched.taken.rows),
            "the other goes on",
        )


def test_a_stream_that_died_without_a_word_while_the_server_answers() -> None:
    with (
        Observer() as observer,
        Between(observer.address) as between,
        watching("--server", between.address, quiet=1.0) as watched,
    ):
        observer.write(*attempt(1))
        eventually(lambda: watched.dropped == 1, "the first")
        between.stopped.set()
        observer.write(*attempt(2), *attempt(3))
        # Polls go through, on their own connection; they show what the stream kept back.
        eventually(lambda: watched.dropped == 3, "the stream is opened anew")
        assert watched.taken.coverage.gaps == ()
        eventually(lambda: watched.phase == "following", "all is well")


def test_lost_events_are_told_by_node_and_source() -> None:
    with (
        Observer(node="worker1") as one,
        Relay([one]) as relay,
        watching("--server", relay.address) as watched,
    ):
        one.write(*attempt(1))
        eventually(lambda: watched.dropped == 1, "an attempt")
        lost = {"source": "OBSERVER_EVENTS_QUEUE", "num_events_lost": 250}
        one.write(json.dumps({"lost_events": lost, "node_name": "worker1"}))
        one.write(*attempt(2))
        eventually(lambda: watched.taken.coverage.lost_events == 250, "the loss")
        (told,) = watched.taken.coverage.lost
        assert (told.node, told.source) == ("worker1", "OBSERVER_EVENTS_QUEUE")
        assert "queue" in told.cause
        assert told.rate > 0
        assert watched.taken.coverage.at_least


def test_the_dashboard_tells_of_the_loss_then_of_the_gap() -> None:
    with Observer() as observer, watching("--server", observer.address) as watched:
        observer.write(*attempt(1), *attempt(2))

        async def look() -> None:
            async with shown(watched.monitor, size=(150, 40)) as driven:
                await driven.sees("2 dropped")
                observer.kill()
                await driven.sees("Lost", "LOST", "retry")
                await asyncio.sleep(1.5)
                observer.restart()
                await driven.sees("live")
                observer.write(*attempt(3))
                await driven.sees("at least 3 dropped", "gap of", FANCY.gap)
                await driven.press("w")
                await driven.sees("records from then are gone", "the server was restarted")

        driven_run(look())


def test_python_reads_several_servers_too() -> None:
    with Observer(node="east/worker1") as one, Observer(node="west/worker1") as two:
        one.write(*attempt(1, "app-1", "east/worker1"))
        two.write(*attempt(1, "app-1", "west/worker1"))
        frame = read(server=[one.address, two.address])
        assert sorted(frame["cluster"]) == ["east", "west"]
        assert list(frame["dropped"]) == [1, 1]
