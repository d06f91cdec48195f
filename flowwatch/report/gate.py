"""What a gate found, as text, JSON, JUnit, GitHub's commands or Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

from flowwatch.egress.gate import Gate, Rule
from flowwatch.egress.rows import Row
from flowwatch.egress.schema import ROW, VERSION
from flowwatch.output import Writer
from flowwatch.report.audit.github import command
from flowwatch.report.columns import json_object
from flowwatch.report.coverage import warning_lines
from flowwatch.report.jsontext import to_json
from flowwatch.report.summary_markdown import code
from flowwatch.report.summary_table import peer_text, pod_text, reason_text
from flowwatch.text import plural, safe

MOST = 1000
"""Rows of a rule that are listed; ``json`` has all."""


def write_gate(gate: Gate, form: str, out: Writer) -> None:
    """Write ``gate`` as ``text``, ``json``, ``junit``, ``github`` or ``markdown``."""
    match form:
        case "json":
            out.write(to_json(_object(gate), indent=2) + "\n")
        case "junit":
            out.write(_junit(gate))
        case "github":
            for line in _github(gate):
                out.write(line + "\n")
        case "markdown":
            for line in _markdown(gate):
                out.write(line + "\n")
        case _:
            for line in _text(gate):
                out.write(line + "\n")


def verdict(gate: Gate) -> str:
    """The answer in a line."""
    seen = f"{plural(gate.attempts, 'attempt')} in {gate.coverage.seconds:.0f} s"
    if gate.broken:
        broken = ", ".join([_said(rule) for rule in gate.rules if rule.broken])
        return f"broken: {broken} ({seen})"
    return f"kept: {', '.join([_said(rule) for rule in gate.rules])} ({seen})"


def _said(rule: Rule) -> str:
    what = rule.what[:-1] if rule.found == 1 else rule.what
    return f"{rule.found:,} {what}, at most {rule.most:,}"


def _row(row: Row) -> str:
    way = "" if row.direction == "egress" else f" ({row.direction})"
    arrow = "<-" if row.direction == "ingress" else "->"
    counts = [plural(row.attempts, "attempt")]
    if row.blocked:
        counts.append(f"{row.blocked:,} dropped ({reason_text(row)})")
    return f"{pod_text(row)} {arrow} {peer_text(row)}{way}: {', '.join(counts)}"


def _rows(rule: Rule) -> Iterator[str]:
    for row in rule.rows[:MOST]:
        yield _row(row)
    if len(rule.rows) > MOST:
        yield f"and {len(rule.rows) - MOST:,} more"


def _text(gate: Gate) -> Iterator[str]:
    yield verdict(gate)
    for rule in gate.rules:
        if rule.broken:
            yield ""
            yield rule.what.upper()
            for line in _rows(rule):
                yield f"  {line}"


def _object(gate: Gate) -> dict[str, Any]:
    row_object = json_object(tuple([one for one in ROW if one is not VERSION]))
    return {
        "schema_version": 1,
        "broken": gate.broken,
        "attempts": gate.attempts,
        "rules": [
            {
                "what": rule.what,
                "most": rule.most,
                "found": rule.found,
                "broken": rule.broken,
                "rows": [row_object(row) for row in rule.rows],
            }
            for rule in gate.rules
        ],
        "filter": gate.coverage.filter,
        "warnings": list(warning_lines(gate.coverage)),
    }


def _junit(gate: Gate) -> str:
    counts = {
        "tests": str(len(gate.rules)),
        "failures": str(sum(rule.broken for rule in gate.rules)),
        "errors": "0",
    }
    root = ET.Element("testsuites", {"name": "flowwatch gate", **counts, "time": "0"})
    suite = ET.SubElement(
        root, "testsuite", {"name": "gate", **counts, "skipped": "0", "time": "0"}
    )
    properties = ET.SubElement(suite, "properties")
    told = [("result", verdict(gate))]
    told += [("blind spot", line) for line in warning_lines(gate.coverage)]
    for name, value in told:
        ET.SubElement(properties, "property", name=name, value=safe(value))
    for rule in gate.rules:
        name = f"{rule.what}: at most {rule.most:,}"
        case = ET.SubElement(suite, "testcase", name=name, classname="gate", time="0")
        if rule.broken:
            failure = ET.SubElement(case, "failure", message=_said(rule), type="gate")
            failure.text = "\n".join([safe(line) for line in _rows(rule)])
    ET.indent(root)
    body = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _github(gate: Gate) -> Iterator[str]:
    yield command("notice", "flowwatch gate", [verdict(gate), *warning_lines(gate.coverage)])
    for rule in gate.rules:
        if rule.broken:
            yield command("error", _said(rule), list(_rows(rule)))


def _markdown(gate: Gate) -> Iterator[str]:
    yield f"**{verdict(gate)}**"
    for rule in gate.rules:
        if not rule.broken:
            continue
        yield ""
        yield f"| {rule.what.capitalize()} | Destination | Attempts | Dropped | Reason |"
        yield "|---|---|--:|--:|---|"
        for row in rule.rows[:MOST]:
            reason = code(reason_text(row)) if row.blocked else ""
            ends, counts = (pod_text(row), peer_text(row)), (row.attempts, row.blocked)
            cells = [*map(code, ends), *[f"{count:,}" for count in counts], reason]
            yield f"| {' | '.join(cells)} |"
        if len(rule.rows) > MOST:
            yield ""
            yield f"and {len(rule.rows) - MOST:,} more"
    for line in warning_lines(gate.coverage):
        yield ""
        yield f"⚠ {code(line)}"
