"""Where the value of a filter's key is found among rows, so that both ways of choosing rows can tell.

Each distinct text is compared once, however many rows share it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from flowwatch.egress.ends import RowEnds
from flowwatch.egress.filters import VERDICTS, Atom, Ports, Value
from flowwatch.egress.table import ANY_POD, COUNTS, Columns
from flowwatch.egress.words import DEFAULT_DENY, NO_RULE, PROXY_ERROR, PROXY_REFUSED, WOULD_DENY
from flowwatch.flows.model import PolicyRef
from flowwatch.flows.reasons import reason


class Found(msgspec.Struct):
    """Rows of which one of these holds; where there are ``ports``, only those at them."""

    lookups: list[tuple[str, int, list[bool]]] = msgspec.field(default_factory=list)
    """A column of numbers, by how many bits it is shifted, and by number whether it is meant."""
    rows: set[int] = msgspec.field(default_factory=set)
    counts: set[int] = msgspec.field(default_factory=set)
    """Places in COUNTS: rows that have any of these."""
    reasons: set[int] = msgspec.field(default_factory=set)
    """Drop reasons: rows with attempts that were dropped for them."""
    no_rule: bool = False
    """Rows that a default deny dropped, and nobody is named for it."""
    every: bool = False
    ports: Ports | None = None


def find(columns: Columns, ends: RowEnds | None, atom: Atom) -> Found:
    """Where ``atom``, which has a key, is found."""
    if not atom.text:
        # Nothing was typed behind the colon yet.
        return Found(every=True)
    found = _FINDERS[atom.key](columns, ends, atom.value)
    found.ports = atom.ports
    return found


def _namespace(columns: Columns, ends: RowEnds | None, value: Value) -> Found:
    return Found([("pod", 0, [value.of(pod[0]) for pod in columns.pods.things])])


def _pod(columns: Columns, ends: RowEnds | None, value: Value) -> Found:
    hits = []
    for (namespace, name, _, _), workload in zip(
        columns.pods.things, columns.workloads, strict=True
    ):
        names = [one for one in (name.removeprefix(ANY_POD), workload) if one]
        hits.append(any(value.of(one) or value.of(f"{namespace}/{one}") for one in names))
    return Found([("pod", 0, hits)])


def _to(columns: Columns, ends: RowEnds | None, value: Value) -> Found:
    hits = [value.of(name) for name in columns.peer_names.things]
    rows = {row for row, texts in columns.addresses.items() if any(map(value.of, texts))}
    return Found([("peer", 3, hits)], rows)


def _port(columns: Columns, ends: RowEnds | None, value: Value) -> Found:
    return Found(every=True)


def _why(columns: Columns, ends: RowEnds | None, value: Value) -> Found:
    rows = {row for row, cause in columns.causes.items() if value.of(cause.words)}
    rows.update(row for row, rare in columns.rare.items() if rare.mentions(value.text))
    for row, texts in columns.proxy_refused.items():
        if any(value.of(text) or value.of(f"{PROXY_REFUSED} {text}") for text in texts):
            rows.add(row)
    counts = {
        COUNTS.index(name)
        for shown, name in ((WOULD_DENY, "audited"), (PROXY_ERROR, "errors"))
        if value.of(shown)
    }
    seen = {*columns.reason, *(n for more in columns.more_reasons.values() for n in more)}
    reasons = {number for number in seen if value.of(reason(number).name)}
    return Found([], rows, counts, reasons, value.of(NO_RULE))


def _policy(columns: Columns, ends: RowEnds | None, value: Value) -> Found:
    hits = [
        any(_named(value, one) for side in sides for one in side)
        for sides in columns.policy_sets.things
    ]
    rows = {row for row, cause in columns.causes.items() if value.of(cause.words)}
    return Found([("policies", 0, hits)], rows)


def _named(value: Value, policy: PolicyRef) -> bool:
    return value.of(policy.name) or value.of(f"{policy.namespace}/{policy.name}".removeprefix("/"))


def _label(columns: Columns, ends: RowEnds | None, value: Value) -> Found:
    if ends is None:
        return Found()
    known: dict[int, bool] = {}
    rows = set()
    for row in range(len(columns)):
        pod, _ = ends.of(row)
        # Endpoints are shared: few for many rows.
        hit = known.get(id(pod))
        if hit is None:
            hit = known[id(pod)] = any(
                value.of(label) or value.of(label.partition(":")[2]) for label in pod.labels
            )
        if hit:
            rows.add(row)
    return Found([], rows)


def _staged(columns: Columns, ends: RowEnds | None, value: Value) -> Found:
    rows = {
        row
        for row, staged in columns.staged.items()
        if value.of(staged.words) or any(value.of(one.policy) for one in staged.by)
    }
    return Found([], rows)


def _verdict(columns: Columns, ends: RowEnds | None, value: Value) -> Found:
    return Found(counts={VERDICTS.index(value.text)})


_FINDERS: dict[str, Callable[[Columns, RowEnds | None, Value], Found]] = {
    "ns": _namespace,
    "pod": _pod,
    "to": _to,
    "port": _port,
    "why": _why,
    "policy": _policy,
    "label": _label,
    "staged": _staged,
    "verdict": _verdict,
}


def tester(columns: Columns, found: Found) -> Callable[[int], bool]:
    """Whether a row is among them."""
    lookups = [(getattr(columns, name), shift, hits) for name, shift, hits in found.lookups]
    counts = [columns.counts[place] for place in found.counts]
    dropped = columns.counts[COUNTS.index("dropped")]
    nameless = [not denied for _, denied in columns.policy_sets.things]
    ports = found.ports
    protocols = ports.protocols() if ports is not None else []

    def why(row: int) -> bool:
        if not dropped[row]:
            return False
        numbers = columns.reasons(row)
        if any(number in found.reasons for number in numbers):
            return True
        named = row in columns.causes or not nameless[columns.policies[row]]
        return found.no_rule and DEFAULT_DENY in numbers and not named

    def hit(row: int) -> bool:
        if ports is not None and not (
            ports.low <= columns.port[row] <= ports.high and protocols[columns.protocol[row]]
        ):
            return False
        return (
            found.every
            or row in found.rows
            or any(hits[column[row] >> shift] for column, shift, hits in lookups)
            or any(column[row] for column in counts)
            or ((found.reasons or found.no_rule) and why(row))
        )

    return hit
