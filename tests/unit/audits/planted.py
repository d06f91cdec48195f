"""Mistakes planted in policies, and the traffic of a small cluster that enforces them as written.

    python -m tests.unit.audits.planted      prints the table of docs/audit.md

The verdict of each attempt is what the policy set in force says (our decisions are held to those of
Cilium's own engine elsewhere); the audit only sees records.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass

from flowwatch.audits.audit import Audit
from flowwatch.policy import Party, PolicySet, load
from flowwatch.sources.files import FileSource

CORRECT = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather-egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress:
    - toEndpoints:
        - matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system, k8s-app: kube-dns}
      toPorts:
        - ports: [{port: "53", protocol: ANY}]
          rules: {dns: [{matchPattern: "*"}]}
    - toFQDNs: [{matchName: api.openweathermap.org}]
      toPorts: [{ports: [{port: "443", protocol: TCP}]}]
    - toEndpoints:
        - matchLabels: {app: cache}
      toPorts: [{ports: [{port: "6379", protocol: TCP}]}]
"""


def _pod(namespace: str, **labels: str) -> tuple[str, ...]:
    return (
        *(f"k8s:{key.replace('_', '-')}={value}" for key, value in labels.items()),
        f"k8s:io.kubernetes.pod.namespace={namespace}",
        "k8s:io.cilium.k8s.policy.cluster=default",
        f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={namespace}",
    )


@dataclass(frozen=True)
class End:
    """One end of an attempt."""

    name: str
    ip: str
    labels: tuple[str, ...] = ()
    dns: str = ""

    @property
    def party(self) -> Party:
        return (
            Party((), self.ip, (self.dns,) if self.dns else ()) if self.dns else Party(self.labels)
        )


APP = End("weather-app-1", "10.0.1.1", _pod("weather", app="weather-app"))
CACHE = End("cache-1", "10.0.1.2", _pod("weather", app="cache"))
DNS = End("coredns-1", "10.0.9.1", _pod("kube-system", k8s_app="kube-dns"))
DB = End("db-1", "10.0.2.1", _pod("data", app="db"))
API = End("", "93.184.216.34", dns="api.openweathermap.org")
TELEMETRY = End("", "203.0.113.9", dns="telemetry.example")

TRIES = [
    (APP, DNS, "UDP", 53),
    (APP, API, "TCP", 443),
    (APP, CACHE, "TCP", 6379),
    (APP, DB, "TCP", 5432),
    (APP, TELEMETRY, "TCP", 443),
]
"""What weather-app attempts, each three times."""


@dataclass(frozen=True)
class Fault:
    """One mistake: the correct policy with something replaced, and the name under which it is found."""

    what: str
    find: str
    policy: str
    detail: str
    """Words that the hint has to contain."""


def _changed(*pairs: tuple[str, str]) -> str:
    text = CORRECT
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text


FAULTS = [
    Fault("wrong label", "selects-nothing",
          _changed(("{app: weather-app}", "{app: wether-app}")), "wants app=wether-app"),
    Fault("missing DNS rule", "missing-dns-rule",
          _changed(('          rules: {dns: [{matchPattern: "*"}]}\n', "")), "no address is ever learnt"),
    Fault("port typo", "port-mismatch",
          _changed(('port: "443"', 'port: "4443"')), "allows api.openweathermap.org on 4443/TCP"),
    Fault("CIDR that contains pods", "cidr-contains-pods",
          _changed(("    - toEndpoints:\n        - matchLabels: {app: cache}\n",
                    "    - toCIDR: [10.0.0.0/8]\n")), "but blocks mean addresses outside (pods only where"),
    Fault("toEntities: world left in", "wide-rule",
          CORRECT + "    - toEntities: [world]\n", "restricts nothing"),
    Fault("selector in another namespace", "selector-in-another-namespace",
          _changed(("{app: weather-app}",
                    "{app: weather-app, io.kubernetes.pod.namespace: staging}")), "selects nothing"),
    Fault("peer in another namespace", "peer-in-another-namespace",
          _changed(('"k8s:io.kubernetes.pod.namespace": kube-system, ', "")), "is in kube-system"),
    Fault("allow hidden by a deny", "allow-hidden-by-deny",
          CORRECT + "  egressDeny:\n    - toCIDRSet: [{cidr: 93.184.0.0/16}]\n", "a deny always wins"),
]  # fmt: skip


