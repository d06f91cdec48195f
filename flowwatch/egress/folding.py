"""Rows folded: those of a workload's pods, of a namespace, of whoever has a label, as one.

    by = read_by("workload,peer,port")
    rows = fold(snapshot.rows, by)

Counts of a fold are the sums of its rows, exactly; what can't be summed is what all of them have, or says
that they differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from flowwatch.egress.rows import TURNS, Row, Run
from flowwatch.errors import UsageError
from flowwatch.flows.staged import together as staged_together
from flowwatch.text import safe

SUBJECTS = ("pod", "workload", "namespace")
LABEL = "label:"
DESTINATIONS = ("peer", "port")
ALL = "*"
"""The peer of rows that are folded over several."""

LISTED = 4
"""Addresses, and what a proxy refused, that a row has at most."""

_Value = TypeVar("_Value", bound=Hashable)
Labels = Callable[[Row], Sequence[str]]
"""The labels of a row's pod, as ``k8s:app=a``."""


class By(NamedTuple):
    """What rows must have in common to be one."""

    subject: str
    """One of SUBJECTS; "" where ``label`` is given, and where it doesn't matter whose they are."""
    label: str
    """A label's key."""
    peer: bool
    port: bool


PLAIN = By("pod", "", True, True)
BY_WORKLOAD = By("workload", "", True, True)


def by_text(by: By) -> str:
    """As it is typed: ``workload``, ``label:team``; destinations go without saying."""
    return f"{LABEL}{by.label}" if by.label else by.subject


EVERYONE = By("", "", True, True)
"""Whoever they are of: a destination is one, and who talks to it is counted."""


def read_by(text: str) -> By:
    """``workload``, ``workload,peer,port``, ``label:team,peer`` … Raises UsageError.

    The pod, its workload, namespace or a label come first; without ``peer`` and ``port`` rows are folded over
    all destinations.
    """
    first, *rest = [word.strip() for word in text.split(",")]
    label = first.removeprefix(LABEL) if first.startswith(LABEL) else ""
    known = first in SUBJECTS or label
    if not known or len(set(rest)) < len(rest) or not set(rest) <= set(DESTINATIONS):
        raise UsageError(
            f'invalid --by: "{safe(text)}"',
            f"{', '.join(SUBJECTS)} or {LABEL}KEY, and then peer, port: workload,peer,port",
        )
    return By("" if label else first, label, "peer" in rest, "port" in rest)


def fold(rows: Iterable[Row], by: By, labels: Labels = lambda _: ()) -> list[Row]:
    """``rows`` by what they have in common, the most dropped first; plain ones as they are."""
    if by == PLAIN:
        return list(rows)
    groups: dict[tuple[object, ...], list[Row]] = {}
    names: dict[tuple[object, ...], str] = {}
    for row in rows:
        of = labels(row) if by.label else ()
        name = subject(by, row.namespace, row.pod, row.workload, of)
        peer = (row.peer, row.peer_kind) if by.peer else ()
        port = (row.port, row.protocol) if by.port else ()
        key = (row.direction, row.cluster, row.server, name, peer, port)
        groups.setdefault(key, []).append(row)
        names[key] = name
    folded = [together(of, by, names[key]) for key, of in groups.items()]
    return sorted(
        folded,
        key=lambda row: (
            -row.blocked, -row.audited, -row.errors, -row.forwarded,
            row.namespace, row.workload, row.pod, row.peer, row.port,
        ),
    )  # fmt: skip


def subject(by: By, namespace: str, pod: str, workload: str, labels: Sequence[str]) -> str:
    """Under which name a pod's rows are folded; empty: it has no such label."""
    if by.label:
        wanted = f"k8s:{by.label}="
        found = next((one for one in labels if one.startswith(wanted)), "")
        return f"{by.label}={found.removeprefix(wanted)}" if found else ""
    if not by.subject:
        return ""
    if by.subject == "namespace":
        return namespace or pod
    # What is no pod, or has no workload, stands for itself.
    name = workload if workload and (by.subject == "workload" or not pod) else pod
    return f"{namespace}/{name}"


