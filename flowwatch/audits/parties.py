"""The parties of ends, as policies see them: equal ones are one object, since parties are compared so."""

from __future__ import annotations

from flowwatch.audits.ends import (
    NODES,
    address_counts,
    further_addresses,
    is_outside,
    party_labels,
)
from flowwatch.flows.model import Endpoint
from flowwatch.flows.peers import PeerNames
from flowwatch.policy.party import Party
from flowwatch.policy.reach import Reach

MOST = 200_000
"""Distinct parties kept; past it they are made anew."""


class Parties:
    """Those that were made; ``reach``: of which endpoints the address counts."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach
        self._known: dict[tuple[object, ...], Party] = {}

    def of(
        self,
        end: Endpoint,
        address: str,
        known: PeerNames,
        *,
        resolves: bool,
        own: str,
        at: int = 0,
    ) -> Party:
        """The party of an end; equal ones are one object, since parties are compared so."""
        outside = is_outside(end) or (not end.labels and not end.identity and bool(address))
        key: tuple[object, ...] = (end.labels, end.entity, end.namespace, end.cluster, own)
        if not outside and (plain := self._known.get(key)) is not None:
            return plain  # most ends: their address changes nothing
        names: tuple[str, ...] | None = ()
        inside = not outside and address_counts(end, self._reach)
        if outside or end.entity == "kube-apiserver" or (inside and end.entity in NODES):
            names = known.names(address, at)
            if not names and not address:
                names = None
            elif not names:
                names = () if resolves or (at and known.names(address)) else None
            key = (*key, address, names)
        elif inside:
            key = (*key, address)
        party = self._known.get(key)
        if party is None:
            if len(self._known) >= MOST:
                self._known.clear()
            party = self._known[key] = Party(
                party_labels(end, own, outside=outside),
                address if outside or inside or names else "",
                names,
                {} if outside else None,
                further_addresses(end) if inside else None,
            )
        return party
