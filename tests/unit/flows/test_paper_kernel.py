"""Attempts of a cluster on paper, which knows what its applications did: see tests/paper_kernel.py.

Exactly as many where ports come back rarely; within 1.5 % where they come back as fast as 400 connections
a second make them. A try that leaves no record, and a datagram or a ping like the one before on the same
ports, can't be told and aren't asked for.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowwatch.flows import meaning
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.listing import AttemptListing
from flowwatch.sources.files import FileSource
from tests.paper_kernel import SERVER, Paper, Try, lines

GOOD, BAD, SILENT = "203.0.113.5", "203.0.113.66", "198.51.100.77"
ALLOWED = [(GOOD, 443), (GOOD, 5000), (GOOD, 8), (GOOD, 5432), (SILENT, 443), (SERVER, 5432)]
SHARE = 0.015
NODES = ("node-1", "node-2")

Records = Iterable[dict[str, Any]]
Told = tuple[str, str, bool]
"""Outcome, answer, whether it was late."""


def listed(records: Records) -> list[Attempt]:
    """The attempts of a capture, as an export of egress has them, by their beginning."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(lines(records))
        file.flush()
        batches = FileSource([file.name]).batches()
        every = frozenset(meaning.OUTCOMES)
        return sorted(
            AttemptListing(batches, frozenset({"egress"}), every), key=lambda one: one.first_seen
        )


def knowable(tries: list[Try]) -> dict[tuple[Any, ...], list[Told]]:
    """By ports, the tries that records tell apart."""
    told: dict[tuple[Any, ...], list[Told]] = defaultdict(list)
    by_ports: dict[tuple[Any, ...], list[Try]] = defaultdict(list)
    for one in sorted(tries, key=lambda one: one.time):
        if one.seen:
            by_ports[one.ports].append(one)
    for ports, made in by_ports.items():
        if made[0].protocol == "TCP":
            told[ports] = [(one.outcome, one.answer, one.late) for one in made]
            continue
        last: Try | None = None
        for one in made:
            if last and last.outcome == one.outcome and one.time - last.time <= 75:
                answers = {told[ports].pop()[1], one.answer}
            else:
                answers = {one.answer}
            told[ports].append((one.outcome, _best(answers), False))
            last = one
    return dict(told)


def _best(answers: set[str]) -> str:
    return next(one for one in ("answered", "unreachable", "none", "") if one in answers)


def found(attempts: Iterable[Attempt]) -> dict[tuple[Any, ...], list[Told]]:
    told: dict[tuple[Any, ...], list[Told]] = defaultdict(list)
    for one in attempts:
        ports = one.peer_address, one.protocol, one.port, one.source_port
        told[ports].append((one.outcome, one.answer, one.waited > 0))
    return dict(told)


def different(paper: Paper, attempts: Iterable[Attempt]) -> dict[tuple[Any, ...], Any]:
    wanted, got = knowable(paper.tries), found(attempts)
    return {
        ports: (wanted.get(ports), got.get(ports))
        for ports in wanted.keys() | got.keys()
        if wanted.get(ports) != got.get(ports)
    }


def a_day(paper: Paper, seconds: int = 240) -> Paper:
    """A little of everything, while policies come, go, and are replaced; ports come back rarely."""
    chance = paper.random
    for at in range(0, seconds, 60):
        paper.policy(at + 5, ALLOWED if chance.random() < 0.7 else None)
        paper.policy(at + 30, [(BAD, 443), (BAD, 5000)] if chance.random() < 0.5 else ALLOWED)
        paper.policy(at + 17, None if chance.random() < 0.5 else [], there=True)
    deeds: list[Callable[[float], object]] = [
        lambda at: paper.connect(at, GOOD, close=chance.choice(["server", "client", "reset"])),
        lambda at: paper.connect(at, BAD, timeout=chance.choice([1.5, 4.0, 20.0])),
        lambda at: paper.connect(at, BAD, 80, peer="refuses", timeout=6.0),
        lambda at: paper.connect(at, SILENT, peer="silent", timeout=chance.choice([2.5, 9.0])),
        lambda at: paper.connect(at, SERVER, 5432, timeout=chance.choice([2.5, 30.0])),
        lambda at: paper.ask(at, GOOD, 5000, answers=chance.choice(["answered", "none"])),
        lambda at: paper.ask(at, BAD, 5000),
        lambda at: paper.ask(at, BAD, 5000, source_port=40_006),
        lambda at: paper.ping(at, GOOD),
        lambda at: paper.ping(at, BAD, answered=False),
    ]
    paper.pooled(1, GOOD, 6432, every=85, times=4)
    paper.cut(2, BAD, 6432, after=3, until=seconds)
    for second in range(seconds):
        for _ in range(chance.randrange(3)):
            chance.choice(deeds)(second + chance.random())
    return paper


papers = st.builds(
    Paper,
    seed=st.integers(0, 10_000),
    linear=st.booleans(),
    mixed=st.booleans(),
    ahead=st.fixed_dictionaries({"node-2": st.sampled_from([0.0, -0.4, 3.0, 90.0, -3600.0])}),
)


