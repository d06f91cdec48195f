"""Mistakes that a policy and its traffic give away: what the writer probably meant.

A policy with such a mistake is enforced as it is written, so judging it by itself finds nothing wrong.
Each hint here needs a reason in the documents, most of them also one in the traffic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from flowwatch.audits.ends import beside
from flowwatch.audits.evidence import Observation
from flowwatch.audits.findings import Hint
from flowwatch.flows.clocks import time_of_day
from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.labels import EQUALS, IN, NAMESPACE, OWN_CLUSTER, Selector
from flowwatch.policy.names import NameRule
from flowwatch.policy.nearest import is_wide
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Block, Entity, Name, Pods
from flowwatch.policy.ports import ICMP4, ICMP6
from flowwatch.policy.rules import NORMAL, Direction, Entry, Policy, Rule

_DNS = 53
_ICMP = (ICMP4, ICMP6)
_OTHERS = 3
_WIDE = frozenset({"all", "world"})
_NAMESPACE_KEYS = (NAMESPACE, f"any:{NAMESPACE}", f"k8s:{NAMESPACE}")


@dataclass(frozen=True, slots=True)
class Judged:
    """One row of the audit, as far as hints need it."""

    seen: Observation
    decision: Decision
    attempts: int
    late: int = 0
    """Of these, denied at first and then let through."""
    waited: float = 0.0
    """The longest wait of them, seconds."""


def hints(
    policies: PolicySet,
    rows: Sequence[Judged],
    aliases: Mapping[str, tuple[str, ...]],
    working: Set[Entry] = frozenset(),
) -> tuple[Hint, ...]:
    """All hints, those of one rule together, the most attempts first.

    ``aliases``: where DNS names lead to by CNAME, as far as answers were seen. ``working``: rules that
    let something through; what they don't match is hardly what they were written for.
    """
    found: dict[tuple[str, str, int, str], Hint] = {}
    for hint in _all(policies, rows, aliases, working):
        key = (hint.name, hint.policy.reference, hint.line, hint.text)
        earlier = found[key].attempts if key in found else 0
        found[key] = replace(hint, attempts=hint.attempts + earlier)
    return tuple(
        sorted(found.values(), key=lambda one: (-one.attempts, one.policy.reference, one.line))
    )


def _all(
    policies: PolicySet,
    rows: Sequence[Judged],
    aliases: Mapping[str, tuple[str, ...]],
    working: Set[Entry],
) -> Iterator[Hint]:
    subjects = {
        (row.seen.subject, row.seen.subject_name): None for row in rows if not row.seen.unknown
    }
    yield from _selecting_nothing(policies, list(subjects))
    seen: set[tuple[int, Direction]] = set()
    for subject, _ in subjects:
        way: Direction
        for way in ("egress", "ingress"):
            selected = policies.selected(subject, way)
            if selected.entries and (id(selected), way) not in seen:
                seen.add((id(selected), way))
                if way == "egress":
                    yield from _without_dns(selected.entries)
                yield from _too_wide(selected.entries)
                yield from _deny_only(selected.entries, way, default_deny=selected.default_deny)
    for row in rows:
        if row.decision.decision == "denied":
            yield from _denied(policies, row, working)
            yield from _name_then(policies, row)
            yield from _alias(policies, row, aliases)
        elif row.decision.decision == "allowed":
            yield from _late(row)
        if row.decision.decision == "allowed" and row.seen.direction == "egress":
            yield from _shared_address(row)
            yield from _lookups_elsewhere(policies, row)


def _selecting_nothing(policies: PolicySet, subjects: list[tuple[Party, str]]) -> Iterator[Hint]:
    for policy in policies.policies:
        rules = [rule for rule in policies.rules if rule.policy is policy]
        other = next((space for rule in rules if (space := _other_namespace(rule, policy))), "")
        if other:
            yield Hint(
                "selector-in-another-namespace", policy, policy.line,
                f"its selector asks for pods of {other}, but a policy of {policy.namespace} "
                "selects only pods of its own namespace: it selects nothing",
            )  # fmt: skip
            continue
        if any(rule.subject.selects(party) for rule in rules for party, _ in subjects):
            continue
        for rule in rules:
            near = _nearest_subject(rule.subject.selector, subjects)
            if near:
                yield Hint(
                    "selects-nothing",
                    policy,
                    policy.line,
                    f"it selects nothing that was seen; {near}",
                )
                break


def _other_namespace(rule: Rule, policy: Policy) -> str:
    """The namespace that a selector of a namespaced policy asks for, if it isn't the own."""
    if not policy.namespace:
        return ""
    for one in rule.subject.selector.requirements:
        asks = one.key in _NAMESPACE_KEYS and one.operator in (IN, EQUALS)
        if asks and policy.namespace not in one.values:
            return ", ".join(one.values)
    return ""


