"""Following real servers through losses: nothing is counted twice, nothing that can be had is missed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flowwatch.cli.flags import parse
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Snapshot
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import flow_request
from tests.interop.real import Observer, Relay

PATIENCE = 25.0


@contextmanager
def following(*arguments: str) -> Iterator[LiveMonitor]:
    """What ``flowwatch ARGUMENTS`` runs behind the dashboard."""
    wanted = flow_request(parse(list(arguments)), follow=True, several=True, environ={})
    monitor = LiveMonitor(open_source(wanted, with_ring=True, keep_trying=True))
    monitor.start()
    try:
        yield monitor
    finally:
        monitor.stop()
        assert monitor.failure is None


def eventually(look: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < until, f"not within {PATIENCE:.0f} s: {what}"
        time.sleep(0.1)


def attempt(number: int, pod: str = "app-1", node: str = "worker1") -> list[dict[str, object]]:
    """The two records of a blocked attempt, now, by its own source port."""
    now = time.time_ns()
    records: list[dict[str, object]] = []
    for kind, sub, later in ((5, 0, 0), (1, 133, 5000)):
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now // 10**9))}.{now % 10**9 + later:09d}Z"
        records.append(
            {
                "time": stamp,
                "uuid": f"{node}-{number}-{kind}",
                "verdict": "DROPPED",
                "drop_reason_desc": "POLICY_DENIED",
                "IP": {
                    "source": f"10.0.0.{pod[-1]}",
                    "destination": "1.2.3.4",
                    "ipVersion": "IPv4",
                },
                "l4": {
                    "TCP": {
                        "source_port": 20000 + number,
                        "destination_port": 443,
                        "flags": {"SYN": True},
                    }
                },
                "source": {"identity": 1000, "namespace": "weather", "pod_name": pod},
                "destination": {"identity": 2, "labels": ["reserved:world"]},
                "event_type": {"type": kind, "sub_type": sub},
                "traffic_direction": "EGRESS",
                "node_name": node,
            }
        )
    return records


def snapshot(monitor: LiveMonitor) -> Snapshot:
    return monitor.snapshot(Query())


def test_the_ring_then_what_comes() -> None:
    with Observer() as observer:
        for number in range(5):
            observer.write(*attempt(number))
        with following("--server", observer.address) as monitor:
            eventually(lambda: snapshot(monitor).totals.dropped == 5, "the ring's five attempts")
            assert monitor.state().phase == "following"
            for number in range(5, 8):
                observer.write(*attempt(number))
            eventually(lambda: snapshot(monitor).totals.dropped == 8, "three more")
            assert snapshot(monitor).coverage.records_read == 16


def test_a_server_that_dies_and_comes_back_is_told_and_nothing_counts_twice() -> None:
    with Observer() as observer:
        for number in range(5):
            observer.write(*attempt(number))
        with following("--server", observer.address) as monitor:
            eventually(lambda: snapshot(monitor).totals.dropped == 5, "the first five")
            observer.kill()
            eventually(lambda: monitor.state().phase == "lost", "the loss is told")
            assert monitor.state().message
            assert snapshot(monitor).totals.dropped == 5
            observer.restart()
            eventually(lambda: monitor.state().phase == "following", "it is back")
            # The ring of the new process is empty; what the old one gave again must not count.
            for number in range(3, 9):
                observer.write(*attempt(number))
            eventually(lambda: snapshot(monitor).totals.dropped == 9, "four new ones")
            time.sleep(0.5)
            assert snapshot(monitor).totals.dropped == 9


def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    with Observer() as observer:
        observer.kill()
        with following("--server", observer.address) as monitor:
            eventually(lambda: monitor.state().phase == "lost", "it is told")
            observer.restart()
            observer.write(*attempt(1))
            eventually(lambda: snapshot(monitor).totals.dropped == 1, "the first attempt")


def test_the_dashboard_on_relay_survives_a_node_that_dies_and_comes_back() -> None:
    from flowwatch.tui.dashboard import dashboard

    with (
        Observer(node="worker1") as one,
        Observer(node="worker2") as two,
        Relay([one, two], retry_seconds=1) as relay,
        following("--server", relay.address, "-n", "weather") as monitor,
    ):

        def write(number: int) -> None:
            one.write(*attempt(number, "app-1", "worker1"))
            two.write(*attempt(number, "app-2", "worker2"))

        async def watch() -> None:
            app = dashboard(lambda: monitor)
            async with app.run_test(size=(110, 30)) as pilot:
                for number in range(3):
                    write(number)
                await until(pilot, lambda: len(snapshot(monitor).rows) == 2, "both pods")
                two.kill()
                one.write(*attempt(10, "app-1", "worker1"))
                await until(pilot, lambda: snapshot(monitor).totals.dropped >= 6, "one goes on")
                assert len(snapshot(monitor).rows) == 2
                two.restart()
                relay.wait_for("worker2")
                # Relay asks a returned node within two seconds.
                deadline = time.monotonic() + PATIENCE
                number = 20
                while time.monotonic() < deadline:
                    write(number)
                    number += 1
                    await pilot.pause(0.5)
                    newest = {row.pod: row.last_seen for row in snapshot(monitor).rows}
                    if all(time.time_ns() - seen < 3 * 10**9 for seen in newest.values()):
                        break
                else:
                    raise AssertionError("the returned node's flows never came")
                assert app.is_running
            app.feed.stop()

        async def until(pilot: object, look: Callable[[], bool], what: str) -> None:
            deadline = time.monotonic() + PATIENCE
            while not look():
                assert time.monotonic() < deadline, what
                await asyncio.sleep(0.1)

        asyncio.run(watch())
        # Relay told that it was lost; that it is back is known by its flows.
        assert snapshot(monitor).coverage.nodes_unavailable == ()
        # Each attempt was counted once, whatever relay sent again.
        rows = snapshot(monitor).rows
        assert all(row.records == 2 * row.dropped for row in rows)
