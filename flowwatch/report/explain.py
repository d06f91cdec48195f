"""The explanation of one question, as text or JSON."""

from __future__ import annotations

from collections.abc import Sequence

from flowwatch.policy.explain import Answer
from flowwatch.policy.queries import answer_object
from flowwatch.report.files import Output
from flowwatch.report.jsontext import to_json
from flowwatch.text import safe

EXPLAIN_FORMATS = ("text", "json")


def write_explanation(answers: Sequence[Answer], form: str, out: Output) -> None:
    """Write the answers of both ends, and what they come to together."""
    if form == "json":
        out.write(to_json(_object(answers), indent=2) + "\n")
        return
    for answer in answers:
        for line in _lines(answer):
            out.write(line + "\n")
    if len(answers) > 1:
        out.write(f"Together: {together(answers)}\n")


def together(answers: Sequence[Answer]) -> str:
    """Both ends must allow it."""
    decisions = {answer.decision.decision for answer in answers}
    if "denied" in decisions:
        return "denied"
    return "can't tell" if "cant_tell" in decisions else "allowed"


def _lines(answer: Answer) -> list[str]:
    way = "to" if answer.direction == "egress" else "from"
    lines = [
        f"{answer.direction} of {safe(answer.subject)} {way} {safe(answer.peer)}, "
        f"{answer.protocol} {answer.port}: {safe(answer.decision.reason)}"
    ]
    lines += [f"  {safe(str(entry))} {safe(word)}" for entry, word in answer.steps]
    lines += [f"  near miss: {safe(str(miss))}" for miss in answer.near]
    lines += [f"  assumed: {safe(text)}" for text in answer.assumed]
    return lines


def _object(answers: Sequence[Answer]) -> dict[str, object]:
    return {
        "decision": together(answers).replace("can't tell", "cant_tell"),
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
                        "policy": entry.policy.reference,
                        "place": entry.place,
                        "file": entry.policy.file,
                        "line": entry.line,
                        "what": word,
                    }
                    for entry, word in answer.steps
                ],
                "near_misses": [str(miss) for miss in answer.near],
                "assumed": list(answer.assumed),
            }
            for answer in answers
        ],
    }
