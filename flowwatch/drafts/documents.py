"""A plan as a policy document: YAML for ``kubectl apply``, with the evidence as comments.

Names come from the network: in a scalar they are quoted wherever anything could read them otherwise, in a
comment they are made safe and stay in their line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Literal

from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from flowwatch.drafts.blocks import block_text
from flowwatch.drafts.needs import Evidence
from flowwatch.drafts.requests import HttpRule, words
from flowwatch.drafts.rules import Candidate, Plan, Port, Rule, Target, spelt
from flowwatch.drafts.selecting import Labels
from flowwatch.drafts.stability import Stability
from flowwatch.flows.clocks import span
from flowwatch.policy.rules import Direction
from flowwatch.text import plural, safe

Kind = Literal["cnp", "ccnp", "knp"]
KINDS: tuple[Kind, ...] = ("cnp", "ccnp", "knp")
"""Cilium's policies of a namespace and of the cluster, and Kubernetes' own."""

_NAMESPACE = "k8s:io.kubernetes.pod.namespace"
_CLUSTER = "k8s:io.cilium.k8s.policy.cluster"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/:-]*\Z")
# What YAML 1.1 or 1.2, or Go's reader, takes for no text.
_WORDS = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "nan", "inf"])
_PORTED = frozenset({"TCP", "UDP", "SCTP", "ANY"})
_NAME = re.compile(r"[^a-z0-9.-]+")
_LONGEST = 253
_TOLD = 5
"""Addresses of a group that are told."""


Made = dict[object, str]
"""Rules that were written, by all that they are made of: what repeats isn't written again."""


def written(
    plan: Plan,
    kind: Kind,
    head: Sequence[str] = (),
    made: Made | None = None,
    stability: Stability | None = None,
) -> str:
    """The document of one owner.

    ``head``: lines for the comment that it begins with. ``made``: kept by who writes much the same often.
    ``stability``: whether each rule is to say if it still learns.
    """
    document = _MAKERS[kind](plan)
    parts = [block_text(document, [_comment(line) for line in [*head, *_notes(plan)]])]
    for direction in plan.directions:
        rules = [rule for rule in plan.rules if rule.direction == direction and says(rule, kind)]
        parts.append(f"  {direction}:\n" if rules else f"  {direction}: []\n")
        pods = len(plan.owned.pods)
        known = {} if made is None else made
        parts += [_rule_text(rule, kind, pods, known, stability) for rule in rules]
    for line in _candidates(plan):
        parts.append(f"# {_comment(line)}\n".replace("# \n", "#\n"))
    return "".join(parts)


def says(rule: Rule, kind: Kind) -> bool:
    """Whether a kind of policy can hold a rule."""
    return kind != "knp" or not unsaid_in_kubernetes(rule)


def _rule_text(rule: Rule, kind: Kind, pods: int, made: Made, stability: Stability | None) -> str:
    """A rule as an item of its list, its evidence above it."""
    lines = tuple(about(rule, pods))
    if stability is not None and (word := stability.of_rule(rule)):
        lines += (word,)
    addresses = tuple(tuple(sorted(_addresses(rule, one))) for one in rule.targets)
    said = rule.ports, rule.dns, rule.lookups, rule.http
    key = kind, rule.direction, rule.form, rule.targets, said, lines, addresses
    found = made.get(key)
    if found is None:
        item = rule_item(rule, cilium=kind != "knp")
        listed = block_text(_map(spec=_map(rules=CommentedSeq([item]))))
        told = "".join(f"    # {_comment(line)}\n" for line in lines)
        found = made[key] = told + listed.partition("rules:\n")[2]
    return found


def name_of_policy(plan: Plan) -> str:
    """A name that stays the same as long as the workload's does."""
    words = [plan.owner.name or "namespace"]
    if len(plan.directions) == 1:
        words.append(plan.directions[0])
    name = _NAME.sub("-", "-".join(words).lower()).strip("-.") or "policy"
    if not plan.apart:
        return name[:_LONGEST]
    return f"{name[: _LONGEST - len(plan.apart) - 1]}-{plan.apart}"


