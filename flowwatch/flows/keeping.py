"""The state of a join as plain data, and back: so that another process goes on with it tomorrow.

    text = msgspec.msgpack.encode(kept_join(join))
    join = join_of(msgspec.msgpack.decode(text, type=KeptJoin), nodes={})

Declared structs rather than pickle: whoever can write the file can then say nothing but numbers and texts
of these types, and nothing in it is run. They are checked as they are decoded; what points elsewhere, here.

What is the same object stays one: attempts, which several dicts hold, and what attempts share. Texts of
nodes are compared by identity, so they are those that whoever reads the next records has (``nodes``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

import msgspec

from flowwatch.flows import meaning
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.clocks import HEARD, KEPT, Clocks, _Assumed, _Pair
from flowwatch.flows.counting import Tally
from flowwatch.flows.generations import Generations
from flowwatch.flows.join import Join
from flowwatch.flows.known import _SAID, make_kind
from flowwatch.flows.model import Endpoint, Ends, Extras, Flow, Kind, Layer7, PolicyRef
from flowwatch.flows.open_attempt import _NO_MORE, ANSWERS, Key, Numbers, OpenAttempt
from flowwatch.flows.peers import KINDS, Known, Peer, PeerNames
from flowwatch.flows.standing import StandingLines
from flowwatch.flows.tries import Rhythm

Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""As columns hold it."""
Nodes = dict[str, str]
"""The text of each node by itself: the one object that stands for it."""

_Kept = TypeVar("_Kept", bound=msgspec.Struct)
_Thing = TypeVar("_Thing", bound=Hashable)


class Unsound(ValueError):
    """What was kept contradicts itself."""


def held(sound: bool) -> None:
    """Raise Unsound where something isn't as it must be."""
    if not sound:
        raise Unsound


def fields_of(of: object, kept: type[_Kept]) -> _Kept:
    """The fields of ``kept`` as ``of`` has them: private ones, else public ones."""
    return kept(*[getattr(of, _attribute(of, name)) for name in kept.__struct_fields__])


def set_fields(of: object, kept: msgspec.Struct) -> None:
    """The other way round."""
    for name in kept.__struct_fields__:
        setattr(of, _attribute(of, name), getattr(kept, name))


def _attribute(of: object, name: str) -> str:
    return private if hasattr(of, private := f"_{name}") else name


# Names, clocks, what is counted -------------------------------------------------------------------


class KeptKnown(msgspec.Struct, array_like=True):
    since: Int
    spans: list[tuple[Int, Int]]
    answers: list[tuple[Int, Int]]


class KeptNames(msgspec.Struct, array_like=True):
    names: dict[tuple[str, str, str], str]
    resolving: set[tuple[str, str]]
    aliases: dict[str, tuple[str, ...]]


class KeptPair(msgspec.Struct, array_like=True):
    seen: list[Int]
    count: Int
    known: Int | None
    guess: Int | None
    borne_out: bool


class KeptAssumed(msgspec.Struct, array_like=True):
    pair: int
    attempt: int
    nodes: tuple[str, str]
    difference: Int
    left: Int
    times: dict[str, list[Int]]


class KeptClocks(msgspec.Struct, array_like=True):
    between: list[tuple[str, str]]
    pairs: list[KeptPair]
    """Of these nodes; then those that are only assumed any more."""
    partners: dict[str, list[str]]
    assumed: list[list[KeptAssumed]]
    heard: dict[str, Int]
    shift: Int
    ahead: dict[str, Int]


class KeptUnseen(msgspec.Struct, array_like=True):
    spans: dict[str, tuple[Int, Int]]
    newest: dict[str, Int]


_TALLY = {name: kind for name, kind in get_type_hints(Tally).items() if name != "clocks"}
KeptTally: Any = msgspec.defstruct("KeptTally", list(_TALLY.items()), array_like=True)
"""A :class:`Tally` but its clocks, which are those of the scopes."""


# Attempts -----------------------------------------------------------------------------------------


Said = tuple[
    Int, Int, Int, bool | None, Int, Int, str, Int, tuple[PolicyRef, ...], tuple[PolicyRef, ...],
    Int, Int, str, Int, str, str, bool,
]  # fmt: skip
"""All that a kind is made of."""


class KeptFlow(msgspec.Struct, array_like=True):
    said: Said
    ends: tuple[Endpoint, Endpoint, tuple[str, ...], tuple[str, ...], str, str]
    rest: tuple[Int, str, str, Int, Int, str]
    l7: Layer7 | None
    extras: Extras | None