def together(rows: Sequence[Row], by: By, name: str) -> Row:
    """Rows of one fold as one, under the fold's ``name``."""
    first = rows[0]
    single = len({(row.namespace, row.pod) for row in rows}) == 1
    workload = name if by.label and name else same(row.workload for row in rows) or ""
    latest = sorted(rows, key=lambda row: row.last_seen, reverse=True)
    late = max(rows, key=lambda row: (row.waited, row.retries))
    worst = max(rows, key=lambda row: (bool(row.cause), row.blocked, row.attempts))
    return Row(
        direction=first.direction,
        namespace=same(row.namespace for row in rows) or "",
        pod=first.pod if single else "",
        workload=workload,
        peer=first.peer if by.peer else same(row.peer for row in rows) or ALL,
        peer_kind=same(row.peer_kind for row in rows) or "other",
        port=same(row.port for row in rows) or 0,
        protocol=same(row.protocol for row in rows) or "",
        forwarded=sum(row.forwarded for row in rows),
        dropped=sum(row.dropped for row in rows),
        audited=sum(row.audited for row in rows),
        errors=sum(row.errors for row in rows),
        unknown=sum(row.unknown for row in rows),
        records=sum(row.records for row in rows),
        drop_reasons=_sums(row.drop_reasons for row in rows),
        allowed_by=each_once(one for row in rows for one in row.allowed_by),
        denied_by=each_once(one for row in rows for one in row.denied_by),
        first_seen=min((row.first_seen for row in rows if row.first_seen), default=0),
        last_seen=latest[0].last_seen,
        rate=sum(row.rate for row in rows),
        peer_addresses=each_once(one for row in latest for one in row.peer_addresses)[:LISTED],
        cluster=first.cluster,
        server=first.server,
        answered=sum(row.answered for row in rows),
        refused=sum(row.refused for row in rows),
        unreachable=sum(row.unreachable for row in rows),
        answers_dropped=sum(row.answers_dropped for row in rows),
        late=sum(row.late for row in rows),
        waited=late.waited,
        retries=late.retries,
        proxy_refused=each_once(one for row in latest for one in row.proxy_refused)[:LISTED],
        uncounted=sum(row.uncounted for row in rows),
        unsure=sum(row.unsure for row in rows),
        encrypted=_encrypted(rows),
        policy_log=each_once(one for row in rows for one in row.policy_log),
        key=min(row.key for row in rows),
        noise=_sums(row.noise for row in rows),
        cause=worst.cause,
        attribution=worst.attribution,
        runs=runs_together(row.runs for row in rows),
        waiting=sum(row.waiting for row in rows),
        blocked_pods=sum(row.blocked_pods for row in rows),
        staged=staged_together(row.staged for row in rows),
        pods=len({(row.namespace, row.pod) for row in rows}),
    )


def same(values: Iterable[_Value]) -> _Value | None:
    """What all of ``values`` are; None where they differ."""
    found = set(values)
    return found.pop() if len(found) == 1 else None


def each_once(values: Iterable[_Value]) -> tuple[_Value, ...]:
    return tuple(dict.fromkeys(values))


def _sums(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items(), key=lambda one: (-one[1], one[0])))


def _encrypted(rows: Sequence[Row]) -> str:
    found = {row.encrypted for row in rows if row.encrypted}
    return found.pop() if len(found) == 1 else "mixed" if found else ""


def runs_together(every: Iterable[tuple[Run, ...]]) -> tuple[Run, ...]:
    """What all of some rows went through: since the last of them did; none where they differ."""
    known: list[tuple[Run, ...]] = []
    for runs in every:
        known.append(runs)
        # Of thousands the first that differs decides.
        if len(known) > 1 and not _alike(known[0], runs):
            return ()
    if len(known) == 1:
        return known[0]
    now = Run(
        known[0][-1].state,
        max(runs[-1].since for runs in known),
        max(runs[-1].until for runs in known),
    )
    before = same(runs[-2].state if len(runs) > 1 else "" for runs in known)
    if not before:
        return (now,) if before == "" else ()
    earlier = [runs[-2] for runs in known]
    return (
        Run(before, min(run.since for run in earlier), max(run.until for run in earlier)),
        now,
    )


def _alike(one: tuple[Run, ...], other: tuple[Run, ...]) -> bool:
    """Whether both are known, tell a story, and came to the same."""
    told = all(0 < len(runs) <= TURNS for runs in (one, other))
    return told and one[-1].state == other[-1].state
