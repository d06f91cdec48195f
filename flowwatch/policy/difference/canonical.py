"""Rules in one form, so that two that say the same are equal, wherever and however they are written."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from flowwatch.policy.difference.layer7 import canonical
from flowwatch.policy.engine import Selected
from flowwatch.policy.labels import EQUALS, IN, LabelSet, Selector
from flowwatch.policy.peers import Block, Entity, LabelledBlocks, Name, PeerRule, Pods, Unknown
from flowwatch.policy.ports import PortRule
from flowwatch.policy.rules import Entry, Rule


def selector_key(selector: Selector) -> Hashable:
    """A selector without the order of what it asks for."""
    return frozenset(
        (one.key, IN if one.operator == EQUALS else one.operator, frozenset(one.values))
        for one in selector.requirements
    )


def _block(block: Block) -> Hashable:
    shift = (32 if block.version == 4 else 128) - block.length
    inner = frozenset(_block(one) for one in block.excepted)
    return block.version, block.length, block.network >> shift, inner


def _group(labels: LabelSet, blocks: Iterable[Block]) -> Hashable:
    return frozenset(labels.labels), frozenset(map(_block, blocks))


def _peer(peer: PeerRule) -> Hashable:
    match peer:
        case Pods(selector):
            return "pods", selector_key(selector)
        case Block():
            return "block", _block(peer)
        case LabelledBlocks():
            groups = frozenset(_group(*one) for one in peer.groups)
            return (
                "groups",
                selector_key(peer.selector),
                groups,
                frozenset(map(_block, peer.excepted)),
            )
        case Name(rule):
            return "name", rule.text.lower().rstrip("."), rule.exact
        case Entity(name):
            return "entity", name
        case Unknown():
            return "unknown", peer.what, peer.written, peer.inside


def _port(rule: PortRule) -> Hashable:
    l7 = canonical([rule.l7]) if rule.l7 is not None else None
    return rule.protocol, rule.low, rule.high, rule.name, rule.end, l7


def entry_key(entry: Entry) -> Hashable:
    """What an entry says, without where it stands."""
    return (
        entry.direction, entry.effect, entry.tier, entry.priority, entry.auth,
        None if entry.peers is None else frozenset(map(_peer, entry.peers)),
        None if entry.ports is None else frozenset(map(_port, entry.ports)),
    )  # fmt: skip


def _ordered(entry: Entry) -> bool:
    """Whether it may matter which of several policies comes first: to proxies, and ranges of named ports."""
    return bool(entry.auth) or any(rule.l7 or rule.end for rule in entry.ports or ())


def rule_key(rule: Rule) -> Hashable:
    """What a rule says of its subject."""
    ordered = any(map(_ordered, rule.entries))
    where = (rule.policy.kind, rule.policy.namespace, rule.policy.name) if ordered else ()
    default = frozenset(rule.default_deny.items())
    return default, frozenset(map(entry_key, rule.entries)), where


def same(old: Selected, new: Selected) -> bool:
    """Whether two sets of rules surely decide alike, whatever they are asked."""
    if old.default_deny != new.default_deny or old.ruled != new.ruled or old.ends != new.ends:
        return False
    if (old.settled is None) != (new.settled is None):
        return False
    if old.settled and new.settled and old.settled.decision != new.settled.decision:
        return False
    return set(map(entry_key, old.entries)) == set(map(entry_key, new.entries))
