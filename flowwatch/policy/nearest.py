"""Near misses: which rule would have allowed it, and the one thing that was in the way.

What is in the way is told in the words of the mistakes that people make: an address of a pod in a block, a
selector without its namespace, a name with one label too many, a service's port.
"""

from __future__ import annotations

from dataclasses import dataclass

from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.labels import (
    CLUSTER,
    EQUALS,
    IN,
    NAMESPACE,
    NAMESPACE_LABELS,
    OWN_CLUSTER,
    Requirement,
)
from flowwatch.policy.missed_names import missed_name
from flowwatch.policy.names import NameRule
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Block, Entity, Name, PeerRule, Pods
from flowwatch.policy.ports import ICMP4, ICMP6
from flowwatch.policy.rules import Direction, Entry

_NAMED = 4
_NAME_LABEL = "kubernetes.io/metadata.name"
_ICMP = (ICMP4, ICMP6)
_FAR = 10
_NODES = frozenset({"host", "remote-node"})
_EVERYBODY = frozenset({"all", "world", "world-ipv4", "world-ipv6", "cluster", "cluster-mesh"})
_TO: dict[Direction, str] = {"egress": "to", "ingress": "from"}
_SCOPES = (f"k8s:{NAMESPACE}", f"any:{NAMESPACE}", NAMESPACE)


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A rule that misses by one thing."""

    entry: Entry
    text: str

    def __str__(self) -> str:
        return f"{self.entry} {self.text}"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the peer beside its party, where records have it."""

    address: str = ""
    """Its address, where it is an endpoint of the cluster."""
    name: str = ""
    """What a person calls it."""
    names: tuple[str, ...] = ()
    """DNS names that lead to it, though it is an endpoint."""
    service: str = ""
    """The service whose address it is."""
    taken: str = ""
    """The pod that it is, where the record has that, and takes it for one outside."""
    was: str = ""
    """The pod that had the address a moment ago, where now nobody has it."""


NOTHING = Known()
_BY_PORT, _EXPLAINED, _OTHER_PEER, _WIDE, _OTHER_KIND, _FOR_OTHERS, _EMPTY = range(7)


def near_misses(
    policies: PolicySet,
    direction: Direction,
    subject: Party,
    peer: Party,
    protocol: str,
    port: int,
    known: Known = NOTHING,
) -> list[NearMiss]:
    """The allow rules of ``subject`` that miss by the peer or by the port alone, the closest first.

    A rule for everybody is none: it would be that of whatever is blocked.
    """
    found: list[tuple[int, float, NearMiss]] = []
    asked = _Asked(
        direction, peer, peer if direction == "egress" else subject, protocol, port, known
    )
    for entry in policies.selected(subject, direction).entries:
        if entry.effect == "allow" and (miss := asked.miss(entry)) is not None:
            rank, distance, words = miss
            found.append((rank, distance, NearMiss(entry, words)))
    found.sort(key=lambda one: one[:2])
    return [miss for _, _, miss in found]