# The three kinds -------------------------------------------------------------------------------


def _cilium(plan: Plan) -> CommentedMap:
    return _cilium_policy(plan, "CiliumNetworkPolicy", plan.owner.namespace)


def _clusterwide(plan: Plan) -> CommentedMap:
    return _cilium_policy(plan, "CiliumClusterwideNetworkPolicy", "")


def _cilium_policy(plan: Plan, kind: str, namespace: str) -> CommentedMap:
    metadata = _map(name=_text(name_of_policy(plan)))
    labels = _labels(plan.selected.labels)
    if namespace:
        metadata["namespace"] = _text(namespace)
    else:
        metadata["name"] = _text(f"{plan.owner.namespace}-{name_of_policy(plan)}"[:_LONGEST])
        labels.insert(0, _NAMESPACE, _text(plan.owner.namespace))
    spec = _map(endpointSelector=_map(matchLabels=labels) if labels else CommentedMap())
    # Said, not left to what Cilium makes of the sections that are there.
    spec["enableDefaultDeny"] = _map(
        egress="egress" in plan.directions, ingress="ingress" in plan.directions
    )
    return _map(apiVersion="cilium.io/v2", kind=kind, metadata=metadata, spec=spec)


def _cilium_rule(rule: Rule) -> CommentedMap:
    made = CommentedMap()
    for target in rule.targets:
        key, item = peer_item(rule, target)
        made.setdefault(key, CommentedSeq()).append(item)
    if not rule.ports:
        return made
    if rule.ports[0].protocol.startswith("ICMP"):
        made["icmps"] = CommentedSeq(
            [_map(fields=CommentedSeq([_icmp(port) for port in rule.ports]))]
        )
        return made
    ports = _map(ports=CommentedSeq([port_item(one) for one in rule.ports]))
    if rule.dns:
        names = [_lookup(one) for one in rule.lookups] or [_map(matchPattern=_quoted("*"))]
        ports["rules"] = _map(dns=CommentedSeq(names))
    elif rule.http:
        ports["rules"] = _map(http=CommentedSeq([_http(one) for one in rule.http]))
    made["toPorts"] = CommentedSeq([ports])
    return made


def _lookup(target: Target) -> CommentedMap:
    if target.form == "pattern":
        return _map(matchPattern=_quoted(target.text))
    return _map(matchName=_text(target.text))


def _http(rule: HttpRule) -> CommentedMap:
    written = _map(method=_text(rule.method))
    if rule.path:
        written["path"] = _quoted(rule.path)
    return written


def peer_item(rule: Rule, target: Target) -> tuple[str, Any]:
    """Under which key of one of Cilium's rules a peer stands, and how."""
    way = "to" if rule.direction == "egress" else "from"
    if rule.form == "pods":
        return f"{way}Endpoints", _map(matchLabels=_pod_labels(target))
    if rule.form == "entity":
        return f"{way}Entities", _text(target.text)
    if rule.form == "name":
        return "toFQDNs", _map(matchName=_text(target.text))
    if rule.form == "pattern":
        return "toFQDNs", _map(matchPattern=_quoted(target.text))
    if rule.form == "group":
        return f"{way}CIDRSet", _map(cidrGroupRef=_text(target.text))
    return f"{way}CIDR", _text(block(target.text))


def port_item(port: Port) -> CommentedMap:
    """A port of one of Cilium's rules."""
    written = _text(port.name) if port.name else _quoted(str(port.number))
    return _map(port=written, protocol=port.protocol)


def rule_item(rule: Rule, *, cilium: bool) -> CommentedMap:
    """A rule as an item of a policy's list: of Cilium's policies, or of Kubernetes' own."""
    return _cilium_rule(rule) if cilium else _kubernetes_rule(rule)


def _icmp(port: Port) -> CommentedMap:
    family = "IPv6" if port.protocol == "ICMPv6" else "IPv4"
    return _map(type=port.number, family=family)


