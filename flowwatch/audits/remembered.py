"""What is remembered of open attempts for who judges them: who allowed, who denied, what a proxy was asked.

Of most attempts a verdict says who allowed them, and no more is ever to be told: of these the verdict is
kept as it came, an :class:`Extra` only of the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from flowwatch.audits.unrecorded import redacted
from flowwatch.flows import meaning
from flowwatch.flows.model import Direction, Flow, Layer7, PolicyRef, Verdict
from flowwatch.flows.open_attempt import OpenAttempt

Policies: TypeAlias = tuple[PolicyRef, ...]
Allowed: TypeAlias = tuple[Policies, Policies]
"""Who allowed an attempt, by direction (0 egress, 1 ingress)."""

REQUESTS = 32
"""Requests of one attempt that are looked at one by one."""
_AUTH_REQUIRED = 189
_REQUEST = 1
_FORWARDED, _INGRESS = int(Verdict.FORWARDED), int(Direction.INGRESS)


@dataclass(slots=True)
class Request:
    """What the proxy decided about one request of an attempt."""

    layer7: Layer7
    passed: bool
    hidden: bool = False
    """Whether the agent may have taken the query out of its URL (``hubble.redact.http.urlQuery``)."""


@dataclass(slots=True)
class Extra:
    """What an open attempt remembers for the audit alone, by direction (0 egress, 1 ingress)."""

    requests: list[Request] = field(default_factory=list)
    allowed: dict[int, Policies] = field(default_factory=dict)
    denied: dict[int, Policies] = field(default_factory=dict)
    dropped: dict[int, tuple[int, str]] = field(default_factory=dict)
    """Time of the first record that a policy dropped, and the node whose clock that is by."""
    named: dict[int, tuple[int, str]] = field(default_factory=dict)
    """When a verdict first named a policy that allows it, and by which node's clock."""
    waits_for_auth: bool = False


class Remembered:
    """By the attempt's number. One thread."""

    def __init__(self) -> None:
        self._extra: dict[int, Extra] = {}
        self._allowing: dict[int, Flow] = {}
        """The verdict that names who allowed it, where there is no extra: by twice the attempt's number,
        and one more for ingress."""
        self.shows_queries = False
        """Whether an agent that hides values of headers was seen to leave a query in a URL."""

    def note(self, attempt: OpenAttempt, flow: Flow, bits: int) -> bool:
        """Take in a record; ``bits``: its evidence, 0 of one that was let through. Whether it shows a request
        that none before did."""
        kind, layer7 = flow.kind, flow.l7
        policy_drop = bits & meaning.POLICY_DROP
        if layer7 is None:
            if kind.verdict == _FORWARDED:
                if not kind.allowed_by or (not kind.denied_by and self._allows(attempt, flow)):
                    return False
            elif not (kind.named or policy_drop or kind.drop_reason == _AUTH_REQUIRED):
                return False
        extra = self.of(attempt)
        way = int((kind.direction or attempt.direction) == _INGRESS)
        at = (flow.time, kind.node)
        if policy_drop:
            extra.dropped[way] = min(at, extra.dropped.get(way, at))
        if kind.allowed_by:
            extra.named[way] = min(at, extra.named.get(way, at))
            extra.allowed[way] = tuple(
                dict.fromkeys((*extra.allowed.get(way, ()), *kind.allowed_by))
            )
        if kind.denied_by:
            extra.denied[way] = tuple(dict.fromkeys((*extra.denied.get(way, ()), *kind.denied_by)))
        if kind.drop_reason == _AUTH_REQUIRED:
            extra.waits_for_auth = True
        if layer7 is None or len(extra.requests) >= REQUESTS:
            return False
        if layer7.type == _REQUEST or kind.dropped:
            self.shows_queries |= "?" in layer7.http_url and redacted(layer7)
            request = Request(layer7, not kind.dropped)
            if request not in extra.requests:
                extra.requests.append(request)
                return True
        return False

    def _allows(self, attempt: OpenAttempt, flow: Flow) -> bool:
        """Keep a verdict that lets it through, as it is; False where there is more to tell."""
        number, kind = attempt.number, flow.kind
        if number in self._extra:
            return False
        at = number * 2 + ((kind.direction or attempt.direction) == _INGRESS)
        before = self._allowing.setdefault(at, flow)
        return before is flow or (
            before.kind.allowed_by == kind.allowed_by
            and (before.time, before.kind.node) <= (flow.time, kind.node)
        )

    def of(self, attempt: OpenAttempt) -> Extra:
        """What is remembered of an attempt, and kept."""
        extra = self._extra.get(attempt.number)
        if extra is None:
            extra = self._extra[attempt.number] = self.pop(attempt)
        return extra

    def pop(self, attempt: OpenAttempt) -> Extra:
        """What is remembered of an attempt, which is forgotten."""
        number = attempt.number
        extra = self._extra.pop(number, None)
        if extra is None:
            take = self._allowing.pop
            extra = _made(take(number * 2, None), take(number * 2 + 1, None))
        return extra

    def peek(self, attempt: OpenAttempt) -> Extra:
        """What is remembered of an attempt by now."""
        number = attempt.number
        look = self._allowing.get
        return self._extra.get(number) or _made(look(number * 2), look(number * 2 + 1))

    def allowed(self, attempt: OpenAttempt) -> Allowed | None:
        """Who allowed it, where no more than that is remembered; else None."""
        number = attempt.number
        if number in self._extra:
            return None
        egress = self._allowing.get(number * 2)
        ingress = self._allowing.get(number * 2 + 1)
        return (
            egress.kind.allowed_by if egress is not None else (),
            ingress.kind.allowed_by if ingress is not None else (),
        )

    def forget(self, attempt: OpenAttempt) -> None:
        number = attempt.number
        if self._extra.pop(number, None) is None:
            self._allowing.pop(number * 2, None)
            self._allowing.pop(number * 2 + 1, None)


def _made(*allowing: Flow | None) -> Extra:
    extra = Extra()
    for way, flow in enumerate(allowing):
        if flow is not None:
            extra.named[way] = (flow.time, flow.kind.node)
            extra.allowed[way] = tuple(dict.fromkeys(flow.kind.allowed_by))
    return extra
