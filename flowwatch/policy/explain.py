"""One question without traffic: who asks, who is asked, and which rules took part."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network
from typing import Literal

from flowwatch.gotext import is_address, whole_number
from flowwatch.policy.agent_options import CIDR_MODE, UNKNOWN, AgentOptions
from flowwatch.policy.engine import Decision, Outcome, PolicySet
from flowwatch.policy.l7 import missed
from flowwatch.policy.labels import CLUSTER, NAMESPACE, NAMESPACE_LABELS, OWN_CLUSTER
from flowwatch.policy.nearest import Known, NearMiss, near_misses
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Name
from flowwatch.policy.rules import NORMAL, TIERS, Direction, Entry

_RESERVED = frozenset(
    {"host", "remote-node", "kube-apiserver", "health", "init", "ingress", "unmanaged", "world"}
)
_PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP", "ICMPv6")
_ECHO = {"ICMP": 8, "ICMPv6": 128}
# Labels by which Kubernetes' own tools, and most charts, call an application.
_NAME_LABELS = ("app", "k8s-app", "app.kubernetes.io/name")
_NAMESPACE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_POD_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?\Z")
_DNS_NAME = re.compile(r"(?=.{1,255}\Z)[-a-z0-9_]+(\.[-a-z0-9_]+)+\.?\Z")
_EXAMPLE = "192.0.2.1"
"""Stands for the address of a name (RFC 5737): which it is doesn't matter, it is outside."""


class QuestionError(ValueError):
    """What is wrong with ``--from`` or ``--to``."""


@dataclass(frozen=True, slots=True)
class End:
    """One end as it was written."""

    text: str
    """Without port and protocol."""
    party: Party
    port: int | None
    protocol: str
    assumed: str = ""
    """What was taken for granted, for the reader."""
    kind: Literal["labels", "entity", "address", "pod", "name"] = "labels"
    """As what it was named."""
    seen: str = ""
    """What traffic shows of it, where any was given."""


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that is about the subject, and what came of it."""

    entry: Entry
    what: str
    idle: bool
    """Whether it isn't about the question: another peer, or another port."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the policies of one end say."""

    direction: Direction
    subject: str
    peer: str
    protocol: str
    port: int
    decision: Decision
    steps: tuple[Step, ...]
    """The rules that are about the subject, in the order in which they are asked."""
    near: tuple[NearMiss, ...]
    assumed: tuple[str, ...]
    seen: tuple[str, ...] = ()
    """What traffic shows of the ends."""
    request: str = ""
    """What the L7 rules say of the request, in words; "" where none was asked about, or none decides."""
    passes: Outcome = "allowed"
    """What the L7 rules say of the request."""
    options: AgentOptions = UNKNOWN
    """Those of the cluster's agents, by which was decided."""

    @property
    def outcome(self) -> Outcome:
        """The decision, with that about the request."""
        return self.passes if self.decision.decision == "allowed" else self.decision.decision


def read_end(text: str, labels: str, cluster: str = "") -> End:
    """``--from`` or ``--to``: NAMESPACE/NAME, DNS name, address or entity, with :PORT and /PROTOCOL.

    ``cluster``: the name of the one that pods are in, where it is known.

    Raises:
        QuestionError: nothing of it.
    """
    if not text and not labels:
        raise QuestionError("--from and --to say who is asked about")
    host, port, protocol = _split(text)
    if labels:
        full = _in_namespace(host, tuple(map(_label, labels.split(","))))
        at = host if is_address(host) else ""
        return End(host or labels, Party(_in_cluster(full, cluster), at, (), None), port, protocol)
    if host in _RESERVED:
        if host == "world":
            assumed = "world is an IPv4 address without a DNS name, in no rule's CIDR but 0.0.0.0/0"
            return End(host, Party((), _EXAMPLE), port, protocol, assumed, "entity")
        return End(host, Party((f"reserved:{host}",)), port, protocol, "", "entity")
    if is_address(host):
        assumed = f"{host} is outside the cluster (rules on names: ask about the name instead)"
        address = str(ip_address(host))
        return End(host, Party((), address, None), port, protocol, assumed, "address")
    if "://" in text:
        raise QuestionError(f'"{text}" is a URL: name host and port alone, as api.example.com:443')
    space, slash, name = host.partition("/")
    if slash and _block(host):
        raise QuestionError(f'"{host}" is a block of addresses: ask about one of them')
    if slash and not (_NAMESPACE_NAME.match(space) and _POD_NAME.match(name)):
        raise QuestionError(f'"{host}" is no NAMESPACE/NAME')
    if slash:
        own = (f"k8s:{NAMESPACE}={space}", *(f"k8s:{key}={name}" for key in _NAME_LABELS))
        assumed = f"{host} has the labels {', '.join(f'{key}={name}' for key in _NAME_LABELS)}"
        assumed += " and no other (else name them with --from-labels, --to-labels)"
        return End(
            host, Party(_in_cluster(own, cluster), "", (), None), port, protocol, assumed, "pod"
        )
    if not _DNS_NAME.match(host.lower()):
        raise QuestionError(f'"{host}" is no NAMESPACE/NAME, DNS name, address or entity')
    assumed = f"the DNS proxy saw {host} answered, with an IPv4 address in no rule's CIDR"
    return End(host, Party((), _EXAMPLE, (host.lower(),)), port, protocol, assumed, "name")