def _pod_labels(target: Target) -> CommentedMap:
    labels = _labels(target.selected.labels)
    labels.insert(0, _NAMESPACE, _text(target.namespace))
    if target.cluster:
        labels.insert(1, _CLUSTER, _text(target.cluster))
    return labels


def _kubernetes(plan: Plan) -> CommentedMap:
    """What Kubernetes' policies can say: what they can't stands beside the rule."""
    labels = CommentedMap({_text(key): _text(value) for key, value in plan.selected.labels})
    spec = _map(
        podSelector=_map(matchLabels=labels) if labels else CommentedMap(),
        policyTypes=CommentedSeq([one.capitalize() for one in plan.directions]),
    )
    metadata = _map(name=_text(name_of_policy(plan)), namespace=_text(plan.owner.namespace))
    return _map(
        apiVersion="networking.k8s.io/v1", kind="NetworkPolicy", metadata=metadata, spec=spec
    )


def unsaid_in_kubernetes(rule: Rule) -> str:
    """Why Kubernetes' policies can't say a rule; "" where they can."""
    if rule.form == "entity":
        return f"{', '.join(one.text for one in rule.targets)} can't be named"
    if other := [one.protocol for one in rule.ports if one.protocol not in _PORTED]:
        return f"{other[0].removesuffix('v6')} can't be named"
    if rule.form == "pattern":
        return f"{', '.join(one.text for one in rule.targets)} can't be named"
    return ""


def _kubernetes_rule(rule: Rule) -> CommentedMap:
    peers = CommentedSeq()
    for target in rule.targets:
        if target.form == "pods":
            labels = CommentedMap(
                {_text(key): _text(value) for key, value in target.selected.labels}
            )
            space = _map(**{"kubernetes.io/metadata.name": _text(target.namespace)})
            peers.append(
                _map(
                    namespaceSelector=_map(matchLabels=space),
                    podSelector=_map(matchLabels=labels) if labels else CommentedMap(),
                )
            )
            continue
        for address in sorted(_addresses(rule, target)):
            peers.append(_map(ipBlock=_map(cidr=_text(block(address)))))
    ports = [
        _map(protocol=protocol, port=_text(port.name) if port.name else port.number)
        for port in rule.ports
        for protocol in (("UDP", "TCP") if port.protocol == "ANY" else (port.protocol,))
    ]
    made = _map(**{"to" if rule.direction == "egress" else "from": peers})
    if ports:
        made["ports"] = CommentedSeq(ports)
    return made


def _addresses(rule: Rule, target: Target) -> set[str]:
    if target.form == "address":
        return {target.text}
    return {
        address
        for (of, _), seen in rule.evidence.items()
        if of == target
        for address in seen.addresses
    }


_MAKERS: dict[Kind, Callable[[Plan], CommentedMap]] = {
    "cnp": _cilium, "ccnp": _clusterwide, "knp": _kubernetes
}  # fmt: skip


# Comments --------------------------------------------------------------------------------------


def about(rule: Rule, pods: int = 0) -> Iterator[str]:
    """The evidence of a rule, a line each, of so many pods in all; not made safe."""
    if rule.assumed:
        yield rule.assumed
    for (target, port), seen in sorted(rule.evidence.items(), key=lambda one: one[0]):
        named = f', the port "{port.name}"' if port.name else ""
        yield f"{spelt(target, port)}/{port.protocol}: {told(seen, pods)}{named}"
    if rule.http:
        shown = sum(seen.shown for seen in rule.evidence.values())
        yield from words(rule.http, shown, sum(seen.attempts for seen in rule.evidence.values()))
    if rule.form == "group":
        seen_at = sorted({at for target in rule.targets for at in _addresses(rule, target)})
        more = f" and {len(seen_at) - _TOLD:,} more" if len(seen_at) > _TOLD else ""
        yield f"a CIDR group that is there, all its blocks: seen was {', '.join(seen_at[:_TOLD])}{more}"
    for target in rule.targets:
        if target.selected.also:
            yield f"these labels also select {', '.join(target.selected.also)}"
    if rule.form == "address":
        yield "addresses without a name: they may change"


