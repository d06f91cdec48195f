"""Drop reasons in words: one for the terminal, all as the tables of docs/reasons.md."""

from __future__ import annotations

from typing import NamedTuple

from flowwatch.flows.reasons import REASONS, DropReason
from flowwatch.flows.reasons_table import CLASSES
from flowwatch.output import Writer
from flowwatch.report.human import fold
from flowwatch.report.jsontext import to_json
from flowwatch.text import safe


class _Part(NamedTuple):
    """What is said of a reason: in JSON by its key, for people by its title."""

    key: str
    title: str


_PARTS = (
    _Part("number", "Hubble's number"),
    _Part("cilium_text", "in Cilium"),
    _Part("group", "class"),
    _Part("plain", "what happened"),
    _Part("next", "what to look at"),
)


def _said(one: DropReason, key: str) -> str:
    # Hubble has no number for the proxy's denials: that of the table is our own.
    if key == "number":
        return str(one.number) if one.number >= 0 else ""
    return str(getattr(one, key))


def write_reason(one: DropReason, form: str, out: Writer, *, columns: int = 0) -> None:
    """Write what is known of a reason as ``text`` or ``json``; ``columns`` as of write_explanation."""
    if form == "json":
        told = {"name": one.name} | {part.key: getattr(one, part.key) for part in _PARTS}
        told["number"] = one.number if one.number >= 0 else None
        out.write(to_json(told, indent=2) + "\n")
        return
    out.write(f"{safe(one.name)}\n")
    for part in _PARTS:
        if said := _said(one, part.key):
            for line in fold(f"  {part.title}: {safe(said)}", columns):
                out.write(f"{line}\n")


def markdown_reasons(group: str) -> str:
    """The reasons of a class, one of CLASSES, as a Markdown table."""
    lines = [
        "| reason | number | in Cilium | what happened | what to look at |",
        "|---|---|---|---|---|",
    ]
    for one in REASONS.values():
        if one.group == group:
            cells = [_said(one, part.key) for part in _PARTS if part.key != "group"]
            lines.append(f"| `{one.name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


REASON_TABLES = {group.replace("-", "_"): markdown_reasons(group) for group in CLASSES}
"""By the name that stands before each in docs/reasons.md."""
