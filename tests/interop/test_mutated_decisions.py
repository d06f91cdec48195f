"""Policies with one thing changed against Cilium's parser and engine; `make mutants` makes many more."""

import os
from collections.abc import Sequence
from typing import Any

import pytest

from tests.interop.judged_documents import real, whole
from tests.interop.mutated_decisions import compare
from tests.interop.oracle import Oracle

DECISIONS = int(os.environ.get("FLOWWATCH_MUTATED_DECISIONS", "6000"))


@pytest.mark.parametrize(
    ("name", "documents"), [("our own", whole()), ("../shared", real())], ids=["own", "shared"]
)
def test_mutated_policies_are_read_and_decide_as_ciliums(
    name: str, documents: Sequence[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    if not documents:
        pytest.skip("the shared policies are not beside this checkout (../shared/policies)")
    with Oracle() as oracle:
        outcome = compare(oracle, documents, seed=1, decisions=DECISIONS)
    with capsys.disabled():
        print(f"\nmutated policies, {name}: {outcome}; different {len(outcome.worse)}")
    assert not outcome.worse, "\n".join(outcome.worse[:5])
    assert not outcome.odd, "\n".join(outcome.odd[:5])
    counts = outcome.counts
    assert counts["equal"] + counts["can't tell"] == counts["decisions"] >= DECISIONS
    # Mutants must be taken and refused, and rules must meet, or the comparison says nothing.
    assert counts["refused by both"] > counts["documents"] // 4
    assert counts["by a rule"] > DECISIONS // 20
    assert counts["allowed"] > DECISIONS // 20
    assert counts["can't tell"] < DECISIONS // 10
