"""From needs to rules: equal peers and ports together, without allowing anything that nobody needed."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Literal, NamedTuple

from flowwatch.drafts.given import Given, with_names
from flowwatch.drafts.needs import Evidence, Need, Needs, Owned, Owner, Peer, scans
from flowwatch.drafts.requests import MOST_NAMES, HttpRule, folded
from flowwatch.drafts.selecting import Labels, Selected, select
from flowwatch.policy.rules import Direction

DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")
DNS_PORT = 53
MOST_PORTS = 40
"""Ports that Cilium takes in one rule (Cilium 1.20, pkg/policy/api/rule_validation.go); ICMP types alike."""

Form = Literal["pods", "entity", "name", "pattern", "group", "address"]
_ORDER: dict[Form, int] = {
    "pods": 0, "entity": 1, "name": 2, "pattern": 3, "group": 4, "address": 5
}  # fmt: skip
NAMES: frozenset[Form] = frozenset({"name", "pattern"})

_UNNAMED = re.compile(r"[^a-z0-9.-]+", re.IGNORECASE)
_LONG = 200
"""Letters of a policy's name that are its own in any case: the API server takes 253 of it."""


class Port(NamedTuple):
    """A port of a rule; of ICMP the type."""

    protocol: str
    number: int
    name: str = ""
    """By which it is said, where policies that are there say it so."""


class Target(NamedTuple):
    """A peer as a rule names it."""

    form: Form
    text: str
    """Entity, DNS name or pattern, CIDR group, address or block; of pods how people call them."""
    selected: Selected = Selected(())
    namespace: str = ""
    cluster: str = ""
    """Of pods; "" where it is the policy's own."""


KUBE_DNS = Target(
    "pods", "kube-system/kube-dns", Selected((("k8s-app", "kube-dns"),)), "kube-system"
)
"""Kubernetes' own DNS pods, where no lookup was seen."""


@dataclass(slots=True)
class Rule:
    """One rule of a draft."""

    direction: Direction
    form: Form
    targets: tuple[Target, ...]
    ports: tuple[Port, ...]
    """() for any, which only a person chooses."""
    evidence: dict[tuple[Target, Port], Evidence]
    dns: bool = False
    """Whether it is the rule by which lookups are seen, which ``toFQDNs`` needs."""
    lookups: tuple[Target, ...] = ()
    """The names and patterns that it lets pass; () for all."""
    http: tuple[HttpRule, ...] = ()
    """The requests that it lets pass; () for all."""
    assumed: str = ""
    """Why it is there though no traffic shows it."""


class Candidate(NamedTuple):
    """What was dropped, and is not allowed: a person picks of it."""

    need: Need
    target: Target
    evidence: Evidence
    until: int = 0
    """When it was last let through, before it was dropped; 0 when it never was."""

    @property
    def port(self) -> Port:
        return Port(self.need.protocol, self.need.port)


@dataclass(slots=True)
class Plan:
    """What the policy of one owner says."""

    owner: Owner
    selected: Selected
    owned: Owned
    rules: list[Rule] = field(default_factory=list)
    wanted: dict[Need, Evidence] = field(default_factory=dict)
    """What it is to let through."""
    candidates: list[Candidate] = field(default_factory=list)
    scans: list[tuple[Target, int]] = field(default_factory=list)
    """Who was left out as scanning, and how many ports it tried."""
    targets: dict[Need, Target] = field(default_factory=dict)
    """How rules name each peer."""
    left: list[tuple[Target, Port, Evidence]] = field(default_factory=list)
    """Needed, and left out by a person."""
    port_names: dict[Need, str] = field(default_factory=dict)
    """Of what is wanted, ports that have a name in policies that are there."""
    apart: str = ""
    """What tells its name from that of another owner's policy, where both would have the same."""

    @property
    def directions(self) -> tuple[Direction, ...]:
        """Those that it says anything about: nothing is denied where nothing was seen."""
        found = {rule.direction for rule in self.rules}
        return tuple(one for one in DIRECTIONS if one in found)


