"""What every format of the audit says in the same words: the evidence, the answer, the remarks.

A remark is one thing to act on, with its place in a policy file. Machine formats (SARIF, GitHub's
annotations) are made from remarks, so they can't disagree on what counts, nor on how bad it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from flowwatch.audits.ends import beside
from flowwatch.audits.findings import (
    FAILURES,
    MEANING,
    AuditReport,
    Expectation,
    Finding,
    Kind,
    PolicyUse,
    RuleUse,
)
from flowwatch.flows.coverage import Coverage
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import percent, span
from flowwatch.text import plural, safe

_HOUR = 3600

Level = Literal["error", "warning", "note"]
Conclusion = Literal["failed", "no evidence", "partly", "ok"]
RemarkKind = Literal[
    "leak",
    "overblock",
    "unexplained",
    "difference",
    "contradicted-expectation",
    "unproven-block",
    "unproven-expectation",
    "inconclusive",
    "probable-mistake",
    "never-exercised",
]


MISTAKES = "enforced as written, but hardly as meant"
DOINGS = "the cluster's doing; no policy is to be mended for it"


@dataclass(frozen=True, slots=True)
class RemarkWords:
    """How bad a kind of remark is, and what it means."""

    level: Level
    title: str
    meaning: str


REMARKS: dict[RemarkKind, RemarkWords] = {
    "leak": RemarkWords("error", "Leak", "Traffic was forwarded, though the policies deny it."),
    "overblock": RemarkWords(
        "error", "Overblock", "Traffic was dropped by a policy, though the policies allow it."
    ),
    "unexplained": RemarkWords(
        "error", "Unexplained drop", "Traffic was dropped by a policy that is not among those given."
    ),
    "difference": RemarkWords(
        "error", "Other policy", "Hubble names another policy than the one that decides here."
    ),
    "contradicted-expectation": RemarkWords(
        "error", "Contradicted expectation", "Traffic contradicts what was expected."
    ),
    "unproven-block": RemarkWords(
        "warning", "Unproven block", "Nothing tried what the policy forbids: that it blocks is unproven."
    ),
    "unproven-expectation": RemarkWords(
        "warning", "Unproven expectation", "No traffic shows whether the expectation holds."
    ),
    "inconclusive": RemarkWords(
        "note", "Inconclusive", "The evidence can't tell whether the traffic was treated as the policies say."
    ),
    "probable-mistake": RemarkWords(
        "warning", "Probable mistake", "The policy is enforced as written, but hardly as meant."
    ),
    "never-exercised": RemarkWords(
        "note", "Never exercised", "No flow that was seen needed this rule, or was of a pod that it selects."
    ),
}  # fmt: skip
"""The worst first."""


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing to act on. Texts are as they came: escape them where they are shown."""

    kind: RemarkKind
    text: str
    file: str
    """"" when no file can be named."""
    line: int
    key: str
    """What makes it the same remark in the next run: neither counts nor times, nor the line."""

    @property
    def words(self) -> RemarkWords:
        """Its kind, in words."""
        return REMARKS[self.kind]


def who(one: Finding) -> str:
    """``subject → peer:port/protocol``; for ingress ``←``."""
    arrow = "→" if one.direction == "egress" else "←"
    return f"{one.subject} {arrow} {destination(one)}"


def destination(one: Finding) -> str:
    """``peer:port/protocol``; the peer alone when there is no port to name. Addresses tell it apart."""
    apart = f" ({one.apart})" if one.apart else ""
    return beside(one.direction, one.peer, one.port, one.protocol) + apart


def selects_nothing(use: PolicyUse) -> str:
    """What to say of a policy that selects no pod that is known."""
    if use.others:
        attempts = plural(use.others, "attempt")
        return f"selects only pods at the other end of {attempts}, whose own side is in no record: can't tell"
    if not use.unlabelled:
        return "selects nothing that was seen"
    attempts = plural(use.unlabelled, "attempt has", "attempts have")
    return f"selects nothing that was seen with labels, but {attempts} none recorded: can't tell"


