"""The one table of flowwatch: :class:`Row` and the :class:`Snapshot` that every view is given.

Everything here is immutable and complete in itself: a view formats it and computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from flowwatch.egress.lookups import Lookup
from flowwatch.flows.coverage import Coverage
from flowwatch.flows.model import Endpoint, Flow, PolicyRef
from flowwatch.flows.staged import Staged

SECOND = 1_000_000_000
"""In nanoseconds, as times are."""


TURNS = 4
"""Runs of a row's attempts, one after the other, that still make a story: with more they go by turns."""

MIXED = "mixed"


class Run(NamedTuple):
    """Attempts of a row that went alike, one after the other."""

    state: str
    """Their outcome: ``forwarded``, ``dropped``, ``audited``, ``error``."""
    since: int
    """When the first of them was decided; nanoseconds since 1970."""
    until: int
    """When the last of them was."""


class Row(msgspec.Struct, frozen=True, gc=False):
    """One direction × pod × peer × port × protocol. Counts are attempts, except ``records``."""

    direction: str
    """``egress`` or ``ingress``."""
    namespace: str
    pod: str
    """Pod name; for what isn't a pod its entity or address (``host``, ``10.0.0.1``)."""
    workload: str
    peer: str
    peer_kind: str
    """``dns``, ``service``, ``pod``, ``entity``, ``address``, ``other`` (folded rows), ``unknown``."""
    port: int
    """0 where there is none (ICMP and others)."""
    protocol: str
    forwarded: int
    dropped: int
    audited: int
    errors: int
    unknown: int
    """Attempts without a final word: only REDIRECTED or socket records were seen."""
    records: int
    drop_reasons: dict[str, int]
    """Attempts by drop reason (Hubble's names, or ``L7_DENIED``); the sum is ``dropped``."""
    allowed_by: tuple[PolicyRef, ...]
    denied_by: tuple[PolicyRef, ...]
    first_seen: int
    """Nanoseconds since 1970 (UTC)."""
    last_seen: int
    rate: float
    """Attempts per second of late: exponentially weighted over 30 s of flow time."""
    peer_addresses: tuple[str, ...] = ()
    """The addresses behind ``peer``, the latest first, at most four."""
    cluster: str = ""
    """The pod's cluster as Hubble names it; with the server behind it where two call theirs alike."""
    server: str = ""
    """The server it was seen through, where there are several."""
    answered: int = 0
    """Attempts that something came back for: what was let through may still fail."""
    refused: int = 0
    """By a reset, before anything else came back."""
    unreachable: int = 0
    """By an ICMP error."""
    answers_dropped: int = 0
    """The answer was dropped on its way."""
    late: int = 0
    """Attempts that were denied at first, and let through on a retry; counted as what they became."""
    waited: float = 0.0
    """Seconds: the longest of their waits."""
    retries: int = 0
    """SYNs that were sent again by the attempt that waited longest."""
    proxy_refused: tuple[str, ...] = ()
    """What the proxy refused (``GET http://api/x``, ``DNS example.com``), the latest first, at most four."""
    uncounted: int = 0
    """Attempts of which each may be several: aggregated lines don't tell, nor records without the
    client's port."""
    unsure: int = 0
    """Attempts that may be answers: nothing records whether they are."""
    encrypted: str = ""
    """Whether packets of the attempts were seen encrypted: ``all``, ``none``, ``mixed``; "" where nothing
    was let through."""
    policy_log: tuple[str, ...] = ()
    """``log: value`` of the policies that decided."""
    key: int = 0
    """Stable for the life of the aggregate: the selection follows it."""
    noise: dict[str, int] = {}
    """Of ``dropped``, what no policy was asked about: attempts by kind (flowwatch.flows.noise)."""
    cause: str = ""
    """What blocked the latest of its attempts that was blocked, by the policies that were given, in few
    words: ``default deny · weather-egress``; empty without policies, or where none had a say."""
    attribution: str = ""
    """The same in a sentence."""
    runs: tuple[Run, ...] = ()
    """How its attempts went in the order of time, the latest last; of many the latest alone."""
    waiting: float = 0.0
    """Seconds at least that dropped attempts were tried again, up to the last retry seen, all together."""
    blocked_pods: int = 0
    """Of ``pods``, those that are blocked now, where that was asked (flowwatch.egress.waiting)."""
    staged: Staged | None = None
    """What the staged policies would do to its attempts; None without any, and until they were asked."""
    pods: int = 1
    """Pods that it is of: more where rows are folded (flowwatch.egress.folding)."""

    @property
    def state(self) -> str:
        """What became of its latest attempts: their outcome, or ``mixed`` where that changes all the time."""
        if self.runs:
            return self.runs[-1].state if len(self.runs) <= TURNS else MIXED
        went = [name for name in _WENT if getattr(self, name)]
        return _WENT[went[0]] if len(went) == 1 else MIXED if went else "unknown"

    @property
    def since(self) -> int:
        """When the first of these was decided; 0 where it is mixed, or not known."""
        if self.state == MIXED:
            return 0
        return self.runs[-1].since if self.runs else self.first_seen

    @property
    def state_before(self) -> str:
        """What became of those before; empty without any, and where it is mixed."""
        return self.runs[-2].state if 1 < len(self.runs) <= TURNS else ""

    @property
    def always(self) -> bool:
        """Whether it went so from the first; not where what is dropped was answered, as a policy cut it."""
        return not (self.state_before or (self.state == "dropped" and self.answered))

    @property
    def until(self) -> int:
        """When the last of those before was decided; else 0."""
        return self.runs[-2].until if 1 < len(self.runs) <= TURNS else 0

    @property
    def attempts(self) -> int:
        return self.forwarded + self.dropped + self.audited + self.errors + self.unknown

    @property
    def blocked(self) -> int:
        """Dropped attempts that aren't noise."""
        return self.dropped - min(sum(self.noise.values()), self.dropped)


