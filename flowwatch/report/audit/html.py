"""The audit as one page to hand to an auditor: nothing is loaded, nothing runs, it prints.

Names come from the network and from YAML: every text passes ``_text``, and the page's own policy (CSP)
forbids scripts and resources, so that a slip there would still do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator
from html import escape

from flowwatch import __version__
from flowwatch.audits.findings import (
    KINDS,
    MEANING,
    AuditReport,
    Expectation,
    Finding,
    Hint,
    Kind,
    PolicyUse,
    RuleUse,
)
from flowwatch.report.audit.html_style import CSS
from flowwatch.report.audit.words import (
    DOINGS,
    MISTAKES,
    Conclusion,
    answer,
    destination,
    evidence,
    selects_nothing,
    steps,
    unexercised,
    unproven,
    warnings,
)
from flowwatch.report.goformat import TimeFormat
from flowwatch.text import plural, safe

MAX_ROWS = 2_000
"""Rows of one kind: more make a page that browsers and readers can't take."""
_CLASSES: dict[Conclusion, str] = {
    "failed": "failed", "no evidence": "open", "partly": "open", "ok": "passed",
}  # fmt: skip
_COLORS: dict[Kind, str] = {
    "leak": "bad", "overblock": "bad", "unexplained": "bad", "difference": "bad", "inconclusive": "warn",
    "ok": "good", "not covered": "soft",
}  # fmt: skip
_STATES = {"proven": "good", "contradicted": "bad", "unproven": "warn"}
_UNPROVEN = "nothing tried what it forbids: that it blocks is unproven"


def audit_html(report: AuditReport) -> Iterator[str]:
    """The lines of the page."""
    yield from _head()
    state, text = answer(report)
    yield "<h1>Network policy audit</h1>"
    yield f'<p class="verdict {_CLASSES[state]}">{_text(text)}</p>'
    yield from _evidence(report)
    yield from _counts(report)
    yield from _expectations(report)
    for kind in KINDS:
        rows = [one for one in report.findings if one.kind == kind]
        if rows:
            yield from _section(kind, rows)
    yield from _hints(report)
    yield from _unexercised(report)
    yield from _policies(report)
    yield from _words()
    yield f'<footer class="soft">flowwatch {_text(__version__)}. Times are UTC.</footer>'
    yield "</body></html>"


def _head() -> Iterator[str]:
    digest = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield "<title>Network policy audit</title>"
    yield f"<style>{CSS}</style></head><body>"


def _evidence(report: AuditReport) -> Iterator[str]:
    yield '<section class="evidence"><h3>What this rests on, and what it can\'t see</h3><ul>'
    yield from (f"<li>{_text(line)}</li>" for line in evidence(report))
    yield from (f'<li class="warning">{_text(line)}</li>' for line in warnings(report))
    for use in report.policies:
        for way in use.unproven:
            name = _text(use.policy.reference)
            yield f'<li class="warning">{name}, {_text(way)}: {unproven(use, way)}</li>'
    if not warnings(report) and report.blind.coverage.records_read:
        yield "<li>no lost events, no nodes out of reach, no unreadable records were reported</li>"
    yield "</ul></section>"


def _counts(report: AuditReport) -> Iterator[str]:
    yield '<ul class="counts">'
    for kind in KINDS:
        number = report.counts.get(kind, 0)
        color = _COLORS[kind] if number else "soft"
        yield f'<li><b class="{color}">{number:,}</b>{_text(kind)}</li>'
    yield "</ul>"


def _section(kind: Kind, rows: list[Finding]) -> Iterator[str]:
    total = plural(sum(one.attempts for one in rows), "attempt")
    yield f'<section><h2><span class="{_COLORS[kind]}">{_text(kind.capitalize())}</span>: '
    yield f"{_text(total)}, {_text(MEANING[kind])}</h2>"
    for step in steps(rows):
        yield f"<p>What to do: {_text(step)}</p>"
    yield from _table(
        ("Pod", "Peer", "#Attempts", "First and last (UTC)", "Expected, seen", "Why, and the rule"),
        (_finding(one) for one in rows[:MAX_ROWS]),
    )
    if len(rows) > MAX_ROWS:
        more = plural(len(rows) - MAX_ROWS, "more row")
        yield f"<p>… and {more} (flowwatch audit -o json has them all)</p>"
    yield "</section>"


def _finding(one: Finding) -> tuple[str, ...]:
    file, line = one.place
    arrow = "→" if one.direction == "egress" else "←"
    place = f"<br><code>{_text(file)}:{line}</code>" if file else ""
    rules = "".join(f'<br><span class="soft">{_text(str(entry))}</span>' for entry in one.entries)
    return (
        f'<td class="who">{_text(one.subject)}</td>',
        f'<td class="who">{arrow}&nbsp;{_text(destination(one))}</td>',
        f'<td class="number">{one.attempts:,}</td>',
        f'<td class="time">{_time(one.first)}<br>{_time(one.last)}</td>',
        f'<td class="short">{_text(one.expected.replace("_", " "))},<br>{_text(one.observed)}</td>',
        f"<td>{_text(one.reason)}{place}{rules}</td>",
    )


def _hints(report: AuditReport) -> Iterator[str]:
    for title, word, hints in (
        (f"Probable mistakes: {MISTAKES}", "Mistake", report.hints),
        (f"Incidents: {DOINGS}", "Incident", report.incidents),
    ):
        if hints:
            yield from _hint_table(title, word, hints)


