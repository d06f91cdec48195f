"""Attempts as the application made them: recordings of a real kernel beside what the application wrote down.

One that is written by hand, of which a few tries can be looked at, and those recorded where they are.
Each has the records as Hubble's parser made them, and each try with its 5-tuple, its time
and what became of it. A try that the records can't tell from the one before is named here, by rule:

- UDP on one source port, and pings between two hosts, leave nothing that divides one try from the
  next while the verdict stays the same: such tries are one attempt.
- With source ports that come back fast, a denied SYN may be a retry or a new try: 1.5 % may be wrong.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows import meaning
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.listing import AttemptListing
from flowwatch.sources.files import FileSource
from tests.material import both, name

SCENARIOS = both("kernel-lab/*")
EVERY = frozenset(meaning.OUTCOMES)
SHARE = 0.015

every_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=name)


@dataclass(frozen=True)
class Try:
    """One try of the application."""

    peer: str
    protocol: str
    port: int
    source_port: int
    time: float
    outcome: str

    @property
    def ports(self) -> tuple[str, str, int, int]:
        return self.peer, self.protocol, self.port, self.source_port


@cache
def tries(scenario: Path) -> tuple[Try, ...]:
    truth = json.loads((scenario / "truth.json").read_text())
    return tuple(
        Try(
            one["peer"], one["proto"], one["port"],
            0 if one["proto"].startswith("ICMP") else one["sport"], one["t"], outcome(one),
        )
        for one in truth["attempts"]
    )  # fmt: skip


def outcome(one: dict[str, Any]) -> str:
    return "dropped" if one["by_policy"] else "forwarded"


def knowable(made: tuple[Try, ...]) -> list[Try]:
    """The tries that records tell apart: see above."""
    by_ports: dict[tuple[str, str, int, int], list[Try]] = defaultdict(list)
    for one in sorted(made, key=lambda one: one.time):
        by_ports[one.ports].append(one)
    told: list[Try] = []
    for same in by_ports.values():
        if same[0].protocol == "TCP":
            told += same
        else:
            told += [next(group) for _, group in groupby(same, key=lambda one: one.outcome)]
    return told


@cache
def attempts(scenario: Path) -> tuple[Attempt, ...]:
    source = FileSource([str(scenario / "flows.jsonl.gz")])
    return tuple(AttemptListing(source.batches(), frozenset({"egress"}), EVERY))


Row = tuple[str, str, int]


def addresses(scenario: Path) -> dict[str, str]:
    """Of the pods of a recording: name → address."""
    truth = json.loads((scenario / "truth.json").read_text())
    return {name: address for address, name in truth["peers"].items()}


def row_of(one: Attempt) -> Row:
    icmp = one.protocol.startswith("ICMP")
    return one.peer_address, one.protocol, 0 if icmp else one.port


@every_scenario
def test_each_try_is_an_attempt_with_its_outcome(scenario: Path) -> None:
    made = knowable(tries(scenario))
    wanted: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for one in sorted(made, key=lambda one: one.time):
        wanted[one.ports].append(one.outcome)
    found: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for attempt in sorted(attempts(scenario), key=lambda one: one.first_seen):
        found[*row_of(attempt), attempt.source_port].append(attempt.outcome)
    wrong = {
        ports: (wanted.get(ports), found.get(ports))
        for ports in wanted.keys() | found.keys()
        if wanted.get(ports) != found.get(ports)
    }
    told = f"{len(tries(scenario))} tries, {len(made)} that records tell apart"
    print(f"{name(scenario)}: {told}, {len(wrong)} ports wrong")
    assert len(wrong) <= SHARE * len(wanted) if scenario.name == "rate" else not wrong, wrong


@every_scenario
def test_the_summary_counts_what_the_application_did(scenario: Path) -> None:
    wanted: Counter[tuple[Row, str]] = Counter(
        ((one.peer, one.protocol, one.port), one.outcome) for one in knowable(tries(scenario))
    )
    aggregate = Aggregate(keep_recent=False)
    for batch in FileSource([str(scenario / "flows.jsonl.gz")]).batches():
        aggregate.join.add(batch)
    found: Counter[tuple[Row, str]] = Counter()
    for row in snapshot(aggregate, Query(direction="egress")).rows:
        port = 0 if row.protocol.startswith("ICMP") else row.port
        [address] = row.peer_addresses or [addresses(scenario)[row.peer]]
        where = (address, row.protocol, port)
        for outcome in ("forwarded", "dropped", "audited", "errors", "unknown"):
            if count := getattr(row, outcome):
                found[where, outcome] += count
    for key in wanted.keys() | found.keys():
        assert abs(wanted[key] - found[key]) <= SHARE * wanted[key], (key, wanted[key], found[key])