def told(seen: Evidence, pods: int = 0) -> str:
    """The evidence of one need in words, of so many pods in all."""
    if seen.attempts == 1:
        parts = [f"seen once, at {moment(seen.first)}"]
    else:
        days = f" on {plural(len(seen.days), 'day')}" if len(seen.days) > 1 else ""
        parts = [
            f"{plural(seen.attempts, 'attempt')}{days}, {moment(seen.first)} to {moment(seen.last)}"
        ]
    if len(seen.pods) < pods:
        parts.append(f"{len(seen.pods)} of {pods} pods")
    elif seen.pods:
        parts.append(plural(len(seen.pods), "pod"))
    if seen.services:
        parts.append(f"as service {', '.join(sorted(seen.services))}")
    if seen.lent:
        parts.append(f"its name is the address's last known, {_age(seen)} and not for these pods")
    return ", ".join(parts)


def _age(seen: Evidence) -> str:
    """How long before the last attempt, or after the first, a name was given to an address."""
    before = seen.last - seen.lent
    apart = span(max(before, seen.lent - seen.last) / 1e9)
    return f"told {apart} {'before' if before >= 0 else 'later'}"


def _notes(plan: Plan) -> Iterator[str]:
    """What is to be known of the whole policy."""
    if plan.selected.also:
        yield f"these labels also select {', '.join(plan.selected.also)}: no others tell them apart"
    for target, ports in plan.scans:
        yield f"left out as a scan: {target.text}, {plural(ports, 'port')} without an answer"
    if plan.owned.probes:
        yield "its node's probes aren't listed: Cilium lets them in whatever policies say"


def _candidates(plan: Plan) -> Iterator[str]:
    if plan.left:
        yield "Needed, as traffic shows, and left out by choice:"
    for target, port, seen in plan.left:
        yield f"  {spelt(target, port)}/{port.protocol}: {told(seen)}"
    left = {(target, port) for target, port, _ in plan.left}
    candidates = [one for one in plan.candidates if (one.target, one.port) not in left]
    if not candidates:
        return
    yield "Dropped by a policy, and not allowed above; --allow PEER:PORT takes one in:"
    for (direction, target, port), (seen, until) in together(candidates).items():
        way = "to" if direction == "egress" else "from"
        before = f"; let through until {moment(until)}" if until else ""
        yield f"  {way} {spelt(target, port)}/{port.protocol}: {told(seen)}{before}"


def together(
    candidates: Iterable[Candidate],
) -> dict[tuple[Direction, Target, Port], tuple[Evidence, int]]:
    """Candidates that rules name alike as one, with when they were last let through."""
    same: dict[tuple[Direction, Target, Port], tuple[Evidence, int]] = {}
    for one in candidates:
        key = one.need.direction, one.target, one.port
        seen, until = same.get(key, (Evidence(), 0))
        same[key] = seen.merged(one.evidence), max(until, one.until)
    return same


def _comment(line: str) -> str:
    return safe(line).replace("\n", " ")


def moment(nanoseconds: int) -> str:
    """A time as comments have it."""
    seconds = nanoseconds // 1_000_000_000
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


# Scalars ---------------------------------------------------------------------------------------


def block(address: str) -> str:
    """An address as a block that holds it alone; a block as it is."""
    if "/" in address:
        return address
    number = ip_address(address.partition("%")[0])
    return f"{number}/{number.max_prefixlen}"


def _map(**fields: Any) -> CommentedMap:
    return CommentedMap(fields)


def _labels(labels: Labels) -> CommentedMap:
    return CommentedMap({_text(f"k8s:{key}"): _text(value) for key, value in labels})


def _text(value: str) -> str:
    """A scalar that every reader of YAML takes for this text."""
    plain = _PLAIN.match(value) and value.lower() not in _WORDS and not value.endswith(":")
    return value if plain else _quoted(value)


def _quoted(value: str) -> str:
    quoted: str = DoubleQuotedScalarString(value)
    return quoted
