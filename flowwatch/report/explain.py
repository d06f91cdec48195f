"""The explanation of one question, as text or JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from flowwatch.output import Writer
from flowwatch.policy.explain import Explanation
from flowwatch.policy.queries import answer_object
from flowwatch.report.agent_options import options_object
from flowwatch.report.jsontext import to_json
from flowwatch.report.telling import write_lines
from flowwatch.text import plural, safe

EXPLAIN_FORMATS = ("text", "json")
_STEPS = 12
"""Rules shown in text, when some of them are not about the question; -o json has them all."""


def write_explanation(
    answers: Sequence[Explanation], form: str, out: Writer, *, columns: int = 0
) -> None:
    """Write the answers of both ends, and what they come to together.

    Args:
        answers: of the one end, or of both.
        form: one of EXPLAIN_FORMATS.
        out: where the text goes.
        columns: of the terminal, for text; 0 for as wide as it comes.
    """
    if form == "json":
        out.write(to_json(explanation_object(answers), indent=2) + "\n")
        return
    write_lines(_text(answers), out, width=columns)


def _text(answers: Sequence[Explanation]) -> Iterator[str]:
    first = answers[0]
    asked = first if first.direction == "egress" else answers[-1]
    client, server = (
        (asked.subject, asked.peer) if asked.direction == "egress" else (asked.peer, asked.subject)
    )
    l7 = together(answers) == "allowed" and any(
        answer.decision.l7 and not answer.request for answer in answers
    )
    yield (
        f"{together(answers).upper()}: {safe(client)} to {safe(server)}, {asked.protocol} {asked.port}"
        f"{', as far as the L7 rules let it pass' if l7 else ''}"
    )
    files = {one.entry.policy.file for answer in answers for one in answer.steps}
    for answer in answers:
        yield from _lines(answer, with_file=len(files) > 1)
    for text in dict.fromkeys(text for answer in answers for text in answer.assumed):
        yield f"  assumed: {safe(text)}"
    for text in dict.fromkeys(text for answer in answers for text in answer.seen):
        yield f"  seen: {safe(text)}"
    yield f"  {first.options.judged_by}"


def together(answers: Sequence[Explanation]) -> str:
    """Both ends must allow it."""
    decisions = {answer.outcome for answer in answers}
    if "denied" in decisions:
        return "denied"
    return "can't tell" if "cant_tell" in decisions else "allowed"


def _lines(answer: Explanation, *, with_file: bool) -> list[str]:
    way = "to" if answer.direction == "egress" else "from"
    lines = [
        f"{answer.direction} of {safe(answer.subject)} {way} {safe(answer.peer)}, "
        f"{answer.protocol} {answer.port}: {safe(answer.decision.reason)}"
    ]
    if answer.request:
        lines.append(f"  request: {safe(answer.request)}")
    shown = answer.steps
    if len(shown) > _STEPS:
        shown = tuple(one for one in shown if not one.idle)
    for one in shown:
        entry = one.entry
        where = f"{entry.policy.file}:{entry.line}" if with_file else f"line {entry.line}"
        lines.append(f"  - {safe(f'{entry.policy} {entry.place} ({where}) {one.what}')}")
    if left := len(answer.steps) - len(shown):
        lines.append(
            f"  - {plural(left, 'rule is', 'rules are')} not about it (-o json has them all)"
        )
    lines += [f"  near miss: {safe(str(miss))}" for miss in answer.near[:_STEPS]]
    if len(answer.near) > _STEPS:
        lines.append(
            f"  and {plural(len(answer.near) - _STEPS, 'more near miss', 'more near misses')}"
        )
    return lines


def explanation_object(answers: Sequence[Explanation]) -> dict[str, Any]:
    """The object that ``-o json`` prints."""
    return {
        "schema_version": 1,
        "decision": together(answers).replace("can't tell", "cant_tell"),
        "options": options_object(answers[0].options),
        "answers": [
            {
                "direction": answer.direction,
                "subject": answer.subject,
                "peer": answer.peer,
                "protocol": answer.protocol,
                "port": answer.port,
                **answer_object(answer.decision),
                "steps": [
                    {
                        "policy": one.entry.policy.reference,
                        "place": one.entry.place,
                        "file": one.entry.policy.file,
                        "line": one.entry.line,
                        "what": one.what,
                    }
                    for one in answer.steps
                ],
                "near_misses": [str(miss) for miss in answer.near],
                "assumed": list(answer.assumed),
                "seen": list(answer.seen),
                "request": answer.request,
            }
            for answer in answers
        ],
    }
