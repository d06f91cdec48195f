"""Staged policies beside rows: what ``whatif`` says of the same flows, row by row."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from flowwatch.audits.comparison import CHANGES
from flowwatch.audits.ends import ANSWERS_OF
from flowwatch.audits.staged import LiveStaged
from flowwatch.audits.whatif import WhatIf
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.folding import By, fold
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.egress.view import snapshot
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch
from flowwatch.flows.staged import Did, Staged
from flowwatch.policy import load
from flowwatch.policy.engine import PolicySet
from flowwatch.sources.files import FileSource
from tests.material import both, name
from tests.unit.audits.planted import CORRECT, capture

DENY_ALL = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: deny-all}
spec: {endpointSelector: {}, egress: [{toEntities: [kube-apiserver]}], ingress: [{fromEntities: [host]}]}
"""
CAPTURES = [
    path
    for pattern in ("captures/[dhitw]*.jsonl", "captures/hubble-otel/*.json")
    for path in both(pattern)
]
BOTH = frozenset({"egress", "ingress"})


def policies(text: str, file: str = "draft.yaml") -> PolicySet:
    return load([(file, text)])


def read(path: Path) -> list[Batch]:
    return list(FileSource([str(path)]).batches())


def table(
    batches: list[Batch], draft: PolicySet, current: PolicySet | None = None, *, looks: bool = False
) -> Snapshot:
    """The rows of both directions, with what the draft would do; ``looks``: somebody looks meanwhile."""
    join = Join()
    staged = LiveStaged(draft, current, join)
    aggregate = Aggregate(join=join, stager=staged)
    for batch in batches:
        join.add(batch)
        if looks:
            aggregate.judge(3)
    staged.settle()
    assert aggregate.judge()
    return snapshot(aggregate, Query(direction="both"))


Counts = Counter[tuple[str, int, str, str]]


def of_rows(rows: tuple[Row, ...]) -> Counts:
    """Attempts by direction, port, protocol and change."""
    counts: Counts = Counter()
    for row in rows:
        staged = row.staged or Staged()
        for change, number in zip(CHANGES, staged[:4], strict=True):
            protocol = "ICMP" if row.protocol == "ICMPv4" else row.protocol
            counts[row.direction, row.port, protocol, change] += number
    return +counts


def of_whatif(batches: list[Batch], draft: PolicySet, current: PolicySet | None = None) -> Counts:
    counts: Counts = Counter()
    for row in WhatIf(draft, current, BOTH).read(batches).rows:
        way = str(row.direction)
        if row.peer.startswith(ANSWERS_OF):
            # An answer is a part of the attempt that it answers.
            way = "egress" if way == "ingress" else "ingress"
        counts[way, row.port, row.protocol, row.change] += row.attempts
    return counts


@pytest.mark.parametrize("looks", [False, True], ids=["at the end", "meanwhile"])
@pytest.mark.parametrize("path", CAPTURES, ids=name)
def test_staged_columns_are_what_whatif_says(path: Path, looks: bool) -> None:
    draft = policies(DENY_ALL)
    found = of_rows(table(read(path), draft, looks=looks).rows)
    assert found == of_whatif(read(path), draft)


@pytest.fixture
def planted(tmp_path: Path) -> list[Batch]:
    path = tmp_path / "flows.jsonl"
    path.write_text(capture(CORRECT))
    return read(path)


MOVED = CORRECT.replace("api.openweathermap.org", "telemetry.example")


def test_beside_policies_in_force_too(planted: list[Batch]) -> None:
    draft, current = policies(MOVED), policies(CORRECT, "current.yaml")
    shown = table(planted, draft, current)
    assert of_rows(shown.rows) == of_whatif(planted, draft, current)
    words = {row.peer: row.staged.words for row in shown.rows if row.staged is not None}
    assert words["api.openweathermap.org"] == "would deny · weather-egress"