def unproven(use: PolicyUse, part: str) -> str:
    """What to say of a part of a policy (PolicyUse.unproven) that nothing was seen to be blocked by."""
    way = part.partition(",")[0]
    tried = "nothing tried what it forbids"
    if rehearsed := use.rehearsed.get(way):
        tried = f"{plural(rehearsed, 'attempt')} at what it forbids passed in audit mode"
    elif unclear := use.unclear.get(way):
        tried = f"nothing surely tried what it forbids ({plural(unclear, 'attempt')} can't be told)"
    return f"{tried}; that it blocks is unproven"


def steps(rows: Iterable[Finding]) -> list[str]:
    """What to do about findings of one kind, each step once."""
    return list(dict.fromkeys(one.advice for one in rows if one.advice))


def unexercised(use: RuleUse) -> str:
    """What to say of a rule that nothing is known to have met."""
    if not use.perhaps:
        return "never exercised"
    return f"never exercised for certain: {plural(use.perhaps, 'attempt')} may have needed it"


def expectation_text(one: Expectation) -> str:
    """``A must reach B (443/TCP)``."""
    must = "must reach" if one.must_reach else "must not reach"
    return f"{one.subject} {must} {one.peer} ({one.port})"


_COUNTED: dict[Kind, str] = {"unexplained": "unexplained drop"}


def answer(report: AuditReport) -> tuple[Conclusion, str]:
    """The whole audit in one line, and how it is to be coloured."""
    failed = [
        plural(report.counts[kind], _COUNTED.get(kind, kind))
        for kind in FAILURES
        if report.counts.get(kind)
    ]
    wrong = sum(one.state == "contradicted" for one in report.expectations)
    if wrong:
        failed.append(plural(wrong, "contradicted expectation"))
    if failed:
        return "failed", f"NOT AS EXPECTED: {', '.join(failed)}"
    mistakes = plural(len(report.hints), "probable mistake") if report.hints else ""
    if not report.blind.judged:
        more = f"; {mistakes}" if mistakes else ""
        return (
            "no evidence",
            f"NO EVIDENCE: no attempt that these policies are about could be judged{more}",
        )
    # Enforced as written; whether it was written as meant is another question.
    but = f", but with {mistakes}" if mistakes else ""
    chosen = report.blind.coverage.filter
    # What a filter leaves out was not looked at: nobody is to sign for it.
    but = f", of what --filter '{safe(chosen)}' finds{but}" if chosen else but
    if not report.enough:
        return "partly", f"AS EXPECTED, as far as the evidence goes{but}"
    return ("partly" if mistakes else "ok"), f"AS EXPECTED{but}"


def evidence(report: AuditReport, quote: Callable[[str], str] = str) -> list[str]:
    """How far the evidence goes: window, nodes, the share that could not be judged. A line each.

    ``quote`` is applied to what isn't ours: the name of the source, with its filters.
    """
    blind, coverage = report.blind, report.blind.coverage
    if not coverage.records_read:
        return ["no flows at all"]
    seen = f"{plural(coverage.records_read, 'record')} of {plural(coverage.nodes_seen, 'node')}"
    if coverage.first_seen:
        window = f"{_second(coverage.first_seen)} to {_second(coverage.last_seen)}"
        seen += f" in {span(coverage.seconds)}, {window}"
    else:
        seen += ", without times"
    covered = report.covered
    unclear = report.counts.get("inconclusive", 0)
    share = f"{percent(unclear / covered)} of these can't be judged" if unclear else ""
    attempts = f"{plural(blind.attempts, 'attempt')}, {covered:,} of pods that a policy selects"
    lines = [seen, f"{attempts}; {share or 'all of these can be judged'}" if covered else attempts]
    if blind.source:
        lines.insert(1, f"from {quote(blind.source)}")
    lines.append(
        quote(report.options.judged_by) if report.options.known else report.options.judged_by
    )
    if note := short_window(coverage):
        lines.append(note)
    if coverage.replies:
        lines.append(
            f"{coverage.replies:,} replies belong to connections opened earlier: not judged"
        )  # fmt: skip
    return lines