def _hint_table(title: str, word: str, hints: tuple[Hint, ...]) -> Iterator[str]:
    yield f"<section><h2>{title}</h2>"
    yield from _table(
        (word, "Policy", "Place", "#Attempts", "What"),
        (
            (
                f"<td>{_text(hint.name)}</td>",
                f"<td>{_text(hint.policy.reference)}</td>",
                f"<td><code>{_text(hint.policy.file)}:{hint.line}</code></td>",
                f'<td class="number">{hint.attempts:,}</td>',
                f"<td>{_text(hint.text)}</td>",
            )
            for hint in hints
        ),
    )
    yield "</section>"


def _expectations(report: AuditReport) -> Iterator[str]:
    if not report.expectations:
        return
    yield "<section><h2>Expectations</h2>"
    yield from _table(
        ("", "From", "", "To", "#Attempts", "Evidence", "To try it"),
        (_expectation(one) for one in report.expectations),
    )
    yield "</section>"


def _expectation(one: Expectation) -> tuple[str, ...]:
    must = "must reach" if one.must_reach else "must not reach"
    return (
        f'<td class="short {_STATES[one.state]}">{_text(one.state)}</td>',
        f'<td class="who">{_text(one.subject)}</td>',
        f'<td class="short">{must}</td>',
        f'<td class="who">{_text(one.peer)} ({_text(one.port)})</td>',
        f'<td class="number">{one.attempts:,}</td>',
        f"<td>{_text(one.evidence)}</td>",
        f"<td><code>{_text(one.probe)}</code></td>",
    )


def _unexercised(report: AuditReport) -> Iterator[str]:
    """Rules that nothing needed, of all policies: candidates to remove, or to test."""
    never = [
        (use, rule) for use in report.policies for rule in use.rules if not rule.exercised
    ]  # fmt: skip
    if not never:
        return
    rules = plural(len(never), "rule")
    yield f"<section><h2>Never exercised: {rules} that no flow is known to have needed</h2>"
    yield from _table(
        ("Policy", "Rule", "Place", "Direction"),
        (
            (
                f"<td>{_text(use.policy.reference)}</td>",
                f"<td>{_text(rule.entry.place)}</td>",
                f"<td><code>{_text(use.policy.file)}:{rule.entry.line}</code></td>",
                f"<td>{_text(rule.entry.direction)}</td>",
            )
            for use, rule in never[:MAX_ROWS]
        ),
    )
    if len(never) > MAX_ROWS:
        yield f"<p>… and {len(never) - MAX_ROWS:,} more</p>"
    yield "</section>"


def _policies(report: AuditReport) -> Iterator[str]:
    yield "<section><h2>Policies, and whom they select</h2>"
    if not report.policies:
        yield "<p>none were given</p>"
    for use in report.policies:
        yield from _policy(use)
    yield "</section>"


def _policy(use: PolicyUse) -> Iterator[str]:
    policy = use.policy
    yield f'<div class="policy"><h3>{_text(policy.reference)} '
    yield f"<code>{_text(policy.file)}:{policy.line}</code></h3>"
    if use.subjects:
        yield f"<p>Selects {', '.join(f'<code>{_text(one)}</code>' for one in use.subjects)}</p>"
    else:
        nothing = selects_nothing(use)
        yield f'<p class="warn">{nothing[0].upper()}{nothing[1:]}</p>'
    yield from (f'<p class="warn">{_text(way)}: {unproven(use, way)}</p>' for way in use.unproven)
    if use.rules:
        yield from _table(
            ("Rule", "Line", "Does", "#Attempts that met it", "Not met"),
            (_rule(rule) for rule in use.rules),
        )
    yield "</div>"


def _rule(rule: RuleUse) -> tuple[str, ...]:
    entry = rule.entry
    met = (
        f"{rule.attempts:,}" if rule.exercised else f'<span class="warn">{unexercised(rule)}</span>'
    )
    return (
        f"<td>{_text(entry.place)}</td>",
        f"<td>{entry.line}</td>",
        f"<td>{_text(entry.effect)} {_text(entry.direction)}</td>",
        f'<td class="number">{met}</td>',
        f"<td>{_text('; '.join(rule.unused))}</td>",
    )


def _words() -> Iterator[str]:
    yield "<section><h2>What the words mean</h2><dl>"
    for kind in KINDS:
        yield f"<dt>{_text(kind)}</dt><dd>{_text(MEANING[kind])}</dd>"
    yield "<dt>never exercised</dt><dd>no flow that was seen needed the rule</dd>"
    yield f"<dt>unproven</dt><dd>{_UNPROVEN}; no leak was seen either, but absence is no proof</dd>"
    yield "</dl></section>"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A table of ready cells. A heading that begins with ``#`` is of a column of numbers."""
    yield "<table><thead><tr>"
    for title in header:
        number = ' class="number"' if title.startswith("#") else ""
        yield f'<th scope="col"{number}>{_text(title.lstrip("#"))}</th>'
    yield "</tr></thead><tbody>"
    yield from (f"<tr>{''.join(cells)}</tr>" for cells in rows)
    yield "</tbody></table>"


def _time(nanoseconds: int) -> str:
    if not nanoseconds:
        return "–"
    return TimeFormat.iso().nanoseconds(nanoseconds)[:19].replace("T", " ")


def _text(text: str) -> str:
    """The only way for a text into the page."""
    return escape(safe(text))