def _in_namespace(host: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """``labels`` in the namespace that NAMESPACE/NAME names, unless they name one."""
    space, slash, _ = host.partition("/")
    if not slash or any(label.startswith(f"k8s:{NAMESPACE}=") for label in labels):
        return labels
    return (*labels, f"k8s:{NAMESPACE}={space}")


def _label(text: str) -> str:
    """``source:key=value`` of a label as people write it. Raises QuestionError."""
    text = text.strip()
    key, equals, _ = text.partition("=")
    if not key or not (equals or key.startswith("reserved:")):
        raise QuestionError(f'"{text}" is no label: KEY=VALUE, several with commas')
    return text if ":" in key else f"k8s:{text}"


def _block(text: str) -> bool:
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _in_cluster(labels: tuple[str, ...], cluster: str) -> tuple[str, ...]:
    space = next(
        (x.partition("=")[2] for x in labels if x.startswith(f"k8s:{NAMESPACE}=")), "default"
    )
    given = {label.partition("=")[0] for label in labels}
    more = (
        f"k8s:{NAMESPACE}={space}",
        f"k8s:{CLUSTER}={cluster or 'default'}",
        f"k8s:{NAMESPACE_LABELS}kubernetes.io/metadata.name={space}",
    )
    return (*labels, *(one for one in more if one.partition("=")[0] not in given))


def _split(text: str) -> tuple[str, int | None, str]:
    """Host, port and protocol of ``host:443/UDP``."""
    protocol = ""
    head, slash, tail = text.rpartition("/")
    if slash and tail.upper() in {one.upper() for one in _PROTOCOLS}:
        text, protocol = head, tail
    head, colon, tail = text.rpartition(":")
    if colon and (":" not in head or head.endswith("]")):
        port = whole_number(tail)
        if port is None or port > 65535:
            raise QuestionError(f'"{tail}" is no port, nor a port and protocol (443, 53/UDP)')
        return head.strip("[]"), port, protocol
    return text.strip("[]"), None, protocol


def explain(
    policies: PolicySet, subject: End, peer: End, protocol: str, request: str = ""
) -> list[Explanation]:
    """The answer of ``subject``'s egress, and of ``peer``'s ingress where that is an endpoint.

    ``request``: what is asked of an HTTP server there, ``GET /path`` or ``HEAD http://host/path``.

    Raises:
        QuestionError: no port, or no such protocol.
    """
    wanted = peer.protocol or protocol or "TCP"
    named = next((one for one in _PROTOCOLS if one.upper() == wanted.upper()), "")
    if not named:
        raise QuestionError(f'protocol "{wanted}": {", ".join(_PROTOCOLS)}')
    if peer.protocol and protocol and peer.protocol.upper() != protocol.upper():
        raise QuestionError(f"--to says {peer.protocol}, --protocol {protocol}")
    port = _ECHO.get(named) if peer.port is None else peer.port
    if port is None:
        raise QuestionError(f"--to {peer.text}: a port is missing, as in {peer.text}:443")
    if peer.port is None:
        ping = f"an echo request (ping): type {port}"
        peer = replace(peer, assumed="; ".join(filter(None, (peer.assumed, ping))))
    answers = []
    if not subject.party.outside:
        answers.append(_answer(policies, "egress", subject, peer, named, port))
    if not peer.party.outside:
        answers.append(_answer(policies, "ingress", peer, subject, named, port))
    if not answers:
        raise QuestionError("both ends are outside: no policy is about either")
    return [_asked(answer, request) for answer in answers] if request else answers


def _asked(answer: Explanation, request: str) -> Explanation:
    """An answer with what its L7 rules say of a request. Raises QuestionError if that is none."""
    method, _, url = request.strip().partition(" ")
    if not re.fullmatch("[A-Z]+", method) or not url.strip():
        raise QuestionError(f'"{request}" is no request: GET /path, or HEAD http://host/path')
    decision = answer.decision
    rules = [rule.l7 for rule in decision.ports if rule.l7 is not None and rule.l7.kind == "http"]
    if decision.decision != "allowed" or not rules or decision.pass_all:
        return answer
    found = [rule.passes_request(method, url.strip(), None) for rule in rules]
    if True in found:
        return replace(answer, request=f"an L7 rule allows {request}")
    doubt = next((one for one in found if isinstance(one, str)), "")
    if doubt:
        return replace(answer, request=f"can't tell of {request}: {doubt}", passes="cant_tell")
    text = f"no L7 rule allows {request}{missed(rules, method, url.strip())}"
    return replace(answer, request=text, passes="denied")


def _unseen_name(
    policies: PolicySet, direction: Direction, subject: Party, peer: Party, decision: Decision
) -> str:
    """What to say when a name decides that no DNS rule lets the proxy see; "" when one does.

    Cilium learns a name's addresses only from answers that went through its DNS proxy.
    """
    by_name = any(
        isinstance(one, Name) and one.matches(peer) is True
        for entry in decision.entries for one in entry.peers or ()
    )  # fmt: skip
    if direction != "egress" or decision.decision != "allowed" or not by_name:
        return ""
    for entry in policies.selected(subject, direction).entries:
        for rule in entry.ports or ():
            if rule.l7 is not None and any(map(rule.l7.passes_name, peer.names or ())):
                return ""
    name = (peer.names or ("",))[0]
    return (
        f"no other policy sends lookups of {name} through the DNS proxy: no rule here does (port 53 "
        "with rules: dns), and without one the address is never learnt and the traffic drops"
    )


_ELSEWHERE = AgentOptions(cidr_match_mode=("nodes", "pods"), origin="a cluster set up otherwise")
_MAY = {"allowed": "allows it", "denied": "denies it", "cant_tell": "may decide otherwise"}


def _by_other_options(
    policies: PolicySet, decision: Decision, direction: Direction, subject: Party, peer: Party,
    protocol: str, port: int,
) -> str:  # fmt: skip
    """What to say where nobody said the cluster's options, and they would matter; else ""."""
    if policies.options.known:
        return ""
    other = policies.by(_ELSEWHERE).ask(direction, subject, peer, protocol, port).decision
    if peer.outside or other == decision.decision:
        return ""
    what = "nodes" if peer.node else "pods"
    return (
        f"{CIDR_MODE} has no {what} in this cluster; where it has, a block of addresses {_MAY[other]} "
        "(--cilium-config FILE says)"
    )


def _of_cluster(party: Party, name: str | None) -> Party:
    """A party as the policies of the cluster ``name`` see it: its pods are their own."""
    if party.cluster != name or name in (None, "default"):
        return party
    labels = (*party.labels, f"{OWN_CLUSTER}=default")
    return replace(party, labels=labels)


_DOES = {"allow": "allows it", "deny": "denies it", "pass": "passes it on"}


def _answer(
    policies: PolicySet, direction: Direction, subject: End, peer: End, protocol: str, port: int
) -> Explanation:
    own = subject.party.cluster
    subject, peer = (replace(end, party=_of_cluster(end.party, own)) for end in (subject, peer))
    decision = policies.ask(direction, subject.party, peer.party, protocol, port)
    unseen = _unseen_name(policies, direction, subject.party, peer.party, decision)
    named = peer.party
    if unseen:
        # As the kernel decides: the address is none that a name led to.
        party = peer.party
        peer = replace(peer, party=replace(party, names=()))
        decision = policies.ask(direction, subject.party, peer.party, protocol, port)
    listener = peer.party if direction == "egress" else subject.party
    steps = []
    entries = policies.selected(subject.party, direction).entries
    for entry in sorted(entries, key=lambda one: (one.tier, one.priority, one.effect != "deny")):
        met = entry.matches_peer(peer.party)
        ports = entry.matches_port(protocol, port, listener)
        if entry.implied and not (met and ports):
            continue
        doubts = [one for one in (met, ports) if isinstance(one, str)]
        if unseen and not met and entry.matches_peer(named) is True:
            word = f"allows {peer.text}, none of whose addresses is learnt without a DNS rule"
        elif not met:
            word = f"is not about {peer.text}"
        elif not ports:
            word = f"is not about port {port}/{protocol}"
        elif doubts:
            word = f"may match: {'; '.join(doubts)}"
        else:
            word = _DOES[entry.effect]
        tier = f"of the {TIERS[entry.tier]} tier " if entry.tier != NORMAL else ""
        steps.append(Step(entry, f"{tier}{word}", not met or not ports))
    near: tuple[NearMiss, ...] = ()
    if decision.why == "default deny":
        known = Known(name=peer.text)
        near = tuple(
            miss
            for miss in near_misses(
                policies, direction, subject.party, peer.party, protocol, port, known
            )
            if not (unseen and miss.entry.matches_peer(named) is True)
        )
    options = _by_other_options(
        policies, decision, direction, subject.party, peer.party, protocol, port
    )
    assumed = tuple(
        dict.fromkeys(one for one in (subject.assumed, peer.assumed, unseen, options) if one)
    )
    return Explanation(
        direction, subject.text, peer.text, protocol, port, decision, tuple(steps), near, assumed,
        tuple(one for one in (subject.seen, peer.seen) if one), options=policies.options,
    )  # fmt: skip