_REFS = {
    "client": "endpoints", "server": "endpoints", "egress_peer": "peers", "ingress_peer": "peers",
    "allowed_by": "policies", "admitted_by": "policies", "denied_by": "policies", "rhythm": "rhythms",
}  # fmt: skip
"""What attempts share, by the table that has it."""
_TEXTS = ("node", "other", "syn_node")
_NOT_KEPT = ("egress_news", "ingress_news")
"""Of one batch."""
_PLAIN: dict[Any, Any] = {int: Int, Mapping[str, int]: dict[str, Int]}
_HINTS = {name: kind for name, kind in get_type_hints(OpenAttempt).items() if name not in _NOT_KEPT}
KeptAttempts: Any = msgspec.defstruct(
    "KeptAttempts",
    [
        (name, list[int] if name in _REFS else list[_PLAIN.get(kind, kind)])  # type: ignore[misc]
        for name, kind in _HINTS.items()
    ],
    array_like=True,
)
"""Attempts by column: those of another field follow by themselves."""


class KeptGenerations(msgspec.Struct, array_like=True):
    """Attempts by their number in the table."""

    young: list[int]
    old: list[int]
    young_earlier: list[list[int]]
    old_earlier: list[list[int]]
    room: Int
    since: dict[str, Int]
    closed_early: Int


class KeptLines(msgspec.Struct, array_like=True):
    known: list[tuple[tuple[str, str, Int, Int, str, Int, Int, Int], int]]
    replies: Int
    unattributed: Int


class KeptScope(msgspec.Struct, array_like=True):
    """One server's."""

    names: KeptNames
    known_as: dict[str, dict[str, KeptKnown]]
    clocks: KeptClocks
    open: KeptGenerations
    latest: list[int]
    early: list[tuple[Key, KeptFlow]]
    lines: KeptLines
    unseen: KeptUnseen
    answers: Int
    replies: Int
    unattributed: Int
    errors_dropped: Int


class KeptNumbers(msgspec.Struct, array_like=True):
    free: list[int]
    size: int


class KeptJoin(msgspec.Struct, array_like=True):
    """All of a :class:`Join` but who listens."""

    tally: KeptTally
    numbers: KeptNumbers
    endpoints: list[Endpoint]
    peers: list[tuple[str, str] | None]
    policies: list[tuple[PolicyRef, ...]]
    rhythms: list[dict[tuple[Int, Int], tuple[Int, Int]] | None]
    attempts: KeptAttempts
    scopes: dict[str, KeptScope]


# There --------------------------------------------------------------------------------------------


class Table(Generic[_Thing]):
    """Numbers things, equal ones alike or each its own."""

    def __init__(self, key: Callable[[Any], Hashable] = lambda thing: thing) -> None:
        self._key = key
        self._numbers: dict[Hashable, int] = {}
        self.things: list[Any] = []

    def number(self, thing: Any) -> int:
        key = self._key(thing)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.things)
            self.things.append(thing)
        return number

    def all(self, things: Iterable[Any]) -> list[int]:
        return [self.number(thing) for thing in things]


def kept_join(join: Join) -> KeptJoin:
    """The state of ``join`` between two batches; it may go on. OverflowError in whoever encodes it, for
    counts of more than 64 bits."""
    attempts: Table[Any] = Table(id)
    scopes = {origin: _kept_scope(scope, attempts) for origin, scope in join.scopes.items()}
    tables: dict[str, Table[Any]] = {
        # Endpoints are shared, and dear to hash.
        "endpoints": Table(id), "peers": Table(), "policies": Table(), "rhythms": Table(id),
    }  # fmt: skip
    columns = []
    for name in _HINTS:
        values = [getattr(one, name) for one in attempts.things]
        if name == "more":
            values = [one or {} for one in values]
        columns.append(tables[_REFS[name]].all(values) if name in _REFS else values)
    return KeptJoin(
        KeptTally(*[getattr(join.tally, name) for name in _TALLY]),
        fields_of(join.numbers, KeptNumbers),
        tables["endpoints"].things,
        tables["peers"].things,
        tables["policies"].things,
        [None if one is None else _pairs(one._counts) for one in tables["rhythms"].things],
        KeptAttempts(*columns),
        scopes,
    )


def _pairs(counts: Mapping[tuple[int, int], Sequence[int]]) -> dict[Any, Any]:
    return {key: (count[0], count[1]) for key, count in counts.items()}


