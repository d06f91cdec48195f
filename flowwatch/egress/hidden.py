"""An aggregate as if it had been filled by who knows pseudonyms alone (flowwatch.flows.hiding).

The rows and their numbers are the same; what they are called is another thing. So filters, orders and folds
of whoever looks at it go by pseudonyms, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from copy import copy
from typing import Any, Protocol, TypeVar, cast

from flowwatch.egress import view
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.close_up import close_up
from flowwatch.egress.ends import RowEnds
from flowwatch.egress.folding import By
from flowwatch.egress.lookups import Lookup, Lookups
from flowwatch.egress.passing import Passing
from flowwatch.egress.query import Monitor, Query
from flowwatch.egress.rows import CloseUp, Fold, Recent, Snapshot
from flowwatch.egress.table import ANY_POD, Columns, Interned, PodName, Rare
from flowwatch.egress.vocabulary import seen
from flowwatch.egress.whose import whose
from flowwatch.flows.coverage import Coverage
from flowwatch.flows.hiding import Hiding
from flowwatch.flows.join import Join
from flowwatch.flows.model import Endpoint, Flow
from flowwatch.flows.peers import KINDS, Peer, PeerNames
from flowwatch.flows.source import SourceState


class Real(Monitor, Protocol):
    """A monitor that lets itself be looked at otherwise (flowwatch.egress.monitor)."""

    live: bool

    def snapshot_of(self, shown: Callable[[], Aggregate], query: Query) -> Snapshot: ...

    def looked_at(self) -> AbstractContextManager[Aggregate]: ...


_Value = TypeVar("_Value")
_Remembered = tuple[int, Flow, bool, PeerNames]


class Hidden:
    """What is asked in place of an aggregate. Called while nobody adds to it."""

    def __init__(self, aggregate: Aggregate, hiding: Hiding) -> None:
        self._aggregate = aggregate
        self._hiding = hiding
        self._of: Columns | None = None
        """Of which columns the names below are."""
        self._begin(aggregate.columns)

    def _begin(self, columns: Columns) -> None:
        self._of = columns
        self._pods: Interned[PodName] = Interned()
        self._peers: Interned[str] = Interned()
        self._sets: Interned[Any] = Interned()
        self._nodes: Interned[tuple[str, str]] = Interned()
        self._kinds: dict[int, int] = {}
        self._rows = 0

    def aggregate(self) -> Aggregate:
        """The aggregate of now."""
        real, hiding = self._aggregate, self._hiding
        if real.columns is not self._of:
            # Rows were folded: they have other numbers.
            self._begin(real.columns)
        shown = copy(real)
        shown.columns = self._columns(real.columns)
        shown.join = cast(Join, _Join(real.join, hiding))
        shown.recent = _Recent(real.recent, hiding)
        shown.ends = _Ends(real.ends, hiding) if real.ends is not None else None
        shown.lookups = (
            _Lookups(real.lookups, self._pods_by_name(), hiding)
            if real.lookups is not None
            else None
        )
        # Both are about policies by their real names.
        shown.stager = None
        return shown

    def _columns(self, real: Columns) -> Columns:
        hiding, of = self._hiding, self._hiding.names.of
        shown = copy(real)
        for number in real.peer[self._rows :]:
            self._kinds.setdefault(number >> 3, number & 7)
        self._rows = len(real.peer)
        shown.pods = _continued(self._pods, real.pods, lambda _, pod: self._pod(pod))
        shown.peer_names = _continued(
            self._peers,
            real.peer_names,
            lambda at, name: hiding.peer(Peer(KINDS[self._kinds.get(at, 0)], name)).name,
        )
        shown.policy_sets = _continued(
            self._sets,
            real.policy_sets,
            lambda _, sides: tuple(tuple(map(hiding.policy, side)) for side in sides),
        )
        shown.nodes = _continued(
            self._nodes, real.nodes, lambda _, one: (hiding.origin(one[0]), hiding.node(one[1]))
        )
        shown.places = {
            (of("cluster", name), hiding.origin(server)): None for name, server in real.places
        }
        shown.workloads = [of("app", name) for name in real.workloads]
        address, refused = hiding.names.address, hiding.refused
        shown.addresses = _each(real.addresses, lambda texts: tuple(map(address, texts)))
        shown.proxy_refused = _each(real.proxy_refused, lambda texts: tuple(map(refused, texts)))
        shown.refused = _each(
            real.refused, lambda counts: {refused(k): n for k, n in counts.items()}
        )
        shown.rare = _each(real.rare, self._rare)
        shown.causes, shown.staged = {}, {}
        return shown

    def _pod(self, pod: PodName) -> PodName:
        namespace, name, cluster, server = pod
        hiding, of = self._hiding, self._hiding.names.of
        if not namespace:
            name = hiding.subject(name)
        elif name.startswith(ANY_POD):
            name = ANY_POD + of("app", name.removeprefix(ANY_POD))
        else:
            name = of("pod", name)
        return of("ns", namespace), name, of("cluster", cluster), hiding.origin(server)

    def _rare(self, rare: Rare) -> Rare:
        if not rare.policy_log:
            return rare
        shown = copy(rare)
        shown.policy_log = {self._hiding.names.of("log", one): None for one in rare.policy_log}
        return shown

    def _pods_by_name(self) -> Callable[[], Mapping[tuple[str, str], tuple[str, str]]]:
        shown, real = self._pods.things, self._aggregate.columns.pods.things
        return lambda: {a[:2]: b[:2] for a, b in zip(shown, real, strict=True)}


def _continued(
    shown: Interned[Any], real: Interned[Any], made: Callable[[int, Any], Any]
) -> Interned[Any]:
    """``shown`` with what came to ``real`` since; the same numbers."""
    for at in range(len(shown.things), len(real.things)):
        thing = made(at, real.things[at])
        shown.numbers[thing] = at
        shown.things.append(thing)
    return shown


class _Each(Mapping[int, _Value]):
    """By row, each made when it is looked at."""

    def __init__(self, real: dict[int, _Value], made: Callable[[_Value], _Value]) -> None:
        self._real, self._made = real, made

    def __getitem__(self, row: int) -> _Value:
        return self._made(self._real[row])

    def __iter__(self) -> Iterator[int]:
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)


def _each(real: dict[int, _Value], made: Callable[[_Value], _Value]) -> dict[int, _Value]:
    return cast("dict[int, _Value]", _Each(real, made))


class _Join:
    """What of a join is told of."""

    def __init__(self, real: Join, hiding: Hiding) -> None:
        self._real, self._hiding = real, hiding

    def coverage(self) -> Coverage:
        return self._hiding.coverage(self._real.coverage())

    def __getattr__(self, name: str) -> Any:
        # Numbers, and times.
        return getattr(self._real, name)


class _Recent(deque[_Remembered]):
    """The last records, each made when it is looked at."""

    def __init__(self, real: deque[_Remembered], hiding: Hiding) -> None:
        super().__init__()
        self._real, self._hiding = real, hiding

    def __reversed__(self) -> Iterator[_Remembered]:
        for row, flow, reply, names in reversed(self._real):
            told = _Named(names, flow, reply, self._hiding)
            yield row, self._hiding.flow(flow), reply, cast(PeerNames, told)


class _Named:
    """Who the other end of one record is."""

    def __init__(self, names: PeerNames, flow: Flow, reply: bool, hiding: Hiding) -> None:
        self._names, self._flow, self._reply, self._hiding = names, flow, reply, hiding

    def peer(self, pod: Endpoint, peer: Endpoint, address: str, service: str) -> Peer:
        """Of the real record: these are pseudonyms."""
        flow = self._flow
        source, destination = (flow.source, flow.source_ip), (flow.destination, flow.destination_ip)
        client, server = (destination, source) if self._reply else (source, destination)
        if flow.kind.ingress:
            return self._hiding.peer(self._names.peer(server[0], *client, ""))
        of = flow.source_service if self._reply else flow.destination_service
        return self._hiding.peer(self._names.peer(client[0], *server, of))


class _Ends(RowEnds):
    def __init__(self, real: RowEnds, hiding: Hiding) -> None:
        self._real, self._hiding = real, hiding

    def of(self, row: int) -> tuple[Endpoint, Endpoint]:
        pod, peer = self._real.of(row)
        return self._hiding.endpoint(pod), self._hiding.endpoint(peer)


class _Lookups(Lookups):
    def __init__(
        self,
        real: Lookups,
        pods: Callable[[], Mapping[tuple[str, str], tuple[str, str]]],
        hiding: Hiding,
    ) -> None:
        self._real, self._known, self._hiding = real, pods, hiding

    def of(self, pods: Iterable[tuple[str, str]], until: int) -> tuple[Lookup, ...]:
        known, host = self._known(), self._hiding.names.host
        asked = self._real.of((known[one] for one in pods), until)
        return tuple([one._replace(name=host(one.name)) for one in asked])


class HiddenMonitor:
    """What a monitor tells, with pseudonyms in place of names and addresses."""

    def __init__(self, real: Real, hiding: Hiding) -> None:
        self._real, self._hiding = real, hiding
        with real.looked_at() as aggregate:
            self._hidden = Hidden(aggregate, hiding)

    def snapshot(self, query: Query) -> Snapshot:
        return self._real.snapshot_of(self._hidden.aggregate, query)

    def close_up(self, query: Query, key: int, fold: Fold | None, records: int) -> CloseUp | None:
        with self._real.looked_at():
            shown = self._hidden.aggregate()
            return close_up(shown, query, key, fold, records, live=self._real.live)

    def recent(self, count: int) -> tuple[Recent, ...]:
        with self._real.looked_at():
            return tuple(view.records(self._hidden.aggregate(), count))

    def seen(self, key: str, query: Query | None = None) -> list[str]:
        with self._real.looked_at():
            shown = self._hidden.aggregate()
            return seen(shown.columns, shown.ends, key, query)

    def hours(self, direction: str) -> list[int]:
        return self._real.hours(direction)

    def whose(self, by: By) -> dict[str, str]:
        with self._real.looked_at():
            return whose(self._hidden.aggregate(), by)

    def hidden(self, hiding: Hiding) -> Monitor:
        return self

    @property
    def passing(self) -> Passing:
        return self._real.passing

    def retry(self) -> None:
        self._real.retry()

    def state(self) -> SourceState:
        return self._hiding.state(self._real.state())

    @property
    def revision(self) -> int:
        return self._real.revision
