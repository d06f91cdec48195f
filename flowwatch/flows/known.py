"""What repeats from record to record, known by its bytes: parsed once, shared from then on.

A record is a :class:`Kind`, its :class:`Ends`, and what varies: time, addresses, ports, uuid, layer 7.
Whoever decodes finds kind and ends by keys of its own (raw bytes of the parts that they are made
of), in a :class:`Memory` each. The first record of a key is decoded whole, and what was made of it
stands for all others with that key: so a key has all that its value depends on, and nothing that varies.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import msgspec

from flowwatch.flows import meaning
from flowwatch.flows.meaning import OPENED, SEEN
from flowwatch.flows.model import (
    Direction,
    Ends,
    Extras,
    Flow,
    Kind,
    Layer7,
    PolicyRef,
    Verdict,
)

CACHE_LIMIT = 65_536
"""Distinct values remembered by a memory; past it that starts anew: a value is then made once more,
nothing else changes."""

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


class Memory(dict[_Key, _Value]):
    """A key → what it means, made on the first look-up; bounded by CACHE_LIMIT."""

    def __init__(self, make: Callable[[_Key], _Value]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: _Key) -> _Value:
        value = self._make(key)
        remember(self, key, value)
        return value


def remember(memory: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    """Keep ``value``; a memory that is full begins anew."""
    if len(memory) >= CACHE_LIMIT:
        memory.clear()
    memory[key] = value


_kinds: dict[tuple[object, ...], Kind] = {}
_FORWARDED, _DROPPED = int(Verdict.FORWARDED), int(Verdict.DROPPED)
_INGRESS = int(Direction.INGRESS)
_MILD = meaning.ALLOWED | meaning.PASSED | meaning.WORKS
_DEFAULT_DENY = 133
"""POLICY_DENIED: no rule allows it."""
_RST = 4
_ENDS = 1 | _RST
"""Flags of a packet that ends a connection: FIN, RST."""


def make_kind(
    verdict: int,
    drop_reason: int,
    direction: int,
    is_reply: bool | None,
    event_type: int,
    sub_type: int,
    protocol: str,
    tcp_flags: int,
    allowed_by: tuple[PolicyRef, ...],
    denied_by: tuple[PolicyRef, ...],
    match_type: int,
    auth_type: int,
    node: str,
    revision: int,
    newer_direction: str = "",
    emitter: str = "",
    *,
    has_l7: bool,
) -> Kind:
    """The one :class:`Kind` for these values, with all that follows from them."""
    if denied_by and drop_reason == _DEFAULT_DENY:
        denied_by = tuple([selecting(one) for one in denied_by])
    values = (
        verdict, drop_reason, direction, is_reply, event_type, sub_type, protocol, tcp_flags,
        allowed_by, denied_by, match_type, auth_type, node, revision, newer_direction, emitter, has_l7,
    )  # fmt: skip
    kind = _kinds.get(values)
    # The text of a node itself is compared: another connection's may be equal, and is another.
    if kind is None or kind.node is not node:
        kind = Kind(*values)
        _follow(kind)
        remember(_kinds, values, kind)
    return kind


def selecting(policy: PolicyRef) -> PolicyRef:
    """A policy that a default deny names: it selects the pod, and no rule of its allows.

    Hubble names none so far (Cilium 1.20: POLICY_DENIED; what a deny rule drops is POLICY_DENY), and may
    one day (cilium#48588).
    """
    return PolicyRef(policy.kind, policy.namespace, policy.name, True)


def _follow(kind: Kind) -> None:
    """Fill in what follows from the rest, by the rules of who holds them."""
    kind.bits = meaning.evidence(kind)
    kind.reply = meaning.goes_back(kind)
    kind.ingress = kind.direction == _INGRESS
    kind.dropped = kind.verdict == _DROPPED
    kind.syn = kind.tcp_flags & meaning.SYN_ACK == meaning.SYN
    kind.closes = kind.tcp_flags & _ENDS != 0
    kind.first = meaning.shows_first(kind)
    kind.named = bool(kind.allowed_by or kind.denied_by)
    answer = kind.reply and kind.dropped
    kind.plain = bool(kind.direction) and not (answer or kind.has_l7 or kind.named)
    kind.mild = (
        kind.plain
        and kind.verdict == _FORWARDED
        and not kind.bits & ~_MILD
        and not kind.tcp_flags & _RST
    )
    kind.adds = kind.bits | SEEN | (OPENED if kind.first else 0)
    if kind.dropped and kind.is_reply is None:
        kind.as_reply = changed(kind, is_reply=True)


def changed(kind: Kind, **values: Any) -> Kind:
    """The kind that has these values, and the others of ``kind``."""
    fields = {name: getattr(kind, name) for name in _SAID}
    return make_kind(**(fields | values))


_SAID = tuple(field.name for field in msgspec.structs.fields(Kind) if field.required)
_OF_ENDS = tuple(field.name for field in msgspec.structs.fields(Ends) if field.required)


def make_flow(
    *,
    time: int,
    source_ip: str,
    destination_ip: str,
    source_port: int,
    destination_port: int,
    uuid: str = "",
    l7: Layer7 | None = None,
    extras: Extras | None = None,
    **fields: Any,
) -> Flow:
    """A flow of single values, by their names: those of :class:`Kind` and :class:`Ends` as well."""
    ends = Ends(**{name: fields.pop(name) for name in _OF_ENDS})
    kind = make_kind(**({"revision": 0} | fields), has_l7=l7 is not None)
    return Flow(
        kind, ends, time, source_ip, destination_ip, source_port, destination_port, uuid, l7, extras
    )
