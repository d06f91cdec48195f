"""Questions without traffic, as JSON: parties by labels or address, and what the policies say."""

from __future__ import annotations

from typing import Any

import msgspec

from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.party import Party
from flowwatch.policy.ports import OTHER


class QueryError(ValueError):
    """What is wrong with a query, in one sentence."""


class _End(msgspec.Struct, forbid_unknown_fields=True):
    labels: tuple[str, ...] = ()
    ip: str = ""
    also: tuple[str, ...] = ()
    fqdn: str | tuple[str, ...] = ()
    ports: dict[str, int] = {}


class _Query(msgspec.Struct, forbid_unknown_fields=True):
    direction: str
    subject: _End
    peer: _End
    protocol: str
    port: int = 0
    id: Any = None


_DIRECTIONS = ("egress", "ingress")
_PROTOCOLS = {
    **{name: name for name in ("TCP", "UDP", "SCTP", "ICMP", *OTHER)},
    "ICMPV4": "ICMP",
    "ICMPV6": "ICMPv6",
}
_MAX_PORT = 65535
_PARTIES = 200_000


class Queries:
    """Answers queries one by one; equal parties are one object, as the engine wants them."""

    def __init__(self, policies: PolicySet) -> None:
        self._policies = policies
        self._decoder = msgspec.json.Decoder(_Query)
        self._parties: dict[tuple[object, ...], Party] = {}

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one line: ``id``, ``decision``, ``l7``, ``policies``, ``reason``.

        Raises:
            QueryError: not JSON, not a query, or a party that is nobody.
        """
        try:
            query = self._decoder.decode(line)
        except msgspec.DecodeError as error:
            raise QueryError(str(error)) from None
        except UnicodeDecodeError:
            raise QueryError("not UTF-8") from None
        except RecursionError:
            raise QueryError("nested too deeply") from None
        if query.direction not in _DIRECTIONS:
            raise QueryError(f'direction "{query.direction}": egress or ingress')
        if not 0 <= query.port <= _MAX_PORT:
            raise QueryError(f"port {query.port}: 0 to {_MAX_PORT}")
        decision = self._policies.ask(
            "egress" if query.direction == "egress" else "ingress",
            self._party(query.subject, "subject"),
            self._party(query.peer, "peer"),
            _protocol(query.protocol),
            query.port,
        )
        return {"id": query.id, **answer_object(decision)}

    def _party(self, end: _End, which: str) -> Party:
        names = (end.fqdn,) if isinstance(end.fqdn, str) else end.fqdn
        names = tuple(name for name in names if name)
        key = (end.labels, end.ip, end.also, names, tuple(end.ports.items()))
        party = self._parties.get(key)
        if party is None:
            if not end.labels and not end.ip:
                raise QueryError(f"{which}: labels or ip must be given")
            for label in end.labels:
                if ":" not in label.partition("=")[0]:
                    raise QueryError(f'{which}: label "{label}" has no source, as in k8s:{label}')
            for name, port in end.ports.items():
                if not 0 < port <= _MAX_PORT:
                    raise QueryError(f'{which}: port {port} of "{name}": 1 to {_MAX_PORT}')
            ports = {name.lower(): port for name, port in end.ports.items()}
            # Without an address nobody said which it has; with one they are all.
            party = Party(end.labels, end.ip, names, ports, end.also if end.ip else None)
            for address in filter(None, (end.ip, *end.also)):
                if not Party((), address).address:
                    raise QueryError(f'{which}: "{address}" is no address')
            if len(self._parties) >= _PARTIES:
                self._parties.clear()
            self._parties[key] = party
        return party


def _protocol(text: str) -> str:
    name = _PROTOCOLS.get(text.upper())
    if name is None:
        raise QueryError(f'protocol "{text}": {", ".join(dict.fromkeys(_PROTOCOLS.values()))}')
    return name


def answer_object(decision: Decision) -> dict[str, Any]:
    """A decision as plain values."""
    return {
        "decision": decision.decision,
        "l7": decision.l7,
        "policies": list(decision.policies),
        "reason": decision.reason,
    }
