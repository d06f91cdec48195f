"""The audit as one JSON object; docs/formats.md describes it."""

from __future__ import annotations

from typing import Any

from flowwatch.audits.findings import (
    KINDS,
    AuditReport,
    Expectation,
    Finding,
    Hint,
    PolicyUse,
    RuleUse,
)
from flowwatch.policy.rules import Entry, Policy
from flowwatch.report.agent_options import options_object
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.jsontext import to_json

SCHEMA_VERSION = 1


def audit_json(report: AuditReport) -> str:
    """The JSON text, with a final newline; safe on a terminal."""
    return to_json(audit_object(report), indent=2) + "\n"


def audit_object(report: AuditReport) -> dict[str, Any]:
    """The object that is printed."""
    return {
        "schema_version": SCHEMA_VERSION,
        "result": "findings" if report.failed else "as expected",
        "enough_evidence": report.enough,
        "evidence": evidence_object(report),
        "options": options_object(report.options),
        "notes": list(report.notes),
        "counts": {kind: report.counts.get(kind, 0) for kind in KINDS},
        "findings": [_finding(one) for one in report.findings],
        "hints": [_hint(one) for one in report.hints],
        "incidents": [_hint(one) for one in report.incidents],
        "expectations": [_expectation(one) for one in report.expectations],
        "policies": [_policy_use(one) for one in report.policies],
    }


def evidence_object(report: AuditReport) -> dict[str, Any]:
    """How far the evidence goes."""
    blind, seen = report.blind, report.blind.coverage
    return {
        "source": blind.source,
        "filter": seen.filter,
        "first": _time(seen.first_seen),
        "last": _time(seen.last_seen),
        "records": seen.records_read,
        "nodes": seen.nodes_seen,
        "attempts": blind.attempts,
        "judged": blind.judged,
        "replies": seen.replies,
        "warnings": list(blind.notes),
    }


def _finding(one: Finding) -> dict[str, Any]:
    file, line = one.place
    return {
        "kind": one.kind,
        "direction": one.direction,
        "subject": one.subject,
        "peer": one.peer,
        "apart": one.apart,
        "protocol": one.protocol,
        "port": one.port,
        "attempts": one.attempts,
        "first_seen": _time(one.first),
        "last_seen": _time(one.last),
        "expected": one.expected,
        "observed": one.observed,
        "reason": one.reason,
        "advice": one.advice,
        "file": file,
        "line": line,
        "rules": [_rule(entry) for entry in one.entries],
        "policies": [policy.reference for policy in one.policies],
    }


def _rule(entry: Entry) -> dict[str, Any]:
    return {"place": entry.place, "line": entry.line, **_policy(entry.policy)}


def _policy(policy: Policy) -> dict[str, Any]:
    return {"policy": policy.reference, "file": policy.file}


def _hint(one: Hint) -> dict[str, Any]:
    return {
        "name": one.name,
        "line": one.line,
        "text": one.text,
        "attempts": one.attempts,
        **_policy(one.policy),
    }


def _expectation(one: Expectation) -> dict[str, Any]:
    return {
        "subject": one.subject,
        "peer": one.peer,
        "port": one.port,
        "must_reach": one.must_reach,
        "state": one.state,
        "attempts": one.attempts,
        "evidence": one.evidence,
        "probe": one.probe,
        "file": one.file,
        "line": one.line,
    }


def _policy_use(use: PolicyUse) -> dict[str, Any]:
    return {
        **_policy(use.policy),
        "line": use.policy.line,
        "subjects": list(use.subjects),
        "unlabelled": use.unlabelled,
        "others": use.others,
        "unproven": list(use.unproven),
        "rules": [_rule_use(rule) for rule in use.rules],
    }


def _rule_use(use: RuleUse) -> dict[str, Any]:
    return {
        "place": use.entry.place,
        "line": use.entry.line,
        "direction": use.entry.direction,
        "verdict": use.entry.effect,
        "attempts": use.attempts,
        "perhaps": use.perhaps,
        "exercised": use.exercised,
        "unused": list(use.unused),
    }


def _time(nanoseconds: int) -> str | None:
    return TimeFormat.iso().nanoseconds(nanoseconds) if nanoseconds else None
