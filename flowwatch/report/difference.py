"""What two sets of policies decide differently, as text, JSON or Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowwatch.output import Writer
from flowwatch.policy.difference import KINDS, Change, Difference, Kind
from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.labels import CLUSTER, NAMESPACE, NAMESPACE_LABELS, OWN_CLUSTER
from flowwatch.policy.party import Party
from flowwatch.report.agent_options import options_object
from flowwatch.report.summary_markdown import code
from flowwatch.report.summary_table import Style
from flowwatch.report.telling import Forms
from flowwatch.text import plural, safe

DIFFERENCE_FORMATS = ("text", "json", "markdown")
_SIGNS: dict[Kind, tuple[str, str, int]] = {
    "newly denied": ("✗", "x", 31),
    "newly allowed": ("+", "+", 33),
    "other rules at the proxy": ("~", "~", 33),
    "can't tell": ("?", "?", 33),
}
_HIDDEN = (
    f"k8s:{CLUSTER}=",
    f"{OWN_CLUSTER}=",
    f"k8s:{NAMESPACE}=",
    f"k8s:{NAMESPACE_LABELS}kubernetes.io/metadata.name=",
)
"""Labels that an example's namespace says, or nobody asks for."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Two sets and what differs."""

    old: PolicySet
    new: PolicySet
    difference: Difference
    pods: Mapping[tuple[str, ...], str]
    """The names of the pods that it was narrowed to, by their labels."""


def write_difference(compared: Compared, form: str, out: Writer, *, style: Style) -> None:
    """Write ``compared`` in one of DIFFERENCE_FORMATS."""
    Forms(difference_object, _markdown, _text).write(compared, form, out, style=style)


def _text(compared: Compared, style: Style) -> Iterator[str]:
    yield from _about(compared)
    for kind in KINDS:
        changes = [one for one in compared.difference.changes if one.kind == kind]
        if not changes:
            continue
        sign, plain, color = _SIGNS[kind]
        yield ""
        yield style.paint(color, kind.upper())
        for change in changes:
            mark = style.paint(color, plain if style.ascii else sign)
            first, *more = map(safe, change.subject_words())
            yield f"  {mark} {change.direction} of {first}"
            yield from (f"    and of {one}" for one in more)
            yield from (f"      {line}" for line in what_lines(change))
            yield f"      e.g. {safe(_question(change, compared.pods))}"
            yield f"        before: {safe(change.example.before.reason)}"
            yield f"        after: {safe(change.example.after.reason)}"
    yield ""
    yield _counts(compared)


def what_lines(change: Change) -> Iterator[str]:
    """Peers, ports and what proxies decide, a safe line each."""
    word = "to" if change.direction == "egress" else "from"
    for at, one in enumerate(change.peers.words()):
        yield f"{'and ' if at else ''}{word} {safe(one)}"
    yield f"on {safe(', '.join(change.ports.words()))}"
    if change.detail:
        yield safe(change.detail)


def _markdown(compared: Compared) -> Iterator[str]:
    yield f"## flowwatch diff: {_counts(compared)}"
    yield ""
    yield from (f"- {line}" for line in _about(compared))
    for kind in KINDS:
        changes = [one for one in compared.difference.changes if one.kind == kind]
        if not changes:
            continue
        yield ""
        yield f"### {kind[0].upper()}{kind[1:]}"
        yield ""
        yield "| Direction | Subjects | Peers | Ports | For example | Before | After |"
        yield "| --- | --- | --- | --- | --- | --- | --- |"
        for one in changes:
            detail = f"; {code(one.detail)}" if one.detail else ""
            cells = (
                one.direction,
                "<br>".join(map(code, one.subject_words())),
                "<br>".join(map(code, one.peers.words())),
                code(", ".join(one.ports.words())) + detail,
                code(_question(one, compared.pods)),
                code(one.example.before.reason),
                code(one.example.after.reason),
            )
            yield f"| {' | '.join(cells)} |"