class Planner:
    """Makes the plans of what was seen; ``picked`` are dropped needs that shall be allowed, too.

    ``given``: policies that are there.
    """

    def __init__(
        self,
        needs: Needs,
        picked: Iterable[str] = (),
        given: Given | None = None,
        *,
        names_lookups: bool = False,
    ) -> None:
        """``names_lookups``: whether only lookups of what is needed are let pass."""
        self._names_lookups = names_lookups
        self._needs = needs
        self._given = given or Given()
        self._picked = frozenset(picked)
        self.unmatched = set(self._picked)
        """Picks that nothing dropped was about."""
        self._dns: dict[str, set[Peer]] = {}
        """Where the pods of a cluster look up, once it was asked for."""

    def plans(self) -> list[Plan]:
        """One for each owner, by their names; without rules where nothing can be learnt."""
        plans = [self._plan(owner, owned) for owner, owned in sorted(self._needs.owners.items())]
        alike: defaultdict[str, list[Plan]] = defaultdict(list)
        for plan in plans:
            alike[_UNNAMED.sub("-", f"{plan.owner.namespace}-{plan.owner.name}")[:_LONG]].append(
                plan
            )
        for same in alike.values():
            if len(same) > 1:
                for plan in same:
                    plan.apart = sha256("/".join(plan.owner).encode()).hexdigest()[:6]
        return plans

    def _plan(self, owner: Owner, owned: Owned) -> Plan:
        others = self._needs.pods.get((owner.cluster, owner.namespace), {})
        selected = select(owned.labels, others) if owner.name else Selected(())
        plan = Plan(owner, selected, owned)
        lost = dict.fromkeys(need for need, _ in owned.unusable)
        targets = self._targets(owner, {**owned.needs, **owned.dropped, **lost})
        scanning = scans(owned.needs)
        plan.wanted = {need: one for need, one in owned.needs.items() if need not in scanning}
        for need, evidence in sorted(owned.dropped.items(), key=lambda one: _sorted(one[0])):
            self._dropped(plan, need, targets[need], evidence)
        for way, target in sorted({(need.direction, targets[need]) for need in scanning}):
            ports = sum((need.direction, targets[need]) == (way, target) for need in scanning)
            plan.scans.append((target, ports))
        plan.targets = targets
        self._say_as_given(plan)
        wanted = {need: (targets[need], one) for need, one in plan.wanted.items()}
        self.complete(plan, merged(wanted, plan.port_names))
        return plan

    def _say_as_given(self, plan: Plan) -> None:
        """Addresses by their group, ports by their name, where policies that are there have these."""
        ports: defaultdict[tuple[Direction, Peer | None], dict[str, int]] = defaultdict(dict)
        for need, seen in plan.wanted.items():
            target = plan.targets[need]
            if need in plan.owned.dropped:
                continue  # what a policy has no word for, as it drops it
            if target.form == "address":
                if group := self._given.group_of(target.text):
                    plan.targets[need] = Target("group", group)
            elif not _is_lookup(need) and (name := self._given.port_name(need, seen)):
                plan.port_names[need] = name
                ports[_listener(need)][name] = need.port
        plan.wanted = {
            need: with_names(seen, need, ports[_listener(need)])
            if _listener(need) in ports
            else seen
            for need, seen in plan.wanted.items()
        }
        plan.candidates = [
            one._replace(evidence=with_names(one.evidence, one.need, ports[_listener(one.need)]))
            if _listener(one.need) in ports
            else one
            for one in plan.candidates
        ]

    def complete(self, plan: Plan, rules: list[Rule]) -> None:
        """Give a plan its rules, with that for lookups where names need it."""
        plan.rules = rules
        if any(rule.form in NAMES for rule in rules):
            self._add_dns(plan.owner, plan)
            self._name_lookups(plan)
        plan.rules.sort(key=_rule_order)

    def _name_lookups(self, plan: Plan) -> None:
        """Let pass only lookups of what is needed, where that was asked for."""
        if not self._names_lookups:
            return
        allowed = {one for rule in plan.rules if rule.form in NAMES for one in rule.targets}
        refused = {one.target.text for one in plan.candidates if one.target.form == "name"}
        refused -= {one.text for one in allowed}
        # A search domain's tries are lookups of the name that they begin with.
        own = {
            Target("name", name)
            for name in plan.owned.lookups
            if not any(name == one or name.startswith(f"{one}.") for one in refused)
        }
        if len(own) <= MOST_NAMES:
            for rule in plan.rules:
                rule.lookups = tuple(sorted(allowed | own)) if rule.dns else ()

    def _dropped(self, plan: Plan, need: Need, target: Target, evidence: Evidence) -> None:
        """What was dropped of late is not wanted, though it may have been let through before."""
        names = set(picks(target, Port(need.protocol, need.port)))
        before = plan.wanted.get(need)
        if names & self._picked:
            self.unmatched -= names
            plan.wanted.setdefault(need, evidence)
        elif before is None or before.last < evidence.last:
            plan.wanted.pop(need, None)
            until = before.last if before else 0
            plan.candidates.append(Candidate(need, target, evidence, until))

    def _targets(self, owner: Owner, needs: Collection[Need]) -> dict[Need, Target]:
        """How rules name the peers: pods by the fewest labels, all label sets of a workload together."""
        sets: dict[tuple[str, str, str], set[Labels]] = {}
        for need in needs:
            peer = need.peer
            if peer.kind == "pods":
                sets.setdefault((peer.cluster, peer.namespace, peer.name), set()).add(peer.labels)
        selected = {
            (cluster, space, name): select(labels, self._needs.pods.get((cluster, space), {}))
            for (cluster, space, name), labels in sets.items()
        }
        # Workloads that the same labels select are one: named as the first of them.
        first: dict[tuple[str, str, Labels], str] = {}
        for (cluster, space, name), how in sorted(selected.items()):
            first.setdefault((cluster, space, how.labels), name)
        found = {}
        for need in needs:
            target = self._target(owner, need.peer, selected)
            peer = need.peer
            name = first.get((peer.cluster, peer.namespace, target.selected.labels), target.text)
            found[need] = target._replace(text=name)
        return found

    def _target(
        self, owner: Owner, peer: Peer, selected: Mapping[tuple[str, str, str], Selected]
    ) -> Target:
        if peer.kind != "pods":
            return Target(peer.kind, peer.name)
        far = peer.cluster if peer.cluster != owner.cluster else ""
        how = selected[peer.cluster, peer.namespace, peer.name]
        return Target("pods", peer.name, how, peer.namespace, far)

    def _add_dns(self, owner: Owner, plan: Plan) -> None:
        """Have lookups seen: without that no address of a name is ever known."""
        own = [rule for rule in plan.rules if rule.direction == "egress" and _is_dns(rule)]
        if own:
            for rule in own:
                rule.dns = True
                rule.ports = (Port("ANY", DNS_PORT),)
            return
        seen = [
            Need("egress", peer, "UDP", DNS_PORT) for peer in sorted(self._dns_pods(owner.cluster))
        ]
        servers = tuple(self._targets(owner, seen).values()) or (KUBE_DNS,)
        why = (
            "no lookup of these pods was seen: it is where others of the cluster look up"
            if seen
            else "no lookup was seen: these are Kubernetes' usual DNS pods; check their labels"
        )
        lookups = (Port("ANY", DNS_PORT),)
        plan.rules.append(Rule("egress", "pods", servers, lookups, {}, dns=True, assumed=why))

    def _dns_pods(self, cluster: str) -> set[Peer]:
        """Those that any workload of a cluster looks up at."""
        known = self._dns.get(cluster)
        if known is not None:
            return known
        found = self._dns[cluster] = {
            need.peer
            for owner, owned in self._needs.owners.items()
            if owner.cluster == cluster
            for need in owned.needs
            if need.direction == "egress" and need.port == DNS_PORT and need.peer.kind == "pods"
        }
        return found