_WENT = {"forwarded": "forwarded", "dropped": "dropped", "audited": "audited", "errors": "error"}
"""Outcomes by the field that counts them."""


class Totals(msgspec.Struct, frozen=True):
    """Attempts over some rows, and how many rows these are."""

    forwarded: int = 0
    dropped: int = 0
    """Without noise, as all sums and shares here: that no policy was asked about."""
    audited: int = 0
    errors: int = 0
    unknown: int = 0
    rows: int = 0
    noise: dict[str, int] = msgspec.field(default_factory=dict)
    """Dropped attempts that are counted nowhere else here, by kind (flowwatch.flows.noise)."""

    @property
    def attempts(self) -> int:
        return self.forwarded + self.dropped + self.audited + self.errors + self.unknown

    @property
    def dropped_share(self) -> float:
        """Dropped of all attempts with a final outcome, 0.0 to 1.0."""
        final = self.attempts - self.unknown
        return self.dropped / final if final else 0.0


class Timeline(msgspec.Struct, frozen=True):
    """Attempts by the time they began: the buckets of time in which any did, however far apart."""

    width: int = SECOND
    """Of a bucket, nanoseconds."""
    buckets: tuple[int, ...] = ()
    """Their numbers, in order: number i goes from ``i*width`` (ns since 1970) to the next."""
    forwarded: tuple[int, ...] = ()
    """In each of them, everything that wasn't dropped: forwarded, audited, errors, unknown."""
    dropped: tuple[int, ...] = ()

    @property
    def start(self) -> int:
        """When the first of them begins; 0 without any."""
        return self.buckets[0] * self.width if self.buckets else 0


class Recent(msgspec.Struct, frozen=True):
    """One of the last records, ready to be shown after escaping."""

    key: int
    """The row it was counted in, 0 when in none."""
    number: int
    """The how-manieth of all records it is."""
    time: int
    """By its own node's clock."""
    namespace: str
    pod: str
    peer: str
    port: int
    protocol: str
    direction: str
    kind: str
    """``drop``, ``policy-verdict``, ``to-stack``, ``dns-request`` …: :func:`flowwatch.flows.kinds.kind`."""
    verdict: str
    reason: str
    """Drop reason, or what the proxy saw; else empty."""
    flags: str
    node: str
    flow: Flow | None = None
    """The record itself."""


