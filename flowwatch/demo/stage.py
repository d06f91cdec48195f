"""The stage on which the story is played: its clock, its dice, and the records that nodes make of it.

Time is the story's own, nanoseconds since its beginning, and everything is decided by the seed: the
same seed tells the same story, record by record. Without a ``duration`` it goes on for ever.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from flowwatch.demo.cluster import DemoCluster, Node, uuid
from flowwatch.demo.enforcing import Enforcer
from flowwatch.demo.exchange import SECOND, Step
from flowwatch.demo.truth import Truth
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsResponse
from flowwatch.policy.engine import PolicySet

POLICY_AFTER = 120.0
"""Seconds from the beginning until the policy is applied."""

LAST_WORDS = 10.0
"""Seconds before the end of a story from which on nothing new begins, so that all of it is told."""

EMITTER = flow_pb2.Emitter(name="Hubble", version="1.20.2")

_HUSH = 1_200_000_000


@dataclass(frozen=True, slots=True)
class Moment:
    """One record, at its place in the story."""

    offset: int
    """Nanoseconds since the beginning."""
    node: Node
    """Who saw it."""
    record: flow_pb2.Flow | flow_pb2.LostEvent

    def response(self, time: int) -> GetFlowsResponse:
        """The record as a Hubble server sends it, seen at ``time`` (nanoseconds since 1970)."""
        response = GetFlowsResponse(node_name=self.node.name)
        response.time.FromNanoseconds(time)
        if isinstance(self.record, flow_pb2.Flow):
            response.flow.CopyFrom(self.record)
            response.flow.time.CopyFrom(response.time)
        else:
            response.lost_events.CopyFrom(self.record)
            if self.record.source == flow_pb2.OBSERVER_EVENTS_QUEUE:
                response.lost_events.first.FromNanoseconds(time - SECOND)
                response.lost_events.last.CopyFrom(response.time)
        return response


class Stage:
    """Time, cluster and dice of one telling. Iterate over :meth:`moments` once."""

    def __init__(
        self,
        seed: int = 1,
        *,
        policies: PolicySet,
        policy_after: float | None = None,
        duration: float | None = None,
    ) -> None:
        """Say which story.

        Args:
            seed: any number; decides everything that could be otherwise.
            policies: those that are applied, as far as they select the weather app.
            policy_after: seconds until the policy is applied; by default :data:`POLICY_AFTER`, or
                two fifths of a shorter story.
            duration: seconds; None for no end.
        """
        self.seed = seed
        self.rng = random.Random(seed)
        self.cluster = DemoCluster(self.rng)
        self.enforcer = Enforcer(policies)
        self.truth = Truth()
        """Of the attempts begun so far."""
        if policy_after is None:
            policy_after = POLICY_AFTER
            if duration is not None:
                policy_after = min(policy_after, 0.4 * duration)
        self.policy_at = int(policy_after * SECOND)
        self.now = 0
        """Nanoseconds since the beginning, while something acts."""
        self._end = None if duration is None else int((duration - LAST_WORDS) * SECOND)
        self._deeds: list[tuple[int, int, Callable[[], None]]] = []
        self._records: list[tuple[int, int, Node, flow_pb2.Flow | flow_pb2.LostEvent]] = []
        self._number = 0
        self._uuids = random.Random(self.rng.getrandbits(64))

    @property
    def enforced(self) -> bool:
        """Whether the policy is applied by now."""
        return self.now >= self.policy_at

    @property
    def hushed(self) -> bool:
        """Whether a short connection begun now might still be open when the policy is applied."""
        return self.policy_at - _HUSH <= self.now < self.policy_at

    def after(self, seconds: float, deed: Callable[[], None]) -> None:
        """Let ``deed`` happen ``seconds`` from now, if the story lasts that long."""
        self._number += 1
        heapq.heappush(self._deeds, (self.now + int(seconds * SECOND), self._number, deed))

    def every(self, seconds: float, deed: Callable[[], None]) -> None:
        """Let ``deed`` happen again and again, about every ``seconds``, beginning at any time."""

        def again() -> None:
            self.after(seconds * self.rng.uniform(0.7, 1.3), again)
            deed()

        self.after(seconds * self.rng.random(), again)

    def play(self, steps: Iterable[Step], after: int = 0) -> None:
        """Let the records of ``steps`` be seen, ``after`` nanoseconds from now."""
        begin = self.now + after
        for delay, node, record in steps:
            self.see(begin + delay, node, record)

    def moments(self) -> Iterator[Moment]:
        """All records in the order of their time."""
        while self._deeds or self._records:
            if self._deeds and (not self._records or self._deeds[0][0] <= self._records[0][0]):
                at, _, deed = heapq.heappop(self._deeds)
                if self._end is None or at < self._end:
                    self.now = at
                    deed()
                continue
            at, _, node, record = heapq.heappop(self._records)
            if isinstance(record, flow_pb2.Flow):
                record.uuid = uuid(self._uuids)
                record.emitter.CopyFrom(EMITTER)
                record.node_name = node.name
                record.node_labels.extend(node.labels)
            yield Moment(at, node, record)

    def see(self, at: int, node: Node, record: flow_pb2.Flow | flow_pb2.LostEvent) -> None:
        """Let ``node`` record this ``at`` nanoseconds since the beginning."""
        self._number += 1
        heapq.heappush(self._records, (at, self._number, node, record))
