"""Who the ends of a question are, as traffic shows them: a pod's labels, an address' pod or names.

For ``explain``, which knows no traffic: what records say of an end beats whatever would be assumed of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address

from flowwatch.audits.ends import name_of, party_labels
from flowwatch.flows.model import Batch, Endpoint, Flow
from flowwatch.flows.peers import PeerNames
from flowwatch.policy.explain import End
from flowwatch.policy.party import Party

_MOST = 100_000
"""Pods, addresses and names remembered, each."""
_TOLD = 5


class SeenEnds:
    """The ends of all flows of ``batches``."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._pods: dict[tuple[str, str], Endpoint] = {}
        self._at: dict[str, Endpoint] = {}
        self._address_of: dict[tuple[str, str], str] = {}
        self._addresses: dict[str, dict[str, None]] = {}
        self._names = PeerNames()
        for batch in batches:
            for flow in batch.flows:
                self._learn(flow)

    def _learn(self, flow: Flow) -> None:
        self._names.learn(flow)
        for end, address in (
            (flow.source, flow.source_ip),
            (flow.destination, flow.destination_ip),
        ):
            if end.labels and end.pod and len(self._pods) < _MOST:
                known = self._pods.get((end.namespace, end.pod))
                # Another node's records don't name its workload: Hubble, for pods of its own alone.
                if known is None or end.workload or known.labels != end.labels:
                    self._pods[end.namespace, end.pod] = end
                self._address_of[end.namespace, end.pod] = address
            if end.labels and address and len(self._at) < _MOST:
                self._at[address] = end
        named = [(name, flow.destination_ip) for name in flow.destination_names]
        if flow.l7 is not None and flow.l7.dns_query:
            named += [(flow.l7.dns_query, address) for address in flow.l7.dns_ips]
        for name, address in named:
            key = name.lower().rstrip(".")
            if key in self._addresses or len(self._addresses) < _MOST:
                self._addresses.setdefault(key, {})[address] = None

    def known(self, end: End) -> End:
        """``end`` as it was seen; else as it was given, with the word that nothing was seen of it."""
        if end.kind == "pod":
            return self._pod(end)
        if end.kind == "address":
            return self._address(end, str(ip_address(end.text)))
        return self._name(end) if end.kind == "name" else end

    def _pod(self, end: End) -> End:
        space, _, name = end.text.partition("/")
        of_space = {pod: one for (where, pod), one in self._pods.items() if where == space}
        found = [of_space[name]] if name in of_space else [
            one for one in of_space.values() if name_of(one, "") == end.text
        ]  # fmt: skip
        if not found:
            there = sorted({name_of(one, "") for one in of_space.values()})
            others = ", ".join(there[:_TOLD]) + (", …" if len(there) > _TOLD else "")
            has = f"of {space} it has {others}" if there else f"it has no pod of {space}"
            return replace(end, assumed=f"the traffic has no {end.text} ({has}); {end.assumed}")
        pod = found[-1]
        sets = len({one.labels for one in found})
        several = f", one of {sets} sets of labels of its pods" if sets > 1 else ""
        seen = f"{end.text} has the labels of {pod.namespace}/{pod.pod}{several}"
        return replace(end, party=self._party(pod), assumed="", seen=seen)

    def _address(self, end: End, address: str) -> End:
        there = self._at.get(address)
        if there is not None and there.pod:
            seen = f"{address} was the pod {there.namespace}/{there.pod}"
            return replace(end, party=self._party(there), assumed="", seen=seen)
        names = self._names.names(address)
        labels = there.labels if there is not None else ()
        if not labels and not names:
            return replace(end, assumed=f"the traffic has nothing of {address}; {end.assumed}")
        who = ", ".join([*(one.rstrip(".") for one in names), *labels])
        return replace(
            end,
            party=Party(labels, address, names or None),
            assumed="",
            seen=f"{address} was {who}",
        )

    def _name(self, end: End) -> End:
        addresses = list(self._addresses.get(end.text.lower().rstrip("."), ()))
        if not addresses:
            return replace(end, assumed=f"the traffic has no answer for {end.text}; {end.assumed}")
        known = self._address(replace(end, assumed=""), addresses[0])
        more = f" (one of {len(addresses)} addresses)" if len(addresses) > 1 else ""
        return replace(known, seen=f"{end.text} was answered with {addresses[0]}{more}")

    def _party(self, end: Endpoint) -> Party:
        address = self._address_of.get((end.namespace, end.pod), "")
        return Party(party_labels(end, "", outside=False), address, (), None)
