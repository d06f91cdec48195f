"""The text of the audit's view: what was found so far, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowwatch.audits.ends import beside
from flowwatch.audits.findings import (
    FAILURES,
    KINDS,
    MEANING,
    AuditReport,
    Finding,
    Kind,
    PolicyUse,
)
from flowwatch.flows.clocks import time_of_day
from flowwatch.report.audit.words import (
    DOINGS,
    MISTAKES,
    Conclusion,
    answer,
    selects_nothing,
    unproven,
)
from flowwatch.report.human import percent, span
from flowwatch.text import plural, safe
from flowwatch.tui.format import Line, Piece, wrap
from flowwatch.tui.named import NAMES, KeyNames
from flowwatch.tui.theme import Signs

ROWS = 200
"""Of each kind; the audit itself (``flowwatch audit``) prints them all."""
_LAST: tuple[Kind, ...] = ("ok", "not covered")
_FIRST = tuple(kind for kind in KINDS if kind not in _LAST)
"""Before the policies: what somebody has to look at. What is well comes below them."""
_ROLES: dict[Kind, str] = {
    "leak": "drop", "overblock": "drop", "unexplained": "drop", "difference": "drop",
    "inconclusive": "warn", "ok": "ok", "not covered": "dim",
}  # fmt: skip


_ANSWERS: dict[Conclusion, str] = {
    "failed": "drop",
    "no evidence": "warn",
    "partly": "ok",
    "ok": "ok",
}


def report_lines(
    report: AuditReport,
    columns: int,
    signs: Signs,
    direction: str = "both",
    keys: KeyNames = NAMES,
) -> list[Line]:
    """The page for a terminal of so many columns; every text of it is safe. Verdict and counts are of both
    directions, what was found is listed of ``direction``."""
    return [
        *_verdict(report, columns),
        *_counts(report, columns, signs),
        *_findings(report, _FIRST, columns, signs, direction, keys),
        *_hints(report, columns),
        *_policies(report, columns, signs),
        *_findings(report, _LAST, columns, signs, direction, keys),
    ]


def _verdict(report: AuditReport, columns: int) -> Iterator[Line]:
    blind, seen = report.blind, report.blind.coverage
    state, text = answer(report)
    # More may come: the page goes on.
    text = text.replace("NO EVIDENCE", "NO EVIDENCE YET")
    first: Line = ((f" {text}", _ANSWERS[state]),)
    if state == "partly" and not report.enough:
        first = (*first, (" (see ? below)", "dim"))
    yield first
    covered = report.covered
    share = percent(report.counts.get("inconclusive", 0) / covered) if covered else "0.0%"
    window = ""
    if seen.first_seen:
        times = f"{time_of_day(seen.first_seen)} to {time_of_day(seen.last_seen)}"
        window = f" in {span(seen.seconds)}, {times} UTC"
    text = (
        f"{plural(seen.records_read, 'record')} of {plural(seen.nodes_seen, 'node')}{window}: "
        f"{plural(blind.attempts, 'attempt')}, {covered:,} of pods that a policy selects; "
        f"{share} of these can't be judged"
    )
    yield from _wrapped(text, columns, 1, "dim")
    if seen.replies:
        text = f"{seen.replies:,} replies belong to connections opened earlier: not judged"
        yield from _wrapped(text, columns, 1, "dim")
    yield from _wrapped(safe(report.options.judged_by), columns, 1, "dim")
    for note in (*blind.notes, *report.notes):
        yield from _wrapped(f"! {safe(note)}", columns, 1, "warn")


def _counts(report: AuditReport, columns: int, signs: Signs) -> Iterator[Line]:
    yield ()
    before = 27
    for kind in KINDS:
        count = report.counts.get(kind, 0)
        role = _ROLES[kind] if count else "dim"
        meaning, *more = wrap(MEANING[kind], columns - before - 1)
        yield (
            (f" {_sign(kind, signs)} {kind:<13}", role),
            (f"{count:>9,}  ", role if count else "dim"),
            (meaning, "dim"),
        )
        yield from (((" " * before + line, "dim"),) for line in more)


def _findings(
    report: AuditReport,
    kinds: Sequence[Kind],
    columns: int,
    signs: Signs,
    direction: str,
    keys: KeyNames,
) -> Iterator[Line]:
    for kind in kinds:
        found = [one for one in report.findings if one.kind == kind]
        if not found:
            continue
        rows = [one for one in found if direction in ("both", one.direction)]
        yield ()
        yield ((f" {kind.capitalize()}", "head"),)
        if elsewhere := len(found) - len(rows):
            other = "egress" if direction == "ingress" else "ingress"
            role = _ROLES[kind] if kind in FAILURES else "dim"
            yield ((f"   {elsewhere:,} in {other}: {keys['direction']} shows them", role),)
        for one in rows[:ROWS]:
            yield from _finding(one, columns, signs)
        if len(rows) > ROWS:
            yield ((f"   and {len(rows) - ROWS:,} more: flowwatch audit prints them", "dim"),)


def _finding(one: Finding, columns: int, signs: Signs) -> Iterator[Line]:
    arrow = signs.of if one.direction == "ingress" else signs.to
    who = f"{safe(one.subject)} {arrow} {safe(beside(one.direction, one.peer, one.port, one.protocol))}"
    role = _ROLES[one.kind]
    ended: Piece = (f"  {one.attempts:,}x {safe(one.observed)}", "dim")
    yield ((f" {_sign(one.kind, signs)} ", role), (who, "text"), ended)
    if one.kind != "not covered" or "dropped" in one.reason:
        yield from _wrapped(safe(one.reason), columns, 5, "dim")


def _hints(report: AuditReport, columns: int) -> Iterator[Line]:
    for title, style, hints in (
        (f" Probable mistakes: {MISTAKES}", "warn", report.hints),
        (f" Incidents: {DOINGS}", "dim", report.incidents),
    ):
        if hints:
            yield ()
            yield ((title, "head"),)
        for hint in hints:
            yield ((f" ! {hint.name}: {safe(hint.policy.file)}:{hint.line}", style),)
            yield from _wrapped(safe(hint.text), columns, 5, "text")


def _policies(report: AuditReport, columns: int, signs: Signs) -> Iterator[Line]:
    yield ()
    yield ((" Policies", "head"),)
    # Those with something to tell first: a cluster has hundreds that select nothing seen.
    uses = sorted(report.policies, key=lambda use: not use.subjects)
    for use in uses[:ROWS]:
        yield from _policy(use, columns, signs)
    if len(uses) > ROWS:
        yield ((f"   and {len(uses) - ROWS:,} more: flowwatch audit prints them", "dim"),)


def _policy(use: PolicyUse, columns: int, signs: Signs) -> Iterator[Line]:
    policy = use.policy
    where = f"  {safe(policy.file)}:{policy.line}"
    yield ((f" {safe(policy.reference)}", "strong"), (where, "dim"))
    if not use.subjects:
        yield ((f"   ? {selects_nothing(use)}", "warn"),)
        return
    more = f" and {len(use.subjects) - 5} more" if len(use.subjects) > 5 else ""
    names = ", ".join(safe(name) for name in use.subjects[:5])
    yield from _wrapped(f"selects {names}{more}", columns, 3, "dim")
    for rule in use.rules:
        place = f"{safe(rule.entry.place)} (line {rule.entry.line})"
        if not rule.exercised:
            yield ((f"   ? {place}: never exercised", "warn"),)
            continue
        yield (
            (f"   {signs.forwarded} ", "ok"),
            (f"{place}: {plural(rule.attempts, 'attempt')}", "text"),
        )
        if rule.unused:
            yield from _wrapped(f"unused: {safe('; '.join(rule.unused))}", columns, 7, "warn")
    for way in use.unproven:
        yield from _wrapped(f"? {way}: {unproven(use, way)}", columns, 3, "warn")


def _sign(kind: Kind, signs: Signs) -> str:
    if kind in FAILURES:
        return signs.dropped
    return {"ok": signs.forwarded, "inconclusive": "?"}.get(kind, signs.dot)


def _wrapped(text: str, columns: int, indent: int, role: str) -> Iterator[Line]:
    for part in wrap(text, columns - indent - 1):
        yield ((" " * indent + part, role),)
