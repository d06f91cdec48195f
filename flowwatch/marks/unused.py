"""What nothing needed of the policies that are given: policies, rules, peers and ports, and since when.

What needed what is the audit's own count. When a policy changed is told by verdicts (a mark), or by the time
of its file where that is asked for: what changed lately had no time to be needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from flowwatch.audits.audit import Audit
from flowwatch.audits.findings import AuditReport, PolicyUse, RuleUse
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch
from flowwatch.marks.changes import Changes
from flowwatch.policy.engine import PolicySet
from flowwatch.policy.peers import Name
from flowwatch.policy.rules import Entry, Policy

What = Literal["policy", "rule", "peer", "port"]
WHATS: tuple[What, ...] = ("policy", "rule", "peer", "port")
From = Literal["", "verdicts", "file"]
"""What tells when a policy changed; "" where nothing does."""


@dataclass(frozen=True, slots=True)
class Changed:
    """When a policy came or changed, nanoseconds since 1970, and what tells it."""

    time: int
    by: From


@dataclass(frozen=True, slots=True)
class Unused:
    """One thing that no attempt is known to have needed."""

    what: What
    policy: Policy
    entry: Entry | None
    """The rule, or that of the peer or port; None for a whole policy."""
    text: str
    """The peer or port; "" for policies and rules."""
    since: int
    """From when on that was looked at, nanoseconds since 1970; 0 where it changed after all that was seen."""
    perhaps: int = 0
    """Attempts of which can't be told whether they needed it."""
    changed: Changed | None = None
    recent: bool = False
    """Whether it changed so lately that this says little."""

    @property
    def line(self) -> int:
        """Where it stands in its file."""
        return self.policy.line if self.entry is None else self.entry.line

    @property
    def guard(self) -> bool:
        """Whether it only denies: what nothing tried may still be what it is there for."""
        return self.entry is not None and self.entry.effect == "deny"

    @property
    def certain(self) -> bool:
        """Whether nothing speaks against taking it away but what wasn't seen."""
        return not (self.recent or self.perhaps or self.guard)


@dataclass(frozen=True, slots=True)
class UnusedReport:
    """The whole answer."""

    audit: AuditReport
    """Whose counts these are."""
    unused: tuple[Unused, ...]
    rules: int
    """All that the policies have."""

    @property
    def blind(self) -> bool:
        """Whether no attempt was seen: then nobody can tell what is needed."""
        return not self.audit.blind.attempts

    @property
    def found(self) -> bool:
        """Whether anything is unused for certain."""
        return any(one.certain for one in self.unused)


class Finder:
    """Reads the evidence once, for the audit and for the marks.

    ``recent``: nanoseconds before the end of the evidence in which a change is recent. ``written``: gives
    the time of a policy's file, nanoseconds since 1970; None where it isn't to be asked.
    """

    def __init__(
        self,
        policies: PolicySet,
        recent: int,
        written: Callable[[str], int] | None = None,
        join: Join | None = None,
    ) -> None:
        self._recent = recent
        self._written = written
        join = join or Join()
        self._audit = Audit(policies, join=join)
        self._changes = Changes(frozenset({"egress", "ingress"}), join=join)

    def read(self, batches: Iterable[Batch]) -> UnusedReport:
        """All of ``batches``, and the report."""
        marks = self._changes.read(batches)
        report = self._audit.finish()
        named: dict[str, int] = {}
        for difference in marks.differences:
            for name in (*difference.mark.came, *difference.mark.changed):
                named[name] = max(named.get(name, 0), difference.mark.time)
        found = tuple(
            self._dated(one, use, named, report)
            for use in (report.policies if report.blind.attempts else ())
            for one in _of(use, report.policies)
        )
        order = {what: at for at, what in enumerate(WHATS)}
        found = tuple(sorted(found, key=lambda one: (one.recent, order[one.what])))
        return UnusedReport(report, found, sum(len(use.rules) for use in report.policies))

    def _dated(
        self, one: Unused, use: PolicyUse, named: Mapping[str, int], report: AuditReport
    ) -> Unused:
        seen = report.blind.coverage
        changed = self._changed(use.policy, named)
        if changed is None:
            return replace(one, since=seen.first_seen)
        recent = changed.time > seen.last_seen - self._recent
        since = max(seen.first_seen, changed.time) if changed.time < seen.last_seen else 0
        return replace(one, since=since, changed=changed, recent=recent)

    def _changed(self, policy: Policy, named: Mapping[str, int]) -> Changed | None:
        """The later of what verdicts and its file tell."""
        told: list[Changed] = []
        as_named = f"{policy} ({policy.kind})"
        if as_named in named:
            told.append(Changed(named[as_named], "verdicts"))
        if self._written is not None and (time := self._written(policy.file)):
            told.append(Changed(time, "file"))
        return max(told, key=lambda one: one.time, default=None)


def _of(use: PolicyUse, every: Iterable[PolicyUse]) -> Iterator[Unused]:
    if not use.subjects:
        yield Unused("policy", use.policy, None, "", 0, use.unlabelled)
        return
    for rule in use.rules:
        if not rule.exercised and not _looks_up(rule, use, every):
            yield Unused("rule", use.policy, rule.entry, "", 0, rule.perhaps)
        elif rule.exercised:
            yield from _parts(use.policy, rule)


def _looks_up(rule: RuleUse, use: PolicyUse, every: Iterable[PolicyUse]) -> bool:
    """Whether it shows the DNS proxy lookups for the same pods' names, of which some are needed.

    A lookup that no record shows was made all the same: else no address would have been learnt.
    """
    if not any(one.l7 is not None and one.l7.kind == "dns" for one in rule.entry.ports or ()):
        return False
    return any(
        other.exercised and any(isinstance(peer, Name) for peer in other.entry.peers or ())
        for one in every
        if not {*one.subjects}.isdisjoint(use.subjects)
        for other in one.rules
    )


def _parts(policy: Policy, rule: RuleUse) -> Iterator[Unused]:
    ports = {str(one) for one in rule.entry.ports or ()}
    for text in rule.unused:
        yield Unused("port" if text in ports else "peer", policy, rule.entry, text, 0, rule.perhaps)
