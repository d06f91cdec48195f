"""The audit as SARIF 2.1.0, for code scanning: each remark at its line of the policy file.

Source of the facts: the OASIS standard (section numbers below), and GitHub's page on the subset that
its code scanning reads: at least one location for each result, at most 25,000 results in a run, and of the
fingerprints only ``primaryLocationLineHash``. Without ours, GitHub would hash the line, and two findings
of one rule would be the same alert.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flowwatch import __version__
from flowwatch.audits.findings import AuditReport
from flowwatch.report.agent_options import options_object
from flowwatch.report.audit.json import evidence_object
from flowwatch.report.audit.words import REMARKS, Remark, answer, evidence, remarks, warnings
from flowwatch.report.jsontext import to_json
from flowwatch.text import safe

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
MAX_RESULTS = 25_000
"""More in one run, and GitHub refuses the file."""
_RANK = {kind: at for at, kind in enumerate(REMARKS)}


def audit_sarif(report: AuditReport, *, directory: Path | None = None) -> str:
    """The SARIF text, with a final newline.

    Args:
        report: the audit.
        directory: what places are relative to; None for the working directory.
    """
    found = list(remarks(report))
    shown = found[:MAX_RESULTS]
    base = directory or Path.cwd()
    notes = [("note", line) for line in (*evidence(report), answer(report)[1])]
    notes += [("warning", line) for line in warnings(report)]
    if len(shown) < len(found):
        text = f"{len(found) - len(shown):,} remarks of the mildest kinds are left out here"
        notes.append(("warning", f"{text}; -o json has them all"))
    run = {
        "tool": {
            "driver": {
                "name": "flowwatch",
                "version": __version__,
                "semanticVersion": __version__,
                "rules": [_rule(kind) for kind in REMARKS],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": True,
                "toolExecutionNotifications": [
                    {"level": level, "message": {"text": _message(text)}} for level, text in notes
                ],
            }
        ],
        "results": list(_results(shown, base, _fallback(report))),
        "properties": {
            "evidence": evidence_object(report),
            "options": options_object(report.options),
            "attempts": dict(report.counts),
        },
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return to_json(log, indent=2) + "\n"


def _rule(kind: str) -> dict[str, Any]:
    words = REMARKS[kind]  # type: ignore[index]
    return {
        "id": f"flowwatch/{kind}",
        "name": "".join(part.capitalize() for part in kind.split("-")),
        "shortDescription": {"text": words.title},
        "fullDescription": {"text": words.meaning},
        "help": {"text": words.meaning},
        "defaultConfiguration": {"level": words.level},
        "properties": {"tags": ["network-policy"]},
    }


def _results(
    found: list[Remark], base: Path, fallback: tuple[str, int]
) -> Iterator[dict[str, Any]]:
    alike: Counter[str] = Counter()
    for one in found:
        digest = _hash(one)
        alike[digest] += 1
        yield _result(one, base, fallback, f"{digest}:{alike[digest]}")


def _result(one: Remark, base: Path, fallback: tuple[str, int], mark: str) -> dict[str, Any]:
    file, line = (one.file, one.line) if one.file else fallback
    return {
        "ruleId": f"flowwatch/{one.kind}",
        "ruleIndex": _RANK[one.kind],
        "level": one.words.level,
        "message": {"text": _message(one.text)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(file, base)},
                    "region": {"startLine": max(1, line)},
                }
            }
        ],
        "partialFingerprints": {"primaryLocationLineHash": mark},
    }


def _hash(one: Remark) -> str:
    """GitHub's own are such digits too, then a colon, and which of equal ones."""
    data = f"{one.kind}\n{one.key}".encode("utf-8", "backslashreplace")
    return hashlib.sha256(data).hexdigest()[:16]


def _uri(file: str, base: Path) -> str:
    """A relative reference with ``/`` (3.4.3), so that it can be found in the repository."""
    if file == "-":
        return "stdin"
    # "a:b" at the beginning of a relative reference would be a scheme: quote escapes the colon.
    return quote(Path(os.path.relpath(base / file, base)).as_posix(), errors="backslashreplace")


def _fallback(report: AuditReport) -> tuple[str, int]:
    """Where what stands nowhere is shown: the first policy, as GitHub wants a place."""
    if not report.policies:
        return "-", 1
    first = report.policies[0].policy
    return first.file, first.line


def _message(text: str) -> str:
    """Plain text: a name like ``[a](b)`` would be a link (3.11.6), and braces placeholders (3.11.5)."""
    text = safe(text)
    return (
        text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]") if "[" in text else text
    )