def capture(enforced: str, *, learns: bool = True) -> str:
    """The records of TRIES in a cluster that enforces ``enforced``, as Hubble's JSON lines.

    ``learns``: whether addresses get their names; without a DNS rule the agent knows none, but the
    records here still carry what a person would know.
    """
    policies = load([("enforced", enforced)])
    assert not policies.rejected
    lines = []
    for at, (client, server, protocol, port) in enumerate(TRIES * 3):
        lines += _records(policies, at, client, server, protocol, port, learns=learns)
    return "".join(json.dumps(line) + "\n" for line in lines)


def _records(
    policies: PolicySet,
    at: int,
    client: End,
    server: End,
    protocol: str,
    port: int,
    *,
    learns: bool,
) -> list[dict[str, object]]:
    peer = server.party if learns or not server.dns else Party((), server.ip)
    decision = policies.ask("egress", client.party, peer, protocol, port)
    allowed = decision.decision == "allowed"
    flow: dict[str, object] = {
        "time": f"2026-01-31T10:{at // 60:02}:{at % 60:02}.5Z",
        "uuid": f"planted-{at}",
        "verdict": "FORWARDED" if allowed else "DROPPED",
        "IP": {"source": client.ip, "destination": server.ip, "ipVersion": "IPv4"},
        "l4": {protocol: {"source_port": 40000 + at, "destination_port": port}
               | ({"flags": {"SYN": True}} if protocol == "TCP" else {})},
        "source": _endpoint(client),
        "destination": _endpoint(server),
        "node_name": "node-1",
        "event_type": {"type": 5},
        "traffic_direction": "EGRESS",
        "is_reply": False,
    }  # fmt: skip
    if not allowed:
        flow |= {"drop_reason": 133, "drop_reason_desc": "POLICY_DENIED"}
    if server.dns:
        flow["destination_names"] = [server.dns]
    if port != 53 or not allowed:
        return [{"flow": flow, "node_name": "node-1", "time": flow["time"]}]
    query = dict(flow, uuid=f"planted-{at}-dns", event_type={"type": 129}, Type="L7",
                 l7={"type": "REQUEST", "dns": {"query": f"{API.dns}.", "qtypes": ["A"]}})  # fmt: skip
    return [{"flow": one, "node_name": "node-1", "time": flow["time"]} for one in (flow, query)]


def _endpoint(end: End) -> dict[str, object]:
    if end.dns:
        return {"identity": 16777217, "labels": ["reserved:world"]}
    space = next(x.partition("=")[2] for x in end.labels if "pod.namespace" in x)
    return {"ID": 1, "identity": 1000 + len(end.name), "namespace": space, "pod_name": end.name,
            "labels": list(end.labels),
            "workloads": [{"name": end.name[:-2], "kind": "Deployment"}]}  # fmt: skip


def table() -> str:
    """The table of docs/audit.md."""
    rows = ["| mistake | found as | what flowwatch says |", "|---|---|---|"]
    rows += [f"| {fault.what} | `{fault.find}` | {hint_text(fault)} |" for fault in FAULTS]
    return "\n".join(rows) + "\n"


def hint_text(fault: Fault) -> str:
    """What the audit of a fault's own traffic says about it."""

    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(capture(fault.policy, learns=fault.find != "missing-dns-rule"))
        file.flush()
        report = Audit(load([("policy.yaml", fault.policy)])).read(
            FileSource([file.name]).batches()
        )
    texts = [one.text for one in report.hints if one.name == fault.find]
    return texts[0].replace("|", "\\|") if texts else "**not found**"


if __name__ == "__main__":
    print(table(), end="")
