"""An audit that goes on while it is looked at: a thread adds batches, views ask what is known so far.

join = Join()
audit = LiveAudit(policies, join)
monitor = LiveMonitor(source, join=join, teller=audit.causes)
audit.report()
"""

from __future__ import annotations

import re

from flowwatch.audits.audit import Audit
from flowwatch.audits.causes import Causes
from flowwatch.audits.findings import AuditReport
from flowwatch.flows.join import Join, Joined
from flowwatch.policy.engine import PolicySet

_LINE = re.compile(r"\(line (\d+)\)", re.ASCII)


class LiveAudit:
    """Safe from any thread: while a report is made, whoever adds batches waits."""

    def __init__(self, policies: PolicySet, join: Join) -> None:
        # It is told of batches by way of `take`, under the lock.
        self._audit = Audit(policies, join=join, listen=False)
        self.causes = Causes(self._audit.judge, self._audit.observer, join)
        """What blocked the attempts of rows, by the same observations."""
        self._lock = self.causes.lock
        self.given = tuple([(str(policy), policy.kind) for policy in policies.policies])
        """Names and kinds of the policies."""
        self._report: AuditReport | None = None
        join.listen(self)

    @property
    def policies(self) -> PolicySet:
        """Those that it judges by."""
        return self._audit.judge.policies

    def take(self, joined: Joined) -> None:
        """Take in a batch (flowwatch.flows.join.Listener)."""
        with self._lock:
            self.causes.begin()
            self._audit.take(joined)
            self._report = None

    def place(self, attribution: str) -> tuple[str, int] | None:
        """The file and the line of what ``attribution`` is about: of the rule that comes closest, else of the
        first policy that it names; None where it names none."""
        named = [
            (attribution.find(f"{policy}"), policy)
            for policy in self.policies.policies
            if f"{policy}" in attribution
        ]
        if not named:
            return None
        _, rule, closest = attribution.partition("closest rule: ")
        for _, policy in named:
            if rule and closest.startswith(f"{policy} ") and (line := _LINE.search(closest)):
                return policy.file, int(line[1])
        first = min(named, key=lambda one: (one[0], -len(str(one[1]))))[1]
        return first.file, first.line

    def report(self) -> AuditReport:
        """What was found so far, attempts that aren't over included; the same object until more comes."""
        with self._lock:
            if self._report is None:
                self._report = self._audit.report_now()
            return self._report
