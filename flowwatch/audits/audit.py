"""Does the policy block as expected, and only that? Each attempt is judged, and the judgements told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flowwatch.audits.counts import Counts
from flowwatch.audits.evidence import Observer
from flowwatch.audits.expect import Expected
from flowwatch.audits.findings import AuditReport
from flowwatch.audits.judge import Judge
from flowwatch.audits.reporting import Reporter
from flowwatch.audits.uses import Questions
from flowwatch.flows.counting import Tally
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.model import Batch
from flowwatch.policy.engine import PolicySet

_AT_ONCE = 200
"""Open attempts judged while the join waits: 2 ms."""


class Audit:
    """Judges attempts against policies. Let it listen, then ask for the report: at the end, or by
    :meth:`report_now` as often as you like.

    Args:
        policies: the set that is said to be in force.
        applied_at: nanoseconds since 1970 from which it counts; None: from when verdicts show it.
        expected: what must be reached, and what must not.
        join: what to listen to; else one of its own.
        listen: false where whoever made it calls :meth:`take`.
    """

    def __init__(
        self,
        policies: PolicySet,
        *,
        applied_at: int | None = None,
        expected: Sequence[Expected] = (),
        join: Join | None = None,
        listen: bool = True,
    ) -> None:
        self.policies = policies
        self.source = ""
        """Told in the report: where the flows come from, and through which filters."""
        self.judge = Judge(policies, applied_at)
        self.observer = Observer(both_ends=True, reach=policies.options.reach)
        self._counts = Counts(self.judge, Questions(self.judge), expected)
        self.join = join or Join()
        if listen:
            self.join.listen(self)

    @property
    def tally(self) -> Tally:
        """What was read, and what was not."""
        return self.join.tally

    def take(self, joined: Joined) -> None:
        """Judge what is over (flowwatch.flows.join.Listener)."""
        self.observer.take(joined)
        for attempt in joined.closed:
            for seen in self.observer.over(attempt, joined.scope):
                self._counts.add(seen)

    def read(self, batches: Iterable[Batch]) -> AuditReport:
        """All of ``batches``, and the report."""
        self.join.read(batches)
        return self.finish()

    def finish(self) -> AuditReport:
        """Judge what is still open, and report. Nothing may be added afterwards."""
        return self.report_now()

    def report_now(self) -> AuditReport:
        """The report as if the evidence ended here; more may be added afterwards.

        Costs as much as judging every open attempt: some 10 µs for each.
        """
        now = self._counts.empty()
        with self.join.lock:
            rest = list(self.join.open_attempts())
        for start in range(0, len(rest), _AT_ONCE):
            with self.join.lock:
                for _, scope, attempt in rest[start : start + _AT_ONCE]:
                    for seen in self.observer.so_far(attempt, scope):
                        now.add(seen)
        with self.join.lock:
            return Reporter(
                self.judge, self._counts, now, self.join, self.observer, self.source
            ).report()
