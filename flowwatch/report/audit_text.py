"""The audit for a terminal: what the evidence is, what was found, which rules nothing exercised."""

from __future__ import annotations

from collections.abc import Iterator

from flowwatch.policy.findings import FAILURES, KINDS, MEANING, AuditReport, Finding, Kind
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import percent, span
from flowwatch.report.summary_table import Style
from flowwatch.text import safe

_SIGNS: dict[Kind, tuple[str, str, int]] = {
    "leak": ("✗", "x", 31),
    "overblock": ("✗", "x", 31),
    "difference": ("✗", "x", 31),
    "inconclusive": ("?", "?", 33),
    "ok": ("✓", "+", 32),
    "not covered": ("·", ".", 2),
}
_BRIEF: dict[Kind, int] = {"ok": 20, "not covered": 5}
"""Rows shown of kinds that passed or say little; findings are all shown."""
_PLURAL: dict[Kind, str] = {"leak": "leaks", "overblock": "overblocks", "difference": "differences"}


def audit_lines(report: AuditReport, style: Style) -> Iterator[str]:
    """The lines of the report; safe on a terminal."""
    yield from _evidence(report, style)
    for kind in KINDS:
        rows = [one for one in report.findings if one.kind == kind]
        if rows:
            yield ""
            yield from _section(kind, rows, style)
    if report.hints:
        yield ""
        yield _paint(style, 33, "PROBABLE MISTAKES: enforced as written, but hardly as meant")
        for hint in report.hints:
            tried = f" ({hint.attempts:,} attempts)" if hint.attempts else ""
            yield f"  ! {hint.name}: {safe(hint.policy.file)}:{hint.line}{tried}"
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
    failed = [
        f"{report.counts[kind]:,} {_PLURAL[kind] if report.counts[kind] != 1 else kind}"
        for kind in FAILURES
        if report.counts.get(kind)
    ]
    wrong = sum(one.state == "contradicted" for one in report.expectations)
    if wrong:
        failed.append(f"{wrong} contradicted expectation{'s' if wrong > 1 else ''}")
    if failed:
        return _paint(style, 31, f"NOT AS EXPECTED: {', '.join(failed)}")
    if not report.blind.judged:
        return _paint(
            style, 33, "NO EVIDENCE: no attempt that these policies are about could be judged"
        )
    if not report.enough:
        return (
            _paint(style, 32, "AS EXPECTED, as far as the evidence goes")
            + " (see ? and unproven above)"
        )
    return _paint(style, 32, "AS EXPECTED")


def _evidence(report: AuditReport, style: Style) -> Iterator[str]:
    blind = report.blind
    if not blind.records:
        yield "Evidence: no flows at all"
        return
    times = TimeFormat.iso()
    if not blind.first:
        yield f"Evidence: {blind.records:,} records of {blind.nodes} nodes, without times"
        yield from _share(report, style)
        return
    window = f"{times.nanoseconds(blind.first)} to {times.nanoseconds(blind.last)}"
    length = span((blind.last - blind.first) / 1e9)
    yield f"Evidence: {blind.records:,} records of {blind.nodes} nodes in {length}, {window}"
    yield from _share(report, style)


def _share(report: AuditReport, style: Style) -> Iterator[str]:
    blind = report.blind
    covered = blind.attempts - report.counts.get("not covered", 0)
    open_share = percent(report.counts.get("inconclusive", 0) / covered) if covered else "0.0%"
    yield (
        f"          {blind.attempts:,} attempts, {covered:,} of pods that a policy selects; "
        f"{open_share} of these can't be judged"
    )
    if blind.replies:
        yield f"          {blind.replies:,} replies belong to connections opened earlier: not judged"
    for note in (*blind.notes, *report.notes):
        yield _paint(style, 33, f"        ! {safe(note)}")


def _section(kind: Kind, rows: list[Finding], style: Style) -> Iterator[str]:
    sign, plain, color = _SIGNS[kind]
    mark = plain if style.ascii else sign
    total = sum(one.attempts for one in rows)
    yield _paint(style, color, f"{kind.upper()}: {total:,} attempts {MEANING[kind]}")
    arrow = "->" if style.ascii else "→"
    back = "<-" if style.ascii else "←"
    shown = rows[: _BRIEF[kind]] if kind in _BRIEF else rows
    for one in shown:
        way = arrow if one.direction == "egress" else back
        port = f":{one.port}/{one.protocol}" if one.protocol else ""
        who = f"{safe(one.subject)} {way} {safe(one.peer)}{port}"
        ended = f" {one.observed}" if kind == "ok" else ""
        yield f"  {_paint(style, color, mark)} {who}  {one.attempts:,}x{ended}"
        if kind not in _BRIEF:
            yield f"      {safe(one.reason)}"
    if len(rows) > len(shown):
        yield f"    … and {len(rows) - len(shown):,} more rows (-o json has them all)".replace(
            "…", "..." if style.ascii else "…"
        )
    if rows[0].advice:
        yield f"    {'=>' if style.ascii else '⇒'} {rows[0].advice}"


def _expectations(report: AuditReport, style: Style) -> Iterator[str]:
    yield "EXPECTED"
    colors = {"proven": (32, "✓", "+"), "contradicted": (31, "✗", "x"), "unproven": (33, "?", "?")}
    for one in report.expectations:
        color, sign, plain = colors[one.state]
        must = "must reach" if one.must_reach else "must not reach"
        mark = _paint(style, color, plain if style.ascii else sign)
        what = f"{safe(one.subject)} {must} {safe(one.peer)} ({one.port})"
        yield f"  {mark} {what}: {one.state}, {one.evidence}"
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
            yield _paint(style, 33, "    ? selects nothing that was seen")
            continue
        yield f"    selects {whom}"
        for rule in use.rules:
            entry = rule.entry
            where = f"{entry.place} (line {entry.line})"
            if not rule.exercised:
                yield _paint(style, 33, f"    ? {where}: never exercised")
                continue
            yield f"    {'+' if style.ascii else '✓'} {where}: {rule.attempts:,} attempts"
            if rule.unused:
                yield f"        unused: {safe('; '.join(rule.unused))}"
        for way in use.unproven:
            yield _paint(
                style, 33, f"    ? {way}: nothing tried what it forbids; that it blocks is unproven"
            )


def _paint(style: Style, color: int, text: str) -> str:
    return f"\x1b[{color}m{text}\x1b[0m" if style.color else text