def _kept_scope(scope: Attempts, attempts: Table[Any]) -> KeptScope:
    opened, names = scope._open, scope.names
    return KeptScope(
        fields_of(names, KeptNames),
        {
            address: {name: fields_of(one, KeptKnown) for name, one in known.items()}
            for address, known in names._known_as.items()
        },
        _kept_clocks(scope.clocks, attempts),
        KeptGenerations(
            attempts.all(opened.young.values()),
            attempts.all(opened.old.values()),
            [attempts.all(some) for some in opened._young_earlier.values()],
            [attempts.all(some) for some in opened._old_earlier.values()],
            opened._room,
            opened._since,
            opened.closed_early,
        ),
        attempts.all(scope._latest.values()),
        [(key, _kept_flow(flow)) for key, flow in scope._early.items()],
        KeptLines(
            [(line, attempts.number(one)) for line, one in scope.lines._known.items()],  # type: ignore[misc]
            scope.lines.replies,
            scope.lines.unattributed,
        ),
        fields_of(scope.unseen, KeptUnseen),
        scope._weighing.answers,
        scope.replies,
        scope.unattributed,
        scope.errors_dropped,
    )


def _kept_clocks(clocks: Clocks, attempts: Table[Any]) -> KeptClocks:
    pairs: Table[Any] = Table(id)
    pairs.all(clocks._pairs.values())
    assumed = [
        [
            KeptAssumed(
                pairs.number(one.pair), attempts.number(one.attempt), one.nodes, one.difference,
                one.left, one.times,
            )
            for one in waiting
        ]
        for waiting in clocks._assumed.values()
    ]  # fmt: skip
    return KeptClocks(
        list(clocks._pairs),
        [
            KeptPair(list(one.seen), one.count, one.known, one.guess, one.borne_out)
            for one in pairs.things
        ],
        {node: list(partners) for node, partners in clocks._partners.items()},
        assumed,
        clocks.heard,
        clocks.shift,
        clocks.ahead,
    )


def said_of(kind: Kind) -> Said:
    """What ``kind`` is made of."""
    return tuple([getattr(kind, name) for name in _SAID])


def _kept_flow(flow: Flow) -> KeptFlow:
    ends = flow.ends
    return KeptFlow(
        said_of(flow.kind),
        (
            ends.source, ends.destination, ends.source_names, ends.destination_names,
            ends.source_service, ends.destination_service,
        ),
        (
            flow.time, flow.source_ip, flow.destination_ip, flow.source_port, flow.destination_port,
            flow.uuid,
        ),
        flow.l7,
        flow.extras,
    )  # fmt: skip


# And back -----------------------------------------------------------------------------------------


def join_of(kept: KeptJoin, nodes: Nodes) -> Join:
    """A join that goes on as the one did of which this was kept. ``nodes`` gets its nodes' texts.

    ValueError or IndexError for what contradicts itself.
    """
    join = Join()
    attempts = _attempts(kept, nodes)
    set_fields(join.numbers, kept.numbers)
    for name in _TALLY:
        setattr(join.tally, name, getattr(kept.tally, name))
    for origin, of in kept.scopes.items():
        scope = join.scopes[origin] = _scope(of, attempts, join.numbers, nodes)
        join.tally.clocks[origin] = scope.clocks
    taken = [attempt.number for _, _, attempt in join.open_attempts()]
    numbers = join.numbers
    # Each number is free, or that of one attempt that is open.
    held(sorted([*taken, *numbers._free]) == list(range(numbers.size)))
    return join


def _attempts(kept: KeptJoin, nodes: Nodes) -> list[OpenAttempt]:
    tables: dict[str, list[Any]] = {
        "endpoints": kept.endpoints,
        "peers": [None if one is None else Peer(*one) for one in kept.peers],
        "policies": kept.policies,
        "rhythms": [None if one is None else _rhythm(one) for one in kept.rhythms],
    }
    held(all(one is None or one.kind in KINDS for one in tables["peers"]))
    columns: list[list[Any]] = []
    for name in _HINTS:
        values = getattr(kept.attempts, name)
        if name in _REFS:
            held(min(values, default=0) >= 0)
            table = tables[_REFS[name]]
            values = [table[number] for number in values]
        elif name in _TEXTS:
            values = [None if one is None else nodes.setdefault(one, one) for one in values]
        elif name == "more":
            values = [one or _NO_MORE for one in values]
        columns.append(values)
    made = [OpenAttempt(*row) for row in zip(*columns, strict=True)]
    for one in made:
        held(
            0 <= one.outcome < len(meaning.OUTCOMES)
            and 0 <= one.answer < len(ANSWERS)
            and one.direction in (1, 2)
            and 0 <= one.version <= 0x7FFF
        )
    return made


