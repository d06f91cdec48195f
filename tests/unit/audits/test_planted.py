"""Planted mistakes: each is found and named; the correct policy gives no finding."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import ROOT
from tests.in_process import flowwatch
from tests.unit.audits.planted import CORRECT, FAULTS, Fault, capture, table


def audit(tmp_path: Path, policy: str, traffic: str) -> tuple[int, dict[str, object]]:
    """Exit code and JSON of the audit, through the program."""
    (tmp_path / "policy.yaml").write_text(policy)
    (tmp_path / "flows.jsonl").write_text(traffic)
    result = flowwatch(
        "audit",
        "-f",
        tmp_path / "policy.yaml",
        "--input-file",
        tmp_path / "flows.jsonl",
        "-o",
        "json",
    )
    assert "Traceback" not in result.stderr
    return result.returncode, json.loads(result.stdout)


def test_a_correct_policy_gives_no_finding(tmp_path: Path) -> None:
    code, report = audit(tmp_path, CORRECT, capture(CORRECT))
    assert code == 0
    assert {one["kind"] for one in report["findings"]} == {"ok"}  # type: ignore[attr-defined]
    assert report["hints"] == []


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what.replace(" ", "-"))
def test_a_planted_mistake_is_named(fault: Fault, tmp_path: Path) -> None:
    traffic = capture(fault.policy, learns=fault.find != "missing-dns-rule")
    code, report = audit(tmp_path, fault.policy, traffic)
    hints = report["hints"]
    assert isinstance(hints, list)
    assert [one["name"] for one in hints if fault.detail in one["text"]] == [fault.find]
    # It is enforced as it is written: nothing leaks, and nothing is blocked against it.
    assert code == 0 or fault.find == "missing-dns-rule"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.what.replace(" ", "-"))
def test_the_policy_as_meant_shows_what_the_mistake_does(fault: Fault, tmp_path: Path) -> None:
    """Judged by the correct policy, the traffic of the faulty one leaks or is blocked too much."""
    traffic = capture(fault.policy, learns=fault.find != "missing-dns-rule")
    code, report = audit(tmp_path, CORRECT, traffic)
    assert code == 1
    assert {one["kind"] for one in report["findings"]} & {"leak", "overblock"}  # type: ignore[attr-defined]
    assert report["hints"] == []


def test_the_documents_have_the_table() -> None:
    assert table() in (ROOT / "docs" / "audit.md").read_text("utf-8")