@dataclass(frozen=True, slots=True)
class _Asked:
    direction: Direction
    peer: Party
    listener: Party
    protocol: str
    port: int
    known: Known

    def miss(self, entry: Entry) -> tuple[int, float, str] | None:
        """How a rule misses: rank, distance within it, and in words; None if not by one thing."""
        if entry.ports == ():
            return None
        if entry.peers is None:
            return self._other_message(entry)
        if entry.peers == () and entry.ports:
            meant = entry.matches_port(self.protocol, self.port, self.listener) is True
            words = f"would allow {_told(entry)}, but its list of peers is empty: that is nobody"
            return (_OTHER_PEER, 0, words) if meant else None
        if entry.peers == ():
            empty = entry.ports is None and entry.policy.kind.startswith("Cilium")
            words = "is empty: that allows nothing here (in a NetworkPolicy it allows everything)"
            return (_EMPTY, 0, words) if empty else None
        peer_match = entry.matches_peer(self.peer)
        port_match = entry.matches_port(self.protocol, self.port, self.listener) is True
        if peer_match is True and not port_match:
            return self._by_port(entry)
        if peer_match is not True and port_match:
            return self._by_peer(entry, entry.peers)
        return None

    def _other_message(self, entry: Entry) -> tuple[int, float, str] | None:
        """A rule for everybody is nobody's near miss; but of ICMP's messages it means some only."""
        rules = entry.ports or ()
        if self.protocol not in _ICMP or not all(rule.protocol in _ICMP for rule in rules):
            return None
        if not rules or entry.matches_port(self.protocol, self.port, self.listener) is True:
            return None
        words = f"would allow {_told(entry)}; this is {self.protocol} type {self.port}"
        if all(rule.protocol != self.protocol for rule in rules):
            words += f": family: {'IPv6' if self.protocol == ICMP6 else 'IPv4'}"
        return (_OTHER_KIND, -1, words)

    def _by_port(self, entry: Entry) -> tuple[int, float, str] | None:
        rules = entry.ports or ()
        ports = _told(entry)
        icmp = self.protocol in _ICMP
        if not any((rule.protocol in _ICMP) is icmp for rule in rules):
            # A ping and a port aren't two of a kind; but people do take ports for all there is.
            words = f"ports never mean {self.protocol} (type {self.port} here): that takes icmps"
            return (_OTHER_KIND, 0, f"would allow {ports}; {words}") if icmp else None
        words = f"would allow {ports}; this is {self.port}/{self.protocol}"
        listener = self.listener
        twin = any(rule.low <= self.port <= rule.high and not rule.name for rule in rules)
        if twin:
            words += f": {self.protocol} is another protocol"
        elif listener.outside and rules and all(rule.name for rule in rules):
            words += (
                " (a port's name is that of a pod's spec, and nobody's outside: write the number)"
            )
        elif not listener.outside and not listener.reserved and listener.labels:
            words += " (policies see a pod's own port, not its service's)"
        same = any(rule.protocol in (self.protocol, "ANY") for rule in rules)
        # That everybody is allowed another port says little, but for this port's other protocol (DNS, QUIC).
        rank = _WIDE if any(map(is_wide, entry.peers or ())) and not twin else _BY_PORT
        return rank, 0 if same else 1, words

    def _by_peer(self, entry: Entry, peers: tuple[PeerRule, ...]) -> tuple[int, float, str]:
        likely = sorted(peers, key=lambda one: _other_labels(one, self.peer))
        because = next((words for one in likely if (words := self._reason(one, entry))), "")
        named = ", ".join(str(one) for one in peers[:_NAMED])
        words = because or f"would allow {named}; this is {self._who}{self._reserved(entry, peers)}"
        if self.known.was and self.peer.outside:
            address = self.known.address or self.peer.ip
            words += f"; {address} was the pod {self.known.was} a moment ago"
        if self.known.service and self.peer.outside:
            words += (
                f"; that is the address of the service {self.known.service}, which policies don't mean by "
                "its pods' labels"
            )
        if self.known.taken and self.peer.outside:
            address = self.known.address or self.peer.ip
            words += (
                f"; it is the pod {self.known.taken}, whose identity the agent did not know (cilium-dbg bpf "
                f"ipcache get {address}, on that node, tells whether it does by now)"
            )
        distance = min(_distance(one, self.peer) for one in peers)
        if because:
            # Its port is for all: closer is one that asks for this very port.
            return _EXPLAINED, distance + (_FAR if entry.ports is None else 0), words
        # Nothing of it is of this one: closer is one for this peer, whatever its ports.
        return _FOR_OTHERS if entry.ports is None else _OTHER_PEER, distance, words

    @property
    def _who(self) -> str:
        """The peer, as a person calls it."""
        if self.peer.outside or self.peer.reserved:
            return str(self.peer)
        return self.known.name or str(self.peer)

    def _reserved(self, entry: Entry, peers: tuple[PeerRule, ...]) -> str:
        """How a rule takes in a peer that is no pod and no address outside; "" for others."""
        if self.peer.outside or not self.peer.reserved:
            return ""
        what = by_entity(self.peer, self.direction, entry.policy.kind)
        masked = self.direction == "ingress" and "remote-node" in self.peer.reserved
        if masked and any(isinstance(one, Block) or is_wide(one) for one in peers):
            what += (
                "; what comes from outside through another node has that node's address, unless the service "
                "has externalTrafficPolicy: Local"
            )
        return f" ({what})"

    def _reason(self, peer: PeerRule, entry: Entry) -> str:
        """Why a rule's peer nearly means this one, where that can be told; else ""."""
        if isinstance(peer, Block):
            return self._outside_of_block(peer, entry.policy.kind)
        if isinstance(peer, Pods):
            return _other_pod(peer, self.peer, entry.policy.kind)
        if isinstance(peer, Entity):
            return self._of_another_cluster(peer)
        if isinstance(peer, Name):
            return self._inside_by_name(peer) or _other_name(peer.rule, self.peer)
        return ""

    def _of_another_cluster(self, entity: Entity) -> str:
        if entity.name != "cluster" or self.peer.outside or not self.peer.cluster:
            return ""
        mesh = f"{_TO[self.direction]}Entities: [cluster-mesh]"
        return (
            f"would allow {entity}, the own cluster; this is {self._who} ({mesh} takes in all clusters', or "
            f"select it by its labels with k8s:{CLUSTER}: {self.peer.cluster})"
        )

    def _outside_of_block(self, block: Block, kind: str) -> str:
        party = self.peer
        address = self.known.address or party.ip
        at = Party((), address).address
        if party.outside:
            return _beside_block(block, at, address) if at is not None else ""
        why = block.reach.without(party, every=not block.length)
        # Of an endpoint whose address nobody knows, only a block of everything surely holds it.
        if not why or (not _spans(block, at) if at is not None else block.length):
            return ""
        this = address or "this"
        if "kube-apiserver" in party.reserved:
            return (
                f"would allow {block}; {this} is the API server on a node, which CIDRs don't mean "
                f"({why}): {by_entity(party, self.direction, kind)} does"
            )
        what = f"a node ({self._who})" if party.reserved & _NODES else f"a pod ({self._who})"
        if party.reserved:
            how = by_entity(party, self.direction, kind)
        elif kind.startswith("Cilium"):
            to = _TO[self.direction]
            how = f"its labels ({to}Endpoints), or {to}Entities: [cluster]"
        else:
            how = "its labels (podSelector, namespaceSelector)"
        return (
            f"would allow {block}; {this} is {what}, and CIDRs mean addresses outside ({why}): "
            f"select it by {how}"
        )

    def _inside_by_name(self, name: Name) -> str:
        """A DNS name of what is no address outside: a service, a pod, a node."""
        rule = name.rule
        if self.peer.outside or (self.peer.node and name.reach.takes(self.peer)):
            return ""
        space = self.peer.namespace
        own = bool(space) and rule.exact and f".{space}.svc" in rule.text.lower()
        if not own and not any(map(rule.matches, self.known.names)):
            return ""
        what = "a service of this cluster" if space else "a part of this cluster"
        return (
            f"would allow DNS name {rule}, which leads to {self._who}, {what}, and names mean addresses "
            "outside: select its pods by their labels (toEndpoints)"
        )


