"""Whether traffic stays within what is allowed: so many drops, so many destinations that are new.

Destinations are those of workloads, and pods that are reached stand for what made them: another replica,
or a rollout, makes none new.
"""

from __future__ import annotations

import re

import msgspec

from flowwatch.egress.folding import BY_WORKLOAD, fold
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.flows.coverage import Coverage

_ALPHABET = "[bcdfghjklmnpqrstvwxz2456789]"
_MADE = re.compile(rf"(?:(?:-(?:{_ALPHABET}{{1,10}}|\d{{1,10}}))?-{_ALPHABET}{{5}}|-\d+)\Z")
"""What is put behind a name: a ReplicaSet's hash, or a CronJob's time or a Job's index, and a pod's five
characters (Kubernetes, apimachinery/pkg/util/rand); or a StatefulSet's number."""

Destination = tuple[str, str, str, str, str, int, str]
"""Direction, cluster, namespace, workload (or pod), peer, port, protocol."""


class Rule(msgspec.Struct, frozen=True):
    """One rule, and what was found."""

    what: str
    """``dropped attempts`` or ``new destinations``."""
    most: int
    found: int
    rows: tuple[Row, ...]
    """Those that were counted, folded by workload; the most dropped first."""

    @property
    def broken(self) -> bool:
        return self.found > self.most


class Gate(msgspec.Struct, frozen=True):
    """All rules, and what they were asked of."""

    rules: tuple[Rule, ...]
    attempts: int
    coverage: Coverage

    @property
    def broken(self) -> bool:
        return any(rule.broken for rule in self.rules)


def maker(pod: str) -> str:
    """What made a pod, by its name: ``shop/cart`` of ``shop/cart-6f7d8c9b5d-x2x4z``."""
    return _MADE.sub("", pod)


def destinations(rows: tuple[Row, ...]) -> dict[Destination, Row]:
    """The destinations of ``rows`` that a policy was asked about, each with its row."""
    found: dict[Destination, Row] = {}
    for row in fold(rows, BY_WORKLOAD):
        if row.attempts - row.dropped + row.blocked:
            owner = row.workload or maker(row.pod)
            peer = maker(row.peer) if row.peer_kind == "pod" else row.peer
            of = row.direction, row.cluster, row.namespace, owner
            found.setdefault((*of, peer, row.port, row.protocol), row)
    return found


def judge(
    seen: Snapshot,
    *,
    max_dropped: int | None = None,
    max_new: int | None = None,
    baseline: Snapshot | None = None,
) -> Gate:
    """Hold what was ``seen`` to the rules that are given; new is what ``baseline`` hasn't."""
    rules = []
    if max_dropped is not None:
        rows = tuple([row for row in fold(seen.rows, BY_WORKLOAD) if row.blocked])
        rules.append(Rule("dropped attempts", max_dropped, seen.shown.dropped, rows))
    if max_new is not None and baseline is not None:
        known = destinations(baseline.rows)
        new = [row for key, row in destinations(seen.rows).items() if key not in known]
        rules.append(Rule("new destinations", max_new, len(new), tuple(new)))
    return Gate(tuple(rules), seen.shown.attempts, seen.coverage)
