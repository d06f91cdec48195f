"""What goes with the metrics, held to the real Prometheus."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowwatch.flows.join import Join
from flowwatch.sources.files import FileSource
from flowwatch.watching.metrics import METRICS, Metrics, Served
from flowwatch.watching.prometheus import PANELS, RULES, grafana, rules
from tests.material import OWN

# In CI both must be there: .ci/run installs them.
needs_prometheus = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")) and not os.environ.get("CI"),
    reason="no prometheus and promtool on this machine",
)
SAMPLES = {one.sample for one in METRICS}


def promtool(*arguments: str) -> str:
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes our metrics of a capture, and has our rules."""
    folder = tmp_path_factory.mktemp("prometheus")
    join = Join()
    metrics = Metrics(join, live=True, active=lambda: {"A": 1}, fired=lambda: {"A": 1})
    join.read(FileSource([str(OWN / "captures" / "weather.jsonl")]).batches())
    metrics.finish()
    served = Served(metrics, "127.0.0.1", 0)
    (folder / "rules.yaml").write_text(rules())
    (folder / "prometheus.yaml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        "rule_files: [rules.yaml]\n"
        "scrape_configs: [{job_name: flowwatch, static_configs: [{targets: "
        f"['127.0.0.1:{served.port}']}}]}}]\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait(address, folder / "log")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)
        served.close()


def _wait(address: str, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if ask(f"http://{address}", "flowwatch_records_total"):
                return
        except OSError:
            pass
        time.sleep(0.2)
    pytest.fail(log.read_text())


def ask(address: str, query: str) -> list[Any]:
    """What Prometheus answers; it must be able to."""
    words = urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(f"{address}/api/v1/query?{words}", timeout=10) as answer:
        value = json.load(answer)
    assert value["status"] == "success", value
    found: list[Any] = value["data"]["result"]
    return found


@needs_prometheus
def test_the_real_prometheus_scrapes_what_we_count(prometheus: str) -> None:
    for one in METRICS:
        values = ask(prometheus, one.sample)
        assert values or one.name in ("flowwatch_lost_events", "flowwatch_attempts_waiting"), (
            one.name
        )
        for value in values:
            assert set(value["metric"]) - {"__name__", "job", "instance"} <= set(one.labels)
    (total,) = ask(prometheus, "sum(flowwatch_attempts_total)")
    assert float(total["value"][1]) > 20
    (up,) = ask(prometheus, "up")
    assert up["value"][1] == "1"


@needs_prometheus
def test_the_real_prometheus_has_our_rules(prometheus: str, tmp_path: Path) -> None:
    with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=10) as answer:
        (group,) = json.load(answer)["data"]["groups"]
    assert [rule["name"] for rule in group["rules"]] == [rule.alert for rule in RULES]
    assert not [rule for rule in group["rules"] if rule.get("lastError")]
    (tmp_path / "rules.yaml").write_text(rules())
    assert f"{len(RULES)} rules found" in promtool("check", "rules", str(tmp_path / "rules.yaml"))


TESTED = """
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: >-
          flowwatch_attempts_total{direction="egress",namespace="w",workload="app",
          outcome="dropped",reason="POLICY_DENIED"}
        values: '0+0x60 0+60x20'
      - series: >-
          flowwatch_attempts_total{direction="egress",namespace="w",workload="app",
          outcome="forwarded",reason=""}
        values: '0+60x80'
      - series: 'flowwatch_attempts_waiting{direction="egress",namespace="w",workload="app"}'
        values: '0x60 3x20'
      - series: 'flowwatch_lag_seconds'
        values: '1x60 90x20'
      - series: 'flowwatch_nodes{state="unavailable"}'
        values: '0x60 1x20'
      - series: 'flowwatch_lost_events_total{node="n",source="HUBBLE_RING_BUFFER"}'
        values: '0x60 0+30x20'
    alert_rule_test:
"""


@needs_prometheus
def test_each_rule_fires_when_it_should_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(rules())
    checked = [
        f"      - {{eval_time: 55m, alertname: {rule.alert}, exp_alerts: []}}" for rule in RULES
    ]
    (tmp_path / "quiet.yaml").write_text(TESTED + "\n".join(checked))
    promtool("test", "rules", str(tmp_path / "quiet.yaml"))
    for rule in RULES:
        loud = f"      - {{eval_time: 78m, alertname: {rule.alert}, exp_alerts: []}}"
        (tmp_path / "loud.yaml").write_text(TESTED + loud)
        done = subprocess.run(
            ["promtool", "test", "rules", str(tmp_path / "loud.yaml")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # Nothing was expected, and it fired.
        assert done.returncode == 1, rule.alert
        assert f'alertname="{rule.alert}"' in done.stdout + done.stderr


@needs_prometheus
def test_each_panel_can_be_asked(prometheus: str) -> None:
    for panel in PANELS:
        query = panel.expr.replace("$__rate_interval", "1m").replace("$direction", "egress")
        query = query.replace("$job", ".*").replace("$namespace", ".*")
        assert "$" not in query
        ask(prometheus, query)


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    value = json.loads(grafana())
    asked = set()
    for panel, declared in zip(value["panels"], PANELS, strict=True):
        (target,) = panel["targets"]
        assert target["expr"] == declared.expr
        asked |= set(re.findall(r"flowwatch_\w+", target["expr"]))
    assert asked <= SAMPLES
    for rule in RULES:
        assert set(re.findall(r"flowwatch_\w+", rule.expr)) <= SAMPLES
    places = {(one["gridPos"]["x"], one["gridPos"]["y"]) for one in value["panels"]}
    assert len(places) == len({one["id"] for one in value["panels"]}) == len(PANELS)
    names = {one["name"] for one in value["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(value)))
    assert used - {"__rate_interval", "__all"} <= names