def _is_dns(rule: Rule) -> bool:
    dns = [port.number == DNS_PORT and port.protocol in ("UDP", "TCP") for port in rule.ports]
    return bool(dns) and all(dns)


def _listener(need: Need) -> tuple[Direction, Peer | None]:
    """Who takes the connection; None for the owner's own pods."""
    return need.direction, need.peer if need.direction == "egress" else None


def _is_lookup(need: Need) -> bool:
    return need.port == DNS_PORT and need.protocol in ("UDP", "TCP")


_NAMELESS: Mapping[Need, str] = {}


def merged(
    needs: Mapping[Need, tuple[Target, Evidence]], names: Mapping[Need, str] = _NAMELESS
) -> list[Rule]:
    """Targets with the same ports in one rule: that widens nothing. Lookups stay by themselves.

    ``names``: those of ports.
    """
    ports: dict[tuple[Direction, Target, bool], dict[Port, Evidence]] = {}
    for need, (target, evidence) in needs.items():
        port = Port(need.protocol, need.port, names.get(need, ""))
        of = ports.setdefault((need.direction, target, _is_lookup(need)), {})
        of[port] = of[port].merged(evidence) if port in of else evidence
    rules: dict[tuple[Direction, Form, tuple[Port, ...], tuple[HttpRule, ...]], Rule] = {}
    for (direction, target, _), of in sorted(ports.items(), key=lambda one: one[0]):
        for part, http in _parts(sorted(of), of):
            key = direction, target.form, part, http
            rule = rules.setdefault(key, Rule(direction, target.form, (), part, {}, http=http))
            rule.targets = (*rule.targets, target)
            rule.evidence.update({(target, port): of[port] for port in part})
    return list(rules.values())


