"""Small captures to audit: one line a record, ends by name, and what the audit's text says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from flowwatch.audits.attribution import Attributor
from flowwatch.audits.audit import Audit
from flowwatch.audits.findings import AuditReport
from flowwatch.audits.judge import Judge
from flowwatch.flows import meaning
from flowwatch.flows.listing import AttemptListing
from flowwatch.policy import load
from flowwatch.report.audit.text import audit_lines
from flowwatch.report.summary_table import Style
from flowwatch.sources.files import FileSource
from tests import material

SHARED = material.SHARED / "cases"
_BOTH = frozenset({"egress", "ingress"})
_OUTCOMES = frozenset(meaning.OUTCOMES)
_IDENTITIES = {"host": 1, "world": 2, "remote-node": 6, "kube-apiserver": 7}
API = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: web}}]
      toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules: {http: [{method: GET}]}
"""
"""GET alone, of the pods that may come."""


def endpoint(name: str, **labels: str) -> dict[str, object]:
    """``shop/web``: a pod with the label ``app=web``; ``c2/shop/web``: of another cluster; else an entity."""
    if "/" not in name:
        return {"identity": _IDENTITIES[name], "labels": [f"reserved:{name}"]}
    *cluster, space, pod = name.split("/")
    where = cluster[0] if cluster else "default"
    given = labels or {"app": pod}
    return {
        "ID": 7, "identity": 1000 + len(name), "namespace": space, "pod_name": f"{pod}-0",
        "cluster_name": where,
        "labels": [
            *(f"k8s:{key}={value}" for key, value in given.items()),
            f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={space}",
            f"k8s:io.cilium.k8s.policy.cluster={where}",
            f"k8s:io.kubernetes.pod.namespace={space}",
        ],
        "workloads": [{"name": pod, "kind": "Deployment"}],
    }  # fmt: skip


class Capture:
    """Records as Hubble writes them, one second apart; ports count up, so that each is an attempt."""

    def __init__(self) -> None:
        self.flows: list[dict[str, object]] = []
        self._addresses: dict[str, str] = {}

    def address(self, name: str) -> str:
        """Of an end: an address stands for itself, a name has one of the cluster's own."""
        if re.fullmatch(r"[0-9.]+|[0-9a-f:]*:[0-9a-f:]*", name):
            return name
        return self._addresses.setdefault(name, f"10.0.1.{len(self._addresses) + 1}")

    def add(
        self,
        source: str,
        way: str,
        destination: str,
        port: int,
        verdict: str = "FORWARDED",
        *,
        protocol: str = "TCP",
        labels: dict[str, str] | None = None,
        **more: object,
    ) -> Capture:
        """A policy verdict (a drop, where that is the verdict) of ``source`` to ``destination``.

        ``way``: ``→`` for the source's egress, ``←`` for the destination's ingress. ``labels``: the
        peer's. ``more``: fields of the record, over those made here.
        """
        at = len(self.flows)
        ends = []
        for end, peer in ((source, way == "←"), (destination, way == "→")):
            outside = self.address(end) == end
            given = labels if peer and labels else {}
            ends.append(endpoint("world") if outside else endpoint(end, **given))
        icmp = protocol.startswith("ICMP")
        l4 = {"type": port} if icmp else {"source_port": 40_000 + at, "destination_port": port}
        if protocol == "TCP":
            l4["flags"] = {"SYN": True}  # type: ignore[assignment]
        flow: dict[str, object] = {
            "time": f"2026-01-31T10:{at // 60:02}:{at % 60:02}.500000000Z",
            "uuid": f"u{at}",
            "verdict": verdict,
            "IP": {"source": self.address(source), "destination": self.address(destination),
                   "ipVersion": "IPv6" if ":" in self.address(destination) else "IPv4"},
            "l4": {protocol: l4},
            "source": ends[0],
            "destination": ends[1],
            "node_name": "default/node-1",
            "event_type": {"type": 1 if verdict == "DROPPED" else 5},
            "traffic_direction": "EGRESS" if way == "→" else "INGRESS",
            "is_reply": False,
        }  # fmt: skip
        if verdict == "DROPPED":
            flow["drop_reason"] = 133
            del flow["is_reply"]
        self.flows.append({**flow, **more})
        return self

    def http(self, source: str, way: str, destination: str, port: int, method: str,
             verdict: str = "FORWARDED") -> Capture:  # fmt: skip
        """A connection to the proxy, and what that decided about its request."""
        self.add(source, way, destination, port, "REDIRECTED")
        request = {"code": 403 if verdict == "DROPPED" else 200, "method": method,
                   "url": "http://api/status", "protocol": "HTTP/1.1"}  # fmt: skip
        flow = {**self.flows[-1], "uuid": f"l{len(self.flows)}", "verdict": verdict, "Type": "L7",
                "event_type": {"type": 129}, "l7": {"type": "REQUEST", "http": request}}  # fmt: skip
        self.flows.append(flow)
        return self

    def answer(self, pod: str, name: str, address: str, ttl: int) -> Capture:
        """The DNS proxy's record of an answer that ``pod`` got."""
        self.add(pod, "→", "kube-system/coredns", 53, protocol="UDP")
        asked = self.flows[-1]
        l7 = {"type": "RESPONSE", "latency_ns": "1000", "dns": {
            "query": f"{name}.", "ips": [address], "ttl": ttl, "qtypes": ["A"]}}  # fmt: skip
        ips = {"source": self.address("kube-system/coredns"), "destination": self.address(pod),
               "ipVersion": "IPv4"}  # fmt: skip
        ports = asked["l4"]["UDP"]  # type: ignore[index]
        self.flows.append({
            **asked, "uuid": f"d{len(self.flows)}", "Type": "L7", "event_type": {"type": 129}, "l7": l7,
            "IP": ips, "source": asked["destination"], "destination": asked["source"], "is_reply": True,
            "l4": {"UDP": {"source_port": 53, "destination_port": ports["source_port"]}},
        })  # fmt: skip
        return self

    def write(self, folder: Path) -> Path:
        """The records in a file."""
        path = folder / "flows.jsonl"
        lines = [
            json.dumps({"flow": flow, "node_name": flow["node_name"], "time": flow["time"]}) + "\n"
            for flow in self.flows
        ]
        path.write_text("".join(lines))
        return path


def audited(policy: str, capture: Capture | Path, folder: Path) -> AuditReport:
    """What the audit finds by one policy file."""
    path = capture if isinstance(capture, Path) else capture.write(folder)
    policies = load([("policy.yaml", policy)])
    assert not policies.rejected
    return Audit(policies).read(FileSource([str(path)]).batches())


def said(report: AuditReport) -> str:
    """The report as it is printed, without the evidence before the findings."""
    text = "\n".join(audit_lines(report, Style(width=0)))
    return text.partition("\n\n")[2]


def attributed(policy: str, capture: Capture | Path, folder: Path) -> list[str]:
    """The attributions of what was dropped, as the export tells them."""
    path = capture if isinstance(capture, Path) else capture.write(folder)
    teller = Attributor(Judge(load([("policy.yaml", policy)])))
    listing = AttemptListing(FileSource([str(path)]).batches(), _BOTH, _OUTCOMES, teller)
    return [one.attribution for one in listing if one.attribution]
