"""What policies allow beside what was used, as text, JSON or Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowwatch.drafts.gap import Gap, GapReport
from flowwatch.output import Writer
from flowwatch.policy.difference import Change
from flowwatch.report.agent_options import options_object
from flowwatch.report.difference import change_object, what_lines
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import span
from flowwatch.report.summary_markdown import code
from flowwatch.report.summary_table import Style
from flowwatch.report.telling import Forms, evidence_lines
from flowwatch.text import plural, safe

GAP_FORMATS = ("text", "json", "markdown")
_PARTS = (
    ("beside", "allowed, never used", "+"),
    ("refused", "used, though the policies deny it", "!"),
    ("wider", "the drop-in would allow it too, though nothing used it", "~"),
    ("unclear", "may be wider than what was used", "?"),
)


def write_gaps(report: GapReport, form: str, out: Writer, *, style: Style) -> None:
    """Write ``report`` in one of GAP_FORMATS."""
    Forms(gaps_object, _markdown, _text).write(report, form, out, style=style)


def _parts(gap: Gap) -> Iterator[tuple[str, str, tuple[Change, ...]]]:
    for name, title, sign in _PARTS:
        changes = getattr(gap, name)
        if changes:
            yield title, sign, changes


def _text(report: GapReport, style: Style) -> Iterator[str]:
    yield from evidence_lines(_evidence(report), report.draft.notes, style)
    for gap in report.gaps:
        yield ""
        yield f"{safe(gap.name)}: {safe(_headline(gap))}"
        for title, sign, changes in _parts(gap):
            for change in changes:
                yield style.paint(33, f"  {sign} {title}")
                yield from (f"      {line}" for line in what_lines(change))
                yield f"      now {safe(change.example.before.reason)}"
    yield ""
    yield _counts(report)


def _headline(gap: Gap) -> str:
    if gap.note:
        return gap.note
    of = f"by {', '.join(gap.policies)}" if gap.policies else "no policy has rules for it"
    proof = gap.proof
    unknown = f", {proof.unknown:,} can't be told" if proof.unknown else ""
    return (
        f"{plural(len(gap.document.plan.wanted), 'row')} used in {plural(gap.used, 'attempt')}; {of}; "
        f"the drop-in allows {proof.allowed:,} of {proof.needed:,}{unknown}"
    )


def _markdown(report: GapReport) -> Iterator[str]:
    yield f"## flowwatch gap: {_counts(report)}"
    yield ""
    yield from (f"- {line}" for line in _evidence(report))
    yield from (f"- ⚠️ {code(note)}" for note in report.draft.notes)
    for gap in report.gaps:
        yield ""
        yield f"### {code(gap.name)}"
        yield ""
        yield code(_headline(gap))
        if not any(_parts(gap)):
            continue
        yield ""
        yield "| What | Direction | Peers | Ports | Now |"
        yield "| --- | --- | --- | --- | --- |"
        for title, _, changes in _parts(gap):
            for one in changes:
                peers = "<br>".join(map(code, one.peers.words()))
                detail = f"; {code(one.detail)}" if one.detail else ""
                ports = code(", ".join(one.ports.words())) + detail
                now = code(one.example.before.reason)
                yield f"| {title} | {one.direction} | {peers} | {ports} | {now} |"


def _evidence(report: GapReport) -> Iterator[str]:
    seen = report.draft.coverage
    if not seen.records_read:
        yield "no flows at all"
        return
    attempts = plural(report.draft.attempts, "attempt")
    yield f"{plural(seen.records_read, 'record')} in {span(seen.seconds)}, {attempts}"
    yield report.policies.options.judged_by
    if report.draft.quiet:
        yield f"no evidence, so nothing told of {safe(report.draft.quiet_words)}"


def _counts(report: GapReport) -> str:
    wide, every = len(report.wide), plural(len(report.gaps), "workload")
    if not wide:
        return f"no gap: none of {every} is allowed more than it used"
    verb = "is" if wide == 1 else "are"
    return f"gap: {wide:,} of {every} {verb} allowed more than what was used"


def gaps_object(report: GapReport) -> dict[str, Any]:
    """The object that ``-o json`` prints."""
    times = TimeFormat.iso()
    seen = report.draft.coverage
    return {
        "schema_version": 1,
        "window": {
            "first": times.nanoseconds(seen.first_seen) if seen.first_seen else None,
            "last": times.nanoseconds(seen.last_seen) if seen.last_seen else None,
        },
        "records": seen.records_read,
        "attempts": report.draft.attempts,
        "filter": seen.filter,
        "warnings": list(report.draft.notes),
        "options": options_object(report.policies.options),
        "quiet": list(report.draft.quiet),
        "workloads": [_gap_object(one) for one in report.gaps],
    }


def _gap_object(gap: Gap) -> dict[str, Any]:
    return {
        "workload": gap.name,
        "policies": list(gap.policies),
        "used": gap.used,
        "proof": {
            "needed": gap.proof.needed,
            "allowed": gap.proof.allowed,
            "cant_tell": gap.proof.unknown,
        },
        "beside": [change_object(one) for one in gap.beside],
        "refused": [change_object(one) for one in gap.refused],
        "wider": [change_object(one) for one in gap.wider],
        "unclear": [change_object(one) for one in gap.unclear],
        "note": gap.note,
        "drop_in": gap.document.text,
    }
