"""The audit's exit codes, which CI goes by: the same in every format."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch.cli.main import run
from flowwatch.report.audit import AUDIT_FORMATS
from tests.unit.policy.planted import CORRECT, capture

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
