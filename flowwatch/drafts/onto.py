"""The smallest addition to policies that are there, which lets through what a person has chosen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flowwatch.drafts.documents import peer_item, port_item, rule_item, told, unsaid_in_kubernetes
from flowwatch.drafts.draft import Draft
from flowwatch.drafts.needs import Evidence
from flowwatch.drafts.placing import Path, PlacingError, appended, child, follow, nodes, plain
from flowwatch.drafts.rules import MOST_PORTS, Plan, Port, Rule, Target, picks, spelt
from flowwatch.policy import PolicySet, load
from flowwatch.policy.agent_options import UNKNOWN, AgentOptions
from flowwatch.policy.engine import Decision
from flowwatch.policy.party import Party
from flowwatch.policy.rules import Direction, Entry
from flowwatch.policy.rules import Rule as PolicyRule
from flowwatch.text import plural, safe

_CILIUM = frozenset({"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"})
_KINDS = _CILIUM | {"NetworkPolicy"}
_NAMESPACE = "io.kubernetes.pod.namespace"


class OntoError(ValueError):
    """Why nothing can be added to a file, in words."""


class Wish(NamedTuple):
    """One peer and port that were chosen, for one owner."""

    plan: Plan
    rule: Rule
    target: Target
    port: Port
    evidence: Evidence

    @property
    def text(self) -> str:
        return f"{self.plan.owner} {'to' if self.direction == 'egress' else 'from'} {self.name}"

    @property
    def name(self) -> str:
        return f"{spelt(self.target, self.port)}/{self.port.protocol}"

    @property
    def direction(self) -> Direction:
        return self.rule.direction

    @property
    def picks(self) -> tuple[str, ...]:
        """By which words it is chosen."""
        return picks(self.target, self.port)

    @property
    def alone(self) -> Rule:
        """A rule for it alone."""
        key = self.target, self.port
        return Rule(
            self.direction, self.rule.form, (self.target,), (self.port,), {key: self.evidence}
        )


@dataclass(slots=True)
class Onto:
    """Policies of one file, and what was added to them."""

    file: str
    before: str
    after: str
    options: AgentOptions = UNKNOWN
    notes: list[str] = field(default_factory=list)
    """What was added and what wasn't, each in words; not made safe."""
    chosen: int = 0
    allowed: int = 0
    """Of the chosen, those that are let through with it."""

    @property
    def diff(self) -> str:
        """A unified diff; "" where nothing was added."""
        return "".join(
            difflib.unified_diff(
                self.before.splitlines(keepends=True),
                self.after.splitlines(keepends=True),
                self.file,
                self.file,
            )
        )


def add_onto(
    draft: Draft, picked: Iterable[str], file: str, text: str, options: AgentOptions = UNKNOWN
) -> Onto:
    """What lets ``picked`` (``api.github.com:443``, or without a port) through, added to ``text``.

    ``draft`` was made with the same picks. Raises OntoError for a file that can't be read as policies.
    """
    onto = Onto(file, text, text, options)
    policies = _loaded(onto)
    picked = frozenset(picked)
    wishes = list(wished(draft, picked))
    onto.chosen = len(wishes)
    seen = {ends[0] for plan in draft.plans for one in _evidence(plan) for ends in one.questions}
    for wish in wishes:
        _grant(onto, wish, seen)
    after = _loaded(onto)
    for wish in wishes:
        onto.allowed += _all_allowed(after, wish)
    for one in sorted(set(picked) - {pick for wish in wishes for pick in wish.picks}):
        onto.notes.append(f"{one}: nothing that was seen tried it")
        onto.chosen += 1
    onto.notes += _beside(draft, wishes, policies, after)
    return onto


def check_file(file: str, text: str) -> None:
    """Raise OntoError for what nothing can be added to: the same as :func:`add_onto` would."""
    _loaded(Onto(file, text, text))
    try:
        nodes(text)
    except PlacingError as error:
        raise OntoError(f"{file}: {error}") from None


def wished(draft: Draft, picked: frozenset[str]) -> Iterator[Wish]:
    """What ``picked`` means."""
    for plan in draft.plans:
        for rule in plan.rules:
            for (target, port), evidence in sorted(rule.evidence.items(), key=lambda one: one[0]):
                wish = Wish(plan, rule, target, port, evidence)
                if not picked.isdisjoint(wish.picks):
                    yield wish


def _loaded(onto: Onto) -> PolicySet:
    policies = load([(onto.file, onto.after)], options=onto.options)
    for one in policies.documents.rejected:
        raise OntoError(str(one))
    if not policies.documents.policies:
        raise OntoError(f"{onto.file}: no policy of Cilium or Kubernetes is in it")
    return policies


def _evidence(plan: Plan) -> Iterator[Evidence]:
    yield from plan.wanted.values()
    yield from (one.evidence for one in plan.candidates)


