"""``--metrics ADDR:PORT``: what Prometheus scrapes, in its text format.

Attempts are counted once each, when they have settled (:mod:`flowwatch.watching.settled`). Sets of labels are
bounded: of MOST workloads each has its own, what more come are ``other``, and how many that are is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from flowwatch.errors import UsageError
from flowwatch.flows.coverage import Coverage
from flowwatch.flows.join import Join, Joined
from flowwatch.text import safe
from flowwatch.watching.names import Names
from flowwatch.watching.settled import Settled, Sort, Subject

if TYPE_CHECKING:
    from prometheus_client import Metric

MOST = 1000
"""Workloads with numbers of their own."""
OTHER = Subject("", "other")


class Declared(msgspec.Struct, frozen=True):
    """A metric: its name without the ending that its type has, what it counts, its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    gauge: bool = False
    unit: str = ""
    """As OTLP has it: its name says it too."""

    @property
    def sample(self) -> str:
        """The name of its samples."""
        return self.name if self.gauge else f"{self.name}_total"


ATTEMPTS = Declared(
    "flowwatch_attempts",
    "Attempts, each counted once: 10 s after what became of it last changed.",
    ("direction", "namespace", "workload", "outcome", "reason"),
)
WAITING = Declared(
    "flowwatch_attempts_waiting",
    "Dropped attempts that are tried again at this moment: applications that hang.",
    ("direction", "namespace", "workload"),
    gauge=True,
)
RECORDS = Declared("flowwatch_records", "Flow records that were read.")
UNREAD = Declared("flowwatch_records_unread", "Records that could not be read.")
LOST = Declared(
    "flowwatch_lost_events",
    "Events that Hubble lost before anybody could read them: numbers of attempts are at least.",
    ("node", "source"),
)
NODES = Declared("flowwatch_nodes", "Nodes by state: seen, unavailable.", ("state",), gauge=True)
GAPS = Declared("flowwatch_gaps", "Spans of time of which records can no longer be had.")
LAST = Declared(
    "flowwatch_last_record_timestamp_seconds",
    "Time of the newest record, on the nodes' clock.",
    gauge=True,
    unit="s",
)
LAG = Declared(
    "flowwatch_lag_seconds",
    "Age of the newest record, where a server is followed.",
    gauge=True,
    unit="s",
)
ACTIVE = Declared("flowwatch_alerts_active", "Alerts that go on.", ("alertname",), gauge=True)
FIRED = Declared("flowwatch_alerts_fired", "Alerts that began.", ("alertname",))
BEYOND = Declared(
    "flowwatch_workloads_folded",
    "Attempts of workloads past the first 1,000, which are counted as other.",
)
UNTAKEN = Declared(
    "flowwatch_otlp_exports_failed",
    "Exports by OTLP that no collector took; the next ones have it all.",
)
METRICS = (
    ATTEMPTS, WAITING, RECORDS, UNREAD, LOST, NODES, GAPS, LAST, LAG, ACTIVE, FIRED, BEYOND, UNTAKEN,
)  # fmt: skip
"""All of them."""

Value = tuple[tuple[str, ...], float]
Told = Callable[[], dict[str, int]]


def _nothing() -> dict[str, int]:
    return {}


