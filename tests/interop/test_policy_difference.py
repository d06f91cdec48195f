"""`flowwatch diff` against Cilium's engine on random pairs, a bounded number."""

import os

import pytest

from tests.interop.policy_difference import describe, run
from tests.interop.policy_universe import OPTIONS

# A time-out's signal in the midst of a draw has Hypothesis find that the same choices draw differently
# (FlakyStrategyDefinition): the number of pairs is the bound.
pytestmark = pytest.mark.timeout(0)

PAIRS = int(os.environ.get("FLOWWATCH_POLICY_PAIRS", "150"))


def test_each_difference_named_is_one_and_none_is_missed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    total = run(PAIRS, start=1)
    with capsys.disabled():
        print(f"\nrandom pairs of policy sets: {describe(total)}")
    assert total["pairs"] >= PAIRS
    # Sets must differ where questions are, or the comparison says nothing.
    assert total["pairs that differ"] > PAIRS // 4
    assert total["named, and one to Cilium"] > PAIRS // 2
    assert total["sampled, differs to Cilium"] > PAIRS
    settled = total["named, and one to Cilium"] + total["named, of proxies' rules or unsure"]
    assert settled == total["named"]


def test_none_is_missed_by_other_options(capsys: pytest.CaptureFixture[str]) -> None:
    pairs = PAIRS // 3
    total = run(pairs, start=1, options=OPTIONS[1:])
    with capsys.disabled():
        print(f"\nrandom pairs of policy sets, by options of cilium-config: {describe(total)}")
    assert total["pairs"] >= pairs
    assert total["pairs that differ"] > pairs // 4
    assert total["sampled, differs to Cilium"] > pairs // 2
