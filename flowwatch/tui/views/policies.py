"""Policies: every one that is named in verdicts or was given, and what it did; default deny apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from flowwatch.egress.rows import Row, Snapshot
from flowwatch.egress.words import NO_RULE
from flowwatch.flows.clocks import time_of_day
from flowwatch.report.human import width
from flowwatch.text import safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.parts.grouped import GroupedAnswer, grouped
from flowwatch.tui.parts.groups import filter_of, name_of, number
from flowwatch.tui.parts.listing import Item, Listed, ListView, head, table, titles_of

DID = 12
"""Columns of what a policy did, at least."""

COLUMNS = (
    head("DROPPED", 7, number=True, role="drop", words="attempts that it denied, or its default deny"),
    head("FORWARDED", 9, 1, number=True, role="ok", words="attempts that it allowed"),
    head("SINCE", 8, 3, role="dim", words="the first attempt of these rows (UTC)"),
    head("POLICY", 22, good=28, most=60, words="or the default deny, for which Hubble names none"),
    head("KIND", 12, 4, role="dim", words="of the document"),
    head("DID", DID, 1, words="what it was seen to do: allowed, denied, never named; or what it would"),
    head("WHOM", 16, 2, good=20, role="dim", words="the workloads of these rows"),
)  # fmt: skip


@dataclass(slots=True)
class PolicyDid:
    """What one policy was named for."""

    name: str
    kind: str = ""
    forwarded: int = 0
    dropped: int = 0
    first: int = 0
    whom: dict[str, None] = field(default_factory=dict)
    deny: int = 0
    """Of a staged one: attempts let through that it would deny."""
    admit: int = 0
    """Attempts denied that it would let through."""
    staged: bool = False
    given: bool = False
    """Whether it is one of those that were given (``--policies``)."""
    narrow: str = ""

    def count(self, row: Row, *, dropped: int = 0, forwarded: int = 0) -> None:
        """Take in a row that it is named for."""
        self.dropped += dropped
        self.forwarded += forwarded
        self.first = min(self.first or row.first_seen, row.first_seen)
        self.whom[name_of(row)] = None

    @property
    def did(self) -> str:
        """In words."""
        if self.staged:
            would = (("cut", self.deny), ("admit", self.admit))
            told = ", ".join([f"{what} {count:,}" for what, count in would if count])
            return f"would {told}" if told else "would change nothing"
        done = [
            text for text, count in (("denied", self.dropped), ("allowed", self.forwarded)) if count
        ]
        return ", ".join(done) or "never named"


def _made(snapshot: Snapshot) -> list[PolicyDid]:
    """By policy, those that denied first."""
    found: dict[str, PolicyDid] = {}
    for row in snapshot.rows:
        for one in row.allowed_by:
            if row.forwarded:
                _known(found, one.namespace, one.name, one.kind).count(row, forwarded=row.forwarded)
        if not row.blocked:
            continue
        denied = [one for one in row.denied_by if one.name]
        for one in denied:
            _known(found, one.namespace, one.name, one.kind).count(row, dropped=row.blocked)
        if not denied and "POLICY_DENIED" in row.drop_reasons:
            why = row.cause or NO_RULE
            entry = found.setdefault(
                why, PolicyDid(why, "default deny", narrow=filter_of("why", why))
            )
            entry.count(row, dropped=row.blocked)
    known = sorted(found.values(), key=lambda one: (-one.dropped, -one.forwarded, one.name))
    return [*_staged(snapshot), *known]


def _staged(snapshot: Snapshot) -> list[PolicyDid]:
    """The staged policies, with what they would do to these rows."""
    found = {
        name: PolicyDid(name, kind, staged=True, narrow=filter_of("staged", name))
        for name, kind in snapshot.staged
    }
    for row in snapshot.rows if found else ():
        for policy, deny, admit in row.staged.by if row.staged is not None else ():
            if (one := found.get(policy)) is not None:
                one.deny += deny
                one.admit += admit
                one.count(row)
    return sorted(found.values(), key=lambda one: (-one.deny, -one.admit, one.name))


def _known(found: dict[str, PolicyDid], namespace: str, name: str, kind: str) -> PolicyDid:
    full = f"{namespace}/{name}" if namespace else name
    return found.setdefault(full, PolicyDid(full, kind, narrow=filter_of("policy", full)))


def with_given(named: Iterable[PolicyDid], given: Iterable[tuple[str, str]]) -> list[PolicyDid]:
    """Those that verdicts name, then those of ``given`` (name, kind) that none does."""
    known = list(named)
    names = {one.name for one in known if not one.staged}
    return known + [PolicyDid(name, kind, given=True) for name, kind in given if name not in names]


def _listed(desk: Desk, value: GroupedAnswer, columns: int) -> Listed:
    policies = with_given(value.made, desk.given_policies)
    items = [
        Item(
            f"staged {one.name}" if one.staged else one.name,
            (
                number(one.dropped),
                number(one.forwarded),
                time_of_day(one.first) if one.first else "",
                safe(one.name),
                f"staged {safe(one.kind)}" if one.staged else safe(one.kind),
                one.did,
                safe(", ".join(one.whom)),
            ),
            _sign(one),
            one.narrow,
            {"SINCE": one.first or None},
        )
        for one in policies
    ]
    # What a staged policy would do says how much: a number isn't shortened.
    would = max([width(one.did) for one in policies if one.staged], default=DID)
    shown = [replace(c, least=max(c.least, would)) if c.title == "DID" else c for c in COLUMNS]
    return table(shown, items, value.snapshot, columns, desk.look.signs)


def _sign(one: PolicyDid) -> str:
    if one.deny:
        return "audited"
    return "dropped" if one.dropped else "forwarded" if one.forwarded else "unknown"


POLICIES = ListView(
    name="policies",
    words="policies that verdicts name or that were given: what they allowed, denied, never did",
    number=4,
    tab="Policies",
    tab_short="Policy",
    question=grouped(_made),
    listed=_listed,
    sorts=titles_of(COLUMNS),
    nothing="No verdict names a policy",
    advice=(
        "verdicts come where policies are enforced: hubble observe --type policy-verdict shows them, {nodes} "
        "each node's last one",
        "Cilium names the policies that allow or deny since 1.14",
        "--policies FILE tells what blocked, whether or not they are named",
    ),
    headings={one.title: one.words for one in COLUMNS if one.title in ("DID", "WHOM")},
    help=(
        "Policies: a policy's numbers are those of the rows that it is named for: an attempt that two "
        "policies allow counts with each. Default deny stands apart: Hubble names no policy for it; with "
        "--policies it is told whose it is. What is staged (--staged) stands first, with what it would cut "
        "and admit so far.",
    ),
)
