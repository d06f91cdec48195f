"""What the API server refuses, strictly as kubectl asks it, flowwatch refuses too."""

from itertools import islice

from tests.interop.control_plane import ControlPlane
from tests.interop.judged_documents import OWN, judge_files, split, whole
from tests.interop.policy_mutations import mutants


def test_both_take_our_own_documents(api: ControlPlane) -> None:
    judged = judge_files(api, [OWN])
    assert judged.counts == {"taken there and taken here": len(whole())}


def test_mutants_change_one_thing_and_are_the_same_for_the_same_seed() -> None:
    first = list(islice(mutants(whole(), 1), 50))
    assert first == list(islice(mutants(whole(), 1), 50))
    assert first != list(islice(mutants(whole(), 2), 50))
    assert all(mutant.lines for mutant in first)


def test_documents_are_taken_apart_as_kubectl_does() -> None:
    text = "# only a comment\n---\na: 1\n--- \nb: |\n  ---\n---\n\n---\nc: '---x'\n"
    assert list(split(text)) == ["\na: 1\n", "\nb: |\n  ---\n", "\nc: '---x'\n"]
