"""What ``import flowwatch`` offers: one list, loaded when it is asked for, the same rows as the program's."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import flowwatch
from flowwatch.demo.server import DemoServer
from flowwatch.demo.story import policy_text
from flowwatch.errors import FlowwatchError, UsageError
from tests.command import ROOT, clean_environment
from tests.command import flowwatch as program
from tests.unit.api.test_source_of_your_own import POLICY, RECORD

CHEAP = ("errors", "redact", "text")


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    path = tmp_path / "flows.jsonl"
    path.write_bytes(
        RECORD + b"\n" + RECORD.replace(b"app-1", b"app-2").replace(b"40000", b"40001") + b"\n"
    )
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_each_public_name_is_there_and_said_what_it_is() -> None:
    for name in flowwatch.__all__:
        assert name == "__version__" or getattr(flowwatch, name).__doc__
    assert set(flowwatch.__all__) <= set(dir(flowwatch))
    assert flowwatch._HOMES.keys() | {"FlowwatchError", "__version__"} == set(flowwatch.__all__)
    with pytest.raises(AttributeError, match="no attribute 'raed'"):
        flowwatch.raed  # type: ignore[attr-defined]  # noqa: B018


def test_the_import_alone_loads_next_to_nothing() -> None:
    code = "import sys, flowwatch; print(*(m for m in sys.modules if m.startswith('flowwatch')))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(str(ROOT)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) <= {"flowwatch", *map("flowwatch.".__add__, CHEAP)}


def test_a_function_stays_one_when_rooms_are_loaded(flows: Path, policy: Path) -> None:
    """Python sets an attribute of the package for each room that is imported."""
    for _ in range(2):
        assert flowwatch.audit(flows, policies=policy).counts["ok"] == 2


def test_the_frame_has_the_rows_of_the_summary(flows: Path) -> None:
    frame = flowwatch.read(flows, pod="weather/app-2")
    told = program("summary", "-o", "csv", "--input-file", flows, "--pod", "weather/app-2").stdout
    [row] = csv.DictReader(io.StringIO(told))
    [mine] = frame.to_dict("records")
    assert {name: row[name] for name in ("pod", "peer", "port", "dropped")} == {
        name: str(mine[name]) for name in ("pod", "peer", "port", "dropped")
    }


def test_the_report_is_that_of_the_verb(flows: Path, policy: Path, tmp_path: Path) -> None:
    expect = tmp_path / "expect.yaml"
    expect.write_text("- from: weather/app-1\n  reach: ['1.2.3.4:443']\n")
    report = flowwatch.audit(flows, policies=[policy], expect=expect, applied_at="2026-01-01")
    told = program(
        *("audit", "-o", "json", "-f", policy, "--input-file", flows),
        *("--expect", expect, "--applied-at", "2026-01-01"),
    )
    spoken = json.loads(told.stdout)
    assert [one.attempts for one in report.findings] == [
        one["attempts"] for one in spoken["findings"]
    ]
    assert [one.state for one in report.expectations] == ["contradicted"]
    assert report.failed
    assert told.returncode == report.exit_code() == 1


def test_what_is_odd_about_policies_is_a_warning(flows: Path, policy: Path) -> None:
    policy.write_text(POLICY + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n")
    with pytest.warns(UserWarning, match=r"skipped 1 object of other kinds: .*Pod"):
        flowwatch.audit(flows, policies=policy)


def test_a_policy_that_is_refused_is_named_in_the_error(flows: Path, policy: Path) -> None:
    policy.write_text(POLICY.replace("egress:", "egres:"))
    with pytest.raises(UsageError) as caught:
        flowwatch.audit(flows, policies=policy)
    assert 'unknown field "spec.egres" (did you mean "egress"?)' in str(caught.value)
    assert str(caught.value).startswith(f"{policy}:")
    assert "\n" not in str(caught.value)


def test_nothing_is_printed(flows: Path, policy: Path, capfd: pytest.CaptureFixture[str]) -> None:
    policy.write_text(POLICY + "---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flowwatch.read(flows)
        flowwatch.audit(flows, policies=policy)
    assert capfd.readouterr() == ("", "")


def test_a_source_is_read_batch_by_batch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flows: Path
) -> None:
    with contextlib.closing(flowwatch.open_source(flows, last=1)) as source:
        assert [flow.source.pod for batch in source.batches() for flow in batch.flows] == ["app-2"]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with DemoServer("127.0.0.1:0", live=False, duration=30) as server:
        source = flowwatch.open_source(server=server.address, follow=True, with_ring=True)
        with contextlib.closing(source):
            first = next(flow for batch in source.batches() for flow in batch.flows)
    assert isinstance(first, flowwatch.Flow)
    assert source.state().where == server.address


@pytest.mark.filterwarnings("ignore:.*lost")
def test_a_server_is_audited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "policy.yaml").write_text(policy_text())
    with DemoServer("127.0.0.1:0", live=False) as server:
        report = flowwatch.audit(
            policies=tmp_path / "policy.yaml", server=server.address, namespace="weather"
        )
    assert report.counts["ok"] > 100


def test_what_a_call_cannot_do_is_one_line(flows: Path, policy: Path) -> None:
    wrong: dict[str, Callable[[], object]] = {
        "a frame ends: leave out follow": lambda: flowwatch.read(follow=True, no_port_forward=True),
        "invalid direction: up: one of egress": lambda: flowwatch.read(flows, direction="up"),
        "invalid max_rows: 3: max_rows must be": lambda: flowwatch.read(flows, max_rows=3),
        "an audit ends: leave out follow": lambda: flowwatch.audit(policies=policy, follow=True),
        "no policy was given: policies names": lambda: flowwatch.audit(flows),
        "cannot set both policies and policies_from": lambda: flowwatch.audit(
            flows, policies=policy, policies_from_cluster=True
        ),
    }
    for message, call in wrong.items():
        with pytest.raises(UsageError, match=message):
            call()
    with pytest.raises(FlowwatchError, match="nowhere"):
        flowwatch.read("nowhere.jsonl")
