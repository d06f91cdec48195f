"""What policies change, with pseudonyms in place of names (flowwatch.flows.hiding)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flowwatch.audits.ends import ANSWERS_OF
from flowwatch.flows.hiding import Hiding
from flowwatch.marks.changes import ALL, ChangesReport
from flowwatch.marks.live import LiveChanges, Seen
from flowwatch.marks.sightings import Edge, How, Pod, Sightings


class HiddenChanges:
    """The same reports as of ``real``."""

    def __init__(self, real: LiveChanges, hiding: Hiding) -> None:
        self._real, self._hiding = real, hiding

    def report(
        self,
        directions: frozenset[str],
        given: tuple[int, ...] = (),
        within: tuple[int, int] = ALL,
    ) -> ChangesReport:
        now, coverage = self._real.by_now()
        shown = replace(
            now, directions=directions, given=given, seen=hidden(now.seen, self._hiding)
        )
        return shown.report(self._hiding.coverage(coverage), within)

    def marks(self) -> tuple[Seen, ...]:
        told = self._hiding.named_policy
        return tuple([Seen(at, tuple(map(told, named))) for at, named in self._real.marks()])


def hidden(seen: Sightings, hiding: Hiding) -> Sightings:
    """``seen``, which nothing is added to any more, by other names."""
    shown = Sightings()
    of = hiding.names.of

    def pod(one: Pod) -> Pod:
        name = of("pod", one.name) if one.namespace else hiding.told(one.name)
        return Pod(
            hiding.origin(one.origin), of("cluster", one.cluster), of("ns", one.namespace), name
        )

    def edge(one: Edge) -> Edge:
        peer = one.peer.removeprefix(ANSWERS_OF)
        before = one.peer[: len(one.peer) - len(peer)]
        return one._replace(
            subject=hiding.told(one.subject),
            peer=f"{before}{hiding.told(peer)}",
            cluster=of("cluster", one.cluster),
        )

    def how(one: How) -> How:
        names = one.names
        return one._replace(names=frozenset(map(hiding.policy, names)) if names else names)

    def keyed(kept: Mapping[tuple[Pod, Edge], Any]) -> dict[tuple[Pod, Edge], Any]:
        return {(pod(who), edge(where)): value for (who, where), value in kept.items()}

    def named(kept: Mapping[tuple[str, str, str], Any]) -> dict[tuple[str, str, str], Any]:
        return {
            (hiding.origin(origin), of("ns", namespace), of("pod", name)): value
            for (origin, namespace, name), value in kept.items()
        }

    shown.times = {
        key: {how(one): times for one, times in hows.items()}
        for key, hows in keyed(seen.times).items()
    }
    shown.cut, shown.lasting = keyed(seen.cut), keyed(seen.lasting)
    shown.nodes = {key: hiding.node(name) for key, name in named(seen.nodes).items()}
    shown.left_out = seen.left_out
    shown._revisions = named(seen._revisions)
    return shown
