"""What the API server refuses, strictly as kubectl asks it, flowwatch refuses too."""

import os
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.interop.control_plane import ControlPlane
from tests.interop.judged_documents import (
    OWN,
    Judge,
    Judged,
    judge_files,
    judge_mutants,
    real,
    split,
    whole,
)
from tests.interop.oracle import POLICIES
from tests.interop.policy_maker import policy_sets
from tests.interop.policy_mutations import mutants
from tests.material import needs

MUTANTS = int(os.environ.get("FLOWWATCH_POLICY_MUTANTS", "2000"))

Report = Callable[[str, Judged], None]


@pytest.fixture
def report(capsys: pytest.CaptureFixture[str]) -> Report:
    """Print the counts, and fail with what only flowwatch takes."""

    def told(what: str, judged: Judged) -> None:
        with capsys.disabled():
            print(f"\n{what} at the API server: {judged}")
        assert judged.taken_here == []

    return told


def test_both_take_our_own_documents(api: ControlPlane) -> None:
    judged = judge_files(api, [OWN])
    assert judged.counts == {"taken there and taken here": len(whole())}


@needs("policies")
def test_real_documents(api: ControlPlane, report: Report) -> None:
    files = sorted(p for p in POLICIES.rglob("*") if p.suffix in (".yaml", ".yml", ".json"))
    judged = judge_files(api, files)
    report("real documents", judged)
    assert judged.counts["taken there and taken here"] > 500
    assert judged.counts["refused there and refused here"] > 50
    assert judged.counts["templates"] + judged.counts["no YAML"] < 50, "hardly any is left out"


def test_mutants_of_our_own(api: ControlPlane, report: Report) -> None:
    report("mutants of our own documents", judge_mutants(api, whole(), 1, MUTANTS))


@needs("policies")
def test_mutants_of_real_documents(api: ControlPlane, report: Report) -> None:
    report("mutants of real documents", judge_mutants(api, real(), 1, MUTANTS))


@pytest.mark.timeout(0)  # its signal in the midst of a draw is a flaky strategy to Hypothesis
def test_documents_that_are_made_up(api: ControlPlane, report: Report) -> None:
    judged = Judged()
    judge = Judge(api)

    @seed(1)
    @settings(
        max_examples=MUTANTS // 20,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(policies=policy_sets())
    def ask(policies: list[Any]) -> None:
        for policy in policies:
            judge.add_object(judged, policy)

    ask()
    report("made-up documents", judged)
    assert judged.counts["taken there and taken here"] > 100


def test_what_is_only_taken_here_is_told_with_its_lines(
    api: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The judge judged: a reader that takes everything doesn't pass."""

    class Everything:
        rejected = ()
        policies = ("one",)

    monkeypatch.setattr("tests.interop.judged_documents.read_documents", lambda _: Everything())
    judged = judge_mutants(api, whole(), 1, 300, enough=5)
    assert len(judged.taken_here) == 5
    for told in judged.taken_here:
        where, *lines = told.splitlines()
        assert ": " in where
        assert lines[0].startswith(("+", "-"))
        assert len(lines[-1]) > 10, "the API server's reason"


def test_mutants_change_one_thing_and_are_the_same_for_the_same_seed() -> None:
    first = list(islice(mutants(whole(), 1), 50))
    assert first == list(islice(mutants(whole(), 1), 50))
    assert first != list(islice(mutants(whole(), 2), 50))
    assert all(mutant.lines for mutant in first)


def test_documents_are_taken_apart_as_kubectl_does() -> None:
    text = "# only a comment\n---\na: 1\n--- \nb: |\n  ---\n---\n\n---\nc: '---x'\n"
    assert list(split(text)) == ["\na: 1\n", "\nb: |\n  ---\n", "\nc: '---x'\n"]
