"""Metrics by OTLP, taken by the real OpenTelemetry Collector: the same as Prometheus scrapes."""

from __future__ import annotations

import contextlib
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flowwatch.flows.join import Join
from flowwatch.sources.files import FileSource
from flowwatch.watching.metrics import Metrics, Served
from flowwatch.watching.otlp import Pushed, endpoint
from tests.in_process import flowwatch
from tests.interop.build import build
from tests.interop.program import Program, free_port, wait_until
from tests.material import OWN

CONFIG = """\
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{taken}"}}}}}}}}
exporters: {{prometheus: {{endpoint: "127.0.0.1:{told}"}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{metrics: {{receivers: [otlp], exporters: [prometheus]}}}}
"""
OFTEN = {"OTEL_METRIC_EXPORT_INTERVAL": "100"}
ITS_OWN = {"job", "instance", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}
"""Labels that the collector adds."""

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Collector:
    """The address of one, and what it has been told."""

    def __init__(self, taken: int, told: int) -> None:
        self.url, self._told = f"http://127.0.0.1:{taken}", f"http://127.0.0.1:{told}/metrics"

    def text(self) -> str:
        with urllib.request.urlopen(self._told, timeout=60) as answer:
            return str(answer.read(), "utf-8")


@contextmanager
def collector(metrics: Path, folder: Path, taken: int = 0) -> Iterator[Collector]:
    """One that runs; on that port, if one is given."""
    here, told = taken or free_port(), free_port()
    (folder / "collector.yaml").write_text(CONFIG.format(taken=here, told=told))
    running = Program(
        [build().leash, metrics / "collector", "--config", f"file:{folder / 'collector.yaml'}"]
    )
    try:
        wait_until(lambda: _listens(told) and _listens(here), "the collector", 60)
        yield Collector(here, told)
    finally:
        running.kill()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def samples(text: str) -> tuple[Samples, dict[str, str]]:
    """Values by name and labels, and each metric's help, without what is the collector's own."""
    values: Samples = {}
    helps = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith("target"):
            continue
        helps[family.name] = family.documentation
        for one in family.samples:
            labels = {name: value for name, value in one.labels.items() if name not in ITS_OWN}
            values[one.name, frozenset(labels.items())] = one.value
    return values, helps


@pytest.fixture(scope="module")
def counted() -> Metrics:
    """What a capture counts, with a name of an alert as a hostile file may have it."""
    join = Join()
    metrics = Metrics(join, live=False, active=lambda: {'A"\n\\ü': 1}, fired=lambda: {'A"\n\\ü': 2})
    join.read(FileSource([str(OWN / "captures" / "weather.jsonl")]).batches())
    metrics.finish()
    return metrics


def test_the_collector_has_what_prometheus_would_scrape(
    metrics: Path, counted: Metrics, tmp_path: Path
) -> None:
    served = Served(counted, "127.0.0.1", 0)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{served.port}/metrics") as answer:
            scraped, helps = samples(str(answer.read(), "utf-8"))
    finally:
        served.close()
    assert sum(value for (name, _), value in scraped.items() if "attempts_total" in name) > 20
    with collector(metrics, tmp_path) as there:
        said: list[str] = []
        pushed = Pushed(counted, endpoint(there.url, {}), said.append, OFTEN)
        try:
            wait_until(lambda: "flowwatch_" in there.text(), "what it was told", 60)
        finally:
            pushed.close()
        text = there.text()
    taken, told = samples(text)
    assert taken == scraped
    assert not said
    empty = set(helps) - {name.removesuffix("_total") for name, _ in scraped}
    assert told == {name: words for name, words in helps.items() if name not in empty}
    assert 'job="flowwatch"' in text


def test_what_a_collector_missed_is_in_what_comes_next(
    metrics: Path, counted: Metrics, tmp_path: Path
) -> None:
    port, said, away = free_port(), list[str](), threading.Event()

    def say(line: str) -> None:
        said.append(line)
        away.set()

    pushed = Pushed(counted, endpoint(f"http://127.0.0.1:{port}", {}), say, OFTEN)
    try:
        assert away.wait(60)
        with collector(metrics, tmp_path, port) as there:
            wait_until(lambda: len(said) == 2, "that it is back", 60)
            wait_until(lambda: "flowwatch_attempts_total" in there.text(), "the counts", 60)
            taken, _ = samples(there.text())
            pushed.close()
    finally:
        pushed.close()
    place = f"http://127.0.0.1:{port}"
    assert said[:2] == [
        f"{place} takes no metrics: it can't be reached (Connection refused); it is tried again",
        f"{place} takes metrics again",
    ]
    assert said[2].endswith(f" to {place} failed")
    assert taken["flowwatch_otlp_exports_failed_total", frozenset()] >= 1
    values = {one.sample: sum(v for _, v in values) for one, values in counted.values()}
    for name in ("flowwatch_attempts_total", "flowwatch_records_total"):
        assert sum(value for (of, _), value in taken.items() if of == name) == values[name]


def test_a_run_that_ends_has_pushed_all(
    metrics: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("rules: [{alert: New, when: new-blocked, learn: 1m}]\n")
    with collector(metrics, tmp_path) as there:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there.url)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "egress-of-east")
        done = flowwatch("watch", rules, "--demo", "--otlp")
        assert f"metrics to {there.url} by OTLP" in done.stderr
        assert done.returncode == 1
        text = there.text()
    assert 'job="egress-of-east"' in text
    taken, _ = samples(text)
    fired = taken["flowwatch_alerts_fired_total", frozenset({("alertname", "New")})]
    assert fired == len(done.stdout.splitlines()) > 3
