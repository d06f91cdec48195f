"""Drafts beside the policies that another project expects of the same flows, rule by rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch.audits.seen_pods import of_flows
from flowwatch.drafts.draft import Drafter
from flowwatch.policy import PolicySet, load
from flowwatch.policy.difference import Change, compare
from flowwatch.policy.labels import LabelSet
from flowwatch.policy.rules import Entry
from flowwatch.sources.files import FileSource
from tests.material import both
from tests.unit.audits.test_pairs import pairs

WAYS = frozenset({"egress", "ingress"})
EQUAL, TIGHTER, FEWER, HTTP = "equal", "tighter", "wider: fewer labels", "wider: no HTTP rules"
SILENT, OTHERS, UNKNOWN = "silent", "of other pods", "can't tell"

_WHY = {
    EQUAL: "",
    TIGHTER: "it allows what nothing that was seen needs",
    FEWER: "no other pod that was seen has the labels that the draft selects by",
    HTTP: "layer 7 isn't drafted",
    SILENT: "no record shows this end: nothing is said of it, instead of guessing",
    OTHERS: "it selects no pod that was seen",
    UNKNOWN: "it names a service: only the cluster knows its addresses",
}
"""Why a rule isn't equal."""


def outcome(change: Change) -> str:
    """How the draft is beside what is expected; raises where nobody said why that may be."""
    if change.kind == "can't tell":
        return UNKNOWN
    if change.kind == "other rules at the proxy":
        return HTTP
    if change.kind == "newly denied":
        return TIGHTER
    assert change.kind == "newly allowed", change
    if change.example.after.why == "no policy":
        return SILENT
    assert not change.example.peer.outside, change
    return FEWER


def about(change: Change, entry: Entry, expected: PolicySet) -> bool:
    """Whether a difference is one of this rule."""
    if change.direction != entry.direction:
        return False
    if change.example.before.entries:
        return entry in change.example.before.entries
    asked = change.example
    if asked.after.entries:
        kinds = {type(peer) for one in asked.after.entries for peer in one.peers or ()}
        listener = asked.peer if change.direction == "egress" else asked.subject
        if not kinds & {type(peer) for peer in entry.peers or ()}:
            return False
        if entry.matches_port(asked.protocol, asked.port, listener) is not True:
            return False
    return any(
        entry in rule.entries and rule.subject.selects(asked.subject)
        for rule in expected.documents.rules
    )


def compared(flows: Path, policy: Path) -> Iterator[tuple[str, str, str]]:
    """Name, rule and outcome of each rule that is expected."""
    expected = load([(policy.name, policy.read_text("utf-8"))])
    draft = Drafter("workload", "cnp", WAYS).read(FileSource([str(flows)]).batches())
    assert draft.proof.failing == ()
    pods = list(of_flows(FileSource([str(flows)]).batches()))
    changes = compare(
        expected, load([("draft.yaml", draft.text)]), known=pods, any_peers=True
    ).changes
    for rule in expected.documents.rules:
        for entry in rule.entries:
            found = {outcome(one) for one in changes if about(one, entry, expected)}
            if not any(rule.subject.selector.matches(LabelSet(labels)) for labels in pods):
                found = {OTHERS}
            yield flows.name[:5], entry.place, " and ".join(sorted(found)) or EQUAL


@pytest.mark.skipif(
    not list(both("captures/accuknox/*.json")), reason="the captures aren't beside it"
)
def test_rule_by_rule_beside_what_is_expected(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        row
        for flows, policy in pairs()
        if flows.name.startswith("TC_")
        for row in compared(flows, policy)
    ]

    with capsys.disabled():
        print("\n| flows | expected rule | the draft | why |\n|---|---|---|---|")
        for name, place, how in rows:
            why = "; ".join(_WHY[one] for one in how.split(" and "))
            print(f"| {name} | {place} | {how} | {why} |")
    assert len(rows) == 32
    assert Counter(part for _, _, how in rows for part in how.split(" and ")) == {
        EQUAL: 6, TIGHTER: 4, FEWER: 12, HTTP: 3, SILENT: 13, OTHERS: 1, UNKNOWN: 1
    }  # fmt: skip
