"""Near misses: which rule would have allowed it, and the one thing that was in the way.

What is in the way is told in the words of the mistakes that people make: an address of a pod in a block, a
selector without its namespace, a name with one label too many, a service's port.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.labels import CLUSTER, EQUALS, IN, NAMESPACE, OWN_CLUSTER, Requirement
from flowwatch.policy.names import NameRule
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Block, Name, Peer, Pods
from flowwatch.policy.ports import ICMP4, ICMP6
from flowwatch.policy.rules import Direction, Entry

_NAMED = 4
_ICMP = (ICMP4, ICMP6)
_BITS = {4: 32, 6: 128}
_SCOPES = (f"k8s:{NAMESPACE}", f"any:{NAMESPACE}", NAMESPACE)


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule that misses by one thing."""

    entry: Entry
    text: str

    def __str__(self) -> str:
        return f"{self.entry} {self.text}"


def near_misses(
    policies: PolicySet,
    direction: Direction,
    subject: Party,
    peer: Party,
    protocol: str,
    port: int,
    address: str = "",
) -> list[NearMiss]:
    """The allow rules of ``subject`` that miss by the peer or by the port alone, the closest first.

    Args:
        address: the peer's, where it is an endpoint of the cluster and the record has it.
    """
    ranked: tuple[list[NearMiss], ...] = ([], [], [], [])
    listener = peer if direction == "egress" else subject
    for entry in policies.selected(subject, direction).entries:
        if entry.verdict != "allow" or entry.ports == ():
            continue
        if entry.peers == ():
            if entry.ports is None and entry.policy.kind.startswith("Cilium"):
                words = (
                    "is empty: that allows nothing here (in a NetworkPolicy it allows everything)"
                )
                ranked[3].append(NearMiss(entry, words))
            continue
        peer_match = entry.matches_peer(peer)
        port_match = entry.matches_port(protocol, port, listener) is True
        if peer_match is True and not port_match and entry.ports is not None:
            ranked[0].append(NearMiss(entry, _other_port(entry, listener, protocol, port)))
        elif port_match and peer_match is not True and entry.peers is not None:
            because = next(_reasons(entry.peers, peer, address or peer.ip), "")
            peers = ", ".join(str(one) for one in entry.peers[:_NAMED])
            words = because or f"would allow {peers}; this is {peer}"
            ranked[1 if because else 2].append(NearMiss(entry, words))
    return [one for rank in ranked for one in rank]


def closest(
    policies: PolicySet,
    decision: Decision,
    direction: Direction,
    subject: Party,
    peer: Party,
    protocol: str,
    port: int,
    address: str = "",
) -> str:
    """For a default deny: the rule that misses by the least, to be put behind the reason; else ""."""
    if decision.why != "default deny":
        return ""
    near = near_misses(policies, direction, subject, peer, protocol, port, address)
    # An empty rule is how people write default deny: no news to them.
    if near and near[0].entry.peers != ():
        return f"; closest rule: {near[0]}"
    only_deny = [
        policy for policy in decision.denying
        if {
            entry.verdict
            for entry in policies.selected(subject, direction).entries
            if entry.policy is policy
        } == {"deny"}
    ]  # fmt: skip
    if len(only_deny) == len(decision.denying) and only_deny:
        return (
            f"; {only_deny[0]} only denies, and so closes {direction} for all that no rule allows: "
            f"enableDefaultDeny: {{{direction}: false}} leaves the rest open"
        )
    return ""


def _other_port(entry: Entry, listener: Party, protocol: str, port: int) -> str:
    ports = ", ".join(str(rule) for rule in (entry.ports or ())[:_NAMED])
    words = f"would allow {ports}; this is {port}/{protocol}"
    if protocol in _ICMP and not any(rule.protocol in _ICMP for rule in entry.ports or ()):
        return (
            f"would allow {ports}; ports never mean {protocol} (type {port} here): that takes icmps"
        )
    if not listener.outside and not listener.reserved and listener.labels:
        words += " (policies see a pod's own port, not its service's)"
    return words


def _reasons(peers: tuple[Peer, ...], party: Party, address: str) -> Iterator[str]:
    """Why one of the peers nearly means the party, where that can be told."""
    for peer in peers:
        words = ""
        if isinstance(peer, Block):
            words = _outside_of_block(peer, party, address)
        elif isinstance(peer, Pods):
            words = _other_pod(peer, party)
        elif isinstance(peer, Name):
            words = _other_name(peer.rule, party)
        if words:
            yield words


def _outside_of_block(block: Block, party: Party, address: str) -> str:
    at = Party((), address).address
    if at is None:
        return ""
    if party.outside:
        if block.version != at[0]:
            return (
                f"would allow {block}, which is IPv{block.version} only; {address} is IPv{at[0]}"
                if not block.length
                else ""
            )
        for left_out in block.excepted:
            if left_out.contains(*at):
                return f"would allow {block.text}, but leaves out {left_out.text}, and {address} is in it"
        return ""
    if not block.length or not block.contains(*at):
        return ""
    if "kube-apiserver" in party.reserved:
        return (
            f"would allow {block}; {address} is the API server on a node, which CIDRs don't mean: "
            "toEntities: [kube-apiserver] does"
        )
    what = f"a node ({party})" if party.reserved else f"a pod ({party})"
    how = "toEntities" if party.reserved else "its labels"
    return f"would allow {block}; {address} is {what}, and CIDRs mean addresses outside: select it by {how}"


def _other_pod(pods: Pods, party: Party) -> str:
    if not party.labels or party.outside:
        return ""
    missing = [one for one in pods.selector.requirements if not one.matches(party.label_set)]
    # What is asked for beside the scope that the policy's own place adds.
    asked = [one for one in pods.selector.requirements if not _is_scope(one)]
    if len(missing) != 1 or not asked:
        return ""
    [one] = missing
    if one.key in _SCOPES and party.namespace:
        wanted = ", ".join(one.values) or "another"
        return (
            f"would allow {pods}: that is namespace {wanted}; this is in {party.namespace} "
            f"(add k8s:{NAMESPACE}: {party.namespace})"
        )
    if _is_scope(one) or len(asked) < 2:  # one of one: another pod, not a wrong label
        return ""
    has = party.label_set.get(one.key)
    mine = f"{one.key}={has}" if has is not None else f"no label {one.key}"
    return f"would allow {pods}; this has {mine}"


def _is_scope(one: Requirement) -> bool:
    return (
        one.key == OWN_CLUSTER
        or (one.key in _SCOPES and one.operator in (EQUALS, IN))
        or one.key.removeprefix("k8s:") == CLUSTER
    )


def _other_name(rule: NameRule, party: Party) -> str:
    if rule.exact or not party.names or not rule.text.startswith("*."):
        return ""
    base = rule.text.lstrip("*").rstrip(".").lower()
    for name in (one.rstrip(".").lower() for one in party.names):
        if name == base[1:]:
            return f"would allow {rule}, which is names below {base[1:]}; {name} itself needs a matchName"
        if name.endswith(base) and not rule.text.startswith("**"):
            return f"would allow {rule}: * is one label; {name} needs **{base} (Cilium 1.19 on)"
    return ""