class Metrics:
    """Counts what a join tells, and gives it out when it is scraped, from another thread."""

    def __init__(
        self,
        join: Join,
        *,
        live: bool,
        active: Told = _nothing,
        fired: Told = _nothing,
        names: Names | None = None,
    ) -> None:
        """``live``: flow time is now. ``active`` and ``fired``: alerts by their rules' names. ``names``: what
        is learnt of workloads elsewhere."""
        self._join = join
        self._live = live
        self._active, self._fired = active, fired
        self._attempts: dict[Sort, int] = {}
        self._known: set[Subject] = set()
        self._folded = 0
        self.otlp_failed = 0
        """Exports that no collector took (flowwatch.watching.otlp)."""
        self._settled = Settled(self._count, names or Names())
        # Listeners are told without the join's lock.
        self._lock = threading.Lock()
        join.listen(self)

    def take(self, joined: Joined) -> None:
        """Take in a batch (flowwatch.flows.join.Listener)."""
        with self._lock:
            self._settled.take(joined)

    def finish(self) -> None:
        """Nothing follows: count what has not settled as it is."""
        with self._lock:
            self._settled.finish()

    def _count(self, sort: Sort) -> None:
        subject = self._bounded(sort.subject)
        self._folded += subject is OTHER
        sort = sort._replace(subject=subject)
        self._attempts[sort] = self._attempts.get(sort, 0) + 1

    def _bounded(self, subject: Subject) -> Subject:
        if subject not in self._known:
            if len(self._known) >= MOST:
                return OTHER
            self._known.add(subject)
        return subject

    def collect(self) -> Iterable[Metric]:
        """For prometheus_client: all metrics as they are now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for declared, values in self.values():
            make = GaugeMetricFamily if declared.gauge else CounterMetricFamily
            family = make(declared.name, declared.help, labels=declared.labels)
            for labels, value in values:
                family.add_metric([utf8(label) for label in labels], value)
            yield family

    def values(self) -> Iterator[tuple[Declared, list[Value]]]:
        """Each metric with its values by their labels."""
        with self._lock:
            attempts: list[Value] = [
                ((sort.direction, *sort.subject, sort.outcome, sort.reason), float(number))
                for sort, number in self._attempts.items()
            ]
            waiting: dict[tuple[str, ...], float] = {}
            for (direction, subject), number in self._settled.waiting().items():
                key = direction, *(subject if subject in self._known else OTHER)
                waiting[key] = waiting.get(key, 0.0) + number
            folded = float(self._folded)
        with self._join.lock:
            known = self._join.coverage()
        active, fired = self._active(), self._fired()
        yield ATTEMPTS, attempts
        yield WAITING, list(waiting.items())
        yield from _of_coverage(known, live=self._live)
        yield ACTIVE, _by_name({**dict.fromkeys(fired, 0), **active})
        yield FIRED, _by_name(fired)
        yield BEYOND, [((), folded)]
        yield UNTAKEN, [((), float(self.otlp_failed))]


def _of_coverage(known: Coverage, *, live: bool) -> Iterator[tuple[Declared, list[Value]]]:
    yield RECORDS, [((), float(known.records_read))]
    yield UNREAD, [((), float(sum(known.records_skipped.values())))]
    yield LOST, [((one.node, one.source), float(one.count)) for one in known.lost]
    away = float(len(known.nodes_away))
    yield NODES, [(("seen",), float(len(known.nodes))), (("unavailable",), away)]
    yield GAPS, [((), float(len(known.gaps) + known.gaps_before))]
    last = known.last_seen / 1e9
    yield LAST, [((), last)] if last else []
    now = time.time() - known.clock_late / 1e9
    yield LAG, [((), max(now - last, 0.0))] if live and last else []


def _by_name(numbers: dict[str, int]) -> list[Value]:
    return [((name,), float(number)) for name, number in numbers.items()]


def utf8(label: str) -> str:
    """A label's value: half a character, which a name of the network may have, is none in UTF-8."""
    return label.encode("utf-8", "replace").decode()


class Served:
    """Metrics on an address, until :meth:`close`."""

    def __init__(self, metrics: Metrics, address: str, port: int) -> None:
        """Raises UsageError when nothing can listen there, or prometheus_client isn't installed."""
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError:
            raise UsageError(
                "--metrics needs prometheus_client", "pip install 'flowwatch[watch]'"
            ) from None
        registry = CollectorRegistry(auto_describe=False)
        registry.register(metrics)
        try:
            self._server, self._thread = start_http_server(port, address, registry)
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise UsageError(
                f"cannot serve metrics on {safe(address)}:{port}: {why}",
                "choose another ADDR:PORT for --metrics",
            ) from None
        self.port: int = self._server.server_port

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
