"""``watch --otlp``: where to, what is wrong with that, and a collector that is away."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from flowwatch.errors import UsageError
from flowwatch.watching.otlp import endpoint
from tests.in_process import flowwatch
from tests.interop.program import free_port
from tests.material import OWN

RULES = "rules: [{alert: New, when: new-blocked, learn: 1m}]\n"
ALL, METRICS = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.mark.parametrize(
    ("given", "environ", "url"),
    [
        ("", {}, "http://localhost:4318/v1/metrics"),
        ("http://c:4318", {}, "http://c:4318/v1/metrics"),
        ("http://c:4318/", {ALL: "http://other:4318"}, "http://c:4318/v1/metrics"),
        ("https://c/otlp/v1/metrics", {}, "https://c/otlp/v1/metrics"),
        ("http://[::1]:4318", {}, "http://[::1]:4318/v1/metrics"),
        ("", {ALL: "http://c:4318"}, "http://c:4318/v1/metrics"),
        ("", {ALL: "http://c:4318/base/"}, "http://c:4318/base/v1/metrics"),
        ("", {ALL: "http://c:4318", METRICS: "http://m:4318/x"}, "http://m:4318/x"),
        ("", {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", ALL: "http://c"}, "http://c/v1/metrics"),
        ("http://c", {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http://c/v1/metrics"),
    ],
)  # fmt: skip
def test_where_to_is_what_the_specification_says(
    given: str, environ: dict[str, str], url: str
) -> None:
    assert endpoint(given, environ) == url


@pytest.mark.parametrize("given", ["nonsense", "ftp://c:21", "http://", "http://c:0", "http://c:x"])
def test_what_is_no_address_is_one_line(given: str, rules: Path) -> None:
    done = flowwatch("watch", rules, "--demo", f"--otlp={given}")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no address of a collector: {given}" in done.stderr.splitlines()[0]


def test_another_protocol_is_one_line() -> None:
    for protocol in ("grpc", "http/json"):
        with pytest.raises(UsageError, match=f"speaks http/protobuf, and .* wants {protocol}"):
            endpoint("", {"OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": protocol})


@pytest.mark.parametrize("value", ["soon", "1", "1e9"])
def test_an_interval_that_is_none_is_one_line(
    value: str, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", value)
    done = flowwatch("watch", rules, "--demo", "--otlp=http://127.0.0.1:4318")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no time in milliseconds, from 100 to a day: {value}" in done.stderr.splitlines()[0]


def test_variables_that_are_not_understood_are_said_without_their_secrets(
    rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "zip")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "a-token-of-mine")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/no/such/file")
    done = flowwatch("watch", rules, "--demo", f"--otlp=https://127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "--otlp: Unsupported compression type: zip" in done.stderr
    assert "--otlp: Header format invalid!" in done.stderr
    assert "a-token-of-mine" not in done.stderr
    assert "the last too: it can't be reached (" in done.stderr


def test_without_the_library_it_is_one_line(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "requests", None)
    done = flowwatch("watch", rules, "--demo", "--otlp")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--otlp needs the OpenTelemetry exporter: pip install 'flowwatch[otlp]'" in done.stderr


def test_a_collector_that_is_away_changes_nothing_else(rules: Path) -> None:
    rules.write_text("rules: [{when: new-blocked, learn: 1ns, attempts: 1}]")
    words = ("watch", rules, "--input-file", OWN / "captures" / "weather.jsonl")
    alone = flowwatch(*words)
    url = f"http://user:s3cret-word@127.0.0.1:{free_port()}"
    done = flowwatch(*words, f"--otlp={url}")
    place = url.replace("user:s3cret-word@", "")
    assert done.returncode == alone.returncode == 1
    assert done.stdout == alone.stdout != ""
    assert f"metrics to {place} by OTLP" in done.stderr
    refused = r"the last too: it can't be reached \(Connection refused\)"
    assert re.search(rf"(\d+) exports? of \1 to {re.escape(place)} failed, {refused}", done.stderr)
    assert "s3cret-word" not in done.stderr