def _nearest_subject(selector: Selector, subjects: list[tuple[Party, str]]) -> str:
    """The seen pod that misses by one label alone."""
    for party, name in subjects:
        missing = [one for one in selector.requirements if not one.matches(party.label_set)]
        if (
            len(missing) == 1
            and len(selector.requirements) > 1
            and missing[0].key not in _NAMESPACE_KEYS
        ):
            has = party.label_set.get(missing[0].key)
            key = missing[0].key
            mine = f"{key}={has}" if has is not None else f"no label {key}"
            return f"{name} has {mine}, the selector wants {missing[0]}"
    return ""


def _hint(name: str, entry: Entry, text: str, attempts: int = 0) -> Hint:
    """A hint about one rule."""
    return Hint(name, entry.policy, entry.line, text, attempts)


def _names(entry: Entry) -> list[NameRule]:
    """The DNS names that a rule is about."""
    return [peer.rule for peer in entry.peers or () if isinstance(peer, Name)]


def _shows_lookups(entries: Sequence[Entry]) -> bool:
    """Whether a rule sends lookups through the DNS proxy."""
    return any(
        rule.l7 is not None and rule.l7.kind == "dns"
        for entry in entries
        for rule in entry.ports or ()
    )


def _without_dns(entries: Sequence[Entry]) -> Iterator[Hint]:
    """``toFQDNs`` learns addresses from the DNS proxy alone."""
    if _shows_lookups(entries):
        return
    for entry in entries:
        if _names(entry):
            yield _hint(
                "missing-dns-rule", entry,
                f"{entry.place} allows DNS names, but no rule sends lookups through the DNS proxy "
                "(port 53 with rules: dns): no address is ever learnt, and it allows nothing",
            )  # fmt: skip


def _alias(
    policies: PolicySet, row: Judged, aliases: Mapping[str, tuple[str, ...]]
) -> Iterator[Hint]:
    """A rule that names what a CNAME leads to: Cilium goes by the name that the pod asks for."""
    if row.decision.why != "default deny" or not row.seen.peer.outside:
        return
    for entry in policies.selected(row.seen.subject, row.seen.direction).entries:
        rules = _names(entry)
        for name in row.seen.peer.names or ():
            targets = [
                to for to in aliases.get(name, ()) if any(rule.matches(to) for rule in rules)
            ]
            if targets and entry.effect == "allow":
                target = targets[0].rstrip(".")
                yield _hint(
                    "name-behind-an-alias", entry,
                    f"{entry.place} allows {target}; the pod asks for {name}, which leads there by "
                    f"CNAME, and only the name asked for counts: allow {name}",
                    row.attempts,
                )  # fmt: skip


def _name_then(policies: PolicySet, row: Judged) -> Iterator[Hint]:
    """Dropped while no answer vouched for a name that a rule allows: later, or no longer."""
    seen = row.seen
    if not seen.absent or seen.direction != "egress" or row.decision.why != "default deny":
        return
    for entry in policies.selected(seen.subject, "egress").entries:
        if entry.effect != "allow":
            continue
        if entry.matches_port(seen.protocol, seen.asked_port, seen.peer) is not True:
            continue
        for name, since, expired in seen.absent:
            if not any(rule.matches(name) for rule in _names(entry)):
                continue
            what = f"{entry.place} allows {name}:{seen.port}/{seen.protocol}, and its address {seen.peer.ip}"
            if expired:
                yield _hint(
                    "name-expired", entry,
                    f"{what} was dropped after the answer that named it had expired ({time_of_day(expired)} "
                    f"UTC{_answer_before(seen, name)}): the application kept the address longer than the "
                    "answer said",
                    row.attempts,
                )  # fmt: skip
            else:
                yield _hint(
                    "name-not-yet-known", entry,
                    f"{what} was dropped before the name was first looked up through the DNS proxy: "
                    f"allowed from {time_of_day(since)} UTC on (an address kept from before the policy)",
                    row.attempts,
                )  # fmt: skip
            return