def _decisions(policies: PolicySet, wish: Wish) -> list[Decision]:
    return [
        policies.ask(wish.direction, *ends, wish.port.protocol, wish.port.number)
        for ends in wish.evidence.questions
    ]


def _all_allowed(policies: PolicySet, wish: Wish) -> bool:
    return all(one.decision == "allowed" for one in _decisions(policies, wish))


def _grant(onto: Onto, wish: Wish, seen: set[Party]) -> None:
    policies = _loaded(onto)
    decisions = _decisions(policies, wish)
    if all(one.decision == "allowed" for one in decisions):
        onto.notes.append(f"{wish.text}: {decisions[0].reason}; nothing to add")
    elif denying := next((one for of in decisions for one in _denying(of)), None):
        onto.notes.append(f"{wish.text}: {denying} denies it, whatever else allows it: mend that")
        return
    else:
        _add(onto, wish, policies, seen)
    if wish.rule.form == "name":
        _add_lookups(onto, wish)


def _denying(decision: Decision) -> Iterator[Entry]:
    if decision.decision == "denied":
        yield from (one for one in decision.entries if one.effect == "deny")


def _add(onto: Onto, wish: Wish, policies: PolicySet, seen: set[Party]) -> None:
    places = _places(policies, wish, seen)
    lost = ""
    for rule in places:
        if rule.policy.kind not in _CILIUM and (lost := unsaid_in_kubernetes(wish.alone)):
            continue
        try:
            onto.after, how = _written(onto.after, rule, wish)
        except PlacingError as error:
            lost = str(error)
            continue
        others = _others(rule, wish, seen)
        also = f"; it selects {others} as well" if others else ""
        onto.notes.append(f"{wish.text}: {how} {rule.policy}{also}")
        return
    none = f"no policy of {onto.file} selects all these pods in {wish.direction}: draft one without --onto"
    why = f"can't be added: {lost}" if lost else none
    onto.notes.append(f"{wish.text}: {why}")


def _places(policies: PolicySet, wish: Wish, seen: set[Party]) -> list[PolicyRule]:
    """The rules that may take it in: those of the fewest pods first."""
    subjects = {ends[0] for ends in wish.evidence.questions}
    found = [
        rule
        for rule in policies.documents.rules
        if rule.policy.kind in _KINDS
        and wish.direction in rule.default_deny
        and all(rule.subject.selects(one) for one in subjects)
    ]
    return sorted(found, key=lambda rule: _fitness(rule, wish, seen))


def _fitness(rule: PolicyRule, wish: Wish, seen: set[Party]) -> tuple[bool, int]:
    """First what denies by default, of that what selects the fewest others."""
    denies = rule.default_deny.get(wish.direction, False)
    return not denies, len({one.labels for one in _of(rule, seen)})


def _of(rule: PolicyRule, seen: set[Party]) -> Iterator[Party]:
    return (one for one in seen if rule.subject.selects(one))


def _others(rule: PolicyRule, wish: Wish, seen: set[Party]) -> str:
    """Who else may reach it then, of those seen."""
    own = {ends[0].labels for ends in wish.evidence.questions}
    return ", ".join(sorted({str(one) for one in _of(rule, seen) if one.labels not in own}))


# Where in the document -------------------------------------------------------------------------


def _written(text: str, rule: PolicyRule, wish: Wish) -> tuple[str, str]:
    """The text with the wish in it, and how it came in. Raises PlacingError."""
    documents = nodes(text)
    base = _path_of(documents, rule)
    about = f"{wish.name}: {told(wish.evidence)}"
    comment = safe(about).replace("\n", " ")
    cilium = rule.policy.kind in _CILIUM
    listed = plain(follow(documents, (*base, wish.direction)))
    if cilium and isinstance(listed, list):
        for at, one in enumerate(listed):
            if extended := _extended(one, rule, wish):
                below, item, how = extended
                path = (*base, wish.direction, at, *below)
                return appended(text, path, item, comment), how
    item = rule_item(wish.alone, cilium=cilium)
    return appended(text, (*base, wish.direction), item, comment), "a rule more in"


def _extended(one: Any, rule: PolicyRule, wish: Wish) -> tuple[Path, Any, str] | None:
    """Where in a rule that half allows it the other half belongs; None where that would allow more."""
    if not isinstance(one, dict) or wish.port.protocol.startswith("ICMP"):
        return None
    peers_key, item = peer_item(wish.alone, wish.target)
    if set(one) != {peers_key, "toPorts"}:
        return None
    peers, to_ports = one[peers_key], one["toPorts"]
    if not isinstance(peers, list) or not isinstance(to_ports, list) or len(to_ports) != 1:
        return None
    if not isinstance(to_ports[0], dict) or set(to_ports[0]) != {"ports"}:
        return None
    ports = to_ports[0]["ports"]
    space = rule.policy.namespace
    if [_same(peer, space) for peer in peers] == [_same(item, space)] and len(ports) < MOST_PORTS:
        return ("toPorts", 0, "ports"), port_item(wish.port), "a port more in a rule of"
    if ports == [port_item(wish.port)]:
        return (peers_key,), item, "a peer more in a rule of"
    return None


