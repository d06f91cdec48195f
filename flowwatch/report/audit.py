"""The audit in each of its formats."""

from __future__ import annotations

from flowwatch.errors import UsageError
from flowwatch.policy.findings import AuditReport
from flowwatch.report.audit_json import audit_json
from flowwatch.report.audit_text import audit_lines
from flowwatch.report.files import Output
from flowwatch.report.summary_table import Style
from flowwatch.text import safe

AUDIT_FORMATS = ("text", "json")


def write_audit(report: AuditReport, form: str, out: Output, *, style: Style | None = None) -> None:
    """Write ``report`` as ``form`` says."""
    if form == "json":
        out.write(audit_json(report))
        return
    if form != "text":
        raise UsageError(
            f"invalid output format: {safe(form)}", f"choose one of {', '.join(AUDIT_FORMATS)}"
        )
    for line in audit_lines(report, style or Style()):
        out.write(line + "\n")
