"""The audit in each of its formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module

from flowwatch.audits.findings import AuditReport
from flowwatch.errors import UsageError
from flowwatch.output import Writer
from flowwatch.report.audit.text import audit_lines
from flowwatch.report.summary_table import Style
from flowwatch.report.telling import write_lines
from flowwatch.text import safe

AUDIT_FORMATS = ("text", "json", "junit", "sarif", "github", "markdown", "html")


def write_audit(report: AuditReport, form: str, out: Writer, *, style: Style | None = None) -> None:
    """Write ``report`` as ``form`` says.

    Args:
        report: what the audit found.
        form: one of AUDIT_FORMATS; UsageError otherwise.
        out: where the text goes.
        style: colours and signs of the text; the other formats have none.
    """
    if form not in AUDIT_FORMATS:
        raise UsageError(
            f"invalid output format: {safe(form)}", f"choose one of {', '.join(AUDIT_FORMATS)}"
        )
    if form == "text":
        style = style or Style(width=0)
        write_lines(audit_lines(report, style), out, width=style.width)
        return
    # Each of the others only when it is asked for.
    name = f"audit_{form}"
    made: Callable[[AuditReport], str | Iterator[str]] = getattr(
        import_module(f"flowwatch.report.audit.{form}"), name
    )
    result = made(report)
    if isinstance(result, str):
        out.write(result)
    else:
        for line in result:
            out.write(line + "\n")