def _answer_before(seen: Observation, name: str) -> str:
    last = next((one for one in seen.answered if one.name == name), None)
    return f"; {last.expired}" if last else ""


def _late(row: Judged) -> Iterator[Hint]:
    """Denied at first, though a rule allows it: an identity or a policy that wasn't known yet."""
    if not row.late or not row.decision.entries:
        return
    entry = row.decision.entries[0]
    yield _hint(
        "denied-at-first", entry,
        f"{entry.place} allows {_to(row.seen)}, and its first SYN was denied all the same; a retry was let "
        f"through after {row.waited:.1f} s at most: the agent did not know the identity yet, or had not "
        "applied the policy",
        row.late,
    )  # fmt: skip


def _shared_address(row: Judged) -> Iterator[Hint]:
    """A name that no rule allows, at the address of one that a rule allows: it passes by that."""
    names = row.seen.peer.names
    if not names or len(names) < 2 or not row.seen.peer.outside:
        return
    allowing = [peer for entry in row.decision.entries for peer in entry.peers or ()]
    rules = [rule for entry in row.decision.entries for rule in _names(entry)]
    if not rules or any(
        not isinstance(peer, Name) and peer.matches(row.seen.peer) for peer in allowing
    ):
        return
    others = [name for name in names if not any(rule.matches(name) for rule in rules)]
    if others:
        entry = row.decision.entries[0]
        known = next(name for name in names if name not in others)
        yield _hint(
            "shared-address", entry,
            f"{entry.place} allows {known}; {', '.join(others[:_OTHERS])} has the same address "
            f"({row.seen.peer.ip}), and passes by it",
            row.attempts,
        )  # fmt: skip


def _lookups_elsewhere(policies: PolicySet, row: Judged) -> Iterator[Hint]:
    """Lookups that pass beside the DNS proxy, of a pod whose rules name names."""
    seen = row.seen
    if seen.port != _DNS or seen.protocol not in ("UDP", "TCP") or row.decision.l7:
        return
    entries = policies.selected(seen.subject, "egress").entries
    if not _shows_lookups(entries):
        return  # that is told of the policy itself
    for entry in entries:
        if not _names(entry):
            continue
        yield _hint(
            "lookups-beside-the-proxy", entry,
            f"{entry.place} allows DNS names, but lookups at {seen.peer_name} pass without DNS rules: "
            "what they answer is never learnt (node-local DNS? select it in the rule with rules: dns)",
            row.attempts,
        )  # fmt: skip
        return


def _deny_only(entries: Sequence[Entry], way: Direction, *, default_deny: bool) -> Iterator[Hint]:
    """Deny rules alone, with default deny on: they cut what they don't name too."""
    if not default_deny or any(entry.effect != "deny" for entry in entries):
        return
    yield _hint(
        "deny-only", entries[0],
        f"it turns default deny on for {way}, and no rule allows anything: nothing else gets through, "
        f"{'DNS included' if way == 'egress' else 'probes of the node aside'} "
        f"(enableDefaultDeny: {way}: false denies only what is named)",
    )  # fmt: skip


def _too_wide(entries: Sequence[Entry]) -> Iterator[Hint]:
    """A rule for the whole world beside one for a part of it."""
    allows = [entry for entry in entries if entry.effect == "allow" and entry.peers]
    for wide in allows:
        world = next((str(peer) for peer in wide.peers or () if _is_world(peer)), "")
        if not world:
            continue
        for narrow in allows:
            if narrow is wide or not _covers_ports(wide, narrow) or not narrow.peers:
                continue
            if all(isinstance(peer, Name | Block) and not _is_world(peer) for peer in narrow.peers):
                yield _hint(
                    "wide-rule", wide,
                    f"{wide.place} allows {world}, so that {narrow} restricts nothing",
                )  # fmt: skip