def test_a_fold_has_the_sums_of_its_rows(planted: list[Batch]) -> None:
    rows = table(planted, policies(MOVED), policies(CORRECT)).rows
    folded = fold(rows, By("namespace", "", False, False))
    assert of_rows(rows).total() == sum(row.staged.attempts for row in folded if row.staged)
    for place in range(4):
        whole = sum(row.staged[:4][place] for row in rows if row.staged)
        assert whole == sum(row.staged[:4][place] for row in folded if row.staged)


def test_never_in_the_counts(planted: list[Batch]) -> None:
    join = Join()
    plain = Aggregate(join=join)
    join.read(planted)
    shown = table(planted, policies(DENY_ALL))
    assert shown.totals == snapshot(plain, Query(direction="both")).totals


def test_policies_that_were_written_anew_are_judged_anew(planted: list[Batch]) -> None:
    anew: list[PolicySet | str] = []
    join = Join()
    staged = LiveStaged(policies(MOVED), None, join, lambda: anew.pop() if anew else None)
    aggregate = Aggregate(join=join, stager=staged)
    join.read(planted)
    staged.settle()
    aggregate.judge()
    before = of_rows(snapshot(aggregate, Query(direction="both")).rows)
    assert not staged.refresh()
    anew.append("weather.yaml:3: no such key")
    assert staged.refresh()
    assert staged.notes == ("weather.yaml:3: no such key",)
    aggregate.judge()
    assert of_rows(snapshot(aggregate, Query(direction="both")).rows) == before
    anew.append(policies(DENY_ALL))
    assert staged.refresh()
    assert not staged.notes
    aggregate.judge()
    shown = snapshot(aggregate, Query(direction="both"))
    assert of_rows(shown.rows) == of_whatif(planted, policies(DENY_ALL)) != before
    assert shown.staged == (("deny-all", "CiliumClusterwideNetworkPolicy"),)


def test_rows_that_are_folded_for_want_of_room_keep_theirs(planted: list[Batch]) -> None:
    join = Join()
    draft = policies(DENY_ALL)
    staged = LiveStaged(draft, None, join)
    aggregate = Aggregate(4, join=join, stager=staged)
    for batch in planted:
        for flow in batch.flows:
            join.add(Batch([flow]))
            aggregate.judge(2)
    staged.settle()
    aggregate.judge()
    rows = snapshot(aggregate, Query(direction="both")).rows
    assert len(rows) <= 4
    changes: Counter[str] = Counter()
    for (_, _, _, change), number in of_whatif(planted, draft).items():
        changes[change] += number
    assert changes == +Counter(
        {
            change: sum(row.staged[:4][place] for row in rows if row.staged)
            for place, change in enumerate(CHANGES)
        }
    )


def test_a_frame_judges_so_many_questions_and_no_more(planted: list[Batch]) -> None:
    join = Join()
    staged = LiveStaged(policies(DENY_ALL), None, join)
    aggregate = Aggregate(join=join, stager=staged)
    join.read(planted)
    frames = 0
    told = [0]
    while not aggregate.judge(1):
        frames += 1
        told.append(len(aggregate.columns.staged))
    assert frames > 2
    assert told == sorted(told)
    assert len(aggregate.columns.staged) == len(aggregate.columns)


@pytest.mark.parametrize(
    ("staged", "words"),
    [
        (Staged(), "no change"),
        (Staged(same=3), "no change"),
        (Staged(deny=2, by=(Did("a/draft-2", 2, 0),)), "would deny · draft-2"),
        (Staged(deny=2, same=1, by=(Did("draft-2", 2, 0),)), "would deny 2 · draft-2"),
        (Staged(admit=2, by=(Did("a/x", 0, 2), Did("b/y", 0, 1))), "would admit · x +1"),
        (Staged(admit=1), "would admit"),
        (Staged(cant_tell=1, same=1), "can't tell 1"),
        (Staged(1200, 5, by=(Did("a", 0, 5), Did("b", 1200, 0))), "would deny 1,200 · b"),
    ],
)
def test_in_words(staged: Staged, words: str) -> None:
    assert staged.words == words