def by_entity(party: Party, direction: Direction, kind: str) -> str:
    """What takes in a party that is known by a reserved identity: the kinds that aren't Cilium's can't."""
    names = {"kube-apiserver"} & party.reserved or party.reserved
    written = f"{_TO[direction]}Entities: [{', '.join(sorted(names))}]"
    return written if kind.startswith("Cilium") else f"a CiliumNetworkPolicy with {written}"


def by_namespace(namespace: str, kind: str) -> str:
    """What a rule for pods by labels needs, to mean those of another namespace."""
    if kind.startswith("Cilium"):
        return f"add k8s:{NAMESPACE}: {namespace}"
    return f"add, beside the podSelector: namespaceSelector with {_NAME_LABEL}: {namespace}"


def _told(entry: Entry) -> str:
    return ", ".join(str(rule) for rule in (entry.ports or ())[:_NAMED])


def is_wide(peer: PeerRule) -> bool:
    """Whether a rule's peer means nearly everybody: that it matches says little."""
    if isinstance(peer, Entity):
        return peer.name in _EVERYBODY
    if isinstance(peer, Block):
        return not peer.length
    if isinstance(peer, Name):
        return peer.rule.every
    return isinstance(peer, Pods) and all(map(_is_scope, peer.selector.requirements))


def _other_labels(peer: PeerRule, party: Party) -> int:
    """How many labels of its own a selector asks for that a party hasn't: its place aside."""
    if not isinstance(peer, Pods):
        return 0
    asked = [one for one in peer.selector.requirements if not _is_scope(one)]
    return sum(not one.matches(party.label_set) for one in asked)


