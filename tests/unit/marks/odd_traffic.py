"""Made-up traffic with all that records may lack or say oddly, and policies about the same few labels."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from flowwatch.flows.model import Batch, Direction, Endpoint, EventType, Flow, PolicyRef, Verdict
from tests.unit.flows.made import ACK, SYN, denied, flow, reply, verdict

SPACE = "k8s:io.kubernetes.pod.namespace"


def _pod(namespace: str, app: str, number: int, *more: str, **fields: Any) -> tuple[Endpoint, str]:
    labels = (f"k8s:app={app}", f"{SPACE}={namespace}", *more)
    values: dict[str, Any] = {
        "identity": 1000 + number, "namespace": namespace, "pod": f"{app}-{number}", "workload": app,
        "labels": labels,
    }  # fmt: skip
    return Endpoint(**(values | fields)), f"10.0.0.{number}"


def _reserved(entity: str, address: str, *more: str) -> tuple[Endpoint, str]:
    return Endpoint(labels=(f"reserved:{entity}", *more), entity=entity), address


ENDS = [
    *(_pod("team", "web", number) for number in (1, 2)),
    _pod("team", "api", 3, "k8s:tier=x"),
    _pod("ops", "web", 4),
    _pod("ops", "web", 5, labels=()),
    _pod("team", "api", 6, cluster="far"),
    _reserved("host", "10.0.1.1"),
    _reserved("host", "10.0.1.1", "k8s:role=edge"),
    _reserved("remote-node", "10.0.1.2"),
    _reserved("kube-apiserver", "10.0.1.3"),
    _reserved("world", "198.51.100.1"),
    _reserved("world", "198.51.100.2", "fqdn:api.example.com"),
    _reserved("world", "203.0.113.9"),
    _reserved("world", ""),
    _reserved("world", "2001:db8::1"),
    _reserved("unknown", "10.0.2.1"),
    (Endpoint(), "192.0.2.44"),
    (Endpoint(), "93.184.216.34"),
    (Endpoint(namespace="team", pod="bare-1"), "10.0.0.8"),
]
CARRYING = [*ENDS, _pod("team", "db", 7, "cidr:10.0.0.7/32")]
"""With one whose labels have blocks, as where ``policy-cidr-match-mode`` has pods."""
NAMES = ((), ("api.example.com",), ("www.example.com",))
WHO = (
    (), (PolicyRef("CiliumNetworkPolicy", "team", "p0"),), (PolicyRef("NetworkPolicy", "team", "p1"),),
    (PolicyRef("CiliumNetworkPolicy", "team", "elsewhere"),),
)  # fmt: skip


Ends = Sequence[tuple[Endpoint, str]]


def batches(random: Random, attempts: int, ends: Ends = CARRYING) -> list[Batch]:
    """Records of so many attempts, some of which ask the same."""
    records: list[Flow] = []
    known: list[dict[str, Any]] = []
    for at in range(attempts):
        if known and random.random() < 0.3:
            fields = random.choice(known) | {"source_port": 30_000 + at}
        else:
            fields = _fields(random, at, ends)
            known.append(fields)
        records += _attempt(random, float(at), fields)
    records.sort(key=lambda one: one.time)
    size = random.choice((7, 50, len(records)))
    return [Batch(flows=records[at : at + size]) for at in range(0, len(records), size)]


def _fields(random: Random, at: int, ends: Ends) -> dict[str, Any]:
    (source, source_ip), (destination, destination_ip) = random.choice(ends), random.choice(ends)
    protocol = random.choice(("TCP", "TCP", "TCP", "UDP", "ICMPv6", "SCTP", ""))
    ports = {"ICMPv6": (0, random.choice((128, 143)))}
    source_port, port = ports.get(protocol, (30_000 + at, random.choice((443, 443, 53, 8080, 0))))
    return {
        "source": source, "source_ip": source_ip, "destination": destination,
        "destination_ip": destination_ip, "protocol": protocol, "source_port": source_port,
        "destination_port": port, "destination_names": random.choice(NAMES),
        "direction": random.choice((Direction.EGRESS, Direction.EGRESS, Direction.INGRESS, 0)),
        "tcp_flags": random.choice((SYN, SYN, ACK)) if protocol == "TCP" else 0,
        "node": random.choice(("node-1", "node-2")),
        "destination_service": random.choice(("", "", "team/api")),
    }  # fmt: skip


def _attempt(random: Random, at: float, fields: dict[str, Any]) -> list[Flow]:
    who, why = random.choice(WHO), random.choice((0, 132, 150, 153, 189))
    ways = (
        lambda: [flow(at, **fields)],
        lambda: [flow(at, **fields | {"event_type": 0, "sub_type": 0})],
        lambda: [verdict(at, allowed_by=who, **fields), flow(at + 0.001, **fields)],
        lambda: denied(at, **fields, denied_by=who),
        lambda: [flow(at, verdict=Verdict.DROPPED, drop_reason=why, event_type=EventType.DROP,
                      **fields | {"sub_type": why})],
        lambda: [verdict(at, verdict=Verdict.AUDIT, **fields)],
        lambda: [verdict(at, verdict=Verdict.REDIRECTED, **fields)],
        lambda: [*denied(at, **fields), flow(at + 1, **fields)],
        lambda: [flow(at, verdict=Verdict.VERDICT_UNKNOWN, **fields)],
        lambda: [verdict(at, **fields), *_answer(at, fields, random)],
    )  # fmt: skip
    return random.choice(ways)()


def _answer(at: float, fields: dict[str, Any], random: Random) -> list[Flow]:
    swapped: dict[str, Any] = {
        "source": fields["destination"], "destination": fields["source"],
        "source_ip": fields["destination_ip"], "destination_ip": fields["source_ip"],
        "source_port": fields["destination_port"], "destination_port": fields["source_port"],
        "protocol": fields["protocol"], "node": fields["node"],
    }  # fmt: skip
    if random.random() < 0.5:
        return [reply(at + 0.1, **swapped)]
    lost = {"verdict": Verdict.DROPPED, "drop_reason": 133, "direction": Direction.INGRESS}
    return [reply(at + 0.1, event_type=EventType.DROP, **swapped, **lost)]


SUBJECTS = (
    "endpointSelector: {}",
    "endpointSelector: {matchLabels: {app: web}}",
    "endpointSelector: {matchLabels: {app: api}}",
    "endpointSelector: {matchExpressions: [{key: tier, operator: Exists}]}",
    "endpointSelector: {matchLabels: {app: nobody}}",
)
NODES = ("nodeSelector: {matchLabels: {role: edge}}", "nodeSelector: {}")
TO = (
    "toEndpoints: [{matchLabels: {app: api}}, {matchLabels: {app: web}}]",
    "toEndpoints: [{matchLabels: {'k8s:io.kubernetes.pod.namespace': ops}}, {}]",
    "toEntities: [world, host, kube-apiserver]", "toEntities: [cluster]", "toEntities: [remote-node]",
    "toCIDR: [198.51.100.0/24, 10.0.0.0/8, 0.0.0.0/0]", "toCIDR: [192.0.2.0/24, '2001:db8::/32']",
    "toFQDNs: [{matchName: api.example.com}, {matchPattern: '*.example.com'}]",
    "toFQDNs: [{matchName: API.example.com}]", "",
)  # fmt: skip
PORTS = (
    "", "",
    "toPorts: [{ports: [{port: '443', protocol: TCP}, {port: '53', protocol: ANY}]}]",
    "toPorts: [{ports: [{port: http, protocol: TCP}, {port: '8080', protocol: TCP}]}]",
    "icmps: [{fields: [{type: 128, family: IPv6}]}]",
)  # fmt: skip


def documents(random: Random) -> str:
    """A set of policies."""
    return "---\n".join(_document(random, number) for number in range(random.randint(1, 4)))


def _document(random: Random, number: int) -> str:
    wide = random.random() < 0.4
    subject = random.choice((*SUBJECTS, *NODES) if wide else SUBJECTS)
    kind = "CiliumClusterwideNetworkPolicy" if wide else "CiliumNetworkPolicy"
    where = "" if wide else f", namespace: {random.choice(('team', 'team', 'ops'))}"
    rules = dict[str, list[str]]()
    for _ in range(random.randint(1, 4)):
        section = random.choice(("egress", "egress", "ingress", "egressDeny"))
        rules.setdefault(section, []).append(_rule(random, section, subject))
    body = "".join(
        f"  {section}:\n" + "".join(f"    - {rule}\n" for rule in entries)
        for section, entries in rules.items()
    )
    return (
        f"apiVersion: cilium.io/v2\nkind: {kind}\nmetadata: {{name: p{number}{where}}}\n"
        f"spec:\n  {subject}\n{body}"
    )


def _rule(random: Random, section: str, subject: str) -> str:
    peers: Sequence[str] = (
        TO if section != "egressDeny" else [one for one in TO if "FQDN" not in one]
    )
    peer, port = random.choice(peers), random.choice(PORTS)
    if section == "ingress":
        while "FQDN" in peer:
            peer = random.choice(peers)
        peer = peer.replace("toE", "fromE").replace("toC", "fromC")
    if "nodeSelector" in subject or ("FQDN" in peer and "icmps" in port):
        port = port if "icmps" not in port else ""
    return "{" + ", ".join(filter(None, (peer, port))) + "}"