def _parts(
    ports: list[Port], evidence: Mapping[Port, Evidence]
) -> list[tuple[tuple[Port, ...], tuple[HttpRule, ...]]]:
    """In as many as a rule may have; ICMP apart, which rules say elsewhere, and ports with requests."""
    icmp = [port for port in ports if port.protocol.startswith("ICMP")]
    asked = [port for port in ports if port.protocol == "TCP" and evidence[port].requests]
    rest = [port for port in ports if port not in icmp and port not in asked]
    parts: list[tuple[tuple[Port, ...], tuple[HttpRule, ...]]] = [
        (tuple(kind[at : at + MOST_PORTS]), ())
        for kind in (rest, icmp)
        for at in range(0, len(kind), MOST_PORTS)
    ]
    return [*parts, *(((port,), folded(evidence[port].requests)) for port in asked)]


def _rule_order(
    rule: Rule,
) -> tuple[bool, bool, int, tuple[Target, ...], tuple[Port, ...], tuple[HttpRule, ...]]:
    dns = rule.dns or _is_dns(rule)
    form = _ORDER[rule.form]
    return rule.direction != "egress", not dns, form, rule.targets, rule.ports, rule.http


def _sorted(need: Need) -> tuple[str, str, str, int]:
    return need.direction, need.peer.name, need.protocol, need.port


def spelt(target: Target, port: Port) -> str:
    """``api.github.com:443``, as a person picks it. Not made safe."""
    return (
        f"[{target.text}]:{port.number}" if ":" in target.text else f"{target.text}:{port.number}"
    )


def picks(target: Target, port: Port) -> tuple[str, str, str]:
    """The words by which a person picks it: with the protocol, as tables have it, without, without a port."""
    named = spelt(target, port)
    return f"{named}/{port.protocol}", named, target.text
