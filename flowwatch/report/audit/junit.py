"""The audit as JUnit XML: a suite for each policy, a case for each of its rules.

The elements and attributes are those that Jenkins, GitLab and GitHub's reporters read: there is no
standard. ``tests/schemas/junit.xsd`` writes down what we keep to; it allows nothing that the schema of
Jenkins's xUnit plugin (junit-10.xsd, by which it refuses whole files) does not. What failed is a
failure, what the evidence can't tell is skipped with the reason: an absence of leaks is no proof, and
mustn't be green.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from flowwatch.audits.findings import (
    FAILURES,
    KINDS,
    MEANING,
    AuditReport,
    Expectation,
    Finding,
    PolicyUse,
)
from flowwatch.policy.rules import Entry
from flowwatch.report.audit.words import (
    answer,
    evidence,
    expectation_text,
    selects_nothing,
    unexercised,
    warnings,
    who,
)
from flowwatch.text import plural, safe

MAX_LINES = 1000
"""Findings listed in one case; more are counted."""


@dataclass(slots=True)
class _Case:
    name: str
    suite: str
    file: str = ""
    line: int = 0
    failures: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    """Why it can be neither passed nor failed."""


def audit_junit(report: AuditReport) -> str:
    """The XML text, with a final newline."""
    suites = [("evidence", [_evidence(report)])]
    suites += [(use.policy.reference, list(_policy(use, report))) for use in report.policies]
    if rest := list(_unattributed(report)):
        suites.append(("no policy", rest))
    if report.expectations:
        suites.append(("expectations", [_expectation(one) for one in report.expectations]))
    counts = _counts(_all(suites))
    del counts["skipped"]  # the schemas know it of suites alone
    root = ET.Element("testsuites", {"name": "flowwatch audit", **counts, "time": "0"})
    for name, cases in suites:
        suite = ET.SubElement(
            root,
            "testsuite",
            {"name": _xml(name), **_counts(cases), "time": "0", **_time(report)},
        )
        if name == "evidence":
            _properties(suite, report)
        for case in cases:
            _element(suite, case)
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _all(suites: list[tuple[str, list[_Case]]]) -> list[_Case]:
    return [case for _, cases in suites for case in cases]


def _evidence(report: AuditReport) -> _Case:
    """The first case: whether there is anything to go by."""
    case = _Case("something could be judged", "evidence")
    if not report.blind.judged:
        case.open.append(answer(report)[1])
    return case


def _policy(use: PolicyUse, report: AuditReport) -> Iterator[_Case]:
    policy = use.policy
    name = policy.reference
    for rule in use.rules:
        case = _Case(_rule_name(rule.entry), name, policy.file, rule.entry.line)
        _judge(case, (one for one in report.findings if _decides(rule.entry, one)))
        if not use.subjects:
            case.open.insert(0, f"never exercised: the policy {selects_nothing(use)}")
        elif not rule.exercised:
            case.open.insert(
                0,
                unexercised(rule) if rule.perhaps else "never exercised: no flow needed this rule",
            )
        yield case
    for way in ("egress", "ingress"):
        found = [
            one for one in report.findings
            if one.direction == way and policy in one.policies and not one.entries
        ]  # fmt: skip
        open_ = [one for one in use.unproven if one.partition(",")[0] == way]
        if found or open_:
            case = _Case(f"{way}: what no rule allows is blocked", name, policy.file, policy.line)
            _judge(case, found)
            if open_:
                case.open.insert(
                    0, f"unproven: nothing tried what the policy forbids: {'; '.join(open_)}"
                )
            yield case
    if not use.rules:
        case = _Case("selects something", name, policy.file, policy.line)
        if not use.subjects:
            case.open.append(f"the policy {selects_nothing(use)}")
        yield case


def _decides(entry: Entry, one: Finding) -> bool:
    """Whether a rule took part in a finding, by itself or by what Cilium adds to it."""
    return entry in one.entries or any(
        part.implied and (part.policy, part.place) == (entry.policy, entry.place)
        for part in one.entries
    )


def _rule_name(entry: Entry) -> str:
    return f"{entry.place} (line {entry.line})"


def _unattributed(report: AuditReport) -> Iterator[_Case]:
    """Findings that no policy given here decided."""
    given = {use.policy for use in report.policies}
    for way in ("egress", "ingress"):
        found = [
            one for one in report.findings
            if one.direction == way and one.kind not in ("ok", "not covered")
            and not any(entry.policy in given for entry in one.entries)
            and (one.entries or not given.intersection(one.policies))
        ]  # fmt: skip
        if found:
            case = _Case(f"{way}: traffic that no policy decides", "no policy")
            _judge(case, found)
            yield case


def _judge(case: _Case, findings: Iterable[Finding]) -> None:
    for one in findings:
        if one.kind in FAILURES or one.kind == "inconclusive":
            text = (
                f"{one.kind}: {who(one)}, {plural(one.attempts, 'attempt')}: "
                f"{MEANING[one.kind]}. {one.reason}"
            )
            (case.failures if one.kind in FAILURES else case.open).append(text)


def _expectation(one: Expectation) -> _Case:
    case = _Case(expectation_text(one), "expectations", one.file, one.line)
    if one.state == "contradicted":
        case.failures.append(f"contradicted: {one.evidence}")
    elif one.state == "unproven":
        case.open.append(f"unproven: {one.evidence}" + (f"; try: {one.probe}" if one.probe else ""))
    return case


def _element(suite: ET.Element, case: _Case) -> None:
    element = ET.SubElement(
        suite, "testcase", name=_xml(case.name), classname=_xml(case.suite), time="0"
    )
    # A case has one result. What failed counts; what is open beside it is told in its text.
    lines = [*case.failures, *case.open]
    if not lines:
        return
    text = "\n".join(_xml(line) for line in lines[:MAX_LINES])
    if len(lines) > MAX_LINES:
        text += f"\n… and {len(lines) - MAX_LINES:,} more"
    place = f"{_xml(case.file)}:{case.line}" if case.file and case.line else ""
    if case.failures:
        failure = ET.SubElement(element, "failure", message=_xml(lines[0]), type="audit")
        failure.text = f"{place}\n{text}" if place else text
    else:
        skipped = ET.SubElement(element, "skipped", message=text)
        skipped.text = place or None


def _properties(suite: ET.Element, report: AuditReport) -> None:
    blind, seen = report.blind, report.blind.coverage
    facts = {
        "result": answer(report)[1],
        "enough_evidence": str(report.enough).lower(),
        "window_seconds": f"{seen.seconds:.3f}",
        "records": str(seen.records_read),
        "nodes": str(seen.nodes_seen),
        "attempts": str(blind.attempts),
        "judged": str(blind.judged),
        "replies": str(seen.replies),
    }
    pairs = list(facts.items())
    pairs += [(f"attempts {kind}", str(report.counts.get(kind, 0))) for kind in KINDS]
    pairs += [("evidence", line) for line in evidence(report)]
    pairs += [("blind spot", line) for line in warnings(report)]
    pairs += [
        (f"probable mistake {hint.name}", f"{hint.policy.file}:{hint.line}: {hint.text}")
        for hint in report.hints
    ]
    pairs += [
        (f"incident {hint.name}", f"{hint.policy.file}:{hint.line}: {hint.text}")
        for hint in report.incidents
    ]
    properties = ET.SubElement(suite, "properties")
    for name, value in pairs:
        ET.SubElement(properties, "property", name=name, value=_xml(value))


def _counts(cases: list[_Case]) -> dict[str, str]:
    return {
        "tests": str(len(cases)),
        "failures": str(sum(bool(case.failures) for case in cases)),
        "errors": "0",
        "skipped": str(sum(bool(case.open) and not case.failures for case in cases)),
    }


def _time(report: AuditReport) -> dict[str, str]:
    """ISO 8601 without a zone, as the readers want it; UTC."""
    first = report.blind.coverage.first_seen
    if not first:
        return {}
    start = datetime.fromtimestamp(first // 1_000_000_000, UTC)
    return {"timestamp": f"{start:%Y-%m-%dT%H:%M:%S}"}


def _xml(text: str) -> str:
    """One line, with what XML 1.0 (2.2) can't hold at all made visible too."""
    return safe(text)