def _about(compared: Compared) -> Iterator[str]:
    sides = (
        plural(len(one.policies), "policy", "policies") for one in (compared.old, compared.new)
    )
    yield f"{' against '.join(sides)}, {compared.old.options.judged_by}"
    found = compared.difference
    who = (
        "all pods that there may be"
        if found.known is None
        else f"{plural(found.known, 'set')} of pods' labels"
    )
    yield (
        f"for {who}: {plural(found.subjects, 'kind')} of subjects with other rules, "
        f"{plural(found.questions, 'question')} asked of each set"
    )


def _counts(compared: Compared) -> str:
    changes = compared.difference.changes
    if not changes:
        return "no difference: both sets decide alike"
    told = [(sum(one.kind == kind for one in changes), kind) for kind in KINDS]
    return "different: " + ", ".join(f"{count:,} {kind}" for count, kind in told if count)


def _question(change: Change, pods: Mapping[tuple[str, ...], str]) -> str:
    asked = change.example
    arrow = "→" if change.direction == "egress" else "←"
    ports = f" ({_named(asked.subject if arrow == '←' else asked.peer)})"
    where = f"{asked.port}/{asked.protocol}{ports if ports != ' ()' else ''}"
    return f"{_who(asked.subject, pods)} {arrow} {_who(asked.peer, pods)} on {where}"


def _named(listener: Party) -> str:
    return ", ".join(f"{name} is {port}" for name, port in (listener.ports or {}).items())


def _who(party: Party, pods: Mapping[tuple[str, ...], str]) -> str:
    """A party in words: a pod by its name, where it is known, or by its labels."""
    if party.labels in pods:
        return pods[party.labels]
    if party.ip:
        name = f"{party.names[0]} ({party.ip})" if party.names else party.ip
        return f"kube-apiserver at {name}" if party.labels else name
    labels = [one.removeprefix("k8s:") for one in party.labels if not one.startswith(_HIDDEN)]
    if party.reserved:
        return "+".join(one.removeprefix("reserved:") for one in labels)
    far = party.cluster not in (None, "default")
    where = f"{party.cluster}/{party.namespace}" if far else party.namespace
    what = ",".join(one.replace(NAMESPACE_LABELS, "namespace's ") for one in labels)
    return f"a pod of {where}" + (f" with {what}" if what else " without any of these labels")


def difference_object(compared: Compared) -> dict[str, Any]:
    """The object that ``-o json`` prints."""
    found = compared.difference
    return {
        "schema_version": 1,
        "different": bool(found.changes),
        "options": options_object(compared.old.options),
        "old": [one.reference for one in compared.old.policies],
        "new": [one.reference for one in compared.new.policies],
        "pods": found.known,
        "subjects": found.subjects,
        "questions": found.questions,
        "counts": {kind: sum(one.kind == kind for one in found.changes) for kind in KINDS},
        "changes": [change_object(one) for one in found.changes],
    }


def change_object(change: Change) -> dict[str, Any]:
    """One change as JSON has it."""
    asked = change.example
    return {
        "change": change.kind,
        "certain": change.certain,
        "direction": change.direction,
        "subjects": list(change.subject_words()),
        "peers": list(change.peers.words()),
        "ports": list(change.ports.words()),
        "detail": change.detail,
        "example": {
            "subject": _party_object(asked.subject),
            "peer": _party_object(asked.peer),
            "protocol": asked.protocol,
            "port": asked.port,
            "before": _decision_object(asked.before),
            "after": _decision_object(asked.after),
        },
    }


def _party_object(party: Party) -> dict[str, Any]:
    """As ``explain --queries`` takes it."""
    labels = [one for one in party.labels if not one.startswith(OWN_CLUSTER)]
    names = list(party.names or ())
    return {"labels": labels, "ip": party.ip, "fqdn": names, "ports": dict(party.ports or {})}


def _decision_object(decision: Decision) -> dict[str, Any]:
    return {
        "decision": decision.decision,
        "l7": decision.l7,
        "reason": decision.reason,
        "rules": [
            {"policy": one.policy.reference, "place": one.place, "file": one.policy.file, "line": one.line}
            for one in decision.entries
        ],
    }  # fmt: skip
