"""Random decisions against Cilium's, a bounded number; `make judge` makes 300,000 of them."""

import json
import os
from typing import Any

import pytest

from tests.interop.compared import CASES, Case
from tests.interop.oracle import Oracle
from tests.interop.policy_maker import policy_sets
from tests.interop.policy_property import describe, run
from tests.interop.policy_universe import OPTIONS, questions, subjects

# A time-out's signal in the midst of a draw has Hypothesis find that the same choices draw differently
# (FlakyStrategyDefinition): the number of decisions is the bound.
pytestmark = pytest.mark.timeout(0)

DECISIONS = int(os.environ.get("FLOWWATCH_POLICY_DECISIONS", "12000"))


def test_random_decisions_are_ciliums(capsys: pytest.CaptureFixture[str]) -> None:
    total = run(DECISIONS, start=1)
    with capsys.disabled():
        print(f"\nrandom policies: {describe(total)}")
    assert total["compared"] >= DECISIONS
    assert total["equal"] + total["unclear"] + total["no policy made"] == total["compared"]
    # Rules must meet, or the comparison says nothing.
    assert total["by a rule"] > total["compared"] // 20
    assert total["allowed"] > total["compared"] // 10
    assert total["denied"] > total["compared"] // 10
    assert total["l7"]


def test_random_decisions_by_other_options_are_ciliums(
    capsys: pytest.CaptureFixture[str],
) -> None:
    total = run(DECISIONS, start=1, options=OPTIONS[1:])
    with capsys.disabled():
        print(f"\nrandom policies, by options of cilium-config: {describe(total)}")
    settled = total["equal"] + total["unclear"] + total["no policy made"] + total["far"]
    assert settled == total["compared"] >= DECISIONS
    assert total["by a rule"] > total["compared"] // 20
    assert total["allowed"] > total["compared"] // 10
    assert total["denied"] > total["compared"] // 10
    assert total["far"] < total["compared"] // 50


def test_the_oracle_still_answers_the_cases_so() -> None:
    paths = sorted(CASES.glob("*.yaml"))
    assert paths
    with Oracle() as oracle:
        for path in paths:
            case = Case.load(path)
            judged = oracle.ask(case.text, case.asked, case.options)
            assert sorted(judged.refused) == sorted(case.refused), path.name
            given = [(one.verdict, one.l7, one.selected) for one in judged.answers]
            kept = [(one.verdict, one.l7, one.selected) for one in case.answers]
            assert given == kept, path.name


def test_questions_are_the_same_for_the_same_seed() -> None:
    assert questions(7, 50) == questions(7, 50)
    assert questions(7, 50) != questions(8, 50)
    assert {one.direction for one in questions(7, 50)} == {"egress", "ingress"}
    few = subjects()[:2]
    about = [one.subject for one in questions(7, 100, few)]
    assert sum(who in (few[0].subject, few[1].subject) for who in about) > 80


def test_every_kind_of_document_is_made() -> None:
    from hypothesis import HealthCheck, given, settings

    made: set[str] = set()

    @settings(
        max_examples=60, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(policies=policy_sets())
    def collect(policies: list[dict[str, str]]) -> None:
        made.update(policy["kind"] for policy in policies)

    collect()
    assert made == {
        "CiliumNetworkPolicy",
        "CiliumClusterwideNetworkPolicy",
        "CiliumCIDRGroup",
        "NetworkPolicy",
        "ClusterNetworkPolicy",
    }


def test_what_is_done_to_a_set_changes_none_that_is_made_later() -> None:
    from hypothesis import HealthCheck, Phase, given, seed, settings

    def made(*, spoilt: bool) -> list[str]:
        found: list[str] = []

        @seed(5)
        @settings(
            max_examples=60,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        )
        @given(policies=policy_sets())
        def collect(policies: list[Any]) -> None:
            found.append(json.dumps(policies))
            if spoilt:
                _spoil(policies)

        collect()
        return found

    assert made(spoilt=True) == made(spoilt=False)


def _spoil(value: Any) -> None:
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            _spoil(inner)
    if isinstance(value, dict):
        value["cidrGroupRef"] = "g1"
    else:
        value.clear()
