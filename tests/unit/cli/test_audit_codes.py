"""The audit's exit codes, which CI goes by: the same in every format."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from flowwatch.cli.main import run
from flowwatch.report.audit import AUDIT_FORMATS
from tests.unit.audits.planted import CORRECT, capture

WIDE = CORRECT + "    - toEntities: [world]\n"
CASES = {
    "as expected": (CORRECT, CORRECT, (), 0),
    "as expected, strictly": (CORRECT, CORRECT, ("--strict",), 0),
    "a leak": (CORRECT, WIDE, (), 1),
    "a leak, strictly": (CORRECT, WIDE, ("--strict",), 1),
    "an overblock": (WIDE, CORRECT, (), 1),
    "no evidence": (CORRECT, None, (), 0),
    "no evidence, strictly": (CORRECT, None, ("--strict",), 3),
    "no such policy": ("kind: CiliumNetworkPolicy\n", CORRECT, (), 2),
}
"""What the policy says, which one was enforced while the flows were recorded, flags, the code."""


FLOWS_UNREAD = {
    "flows missing": (None, False, 2),
    "no flows in it": (b"hello\n", False, 2),
    "flows that break off": ("gzip of a correct cluster", True, 2),
    "a leak before flows break off": ("gzip of a leaking cluster", True, 1),
}
"""The capture, whether there is a report nevertheless, the code."""


@pytest.mark.parametrize("case", FLOWS_UNREAD)
def test_flows_that_cannot_be_read_are_no_findings(
    case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flows, reported, code = FLOWS_UNREAD[case]
    (tmp_path / "policy.yaml").write_text(CORRECT)
    path = tmp_path / "flows.jsonl"
    if isinstance(flows, str):
        text = capture(WIDE if "leak" in flows else CORRECT)
        # Incompressible lines behind, so that what is cut off is theirs.
        flows = gzip.compress(text.encode() + os.urandom(200_000).hex().encode())[:-100_000]
    if flows is not None:
        path.write_bytes(flows)
    told = run(["audit", "-f", str(tmp_path / "policy.yaml"), "--input-file", str(path)])
    said = capfd.readouterr()
    assert told == code, said.err
    assert bool(said.out) is reported
    assert said.err.count("\n") == 1
    assert "flows.jsonl" in said.err


@pytest.mark.parametrize("form", AUDIT_FORMATS)
@pytest.mark.parametrize("case", CASES)
def test_the_exit_code_is_that_of_the_findings(
    case: str, form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    policy, enforced, flags, code = CASES[case]
    (tmp_path / "policy.yaml").write_text(policy)
    (tmp_path / "flows.jsonl").write_text(capture(enforced) if enforced else "")
    files = ["-f", str(tmp_path / "policy.yaml"), "--input-file", str(tmp_path / "flows.jsonl")]
    told = run(["audit", *files, "-o", form, *flags])
    assert told == code
    said = capfd.readouterr()
    assert bool(said.out) is (code != 2)
    assert "Traceback" not in said.err