def _rhythm(counts: Mapping[tuple[int, int], tuple[int, int]]) -> Rhythm:
    made = Rhythm()
    made._counts = {key: list(count) for key, count in counts.items()}
    return made


def _scope(
    kept: KeptScope, attempts: list[OpenAttempt], numbers: Numbers, nodes: Nodes
) -> Attempts:
    def of(numbers: Iterable[int]) -> list[OpenAttempt]:
        found = list(numbers)
        held(min(found, default=0) >= 0)
        return [attempts[number] for number in found]

    scope = Attempts(numbers=numbers)
    _set_names(scope.names, kept)
    _set_clocks(scope.clocks, kept.clocks, of)
    _set_generations(scope._open, kept.open, of)
    scope._latest = {one.key[:2]: one for one in of(kept.latest)}
    scope._early = {key: _flow(flow, nodes) for key, flow in kept.early}
    _set_lines(scope.lines, kept.lines, of)
    set_fields(scope.unseen, kept.unseen)
    scope._weighing.answers = kept.answers
    scope.replies, scope.unattributed = kept.replies, kept.unattributed
    scope.errors_dropped = kept.errors_dropped
    scope.told_ahead = scope.clocks.ahead
    return scope


_Of = Callable[[Iterable[int]], list[OpenAttempt]]


def _set_names(names: PeerNames, kept: KeptScope) -> None:
    set_fields(names, kept.names)
    for address, known in kept.known_as.items():
        names._known_as[address] = {}
        for name, one in known.items():
            made = names._known_as[address][name] = Known(one.since)
            set_fields(made, one)


def _set_generations(opened: Generations, kept: KeptGenerations, of: _Of) -> None:
    opened.young, opened.old = (
        {one.key: one for one in of(some)} for some in (kept.young, kept.old)
    )
    opened._young_earlier, opened._old_earlier = (
        {found[0].key: found for found in map(of, some)}
        for some in (kept.young_earlier, kept.old_earlier)
    )
    opened._room, opened._since, opened.closed_early = kept.room, kept.since, kept.closed_early


def _set_lines(lines: StandingLines, kept: KeptLines, of: _Of) -> None:
    lines._known = {line: of([number])[0] for line, number in kept.known}
    lines.replies, lines.unattributed = kept.replies, kept.unattributed


def _set_clocks(clocks: Clocks, kept: KeptClocks, of: _Of) -> None:
    pairs = []
    for one in kept.pairs:
        pair = _Pair()
        set_fields(pair, one)
        pair.seen = deque(one.seen, KEPT)
        pairs.append(pair)
    clocks._pairs = dict(zip(kept.between, pairs, strict=False))
    held(len(clocks._pairs) == len(kept.between))
    clocks._partners = {node: dict.fromkeys(some) for node, some in kept.partners.items()}
    held(all(one in clocks._partners[other] for pair in clocks._pairs
             for one, other in (pair, pair[::-1])))  # fmt: skip
    for waiting in kept.assumed:
        made = []
        for told in waiting:
            held(told.pair >= 0 and set(told.nodes) == set(told.times))
            assumed = _Assumed(pairs[told.pair], of([told.attempt])[0], told.nodes, told.difference)
            assumed.left, assumed.times = told.left, told.times
            held(all(len(times) <= HEARD for times in told.times.values()))
            made.append(assumed)
        clocks._assumed[id(made[0].attempt)] = made
    clocks.heard, clocks.shift, clocks.ahead = kept.heard, kept.shift, kept.ahead


def kind_of(kept: Said, nodes: Nodes) -> Kind:
    """The kind that is made of this."""
    said: dict[str, Any] = dict(zip(_SAID, kept, strict=True))
    said["node"] = nodes.setdefault(said["node"], said["node"])
    return make_kind(**said)


def _flow(kept: KeptFlow, nodes: Nodes) -> Flow:
    time, source, destination, source_port, destination_port, uuid = kept.rest
    return Flow(
        kind_of(kept.said, nodes), Ends(*kept.ends), time, source, destination, source_port, destination_port,
        uuid, kept.l7, kept.extras,
    )  # fmt: skip
