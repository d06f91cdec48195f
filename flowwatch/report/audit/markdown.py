"""The audit as Markdown (GitHub's), for a comment on a pull request or a job's summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowwatch.audits.findings import KINDS, MEANING, AuditReport, Finding, Kind, PolicyUse
from flowwatch.report.audit.words import (
    DOINGS,
    MISTAKES,
    Conclusion,
    answer,
    destination,
    evidence,
    selects_nothing,
    steps,
    warnings,
)
from flowwatch.report.summary_markdown import code
from flowwatch.text import plural

MAX_ROWS = 50
"""Rows of one table; a comment may have 65,536 characters."""
_SIGNS: dict[Conclusion, str] = {"failed": "❌", "no evidence": "❔", "partly": "⚠️", "ok": "✅"}
_STATES = {"proven": "✅", "contradicted": "❌", "unproven": "❔"}
_FOLDED: tuple[Kind, ...] = ("ok", "not covered")


def audit_markdown(report: AuditReport) -> str:
    """The text, with a final newline. What comes from outside stands in code spans."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: AuditReport) -> Iterator[str]:
    state, text = answer(report)
    yield f"## {_SIGNS[state]} flowwatch audit: {text}"
    yield ""
    yield from (f"- {line}" for line in evidence(report, code))
    yield from (f"- ⚠️ {code(line)}" for line in warnings(report))
    for kind in KINDS:
        rows = [one for one in report.findings if one.kind == kind]
        if rows:
            yield from _section(kind, rows)
    for title, words, hints in (
        ("Probable mistakes", MISTAKES, report.hints),
        ("Incidents", DOINGS, report.incidents),
    ):
        if hints:
            yield from ("", f"### {title}", "", f"{words[0].upper()}{words[1:]}.", "")
        for hint in hints:
            tried = f" ({plural(hint.attempts, 'attempt')})" if hint.attempts else ""
            place = code(f"{hint.policy.file}:{hint.line}")
            yield f"- {place} {code(hint.name)}: {code(hint.text)}{tried}"
    if report.expectations:
        yield from ("", "### Expectations", "")
        yield from _table(
            ("", "From", "", "To", "Port", "Evidence", "To try"),
            (
                (
                    _STATES[one.state], code(one.subject),
                    "must reach" if one.must_reach else "must not reach",
                    code(one.peer), code(one.port), f"{one.state}: {code(one.evidence)}", code(one.probe),
                )
                for one in report.expectations
            ),
        )  # fmt: skip
    yield from ("", "### Policies", "")
    yield from _table(
        ("Policy", "Place", "Selects", "Rules exercised", "Never exercised", "Unproven"),
        (_policy(use) for use in report.policies),
    )


def _section(kind: Kind, rows: list[Finding]) -> Iterator[str]:
    total = plural(sum(one.attempts for one in rows), "attempt")
    title = f"{kind.capitalize()}, {total}: {MEANING[kind]}"
    folded = kind in _FOLDED
    yield ""
    yield f"<details><summary>{title}</summary>" if folded else f"### {title}"
    yield ""
    yield from _table(
        ("Direction", "Pod", "Peer", "Attempts", "Expected", "Observed", "Rule", "Why"),
        (_row(one) for one in rows[:MAX_ROWS]),
    )
    if len(rows) > MAX_ROWS:
        yield ""
        yield f"… and {plural(len(rows) - MAX_ROWS, 'more row')} (`-o json` has them all)"
    for step in () if folded else steps(rows):
        yield ""
        yield f"⇒ {code(step)}"
    if folded:
        yield ""
        yield "</details>"


def _row(one: Finding) -> tuple[str, ...]:
    file, line = one.place
    return (
        one.direction, code(one.subject), code(destination(one)), f"{one.attempts:,}",
        code(one.expected), code(one.observed), code(f"{file}:{line}" if file else ""), code(one.reason),
    )  # fmt: skip


def _policy(use: PolicyUse) -> tuple[str, ...]:
    policy = use.policy
    never = [rule.entry for rule in use.rules if not rule.exercised]
    return (
        code(policy.reference),
        code(f"{policy.file}:{policy.line}"),
        _some(use.subjects)
        if use.subjects
        else f"❔ {selects_nothing(use).removeprefix('selects ')}",
        f"{len(use.rules) - len(never):,} of {len(use.rules):,}",
        _some([f"{entry.place} (line {entry.line})" for entry in never]),
        ", ".join(use.unproven),
    )


def _some(texts: Iterable[str]) -> str:
    found = list(texts)
    more = f" and {len(found) - 5:,} more" if len(found) > 5 else ""
    return ", ".join(code(text) for text in found[:5]) + more


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{' --- |' * len(header)}"
    yield from (f"| {' | '.join(cells)} |" for cells in rows)