def _is_world(peer: object) -> bool:
    if isinstance(peer, Entity):
        return peer.name in _WIDE
    if isinstance(peer, Name):
        return peer.rule.every
    return isinstance(peer, Block) and peer.length == 0 and not peer.excepted


def _covers_ports(wide: Entry, narrow: Entry) -> bool:
    if wide.ports is None:
        return True
    if narrow.ports is None:
        return False
    return all(
        any(
            other.protocol in ("ANY", one.protocol) and other.low <= one.low and one.high <= other.high
            and not other.name and not one.name
            for other in wide.ports
        )
        for one in narrow.ports
    )  # fmt: skip


def _denied(policies: PolicySet, row: Judged, working: Set[Entry]) -> Iterator[Hint]:
    """What the rule that nearly allows it says, where nothing shows that the rule is as it was meant."""
    seen = row.seen
    selected = policies.selected(seen.subject, seen.direction)
    listener = seen.peer if seen.direction == "egress" else seen.subject
    for entry in selected.entries:
        if entry.effect != "allow" or entry in working:
            continue
        port = entry.matches_port(seen.protocol, seen.asked_port, listener) is True
        peer = entry.matches_peer(seen.peer)
        if row.decision.why == "rule" and port and peer is True:
            deny = row.decision.entries[0]
            if (entry.tier, deny.tier) != (NORMAL, NORMAL):
                continue  # a higher tier is asked before, and wins by that
            yield _hint(
                "allow-hidden-by-deny", entry,
                f"{entry.place} allows {_to(seen)}, but {deny} denies it, and a deny always wins",
                row.attempts,
            )  # fmt: skip
        elif row.decision.why == "default deny" and peer is True and entry.ports and entry.peers:
            if any(map(is_wide, entry.peers)):
                continue  # it is for everybody, and no more for this one
            ports = ", ".join(map(str, entry.ports))
            if not port and _only_other_ports(entry, seen):
                yield _hint(
                    "port-mismatch", entry,
                    f"{entry.place} allows {seen.peer_name} on {ports}; "
                    f"the traffic goes to {seen.port}/{seen.protocol}",
                    row.attempts,
                )  # fmt: skip
        elif row.decision.why == "default deny" and port and peer is False:
            yield from _wrong_peer(entry, row)


def _only_other_ports(entry: Entry, seen: Observation) -> bool:
    """Whether a rule is for this protocol, on other ports: a typo rather than another service."""
    protocols = {rule.protocol for rule in entry.ports or ()}
    return seen.protocol in protocols or ("ANY" in protocols and seen.protocol not in _ICMP)


def _wrong_peer(entry: Entry, row: Judged) -> Iterator[Hint]:
    seen = row.seen
    for peer in entry.peers or ():
        if (
            isinstance(peer, Block)
            and (why := peer.reach.without(seen.peer))
            and peer.length
            and seen.peer_ip
        ):
            inside = Party(labels=(), ip=seen.peer_ip)
            if inside.address and peer.contains(*inside.address):
                yield _hint(
                    "cidr-contains-pods", entry,
                    f"{entry.place} allows {peer}, and {seen.peer_name} has an address in it, but blocks "
                    f"mean addresses outside ({why}): select it by its labels",
                    row.attempts,
                )  # fmt: skip
        elif isinstance(peer, Pods):
            scope = [one for one in peer.selector.requirements if one.key == f"k8s:{NAMESPACE}"]
            rest = Selector(tuple(one for one in peer.selector.requirements if one not in scope))
            named = [
                one
                for one in rest.requirements
                if one.key != OWN_CLUSTER and "policy.cluster" not in one.key
            ]
            if scope and named and rest.matches(seen.peer.label_set):
                wanted = ", ".join(scope[0].values) or "another"
                yield _hint(
                    "peer-in-another-namespace", entry,
                    f"{entry.place} means pods of namespace {wanted}; {seen.peer_name} is in "
                    f"{seen.peer.namespace}: add k8s:{NAMESPACE}: {seen.peer.namespace}",
                    row.attempts,
                )  # fmt: skip


def _to(seen: Observation) -> str:
    return beside(seen.direction, seen.peer_name, seen.port, seen.protocol)