def _spans(block: Block, at: tuple[int, int]) -> bool:
    """Whether a block holds an address, in what it leaves out, too."""
    return block.contains(*at) or any(one.contains(*at) for one in block.excepted)


def _distance(peer: PeerRule, party: Party) -> int:
    """How far a rule's peer is from a party: another kind is the farthest, one label the least."""
    if isinstance(peer, Pods):
        if not party.labels or party.outside or party.reserved:
            return _FAR
        missing = [one for one in peer.selector.requirements if not one.matches(party.label_set)]
        return min(len(missing), _FAR)
    if isinstance(peer, Entity):
        return _FAR - 1
    return 1 if party.outside else _FAR


def closest(
    policies: PolicySet,
    decision: Decision,
    direction: Direction,
    subject: Party,
    peer: Party,
    protocol: str,
    port: int,
    known: Known = NOTHING,
) -> str:
    """For a default deny: the rule that misses by the least, to be put behind the reason; else ""."""
    if decision.why != "default deny":
        return ""
    near = near_misses(policies, direction, subject, peer, protocol, port, known)
    # An empty rule is how people write default deny: no news to them.
    if near and (near[0].entry.peers != () or near[0].entry.ports):
        return f"; closest rule: {near[0]}"
    only_deny = [
        policy for policy in decision.denying
        if {
            entry.effect
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


def _beside_block(block: Block, at: tuple[int, int], address: str) -> str:
    if block.version != at[0]:
        return (
            f"would allow {block}, which is IPv{block.version} only; {address} is IPv{at[0]}"
            if not block.length
            else ""
        )
    for left_out in block.excepted:
        if left_out.contains(*at):
            return (
                f"would allow {block.text}, but leaves out {left_out.text}, and {address} is in it"
            )
    return ""


def _other_pod(pods: Pods, party: Party, kind: str) -> str:
    if not party.labels or party.outside:
        return ""
    missing = [one for one in pods.selector.requirements if not one.matches(party.label_set)]
    if [one.key for one in missing] == [OWN_CLUSTER]:
        far = party.label_set.get(f"k8s:{CLUSTER}") or "another"
        who = "a CiliumNetworkPolicy can ask for it:" if kind == "NetworkPolicy" else "add"
        return (
            f"would allow {pods}: a selector without a cluster means its own cluster; this is in {far} "
            f"({who} k8s:{CLUSTER}: {far})"
        )
    if len(missing) == 1 and (word := _of_namespace(missing[0], party)):
        return f"would allow {pods}; {word}"
    # What is asked for beside the scope that the policy's own place adds.
    asked = [one for one in pods.selector.requirements if not _is_scope(one)]
    if len(missing) != 1 or not asked:
        return ""
    [one] = missing
    if one.key in _SCOPES and party.namespace:
        wanted = ", ".join(one.values) or "another"
        return (
            f"would allow {pods}: that is namespace {wanted}; this is in {party.namespace} "
            f"({by_namespace(party.namespace, kind)})"
        )
    if _is_scope(one) or len(asked) < 2:  # one of one: another pod, not a wrong label
        return ""
    has = party.label_set.get(one.key)
    mine = f"{one.key}={has}" if has is not None else f"no label {one.key}"
    return f"would allow {pods}; this has {mine}"


def _of_namespace(one: Requirement, party: Party) -> str:
    """What a namespace has where a selector asks for another label of it; "" of other requirements."""
    key = one.key.removeprefix("k8s:")
    if not key.startswith(NAMESPACE_LABELS) or not party.namespace:
        return ""
    label, has = key.removeprefix(NAMESPACE_LABELS), party.label_set.get(one.key)
    if has is not None:
        return f"namespace {party.namespace} has {label}={has}"
    own = f"{_NAME_LABEL}={party.namespace}"
    return f"namespace {party.namespace} has no label {label} (each has its own name: {own})"


def _is_scope(one: Requirement) -> bool:
    return (
        one.key == OWN_CLUSTER
        or (one.key in _SCOPES and one.operator in (EQUALS, IN))
        or one.key.removeprefix("k8s:") == CLUSTER
    )


def _other_name(rule: NameRule, party: Party) -> str:
    near = next((words for name in party.names or () if (words := missed_name(rule, name))), "")
    return f"would allow {near}" if near else ""