class Fold(NamedTuple):
    """What all rows of a fold have in common: itself, whichever rows it has at a moment."""

    direction: str
    cluster: str
    server: str
    name: str
    """``namespace/workload``, a namespace, ``team=web`` …"""
    peer: str
    """This and what follows are empty where rows are folded over several."""
    peer_kind: str
    port: int
    protocol: str

    @property
    def key(self) -> int:
        """Below 0, as no row's is; the same for as long as the program runs."""
        return -1 - (hash(tuple(self)) & (1 << 62) - 1)


class Fate(NamedTuple):
    """How attempts to one destination went, of a pod or of all pods that are folded as one."""

    namespace: str
    name: str
    pods: int
    node: str
    """Where the pod's records come from; "" where there are several pods."""
    identity: int
    """Cilium's of the pod; 0 where it isn't known, or there are several pods."""
    forwarded: int
    dropped: int
    audited: int
    state: str = ""
    """What became of the pod's latest attempt; "" where there are several pods, or nothing is known."""


class CloseUp(msgspec.Struct, frozen=True):
    """More of one row."""

    records: tuple[Recent, ...] = ()
    """Its last ones, the newest last. Only rows with something among the last few thousand have any."""
    ends: tuple[Endpoint, Endpoint] | None = None
    """The pod and the peer, as Hubble told them last; of several pods what they share."""
    pods: tuple[Fate, ...] = ()
    """The pods of its workload, or of its fold, that go to the same destination: the most dropped first."""
    pods_in_all: int = 0
    others: tuple[Fate, ...] = ()
    """Other workloads that go there; those that get through first."""
    others_in_all: int = 0
    refused: tuple[tuple[str, int], ...] = ()
    """What the proxy refused, with how many attempts; the most first."""
    asked: tuple[Lookup, ...] = ()
    """Names that the pod, or the pods of the fold, looked up before its last record, the latest first."""


class Snapshot(msgspec.Struct, frozen=True):
    """The state of an aggregate at one moment."""

    rows: tuple[Row, ...] = ()
    """Sorted, filtered and limited as asked."""
    matched: int = 0
    """Rows that matched the filter, before the limit."""
    totals: Totals = msgspec.field(default_factory=Totals)
    """Of all rows of the asked directions."""
    shown: Totals = msgspec.field(default_factory=Totals)
    """Of those that matched the filter."""
    timeline: Timeline = msgspec.field(default_factory=Timeline)
    """Of those that matched the filter, if not ``of_all``."""
    of_all: bool = False
    """Timeline and rates are of all rows, though a filter left some out: there are too many for each
    to have its own."""
    folds: Mapping[int, Fold] = msgspec.field(default_factory=dict)
    """Of the rows that are folds: what they are of, by their keys."""
    window: tuple[int, int] = (0, 0)
    """From when to when attempts began that are counted, nanoseconds since 1970: the window asked for in
    whole buckets of time. Zeros: all that was read."""
    all_of_time: bool = False
    """A window was asked for, and there are too many rows for each to be told by time."""
    within: Mapping[int, int] = msgspec.field(default_factory=dict)
    """Of the rows that follow the fold that has them: its key, by theirs."""
    recent: tuple[Recent, ...] = ()
    """The newest last."""
    coverage: Coverage = msgspec.field(default_factory=Coverage)
    """What was and wasn't seen."""
    staged: tuple[tuple[str, str], ...] = ()
    """Names and kinds of the staged policies."""
    elsewhere: int = 0
    """Attempts in the direction that wasn't asked for."""
    lost_rate: float = 0.0
    """Lost events per second, by our own clock, over the last seconds."""
    record_rate: float = 0.0
    """Records per second, by our own clock, over the last seconds."""
    dropped_rate: float = 0.0
    """Dropped attempts per second, by our own clock, over the last seconds; of the same rows as the
    timeline."""
    forwarded_rate: float = 0.0
    """The same of everything that wasn't dropped."""
