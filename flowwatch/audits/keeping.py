"""The state of an observer as plain data, and back, beside its join's (:mod:`flowwatch.flows.keeping`).

Of one that nobody asked to call back, and as far as needs and turns are counted by it: not what a judge alone
asks (requests at a proxy, who denied, pods and revisions). What it remembers of open attempts goes by their
numbers, which the kept join has, too; of a verdict that lets one through its time and kind are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, TypeAlias

import msgspec

from flowwatch.audits.evidence import Observer
from flowwatch.audits.parties import MOST
from flowwatch.audits.remembered import Extra, Policies
from flowwatch.flows.keeping import Int, Table, held
from flowwatch.flows.model import Endpoint, Ends, Flow, Kind
from flowwatch.policy.party import Party

_Way = Annotated[int, msgspec.Meta(ge=0, le=1)]
_At: TypeAlias = tuple[Int, str]
_NO_ENDS = Ends(Endpoint(), Endpoint(), (), (), "", "")


class KeptExtra(msgspec.Struct, array_like=True):
    allowed: dict[_Way, Policies]
    dropped: dict[_Way, _At]
    waits_for_auth: bool


class KeptObserver(msgspec.Struct, array_like=True):
    """What is kept of an :class:`Observer` but its parties."""

    extra: dict[Int, KeptExtra]
    """By the attempt's number."""
    allowing: dict[Int, tuple[int, Int]]
    """By twice the attempt's number, and one more for ingress: its verdict's kind (a number), and time."""
    other_end: dict[Int, Int]
    clusters: list[str]


class KeptParty(msgspec.Struct, array_like=True):
    """By what a party is known, and its number among those that were kept elsewhere."""

    end: tuple[tuple[str, ...], str, str, str, str]
    rest: tuple[str | tuple[str, ...] | None, ...]
    """The address, and its names, where these count."""
    number: int


def kept_observer(observer: Observer, kinds: Table[Kind]) -> KeptObserver:
    """The state of ``observer`` between two batches; ``kinds``: a table that gets those of verdicts."""
    remembered = observer._remembered
    return KeptObserver(
        {
            number: KeptExtra(extra.allowed, extra.dropped, extra.waits_for_auth)
            for number, extra in remembered._extra.items()
        },
        {at: (kinds.number(flow.kind), flow.time) for at, flow in remembered._allowing.items()},
        observer._other_end,
        sorted(observer.clusters),
    )


def set_observer(
    observer: Observer, kept: KeptObserver, kinds: Sequence[Kind], numbers: Collection[int]
) -> None:
    """Let one that was just made go on; ``numbers``: those of the attempts that are open.

    ValueError or LookupError for what contradicts itself.
    """
    remembered = observer._remembered
    held(all(number in numbers for number in (*kept.extra, *kept.other_end)))
    held(all(at >> 1 in numbers and at >> 1 not in kept.extra for at in kept.allowing))
    held(all(kind >= 0 for kind, _ in kept.allowing.values()))
    remembered._extra = {
        number: Extra(
            allowed=extra.allowed, dropped=extra.dropped, waits_for_auth=extra.waits_for_auth
        )
        for number, extra in kept.extra.items()
    }
    remembered._allowing = {
        at: Flow(kinds[kind], _NO_ENDS, time, "", "", 0, 0, "", None, None)
        for at, (kind, time) in kept.allowing.items()
    }
    observer._other_end, observer.clusters = kept.other_end, set(kept.clusters)


def kept_parties(observer: Observer, numbers: Mapping[Party, int]) -> list[KeptParty]:
    """By what parties that ``observer`` made are known; ``numbers`` has all of them."""
    return [
        KeptParty(key[:5], key[5:], numbers[party])  # type: ignore[arg-type] # as Parties.of makes them
        for key, party in observer._parties._known.items()
    ]


def set_parties(observer: Observer, kept: Sequence[KeptParty], parties: Sequence[Party]) -> None:
    """Have ``observer`` make those anew that aren't among ``parties``. ValueError or LookupError."""
    held(len(kept) <= MOST and all(one.number >= 0 and len(one.rest) <= 2 for one in kept))
    observer._parties._known = {(*one.end, *one.rest): parties[one.number] for one in kept}
    held(len(observer._parties._known) == len(kept))