@given(paper=papers)
@settings(max_examples=20, deadline=None)
def test_a_day_is_told_exactly(paper: Paper) -> None:
    assert not different(a_day(paper), listed(paper.records()))


def the_one_before_the_other(
    records: list[dict[str, Any]], _: random.Random
) -> list[dict[str, Any]]:
    """One node's whole ring, then the other's."""
    return sorted(records, key=lambda one: str(one["node_name"]))


def in_turns(records: list[dict[str, Any]], chance: random.Random) -> list[dict[str, Any]]:
    """Some of one node, some of the other."""
    rings = {node: [one for one in records if one["node_name"] == node] for node in NODES}
    mixed = []
    while left := [node for node in NODES if rings[node]]:
        ring, many = rings[chance.choice(left)], chance.choice([1, 5, 200])
        mixed += ring[:many]
        del ring[:many]
    return mixed


def newest_first(records: list[dict[str, Any]], _: random.Random) -> list[dict[str, Any]]:
    return records[::-1]


def shaken(records: list[dict[str, Any]], chance: random.Random) -> list[dict[str, Any]]:
    """Each record some places away from its own."""
    places = {id(one): at + chance.uniform(0, 20) for at, one in enumerate(records)}
    return sorted(records, key=lambda one: places[id(one)])


@pytest.mark.parametrize(
    ("order", "wrong"),
    [(the_one_before_the_other, 0), (in_turns, 0), (newest_first, SHARE), (shaken, SHARE)],
)
def test_whatever_the_order(order: Callable[..., list[dict[str, Any]]], wrong: float) -> None:
    told = missed = 0
    for seed in range(6):
        paper = a_day(Paper(seed=seed, linear=bool(seed % 2), mixed=True))
        told += len(knowable(paper.tries))
        missed += len(different(paper, listed(order(paper.records(), random.Random(seed)))))
    print(f"{order.__name__}: {missed} of {told} ports wrong")
    assert missed <= wrong * told


def at_a_rate(paper: Paper, per_second: int, seconds: int, **how: Any) -> Paper:
    """Tries to a denied server, evenly through the time."""
    for number in range(per_second * seconds):
        paper.connect(number / per_second, BAD, **how)
    return paper


def denied(per_second: int, seconds: int, timeout: float, *, linear: bool) -> Paper:
    paper = Paper(seed=per_second, linear=linear)
    paper.policy(-1, ALLOWED)
    return at_a_rate(paper, per_second, seconds, timeout=timeout)


def switched(*, linear: bool) -> Paper:
    """The policy changes each 7 s: tries are denied, late, or forwarded on the same ports."""
    paper = Paper(seed=7, linear=linear)
    for turn in range(5):
        paper.policy(7 * turn - 1, [(BAD, 443)] if turn % 2 else [])
    return at_a_rate(paper, 150, 30)


def on_few_ports(close: str) -> Paper:
    """Connections that work, on ports that come back within seconds."""
    return at_a_rate(Paper(seed=3), 200, 20, close=close, among=range(40_001, 41_001, 2))


def refused() -> Paper:
    return at_a_rate(Paper(seed=4), 200, 20, peer="refuses", among=range(40_001, 41_001, 2))


DENSE: dict[str, Callable[[], Paper]] = {
    "60 denied/s, given up after 2.5 s": lambda: denied(60, 60, 2.5, linear=True),
    "60 denied/s on an older kernel": lambda: denied(60, 60, 2.5, linear=False),
    "200 denied/s": lambda: denied(200, 30, 2.5, linear=True),
    "200 denied/s, given up after 0.9 s": lambda: denied(200, 30, 0.9, linear=True),
    "400 denied/s": lambda: denied(400, 20, 2.5, linear=True),
    "150/s, the policy switched each 7 s": lambda: switched(linear=True),
    "the same on an older kernel": lambda: switched(linear=False),
    "200/s on 500 ports, closed by the server": lambda: on_few_ports("server"),
    "200/s on 500 ports, reset by the client": lambda: on_few_ports("reset"),
    "200/s refused on 500 ports": refused,
}


@pytest.mark.parametrize("make", DENSE.values(), ids=DENSE)
def test_however_fast_ports_come_back(make: Callable[[], Paper]) -> None:
    paper = make()
    wanted = Counter(one.outcome for one in paper.tries if one.seen)
    got = Counter(one.outcome for one in listed(paper.records()))
    print(dict(wanted), dict(got))
    for outcome in wanted.keys() | got.keys():
        assert abs(wanted[outcome] - got[outcome]) <= SHARE * wanted[outcome]


def test_reading_late_makes_no_attempt_two() -> None:
    for linear in (True, False):
        paper = Paper(linear=linear)
        paper.policy(-1, ALLOWED)
        for at in range(0, 60, 10):
            paper.stall(at + 5, 0.3)
        at_a_rate(paper, 5, 60, timeout=10)
        assert abs(len(listed(paper.records())) - len(paper.tries)) <= SHARE * len(paper.tries)