def _same(peer: Any, namespace: str) -> Any:
    """A peer in one spelling: labels without their source, the namespace said."""
    labels = peer.get("matchLabels") if isinstance(peer, dict) else None
    if not isinstance(labels, dict) or set(peer) != {"matchLabels"}:
        return peer
    bare = {key.removeprefix("k8s:").removeprefix("any:"): value for key, value in labels.items()}
    if namespace:
        bare.setdefault(_NAMESPACE, namespace)
    return bare


def _path_of(documents: Sequence[Any], rule: PolicyRule) -> Path:
    """Where the ``spec`` of a rule stands."""
    place = rule.entries[0].place.split(".") if rule.entries else ["spec"]
    spec: Path = tuple(int(one) if one.isdigit() else one for one in place)
    spec = spec[:2] if spec[0] == "specs" else spec[:1]
    found: Path = ()
    for number, document in enumerate(documents):
        for path in _objects(document, (number,)):
            if _is(plain(follow(documents, path)), rule):
                found = (*path, *spec)  # as kubectl apply: the last is in force
    if not found:
        raise PlacingError(f"{rule.policy} isn't written out in the file")
    return found


def _objects(document: Any, path: Path) -> Iterator[Path]:
    yield path
    for at in range(len(plain(child(document, "items")) or ())):
        yield (*path, "items", at)


def _is(document: Any, rule: PolicyRule) -> bool:
    if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
        return False
    metadata = document["metadata"]
    policy = rule.policy
    space = metadata.get("namespace") or "default"
    return (
        document.get("kind", policy.kind) == policy.kind
        and metadata.get("name") == policy.name
        and (not policy.namespace or space == policy.namespace)
    )


# Lookups ---------------------------------------------------------------------------------------


def _add_lookups(onto: Onto, wish: Wish) -> None:
    """A name is known by its lookups alone: have them seen, and this one let through."""
    policies = _loaded(onto)
    subject = next(iter(wish.evidence.questions))[0]
    names = wish.target.text
    entries = [
        (entry, port)
        for entry in policies.selected(subject, "egress").entries
        for port in entry.ports or ()
        if entry.effect == "allow" and port.l7 is not None and port.l7.kind == "dns"
    ]
    if any(port.l7 is not None and port.l7.passes_name(names) for _, port in entries):
        return
    dns = next((rule for rule in wish.plan.rules if rule.dns), None)
    rule = next(
        (
            one
            for one in policies.documents.rules
            if (not entries or entries[0][0] in one.entries)
            and one.policy.kind in _CILIUM
            and "egress" in one.default_deny
            and one.subject.selects(subject)
        ),
        None,
    )
    if rule is None or dns is None:
        onto.notes.append(
            f"{wish.text}: no rule lets its lookups be seen, without which no name works"
        )
        return
    documents = nodes(onto.after)
    try:
        if entries:
            spec = _path_of(documents, rule)
            at = int(entries[0][0].place.rpartition(".")[2])
            to_ports = plain(follow(documents, (*spec, "egress", at, "toPorts")))
            having = next(n for n, one in enumerate(to_ports) if "dns" in one.get("rules", {}))
            path = (*spec, "egress", at, "toPorts", having, "rules", "dns")
            onto.after = appended(onto.after, path, {"matchName": names})
            onto.notes.append(f"{wish.text}: its lookup, in a rule of {rule.policy}")
        else:
            path = (*_path_of(documents, rule), "egress")
            onto.after = appended(onto.after, path, rule_item(dns, cilium=True))
            onto.notes.append(
                f"{wish.text}: a rule by which its lookups are seen, in {rule.policy}"
            )
    except PlacingError as error:
        onto.notes.append(f"{wish.text}: its lookups can't be added: {error}")


def _beside(
    draft: Draft, wishes: Sequence[Wish], before: PolicySet, after: PolicySet
) -> Iterator[str]:
    """What else that was seen the addition lets through: it may have been meant to stay out."""
    meant = {id(ends) for wish in wishes for ends in wish.evidence.questions}
    for plan in draft.plans:
        for candidate in plan.candidates:
            need = candidate.need
            asked = [
                (need.direction, *ends, need.protocol, need.port)
                for ends in candidate.evidence.questions
                if id(ends) not in meant
            ]
            if any(
                before.ask(*one).decision == "denied" and after.ask(*one).decision == "allowed"
                for one in asked
            ):
                attempts = plural(candidate.evidence.attempts, "attempt")
                name = f"{spelt(candidate.target, candidate.port)}/{need.protocol}"
                yield f"lets through as well: {plan.owner}, {name}, {attempts} that were dropped"
