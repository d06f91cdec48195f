"""``--otlp URL``: the metrics, pushed to an OpenTelemetry Collector by OTLP over HTTP (protobuf).

The same names, labels and values as :mod:`flowwatch.watching.metrics` serves to Prometheus, once in INTERVAL.
Counters are sums since the start, so what a collector that was away has missed is in what comes next.
Headers, certificates, compression and the timeout are what OTEL_EXPORTER_OTLP_* say, which the exporter reads
itself (OpenTelemetry specification, protocol/exporter).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowwatch import redact
from flowwatch.errors import UsageError
from flowwatch.text import plural, safe
from flowwatch.watching.metrics import Declared, Metrics, Value, utf8
from flowwatch.watching.outbox import reason_of
from flowwatch.watching.rules import web_place

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, MetricsData

INTERVAL = 15.0
"""Seconds between two exports, where OTEL_METRIC_EXPORT_INTERVAL (in milliseconds) says nothing."""
_AT_END = 5.0
"""Seconds that the last one gets."""
_PATH = "/v1/metrics"
_DEFAULT = "http://localhost:4318"
_OF_METRICS, _OF_ALL = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"
_PROTOCOL = "http/protobuf"
_HEADERS = ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""They hold tokens."""
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def endpoint(given: str, environ: Mapping[str, str]) -> str:
    """The URL to post to: ``given``, else what the environment says, else that of a collector beside us.

    A base gets ``/v1/metrics``; what has a path is taken as it is, as is the variable for metrics alone.
    Raises UsageError for what is none, and for another protocol than HTTP with protobuf.
    """
    url = given
    if not url:
        wanted = next((environ[name] for name in _PROTOCOLS if environ.get(name)), _PROTOCOL)
        if wanted != _PROTOCOL:
            raise UsageError(
                f"--otlp speaks {_PROTOCOL}, and the environment wants {safe(wanted)}",
                f"name the collector's address for HTTP, as --otlp={_DEFAULT}",
            )
        if environ.get(_OF_METRICS):
            return _sound(environ[_OF_METRICS])
        if environ.get(_OF_ALL):
            return _sound(environ[_OF_ALL].rstrip("/") + _PATH)
        url = _DEFAULT
    return _sound(url if urlsplit(_sound(url)).path.strip("/") else url.rstrip("/") + _PATH)


def _sound(url: str) -> str:
    redact.remember(*redact.user_part(url))
    if web_place(url) is None:
        raise UsageError(f"no address of a collector: {safe(url)}", f"as --otlp={_DEFAULT}")
    return url


class Pushed:
    """Pushes from a thread of its own, until :meth:`close`. A collector that is away is told of once."""

    def __init__(
        self,
        metrics: Metrics,
        url: str,
        say: Callable[[str], None],
        environ: Mapping[str, str],
    ) -> None:
        """Raises UsageError where the libraries aren't installed, or the environment is wrong."""
        self._metrics, self._say = metrics, say
        self.place = web_place(url) or ""
        """What may be shown of it."""
        self._interval = _interval(environ)
        for name in _HEADERS:
            redact.remember(*environ.get(name, "").split(","))
        self._exporter, self._session = _exporter(url, say)
        self._begun = time.time_ns()
        self._away = False
        self._tried = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="flowwatch-otlp", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Push what there is now, for some seconds at most."""
        self._ended.set()
        self._thread.join(_AT_END)
        # It ends waiting for another try.
        self._exporter.shutdown()
        self._thread.join(_AT_END)
        if failed := self._metrics.otlp_failed:
            last = f", the last too: {self._session.why}" if self._away else ""
            self._say(f"{plural(failed, 'export')} of {self._tried} to {self.place} failed{last}")

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            self._push()
        self._push()

    def _push(self) -> None:
        from opentelemetry.sdk.metrics.export import MetricExportResult

        self._session.why = ""
        self._tried += 1
        taken = self._exporter.export(self._data()) is MetricExportResult.SUCCESS
        if not taken:
            self._metrics.otlp_failed += 1
            self._session.why = self._session.why or "it can't be sent"
            if not (self._away or self._ended.is_set()):
                self._say(f"{self.place} takes no metrics: {self._session.why}; it is tried again")
        elif self._away:
            self._say(f"{self.place} takes metrics again")
        self._away = not taken

    def _data(self) -> MetricsData:
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        from flowwatch import __version__

        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say is kept.
        resource = Resource.create({"service.version": __version__})
        if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
            resource = resource.merge(Resource({"service.name": "flowwatch"}))
        now = time.time_ns()
        metrics = [
            self._metric(declared, values, now)
            for declared, values in self._metrics.values()
            if values
        ]
        scope = ScopeMetrics(InstrumentationScope("flowwatch", __version__), metrics, "")
        return MetricsData([ResourceMetrics(resource, [scope], "")])

    def _metric(self, declared: Declared, values: list[Value], now: int) -> Metric:
        from opentelemetry.sdk.metrics.export import (
            AggregationTemporality,
            Gauge,
            Metric,
            NumberDataPoint,
            Sum,
        )

        points = [
            NumberDataPoint(
                dict(zip(declared.labels, map(utf8, labels), strict=True)),
                self._begun,
                now,
                value if declared.gauge else int(value),
            )
            for labels, value in values
        ]
        data = (
            Gauge(points)
            if declared.gauge
            else Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        )
        return Metric(declared.name, declared.help, declared.unit, data)


def _interval(environ: Mapping[str, str]) -> float:
    text = environ.get("OTEL_METRIC_EXPORT_INTERVAL", "")
    if not text:
        return INTERVAL
    try:
        found = int(text) / 1000
    except ValueError:
        found = 0.0
    if not 0.1 <= found <= 86_400:
        raise UsageError(
            f"OTEL_METRIC_EXPORT_INTERVAL is no time in milliseconds, from 100 to a day: {safe(text)}"
        )
    return found


def _exporter(url: str, say: Callable[[str], None]) -> tuple[Any, Any]:
    """The library's exporter, and the session by which it posts, which knows why it failed."""
    try:
        import requests
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError:
        raise UsageError(
            "--otlp needs the OpenTelemetry exporter", "pip install 'flowwatch[otlp]'"
        ) from None

    class Session(requests.Session):
        why = ""

        def request(self, *words: Any, **more: Any) -> requests.Response:
            try:
                answer = super().request(*words, **more)
            except OSError as error:
                self.why = f"it can't be reached ({reason_of(error)})"
                raise
            if not answer.ok:
                self.why = f"it answered {answer.status_code}"
            return answer

    session = Session()
    library = logging.getLogger("opentelemetry")
    # It says itself what fails, again and again; of its variables it says but what it doesn't understand.
    library.propagate = False
    telling = _Telling(say)
    library.addHandler(telling)
    try:
        return OTLPMetricExporter(endpoint=url, session=session), session
    finally:
        library.addHandler(logging.NullHandler())
        library.removeHandler(telling)


class _Telling(logging.Handler):
    """Says what a library logs."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(f"--otlp: {safe(record.getMessage())}")
