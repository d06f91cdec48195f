"""Each field that is kept of what ``unused`` counts: of some traffic the answer is another one without it."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from flowwatch.audits.keeping import KeptExtra, KeptObserver, KeptParty
from flowwatch.flows import generations
from flowwatch.flows.join import Join
from flowwatch.flows.keeping import KeptJoin, join_of, kept_join
from flowwatch.flows.model import Batch, Flow, PolicyRef
from flowwatch.history.attempts.asked import Asked
from flowwatch.history.attempts.checkpoint import SPOILT
from flowwatch.marks import keeping
from flowwatch.marks.keeping import Keeping, KeptAsking
from flowwatch.marks.kept_changes import KeptChanges, KeptSightings
from tests.unit.flows.made import ACK, APP, denied, flow, l7, reply, verdict
from tests.unit.marks.odd_traffic import batches
from tests.unit.marks.test_keeping import gone_on, kept

OLD = PolicyRef("CiliumNetworkPolicy", "weather", "old")
NEW = PolicyRef("CiliumNetworkPolicy", "weather", "new")
LATER = {"destination_ip": "5.6.7.8", "source_port": 41_000}


def policies_name_another(revised: bool = False) -> list[Flow]:
    """One attempt that the old policy lets through, and one, to the same, that the new one does."""
    return [
        verdict(0, allowed_by=(OLD,), revision=int(revised)),
        *_others(),
        verdict(60, allowed_by=(NEW,), revision=2 * revised, source_port=40_001),
    ]


def a_proxy_is_asked_too() -> list[Flow]:
    first, *rest = policies_name_another(revised=True)
    return [first, l7(0.1), *rest]


def a_connection_is_cut() -> list[Flow]:
    """Let through by the old policy and answered, until it is denied; others pass by the new one then."""
    return [
        verdict(0, allowed_by=(OLD,)),
        reply(0.01),
        flow(0.02, tcp_flags=ACK),
        *denied(1, tcp_flags=ACK),
        verdict(2, allowed_by=(NEW,), **LATER),
        *_others(),
    ]


def _others() -> list[Flow]:
    """As many that nobody asks policies about, that attempts before them are over."""
    return [flow(10 + at, source_port=50_000 + at, destination_ip="9.9.9.9") for at in range(40)]


def batched(flows: list[Flow]) -> list[Batch]:
    return [Batch(flows=[one]) for one in flows]


TRAFFIC = {
    "revised": batched(policies_name_another(revised=True)),
    "through a proxy": batched(a_proxy_is_asked_too()),
    "cut": batched(a_connection_is_cut()),
    "from another cluster": batched([flow(0, source=replace(APP, cluster="far")), *_others()]),
    **{f"odd {seed}": batches(Random(seed), 60) for seed in range(4)},
}


@pytest.fixture(autouse=True)
def soon_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations, "OPEN_AT_LEAST", 10)
    monkeypatch.setattr(generations, "GAP", 5 * 10**9)


def test_each_of_these_shows_that_a_policy_came() -> None:
    for name in ("revised", "through a proxy", "cut"):
        assert list(kept(TRAFFIC[name]).changed) == ["weather/new (CiliumNetworkPolicy)"], name
    assert not kept(batched(policies_name_another())).changed


@pytest.mark.parametrize("name", TRAFFIC)
def test_wherever_it_pauses_it_counts_what_one_counts_that_saw_all(name: str) -> None:
    flows = TRAFFIC[name]
    for cut in range(1, len(flows)):
        assert gone_on(flows, {cut}) == kept(flows)


def without(thing: Any, of: type, field: str) -> Any:
    """``thing`` with ``field`` of each ``of`` in it empty."""
    if isinstance(thing, msgspec.Struct):
        changed = {
            name: without(getattr(thing, name), of, field) for name in thing.__struct_fields__
        }
        if isinstance(thing, of):
            changed[field] = type(changed[field])()
        return type(thing)(**changed)
    if isinstance(thing, dict):
        return {key: without(value, of, field) for key, value in thing.items()}
    if isinstance(thing, list):
        return [without(one, of, field) for one in thing]
    return thing


def lacking(flows: list[Batch], cut: int, of: type, field: str) -> Asked | None:
    """What one counts that goes on before ``cut`` without that; None where it notices."""
    join = Join()
    counting = Keeping(join)
    join.read(flows[:cut])
    state = msgspec.msgpack.decode(counting.kept(), type=KeptAsking)
    packed = msgspec.msgpack.encode(kept_join(join))
    join = join_of(msgspec.msgpack.decode(packed, type=KeptJoin), {})
    counting = Keeping(join)
    try:
        counting.go_on(msgspec.msgpack.encode(without(state, of, field)))
        join.read(flows[cut:])
    except SPOILT:
        return None
    return counting.asked()


FIELDS: list[tuple[type, str]] = [
    (of, name)
    for of in (KeptAsking, KeptChanges, KeptSightings, KeptObserver, KeptExtra, KeptParty)
    for name in of.__struct_fields__
]


BOUNDS: dict[tuple[type, str], int] = {(KeptChanges, "attempts"): 30, (KeptAsking, "why_not"): 5}
"""Attempts at most, where a field is about that there are more."""


@pytest.mark.parametrize(
    ("of", "field"), FIELDS, ids=lambda one: one if isinstance(one, str) else one.__name__
)
def test_without_it_the_answer_is_another_one(
    of: type, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if (of, field) in BOUNDS:
        monkeypatch.setattr(keeping, "MOST_TIMES", BOUNDS[of, field])
    told = {name: kept(flows) for name, flows in TRAFFIC.items()}
    assert any(
        lacking(flows, cut, of, field) != told[name]
        for name, flows in TRAFFIC.items()
        for cut in range(1, len(flows))
    )
