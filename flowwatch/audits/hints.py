"""Mistakes that a policy and its traffic give away: what the writer probably meant.

A policy with such a mistake is enforced as it is written, so judging it by itself finds nothing wrong.
Each hint here needs a reason in the documents, most of them also one in the traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace

from flowwatch.audits.ends import beside
from flowwatch.audits.evidence import Observation
from flowwatch.audits.findings import Hint
from flowwatch.audits.judged import Judged, hint
from flowwatch.audits.name_hints import (
    alias,
    lookups_elsewhere,
    name_then,
    no_lookups,
    shared_address,
    without_dns,
)
from flowwatch.policy.engine import PolicySet
from flowwatch.policy.labels import EQUALS, IN, NAMESPACE, OWN_CLUSTER, Selector
from flowwatch.policy.nearest import by_entity, by_namespace, is_wide
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Block, Entity, Name, Pods
from flowwatch.policy.ports import ICMP4, ICMP6
from flowwatch.policy.rules import NORMAL, Direction, Entry, Policy, Rule

_DEFAULT = "default"
_ICMP = (ICMP4, ICMP6)
_WIDE = frozenset({"all", "world"})
_NAMESPACE_KEYS = (NAMESPACE, f"any:{NAMESPACE}", f"k8s:{NAMESPACE}")


def hints(
    policies: PolicySet,
    rows: Sequence[Judged],
    aliases: Mapping[str, tuple[str, ...]],
    working: Set[Entry] = frozenset(),
    also: Iterable[Party] = (),
) -> tuple[Hint, ...]:
    """All hints, those of one rule together, the most attempts first.

    ``aliases``: where DNS names lead to by CNAME, as far as answers were seen. ``working``: rules that
    let something through; what they don't match is hardly what they were written for. ``also``: ends
    that were seen, and are in no row.
    """
    found: dict[tuple[str, str, int, str], Hint] = {}
    for one in _all(policies, rows, aliases, working, also):
        key = (one.name, one.policy.reference, one.line, one.text)
        earlier = found[key].attempts if key in found else 0
        found[key] = replace(one, attempts=one.attempts + earlier)
    return tuple(
        sorted(found.values(), key=lambda one: (-one.attempts, one.policy.reference, one.line))
    )


def _all(
    policies: PolicySet,
    rows: Sequence[Judged],
    aliases: Mapping[str, tuple[str, ...]],
    working: Set[Entry],
    also: Iterable[Party],
) -> Iterator[Hint]:
    subjects = {
        (row.seen.subject, row.seen.subject_name): None for row in rows if not row.seen.unknown
    }
    others = [row.seen.peer for row in rows if not row.seen.peer.outside]
    yield from _selecting_nothing(policies, list(subjects), dict.fromkeys([*others, *also]))
    seen: set[tuple[int, Direction]] = set()
    for subject, _ in subjects:
        way: Direction
        for way in ("egress", "ingress"):
            selected = policies.selected(subject, way)
            if selected.entries and (id(selected), way) not in seen:
                seen.add((id(selected), way))
                if way == "egress":
                    yield from without_dns(selected.entries)
                yield from _too_wide(selected.entries)
                yield from _deny_only(selected.entries, way, default_deny=selected.default_deny)
    yield from no_lookups(policies, rows)
    for row in rows:
        if row.decision.decision == "denied":
            yield from _denied(policies, row, working)
            yield from name_then(policies, row)
            yield from alias(policies, row, aliases)
        elif row.decision.decision == "allowed":
            yield from _late(row)
        if row.decision.decision == "allowed" and row.seen.direction == "egress":
            yield from shared_address(row)
            yield from lookups_elsewhere(policies, row)


def _selecting_nothing(
    policies: PolicySet, subjects: list[tuple[Party, str]], others: Iterable[Party]
) -> Iterator[Hint]:
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
        asked = {rule.subject.asked for rule in rules} - {"", policy.namespace}
        if asked:
            yield Hint(
                "selector-in-another-namespace", policy, policy.line,
                f"its selector asks for pods of {', '.join(sorted(asked))}, and Cilium reads that as its own "
                f"namespace, {policy.namespace}: it belongs into theirs, or is for a "
                "CiliumClusterwideNetworkPolicy",
            )  # fmt: skip
            continue
        if any(rule.subject.selects(party) for rule in rules for party in others):
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
        else:
            yield from _without_namespace(policies, policy, rules, subjects)


def _without_namespace(
    policies: PolicySet,
    policy: Policy,
    rules: Sequence[Rule],
    subjects: Sequence[tuple[Party, str]],
) -> Iterator[Hint]:
    """A document that names no namespace is in default: hardly meant, where all are, and no pod is."""
    spaces = {one.namespace for one in policies.policies if one.namespace}
    if policy.namespace != _DEFAULT or spaces != {_DEFAULT}:
        return
    if any(party.namespace == _DEFAULT for party, _ in subjects):
        return
    for party, name in subjects:
        if party.namespace and any(_but_for_namespace(rule, party) for rule in rules):
            yield Hint(
                "selects-nothing", policy, policy.line,
                f"it is in namespace {_DEFAULT} (as documents are that name none), where no pod was seen; "
                f"its selector fits {name}: metadata needs namespace: {party.namespace} for that",
            )  # fmt: skip
            return


def _but_for_namespace(rule: Rule, party: Party) -> bool:
    rest = (one for one in rule.subject.selector.requirements if one.key not in _NAMESPACE_KEYS)
    return all(one.matches(party.label_set) for one in rest)


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


def _late(row: Judged) -> Iterator[Hint]:
    """Denied at first, though a rule allows it: an identity, a policy or authentication came later."""
    if not row.late or not row.decision.entries:
        return
    entry = row.decision.entries[0]
    for attempts, why in (
        (
            row.late - row.unauthenticated,
            "the agent did not know the identity yet, or had not applied the policy",
        ),
        (
            row.unauthenticated,
            "a policy asks both ends to authenticate, and first packets drop until they have",
        ),
    ):
        if attempts:
            yield hint(
                "denied-at-first", entry,
                f"{entry.place} allows {_to(row.seen)}, and its first SYN was denied all the same; a retry "
                f"was let through after {row.waited:.1f} s at most: {why}",
                attempts,
            )  # fmt: skip


def _deny_only(entries: Sequence[Entry], way: Direction, *, default_deny: bool) -> Iterator[Hint]:
    """Deny rules alone, with default deny on: they cut what they don't name too."""
    if not default_deny or any(entry.effect != "deny" for entry in entries):
        return
    yield hint(
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
                yield hint(
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
            if not entry.peers or any(map(is_wide, entry.peers)):
                continue  # it is for everybody, and the deny is meant to cut out of that
            yield hint(
                "allow-hidden-by-deny", entry,
                f"{entry.place} allows {_to(seen)}, but {deny} denies it, and a deny always wins",
                row.attempts,
            )  # fmt: skip
        elif row.decision.why == "default deny" and peer is True and entry.ports and entry.peers:
            if any(map(is_wide, entry.peers)):
                continue  # it is for everybody, and no more for this one
            ports = ", ".join(map(str, entry.ports))
            if not port and _only_other_ports(entry, seen):
                yield hint(
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
                yield hint(
                    "cidr-contains-pods", entry,
                    f"{entry.place} allows {peer}, and {seen.peer_name} has an address in it, but blocks "
                    f"mean addresses outside ({why}): {_as_itself(entry, seen)}",
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
                yield hint(
                    "peer-in-another-namespace", entry,
                    f"{entry.place} means pods of namespace {wanted}; {seen.peer_name} is in "
                    f"{seen.peer.namespace}: {by_namespace(seen.peer.namespace, entry.policy.kind)}",
                    row.attempts,
                )  # fmt: skip


def _as_itself(entry: Entry, seen: Observation) -> str:
    """How a rule means an endpoint of the cluster, which blocks don't."""
    if not seen.peer.reserved:
        return "select it by its labels"
    return f"that takes {by_entity(seen.peer, seen.direction, entry.policy.kind)}"


def _to(seen: Observation) -> str:
    return beside(seen.direction, seen.peer_name, seen.port, seen.protocol)
