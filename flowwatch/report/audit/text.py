"""The audit for a terminal: what the evidence is, what was found, which rules nothing exercised."""

from __future__ import annotations

from collections.abc import Iterator

from flowwatch.audits.findings import KINDS, MEANING, AuditReport, Finding, Kind
from flowwatch.report.audit.words import (
    DOINGS,
    MISTAKES,
    Conclusion,
    answer,
    destination,
    evidence,
    expectation_text,
    selects_nothing,
    unexercised,
    unproven,
    warnings,
)
from flowwatch.report.summary_table import Style
from flowwatch.report.telling import evidence_lines
from flowwatch.text import plural, safe

_SIGNS: dict[Kind, tuple[str, str, int]] = {
    "leak": ("✗", "x", 31),
    "overblock": ("✗", "x", 31),
    "unexplained": ("✗", "x", 31),
    "difference": ("✗", "x", 31),
    "inconclusive": ("?", "?", 33),
    "ok": ("✓", "+", 32),
    "not covered": ("·", ".", 2),
}
_BRIEF: dict[Kind, int] = {"ok": 20, "not covered": 5}
"""Rows shown of kinds that passed or say little; findings are all shown."""
_ANSWERS: dict[Conclusion, int] = {"failed": 31, "no evidence": 33, "partly": 32, "ok": 32}


def audit_lines(report: AuditReport, style: Style) -> Iterator[str]:
    """The lines of the report; safe on a terminal."""
    yield from _evidence(report, style)
    for kind in KINDS:
        rows = [one for one in report.findings if one.kind == kind]
        if rows:
            yield ""
            yield from _section(kind, rows, style)
    for title, color, sign, hints in (
        (f"PROBABLE MISTAKES: {MISTAKES}", 33, "!", report.hints),
        (f"INCIDENTS: {DOINGS}", 2, "·", report.incidents),
    ):
        if hints:
            yield ""
            yield style.paint(color, title)
        for hint in hints:
            tried = f" ({plural(hint.attempts, 'attempt')})" if hint.attempts else ""
            yield f"  {sign} {hint.name}: {safe(hint.policy.file)}:{hint.line}{tried}"
            yield f"      {safe(hint.text)}"
    if report.expectations:
        yield ""
        yield from _expectations(report, style)
    yield ""
    yield from _policies(report, style)
    yield ""
    yield verdict(report, style)


def verdict(report: AuditReport, style: Style) -> str:
    """The answer in one line."""
    state, text = answer(report)
    more = " (see ? and unproven above)" if state == "partly" and not report.enough else ""
    return style.paint(_ANSWERS[state], text) + more


def _evidence(report: AuditReport, style: Style) -> Iterator[str]:
    yield from evidence_lines(evidence(report, safe), warnings(report), style)


def _section(kind: Kind, rows: list[Finding], style: Style) -> Iterator[str]:
    sign, plain, color = _SIGNS[kind]
    mark = plain if style.ascii else sign
    total = sum(one.attempts for one in rows)
    yield style.paint(color, f"{kind.upper()}, {plural(total, 'attempt')}: {MEANING[kind]}")
    arrow = "->" if style.ascii else "→"
    back = "<-" if style.ascii else "←"
    shown = rows[: _BRIEF[kind]] if kind in _BRIEF else rows
    for at, one in enumerate(shown):
        way = arrow if one.direction == "egress" else back
        who = f"{safe(one.subject)} {way} {safe(destination(one))}"
        ended = f" {one.observed}" if kind in _BRIEF else ""
        yield f"  {style.paint(color, mark)} {who}  {one.attempts:,}x{ended}"
        if kind not in _BRIEF or one.observed == "dropped":
            yield f"      {safe(one.reason)}"
        if one.advice and [one.advice] != [two.advice for two in shown[at + 1 : at + 2]]:
            yield f"    {'=>' if style.ascii else '⇒'} {one.advice}"
    if len(rows) > len(shown):
        yield f"    … and {plural(len(rows) - len(shown), 'more row')} (-o json has them all)".replace(
            "…", "..." if style.ascii else "…"
        )


def _expectations(report: AuditReport, style: Style) -> Iterator[str]:
    yield "EXPECTED"
    colors = {"proven": (32, "✓", "+"), "contradicted": (31, "✗", "x"), "unproven": (33, "?", "?")}
    for one in report.expectations:
        color, sign, plain = colors[one.state]
        mark = style.paint(color, plain if style.ascii else sign)
        yield f"  {mark} {safe(expectation_text(one))}: {one.state}, {one.evidence}"
        if one.probe:
            yield f"      try: {safe(one.probe)}"


def _policies(report: AuditReport, style: Style) -> Iterator[str]:
    yield "POLICIES"
    for use in report.policies:
        policy = use.policy
        whom = ", ".join(map(safe, use.subjects[:5])) + (
            f" and {len(use.subjects) - 5} more" if len(use.subjects) > 5 else ""
        )
        yield f"  {safe(policy.reference)} ({safe(policy.file)}:{policy.line})"
        if not use.subjects:
            yield style.paint(33, f"    ? {selects_nothing(use)}")
            continue
        yield f"    selects {whom}"
        for rule in use.rules:
            entry = rule.entry
            where = f"{entry.place} (line {entry.line})"
            if not rule.exercised:
                yield style.paint(33, f"    ? {where}: {unexercised(rule)}")
                continue
            yield f"    {'+' if style.ascii else '✓'} {where}: {plural(rule.attempts, 'attempt')}"
            if rule.unused:
                yield f"        unused: {safe('; '.join(rule.unused))}"
        for way in use.unproven:
            yield style.paint(33, f"    ? {way}: {unproven(use, way)}")
