"""Attempts that went as others before are counted without being observed, and yet as if they were."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from flowwatch.audits.evidence import Observer
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch
from flowwatch.marks.changes import Changes
from flowwatch.marks.sightings import Sightings
from flowwatch.sources.files import FileSource
from tests.material import OWN
from tests.unit.marks.traffic import ALLOW, API, EVIL, OTHER, Traffic, pod

PODS = pod(1), pod(2)
"""As decoders do, each is one object."""


def observed(batches: Iterable[Batch]) -> Sightings:
    """Each attempt's own observation, whoever went so before."""
    join, observer, seen = Join(), Observer(), Sightings()
    join.listen(observer)
    join.read(batches)
    for origin, scope, attempt in join.open_attempts():
        for one in observer.over(attempt, scope):
            seen.add(one, origin)
    return seen


def test_who_went_so_before_is_known() -> None:
    changes = Changes()
    changes.read(made())
    attempts = sum(len(at) for hows in changes.seen.times.values() for at in hows.values())
    assert attempts > 120
    # By pod: API answered or not, by one policy or two; EVIL denied, or nobody asked at two ports.
    assert len(changes._alike._known) < attempts / 4


def capture() -> list[Batch]:
    return list(FileSource([str(OWN / "captures" / "weather.jsonl")]).batches())


def made() -> list[Batch]:
    """The same two pods again and again, with what differs in one thing each."""
    traffic = Traffic()
    for at in range(40):
        source = PODS[at % 2]
        by = (ALLOW, OTHER) if at % 5 == 0 else (ALLOW,)
        traffic.passes(at, API, by, source=source, answered=at % 3 != 0)
        traffic.fails(at + 0.2, EVIL, source=source)
        traffic.passes(at + 0.4, EVIL, asked=False, source=source, destination_port=80 + at % 2)
        if at % 7 == 0:
            traffic.fails(at + 0.6, API, source=source, destination_port=8443)
    return [Batch(flows=sorted(traffic.records, key=lambda one: one.time))]


@pytest.mark.parametrize("batches", [capture(), made()], ids=["capture", "made"])
def test_the_same_as_if_each_were_observed(batches: list[Batch]) -> None:
    changes = Changes()
    changes.read(batches)
    alone = observed(batches)

    assert {
        key: {how: sorted(at) for how, at in hows.items()}
        for key, hows in changes.seen.times.items()
    } == {key: {how: sorted(at) for how, at in hows.items()} for key, hows in alone.times.items()}
    assert changes.seen.lasting == alone.lasting
    assert changes.seen.cut == alone.cut
