"""What ``flowwatch doctor`` prints: a line per step, or JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from flowwatch.doctor.evidence import State, Step
from flowwatch.errors import UsageError
from flowwatch.report.jsontext import to_json
from flowwatch.text import plural, safe

FORMS = ("text", "json")
SIGNS = "✓✗–→"
"""What an encoding must have for ``signs`` below."""

_SIGNS = {State.OK: "✓", State.WARN: "!", State.FAIL: "✗", State.SKIPPED: "–"}
_ASCII = {State.OK: "+", State.WARN: "!", State.FAIL: "x", State.SKIPPED: "-"}
_NAME = 13
"""Columns: the longest name of a step is port-forward."""


def check_output(form: str) -> str:
    """``form``, if it is one of :data:`FORMS`; else UsageError."""
    if form not in FORMS:
        raise UsageError(f"invalid output format: {safe(form)}", "text or json")
    return form


def step_text(step: Step, *, signs: bool = True, width: int = 0) -> str:
    """One step, ending in a newline. ``width``: columns to wrap at; 0 keeps it on one line.

    Without ``signs`` everything is ASCII, what came from the network included.
    """
    sign = (_SIGNS if signs else _ASCII)[step.state]
    arrow = "→" if signs else "->"
    what, hint = safe(step.what), safe(step.next)
    head = f"{sign} {step.name:<{_NAME}}"
    if not signs:
        what, hint = (text.encode("ascii", "backslashreplace").decode() for text in (what, hint))
    if not width:
        return f"{head}{what}{f' {arrow} {hint}' if hint else ''}\n"
    margin = " " * len(head)
    lines = _wrap(what, head, margin, width)
    if hint:
        lines += _wrap(hint, f"{margin}{arrow} ", f"{margin}{' ' * (len(arrow) + 1)}", width)
    return "".join(f"{line}\n" for line in lines)


def _wrap(text: str, first: str, later: str, width: int) -> list[str]:
    # Below 40 columns hardly anything would stand beside the margin.
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def summary_text(steps: Iterable[Step]) -> str:
    """The last line: how many failed, and how many are worth a look."""
    states = [step.state for step in steps]
    failed, warned = states.count(State.FAIL), states.count(State.WARN)
    if failed:
        return f"{_steps(failed)} failed" + (f", {warned} to look at\n" if warned else "\n")
    if warned:
        return f"flows can be read; {_steps(warned)} to look at\n"
    return "all is well\n"


def _steps(number: int) -> str:
    return plural(number, "step")


def steps_json(steps: Iterable[Step]) -> str:
    """An array of ``{"name", "state", "what", "next"}``, ending in a newline."""
    rows = [
        {"name": s.name, "state": s.state.value, "what": safe(s.what), "next": safe(s.next)}
        for s in steps
    ]
    return to_json(rows, indent=2) + "\n"
