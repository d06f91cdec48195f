"""The audit as GitHub's workflow commands: annotations at the lines of the policy files.

    ::error file=policy.yaml,line=12,title=Leak::weather/app → example.com:443/TCP: …

Source of the format: GitHub's page on workflow commands, and of the escapes the ``command.ts`` of its
toolkit: ``%``, CR and LF in a message, and ``:`` and ``,`` too in a property. A step shows ten annotations of
each level: what stands at one line is one annotation.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowwatch.audits.findings import AuditReport
from flowwatch.output.forms import break_up
from flowwatch.report.audit.words import Level, Remark, answer, evidence, remarks, warnings
from flowwatch.text import plural, safe

MAX_LINES = 20
"""Remarks in one annotation; more are counted."""
_COMMANDS: dict[Level, str] = {"error": "error", "warning": "warning", "note": "notice"}


def audit_github(report: AuditReport) -> Iterator[str]:
    """The commands, a line each."""
    lines = [answer(report)[1], *evidence(report), *warnings(report)]
    yield command("notice", "flowwatch audit", lines)
    together: dict[tuple[str, str, int], list[Remark]] = {}
    for one in remarks(report):
        together.setdefault((one.kind, one.file, one.line), []).append(one)
    for (_, file, line), same in together.items():
        texts = [one.text for one in same[:MAX_LINES]]
        if len(same) > MAX_LINES:
            texts.append(f"… and {len(same) - MAX_LINES:,} more (-o json has them all)")
        words = same[0].words
        title = words.title if len(same) == 1 else f"{words.title}: {plural(len(same), 'row')}"
        yield command(_COMMANDS[words.level], title, texts, file, line)


def command(name: str, title: str, lines: list[str], file: str = "", line: int = 0) -> str:
    """One workflow command: ``name`` is error, warning or notice; texts needn't be safe."""
    properties = []
    if file and file != "-":
        properties += [f"file={_property(file)}", f"line={max(1, line)}"]
    properties.append(f"title={_property(title)}")
    # Only our own line ends are line ends: safe() has made those of the texts visible.
    message = "%0A".join(_words(text) for text in lines)
    return f"::{name} {','.join(properties)}::{message}"


def _words(text: str) -> str:
    # The runner also takes "##[command]" in the middle of a line that is no command of its newer kind.
    return break_up(safe(text), within=True).replace("%", "%25")


def _property(text: str) -> str:
    return _words(text).replace(":", "%3A").replace(",", "%2C")
