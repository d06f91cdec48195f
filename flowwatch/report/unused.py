"""What nothing needed of the policies, as text, JSON or Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowwatch.flows.clocks import time_of_day
from flowwatch.marks.unused import WHATS, Unused, UnusedReport
from flowwatch.output import Writer
from flowwatch.report.agent_options import options_object
from flowwatch.report.audit.words import short_window
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import span
from flowwatch.report.summary_markdown import code
from flowwatch.report.summary_table import Style
from flowwatch.report.telling import Forms, evidence_lines
from flowwatch.text import plural, safe

UNUSED_FORMATS = ("text", "json", "markdown")
_BY = {"verdicts": "as verdicts show", "file": "by the time of its file"}


def write_unused(report: UnusedReport, form: str, out: Writer, *, style: Style) -> None:
    """Write ``report`` in one of UNUSED_FORMATS."""
    Forms(unused_object, _markdown, _text).write(report, form, out, style=style)


_Groups = tuple[tuple[str, list[Unused]], ...]


def _groups(report: UnusedReport) -> _Groups:
    certain = [one for one in report.unused if one.certain]
    guards = [one for one in report.unused if one.guard and not (one.recent or one.perhaps)]
    doubtful = [one for one in report.unused if one.perhaps and not one.recent]
    return (
        ("nothing needed", certain),
        ("nothing tried what these deny", guards),
        ("can't tell", doubtful),
        ("recently changed: too early to tell", [one for one in report.unused if one.recent]),
    )


def _text(report: UnusedReport, style: Style) -> Iterator[str]:
    yield from evidence_lines(_evidence(report), report.notes, style)
    for title, found in _groups(report):
        if not found:
            continue
        yield ""
        yield style.paint(33, title.upper())
        policy = None
        for one in found:
            if one.policy is not policy:
                policy = one.policy
                yield f"  {safe(policy.reference)} ({safe(policy.file)}:{policy.line})"
            yield f"    ? {safe(_words(one))}"
    yield ""
    yield _counts(report)


def _words(one: Unused) -> str:
    """One line: what, since when, and what speaks against it."""
    where = "" if one.entry is None else f"{one.entry.place} (line {one.entry.line})"
    told = {
        "policy": "selects nothing whose own side was seen"
        if one.perhaps
        else "selects nothing that was seen",
        "rule": where,
        "peer": f"{where}: peer {one.text}",
        "port": f"{where}: port {one.text}",
    }[one.what]
    more = f"; since {_moment(one.since)}" if one.since else ""
    if one.perhaps:
        more += f"; {plural(one.perhaps, 'attempt')} may have needed it"
    if one.changed is not None:
        after = "" if one.since else ", when the evidence was over"
        more += f"; changed {_moment(one.changed.time)}, {_BY[one.changed.by]}{after}"
    return told + more


def _moment(time: int) -> str:
    return f"{TimeFormat.iso().nanoseconds(time)[:10]} {time_of_day(time)} UTC"


def _markdown(report: UnusedReport) -> Iterator[str]:
    yield f"## flowwatch unused: {_counts(report).removeprefix('unused: ')}"
    yield ""
    yield from (f"- {line}" for line in _evidence(report))
    yield from (f"- ⚠️ {code(note)}" for note in report.notes)
    for title, found in _groups(report):
        if not found:
            continue
        yield ""
        yield f"### {title[0].upper()}{title[1:]}"
        yield ""
        yield "| Policy | File | Unused |"
        yield "| --- | --- | --- |"
        for one in found:
            place = f"{one.policy.file}:{one.line}"
            yield f"| {code(one.policy.reference)} | {code(place)} | {code(_words(one))} |"


def _evidence(report: UnusedReport) -> Iterator[str]:
    seen = report.coverage
    if not seen.records_read:
        yield "no flows at all"
        return
    attempts = plural(report.attempts, "attempt")
    yield f"{plural(seen.records_read, 'record')} in {span(seen.seconds)}, {attempts}"
    if note := short_window(seen):
        yield note
    yield report.options.judged_by


def _counts(report: UnusedReport) -> str:
    policies = plural(len(report.policies), "policy", "policies")
    beside = f"{policies} with {plural(report.rules, 'rule')}"
    if report.blind:
        return f"no attempt was seen: what is unused of {beside} can't be told"
    if not report.unused:
        return f"nothing unused in {beside}"
    told = [
        plural(count, what, "policies" if what == "policy" else "")
        for what in WHATS
        if (count := sum(one.what == what and one.certain for one in report.unused))
    ]
    others = sum(not one.certain for one in report.unused)
    more = f"; {others:,} more that may be" if others else ""
    return f"unused: {', '.join(told) or 'nothing for certain'} in {beside}{more}"


def unused_object(report: UnusedReport) -> dict[str, Any]:
    """The object that ``-o json`` prints."""
    times = TimeFormat.iso()
    seen = report.coverage
    return {
        "schema_version": 1,
        "window": {
            "first": times.nanoseconds(seen.first_seen) if seen.first_seen else None,
            "last": times.nanoseconds(seen.last_seen) if seen.last_seen else None,
        },
        "records": seen.records_read,
        "attempts": report.attempts,
        "filter": seen.filter,
        "warnings": list(report.notes),
        "options": options_object(report.options),
        "policies": len(report.policies),
        "rules": report.rules,
        "unused": [
            {
                "what": one.what,
                "policy": one.policy.reference,
                "file": one.policy.file,
                "line": one.line,
                "place": "" if one.entry is None else one.entry.place,
                "effect": "" if one.entry is None else one.entry.effect,
                "text": one.text,
                "since": times.nanoseconds(one.since) if one.since else None,
                "attempts_perhaps": one.perhaps,
                "certain": one.certain,
                "recent": one.recent,
                "changed_at": None if one.changed is None else times.nanoseconds(one.changed.time),
                "changed_by": "" if one.changed is None else one.changed.by,
            }
            for one in report.unused
        ],
    }
