"""What ``unused`` judges by, counted of a whole history while its attempts are made, and judged later.

A month of records asks few different things: each question is kept once, with how often it was asked, and the
policies that are given some day are asked about each once, by the code that counts them attempt by attempt.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, cast

import msgspec
from msgspec.structs import replace

from flowwatch.audits.evidence import Observation
from flowwatch.audits.keeping import (
    KeptObserver,
    KeptParty,
    kept_observer,
    kept_parties,
    set_observer,
    set_parties,
)
from flowwatch.flows.coverage import told
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.keeping import Said, Table, Unsound, held, kind_of, said_of
from flowwatch.flows.model import BOTH, Kind
from flowwatch.history.attempts.asked import (
    FOLDER,
    PATH,
    Asked,
    AskedQuestion,
    KeptEnd,
    KeptQuestion,
    packed,
    read_asked,
)
from flowwatch.history.attempts.checkpoint import answered
from flowwatch.marks.changes import Changes
from flowwatch.marks.finding import find
from flowwatch.marks.kept_changes import KeptChanges, kept_changes, set_changes
from flowwatch.marks.unused import Evidence, Seeing, changed_at, uses_of
from flowwatch.policy.engine import PolicySet
from flowwatch.policy.party import Party
from flowwatch.policy.reach import BY_LABELS, Reach
from flowwatch.text import plural, safe

MOST = 200_000
"""Different questions, and ends: some 100 MB while they are counted, 10 MB on the disk."""
MOST_TIMES = 32_000_000
"""Attempts in their directions whose times tell when policies changed, 8 bytes each."""


class KeptAsking(msgspec.Struct, array_like=True):
    """The state of :class:`Keeping`; what is beside ``why_not`` is of one that counts."""

    why_not: str
    ends: list[KeptEnd] = []
    parties: list[KeptParty] = []
    questions: list[KeptQuestion] = []
    seeing: KeptObserver | None = None
    changes: KeptChanges | None = None
    kinds: list[Said] = []
    """Of verdicts that are remembered."""


class Keeping:
    """Counts questions, while others listen to the same join (flowwatch.history.attempts.listeners.Kept)."""

    folder: ClassVar[str] = FOLDER

    def __init__(self, join: Join) -> None:
        self._join = join
        self._ends: dict[Party, int] = {}
        self._asked: dict[tuple[object, ...], int] = {}
        self._seeing = Seeing(BY_LABELS, self._add)
        self._changes = Changes(BOTH, join=join)
        self._why_not = ""
        join.listen(self)

    def take(self, joined: Joined) -> None:
        """Count what is over (flowwatch.flows.join.Listener)."""
        if self._why_not:
            return
        self._seeing.take(joined)
        self._changes.take(joined)
        self._bound()

    def _bound(self) -> None:
        if len(self._asked) > MOST or len(self._ends) > MOST:
            self._why_not = f"it asks more than {MOST:,} different things of policies"
        elif self._changes.attempts > MOST_TIMES:
            self._why_not = f"it has more than {plural(MOST_TIMES, 'attempt')}"
        if self._why_not:
            self._ends.clear()
            self._asked.clear()
            self._changes = Changes(BOTH, join=self._join)

    def _add(self, seen: Observation) -> None:
        ends = self._ends
        asked = (
            seen.direction,
            ends.setdefault(seen.subject, len(ends)),
            seen.subject_name,
            seen.cluster,
            ends.setdefault(seen.peer, len(ends)),
            seen.protocol,
            seen.asked_port,
            seen.unknown,
            seen.judged,
            seen.denied,
            seen.noise,
            seen.waits_for_auth,
            seen.verdict,
            seen.labelled,
        )
        self._asked[asked] = self._asked.get(asked, 0) + 1

    def kept(self) -> bytes:
        """Its state between two batches."""
        state = KeptAsking(self._why_not)
        if not self._why_not:
            kinds: Table[Kind] = Table(said_of)
            seeing = self._seeing.observer
            state = KeptAsking(
                "",
                list(map(_end, self._ends)),
                kept_parties(seeing, self._ends),
                self._questions(),
                kept_observer(seeing, kinds),
                kept_changes(self._changes, kinds),
                list(map(said_of, kinds.things)),
            )
        return msgspec.msgpack.encode(state)

    def go_on(self, kept: bytes) -> None:
        """Take over a state. ValueError, LookupError or TypeError for what contradicts itself."""
        state = msgspec.msgpack.decode(kept, type=KeptAsking)
        self._why_not = state.why_not
        if self._why_not:
            held(safe(self._why_not) == self._why_not)
            return
        if state.seeing is None or state.changes is None:
            raise Unsound
        attempts = [attempt for _, _, attempt in self._join.open_attempts()]
        nodes = {attempt.node: attempt.node for attempt in attempts}
        numbers = {attempt.number for attempt in attempts}
        kinds = [kind_of(said, nodes) for said in state.kinds]
        parties = list(map(_party, state.ends))
        self._ends = {party: number for number, party in enumerate(parties)}
        set_observer(self._seeing.observer, state.seeing, kinds, numbers)
        set_parties(self._seeing.observer, state.parties, parties)
        set_changes(self._changes, state.changes, kinds, numbers)
        for count, *asked in map(msgspec.structs.astuple, state.questions):
            self._asked[tuple(asked)] = count
        held(len(self._asked) == len(state.questions))
        held(all(max(one.subject, one.peer) < len(parties) for one in state.questions))
        self._bound()

    def _questions(self) -> list[KeptQuestion]:
        return [
            KeptQuestion(count, *asked)  # type: ignore[arg-type] # what _add put there
            for asked, count in self._asked.items()
        ]

    def files(self) -> Iterator[tuple[str, int, bytes]]:
        """The one file, also where no question is kept: it says why not."""
        asked = self.asked()
        yield PATH, len(asked.questions), packed(asked)

    def asked(self) -> Asked:
        """All that was, those that are still open included. Nothing may be added afterwards."""
        if not self._why_not:
            self._seeing.close(self._join)
            self._changes.close()
            self._bound()
        if self._why_not:
            return Asked(self._why_not)
        return Asked(
            ends=tuple(map(_end, self._ends)),
            questions=tuple(self._questions()),
            clusters=tuple(sorted(self._seeing.observer.clusters)),
            changed=changed_at(find(self._changes.seen)),
            coverage=self._join.coverage(),
        )


def _end(party: Party) -> KeptEnd:
    return KeptEnd(party.labels, party.ip, party.names, party.ports is not None, party.also)


def _party(end: KeptEnd) -> Party:
    return Party(end.labels, end.ip, end.names, {} if end.outside else None, end.also)


class Ready(msgspec.Struct, frozen=True):
    """What stands for reading all records."""

    evidence: Evidence | None = None
    why_not: str = ""
    """Why there is none though some were made: a safe line, else empty."""


def ready(folder: Path, policies: PolicySet) -> Ready:
    """The evidence of the history in ``folder`` for ``policies``, if it is what its records say.

    InputError for no history.
    """
    asked, why_not = answered(folder, PATH, read_asked, Keeping, Keeping.asked)
    if asked is None:
        return Ready(why_not=why_not)
    if asked.why_not:
        return Ready(why_not=f"read record by record, as {asked.why_not}")
    return Ready(evidence_of(asked, policies))


def evidence_of(asked: Asked, policies: PolicySet) -> Evidence | None:
    """What was ``asked``, of ``policies``; None where ends are other ones by the options of their cluster."""
    if not _means_the_same(asked, policies.options.reach):
        return None
    uses = uses_of(policies)
    ends = list(map(_party, asked.ends))
    for one in asked.questions:
        whole = cast("AskedQuestion[Any]", one)
        uses.add(replace(whole, subject=ends[one.subject], peer=ends[one.peer]), one.attempts)
    coverage = told(asked.coverage, time.time_ns())
    return Evidence(uses, asked.clusters, coverage, asked.changed)


def _means_the_same(asked: Asked, reach: Reach) -> bool:
    """Whether the ends are those that would be made by ``reach``: which addresses count depends on it."""
    if reach == BY_LABELS:
        return True
    if reach.nodes or reach.pods:
        return False
    return not any(
        label.startswith("cidr:") for end in asked.ends if not end.outside for label in end.labels
    )
