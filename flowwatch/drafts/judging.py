"""Decisions about the same questions by policies that change a little at a time, as in the editor.

A peer of a rule can only change what is decided about whom it means: of two sets that differ in a few peers
and ports, all other questions have the answer that they had.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from flowwatch.drafts.requests import Request
from flowwatch.policy import PolicySet
from flowwatch.policy.engine import Outcome
from flowwatch.policy.party import Party
from flowwatch.policy.peers import PeerRule
from flowwatch.policy.ports import PortRule
from flowwatch.policy.rules import Direction, Entry


class Inquiry(NamedTuple):
    """What policies are asked about a connection."""

    direction: Direction
    subject: Party
    peer: Party
    protocol: str
    port: int


Ask = Callable[[Inquiry, Collection[Request]], Outcome]
"""What policies decide, with the requests that they must let pass."""


class _Part(NamedTuple):
    """One peer of an entry with its ports; None is every peer."""

    direction: Direction
    how: tuple[object, ...]
    peer: PeerRule | None

    def is_about(self, question: Inquiry) -> bool:
        return self.direction == question.direction and (
            self.peer is None or self.peer.matches(question.peer) is not False
        )


def ask_of(policies: PolicySet) -> Ask:
    """The engine's own decisions."""

    def ask(question: Inquiry, requests: Collection[Request]) -> Outcome:
        said = policies.ask(*question)
        if not requests or not said.l7 or said.pass_all or said.decision != "allowed":
            return said.decision
        rules = [one.l7 for one in said.ports if one.l7 is not None]
        passes = all(
            any(rule.passes_request(one.method, one.url, None) is True for rule in rules)
            for one in requests
        )
        return "allowed" if passes else "denied"

    return ask


class Judging:
    """Remembers what the policies before decided. Not for two threads at once."""

    def __init__(self) -> None:
        self._frame: object = None
        self._parts: frozenset[_Part] = frozenset()
        self._known: dict[Inquiry, Outcome] = {}

    def by(self, policies: PolicySet) -> Ask:
        """What ``policies`` decide, which are the newest from now on."""
        frame, parts = _frame(policies), frozenset(_parts(policies))
        if frame is None or frame != self._frame:
            self._known.clear()
        else:
            changed = parts ^ self._parts
            for question in [one for one in self._known if any(p.is_about(one) for p in changed)]:
                del self._known[question]
        self._frame, self._parts = frame, parts
        anew = ask_of(policies)

        def ask(question: Inquiry, requests: Collection[Request]) -> Outcome:
            if requests:
                # The same question may be asked with others, or none.
                return anew(question, requests)
            found = self._known.get(question)
            if found is None:
                found = self._known[question] = anew(question, ())
            return found

        return ask


def _frame(policies: PolicySet) -> object:
    """All but peers and ports that a decision may come from; None where a part may decide of another's
    peers: names of ports, what can't be merged, rules of other kinds than these."""
    rules = policies.documents.rules
    entries = [entry for rule in rules for entry in rule.entries]
    if policies.documents.rejected or any(map(_reaches_others, entries)):
        return None
    return tuple((rule.subject, tuple(sorted(rule.default_deny.items()))) for rule in rules)


def _reaches_others(entry: Entry) -> bool:
    return bool(
        entry.effect != "allow"
        or entry.auth
        or any(
            port.name or (port.l7 is not None and port.l7.kind != "dns")
            for port in entry.ports or ()
        )
    )


def _parts(policies: PolicySet) -> Iterator[_Part]:
    for number, rule in enumerate(policies.documents.rules):
        for entry in rule.entries:
            ports = None if entry.ports is None else tuple(map(_spelt, entry.ports))
            for peer in (None,) if entry.peers is None else entry.peers:
                yield _Part(entry.direction, (number, entry.tier, ports), peer)


def _spelt(port: PortRule) -> tuple[object, ...]:
    """All of a port but where it stands."""
    return port.protocol, port.low, port.high, port.l7 is not None