def _second(nanoseconds: int) -> str:
    """A time to the second: the exact ones are in the JSON."""
    return f"{TimeFormat.iso().nanoseconds(nanoseconds)[:19]}Z"


def short_window(seen: Coverage) -> str:
    """A word of care about a window of less than an hour; "" about a longer one."""
    if not seen.first_seen or seen.seconds >= _HOUR:
        return ""
    return "a short window: what runs hourly or nightly was perhaps not seen"


def warnings(report: AuditReport) -> tuple[str, ...]:
    """What is missing from the evidence, and from the documents. Texts as they came."""
    return (*report.blind.notes, *report.notes)


def remarks(report: AuditReport) -> Iterator[Remark]:
    """All remarks, the worst kind first, in the order of the report within a kind."""
    found = [
        *(_finding(one) for one in report.findings if one.kind not in ("ok", "not covered")),
        *(_expectation(one) for one in report.expectations if one.state != "proven"),
        *_hints(report),
        *(remark for use in report.policies for remark in _use(use)),
    ]
    order = {kind: at for at, kind in enumerate(REMARKS)}
    yield from sorted(found, key=lambda one: order[one.kind])


_AS_REMARK: dict[Kind, RemarkKind] = {
    "leak": "leak",
    "overblock": "overblock",
    "unexplained": "unexplained",
    "difference": "difference",
    "inconclusive": "inconclusive",
}


def _finding(one: Finding) -> Remark:
    file, line = one.place
    text = f"{who(one)}: {plural(one.attempts, 'attempt')}: {MEANING[one.kind]}. {one.reason}"
    parts = (
        one.kind,
        one.direction,
        one.subject,
        one.peer + one.apart,
        one.protocol,
        str(one.port),
    )
    policies = ",".join(sorted({policy.reference for policy in one.policies}))
    why = one.reason if one.kind == "inconclusive" else ""
    return Remark(_AS_REMARK[one.kind], text, file, line, "\n".join((*parts, policies, why)))


def _expectation(one: Expectation) -> Remark:
    kind: RemarkKind = (
        "contradicted-expectation" if one.state == "contradicted" else "unproven-expectation"
    )
    text = f"{expectation_text(one)}: {one.state}, {one.evidence}"
    if one.probe:
        text += f"; try: {one.probe}"
    return Remark(kind, text, one.file, one.line, f"{kind}\n{expectation_text(one)}")


def _hints(report: AuditReport) -> Iterator[Remark]:
    for hint in report.hints:
        tried = f" ({plural(hint.attempts, 'attempt')})" if hint.attempts else ""
        yield Remark(
            "probable-mistake", f"{hint.name}: {hint.text}{tried}", hint.policy.file, hint.line,
            f"{hint.name}\n{hint.policy.reference}\n{hint.text}",
        )  # fmt: skip


def _use(use: PolicyUse) -> Iterator[Remark]:
    policy = use.policy
    name = policy.reference
    for way in use.unproven:
        yield Remark(
            "unproven-block", f"{name}, {way}: {unproven(use, way)}",
            policy.file, policy.line, f"{name}\n{way}",
        )  # fmt: skip
    if not use.subjects:
        yield Remark(
            "never-exercised", f"{name} {selects_nothing(use)}",
            policy.file, policy.line, f"{name}\nselects nothing",
        )  # fmt: skip
        return
    for rule in use.rules:
        place = rule.entry.place
        if not rule.exercised:
            yield Remark(
                "never-exercised",
                f"{name} {place}: "
                + (unexercised(rule) if rule.perhaps else "no flow needed this rule"),
                policy.file, rule.entry.line, f"{name}\n{place}",
            )  # fmt: skip
        elif rule.unused:
            yield Remark(
                "never-exercised", f"{name} {place}: no flow needed {'; '.join(rule.unused)}",
                policy.file, rule.entry.line, f"{name}\n{place}\n{';'.join(rule.unused)}",
            )  # fmt: skip
