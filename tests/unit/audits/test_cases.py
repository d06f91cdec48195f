"""Differences from Cilium's engine that random policies once found; its answers stand in the files.

`tests/interop/test_policy_property.py` asks the engine itself again.
"""

from pathlib import Path

import pytest

from tests.interop.compared import CASES, Case, Ours


@pytest.mark.parametrize("path", sorted(CASES.glob("*.yaml")), ids=lambda path: path.stem)
def test_ours_is_ciliums_answer(path: Path) -> None:
    case = Case.load(path)
    ours = Ours(case.text, case.options)
    assert ours.refused == sorted(case.refused)
    for asked, theirs in zip(case.asked, case.answers, strict=True):
        decision = ours.decide(asked)
        wanted = ("cant_tell" if theirs.verdict == "fails" else theirs.verdict, theirs.l7)
        assert (decision.decision, decision.l7) == wanted, (asked, decision.reason)
        if theirs.verdict != "fails":
            assert decision.selected == theirs.selected, asked


def test_there_are_cases() -> None:
    assert list(CASES.glob("*.yaml"))
