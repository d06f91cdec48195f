"""The audit so far, of the policies that were given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from flowwatch.tui.desk import Desk
from flowwatch.tui.format import Line, window_words
from flowwatch.tui.keys import OPENING
from flowwatch.tui.parts.page import TextView
from flowwatch.tui.question import Question, Readings

if TYPE_CHECKING:
    from flowwatch.audits.findings import AuditReport


@dataclass(frozen=True, kw_only=True)
class AuditSoFar(Question["AuditReport | None"]):
    """What the policies given say of what was read; None without policies."""

    LEAST: ClassVar[float] = 1.0
    MOST: ClassVar[float] = float("inf")

    def answer(self, of: Readings) -> AuditReport | None:
        return of.audit.report() if of.audit is not None else None


def _question(desk: Desk, key: int) -> AuditSoFar:
    return AuditSoFar(when=desk.chosen.when)


def _lines(desk: Desk, columns: int) -> list[Line]:
    answer = desk.answer(AuditSoFar)
    if answer is None or answer.value is None:
        return [((" judging what was read so far …", "dim"),)]
    # Loaded only for who gave policies.
    from flowwatch.tui.views.audit_report import report_lines

    query = desk.chosen.query
    lines = report_lines(answer.value, columns, desk.look.signs, query.direction, desk.look.keys)
    if query.window:
        told = f" of all that was read, not of {window_words(query)} alone"
        lines.insert(1, ((told, "warn"),))
    return lines


def _refusal(desk: Desk) -> str:
    if desk.with_policies:
        return ""
    if desk.options.private:
        return "policies are about names that are hidden"
    return "no policies were given: start with flowwatch --policies FILE"


AUDIT = TextView(
    name="audit",
    words="what the policies given (--policies) say of the traffic",
    key=OPENING["audit"],
    number=7,
    tab="Audit",
    tab_short="Audit",
    title="Audit: does the traffic go as the policies say?",
    question=_question,
    lines=_lines,
    refusal=_refusal,
)
