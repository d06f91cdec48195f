"""Policies, expectations and questions, spoilt, over flows that meet them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.fuzz import corpus, mutate
from tests.fuzz.inputs import Input
from tests.fuzz.program import Fault, run
from tests.fuzz.readers import POLICY

_OTHERS = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: all, labels: {a: b}}
specs:
- description: two rules
  nodeSelector: {matchLabels: {kubernetes.io/os: linux}}
  ingressDeny: [{fromEntities: [world], toPorts: [{ports: [{port: "22", endPort: 80, protocol: TCP}]}]}]
- endpointSelector: {matchExpressions: [{key: app, operator: In, values: [app, b]}]}
  enableDefaultDeny: {egress: true, ingress: false}
  egressDeny:
  - toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidrGroupRef: group}]
    icmps: [{fields: [{type: EchoRequest, family: IPv4}, {type: 8}]}]
  egress:
  - toEntities: [cluster, kube-apiserver]
    authentication: {mode: required}
  - toServices: [{k8sService: {serviceName: api, namespace: weather}}]
  - toRequires: [{matchLabels: {a: b}}]
---
apiVersion: cilium.io/v2alpha1
kind: CiliumCIDRGroup
metadata: {name: group, labels: {zone: one}}
spec: {externalCIDRs: [192.0.2.0/24, "2001:db8::/32"]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np, namespace: weather}
spec:
  podSelector: {}
  policyTypes: [Ingress, Egress]
  egress:
  - to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: api}}, podSelector: {}},
         {ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8]}}]
    ports: [{port: http, protocol: TCP}, {port: 443, endPort: 500}]
  ingress: [{from: [{podSelector: {matchLabels: {app: b}}}]}]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: cnp}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {matchLabels: {kubernetes.io/metadata.name: weather}}}
  egress:
  - name: out
    action: Deny
    to: [{networks: [1.2.3.0/24]}, {domainNames: ["*.example.org"]}]
    protocols: [{tcp: {destinationPort: {number: 443}}}]
  ingress:
  - action: Pass
    from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: b}}}}]
---
apiVersion: v1
kind: List
items:
- apiVersion: cilium.io/v2
  kind: CiliumNetworkPolicy
  metadata: {name: rx, namespace: weather}
  spec:
    endpointSelector: {}
    egress:
    - toFQDNs: [{matchPattern: "*.example.*"}]
      toPorts:
      - ports: [{port: "80"}]
        serverNames: [example.org]
        rules: {http: [{method: "GET|PUT", path: "/v[0-9]+/.*", host: "api.*", headers: ["X-A: b"],
                        headerMatches: [{name: X, value: y, mismatch: LOG}]}]}
      - ports: [{port: "9092"}]
        rules: {kafka: [{role: produce, topic: t}]}
    - toFQDNs: [{matchName: example.org}]
      toPorts: [{ports: [{port: "53", protocol: UDP}], rules: {dns: [{matchName: example.org}]}}]
"""
_EXPECT = """\
mustReach:
- {from: weather/app, to: "example.org:443"}
mustNotReach:
- {from: weather/app, to: "1.2.3.4:22/TCP"}
"""
_QUERIES = (
    b'{"from": "weather/app", "to": "example.org:443"}\n'
    b'{"from_labels": ["k8s:app=app"], "to": "1.2.3.4:53/UDP", "direction": "egress"}\n'
)
_CALLS: tuple[tuple[str, ...], ...] = (
    ("audit", "-f", "policy.yaml", "--input-file", "flows.jsonl", "-o", "json"),
    ("audit", "-f", "policy.yaml", "--input-file", "flows.jsonl", "-o", "json"),
    ("audit", "-f", "policy.yaml", "--input-file", "flows.jsonl"),
    ("audit", "-f", "policy.yaml", "--input-file", "flows.jsonl", "-o", "html"),
    ("audit", "-f", "policy.yaml", "--input-file", "flows.jsonl", "-o", "github"),
    ("audit", "-f", "policy.yaml", "--input-file", "flows.jsonl", "-o", "sarif", "--expect", "expect.yaml"),
    ("whatif", "-f", "policy.yaml", "--input-file", "flows.jsonl", "-o", "json"),
    ("whatif", "-f", "given.yaml", "--current", "policy.yaml", "--input-file", "flows.jsonl"),
    ("export", "--policies", "policy.yaml", "--input-file", "flows.jsonl", "--format", "jsonl", "-o", "-"),
    ("explain", "-f", "policy.yaml", "--from", "weather/app", "--to", "example.org:443", "-o", "json"),
    ("explain", "-f", "policy.yaml", "--queries", "queries.jsonl", "-o", "json"),
    ("audit", "-f", "policy.yaml", "--input-file", "flows.jsonl", "-o", "json", "--cilium-config",
     "options.yaml"),
    ("whatif", "-f", "policy.yaml", "--input-file", "flows.jsonl", "--cilium-config", "options.yaml"),
)  # fmt: skip
_SPOILT = {
    "--expect": "expect.yaml",
    "--queries": "queries.jsonl",
    "--cilium-config": "options.yaml",
}
_OPTIONS = (
    b'{"kind": "ConfigMap", "metadata": {"name": "cilium-config"}, "data": {"cluster-name": "blue", '
    b'"policy-cidr-match-mode": "nodes pods", "enable-policy": "always", "policy-audit-mode": "false"}}'
)


class Policies:
    """One document of several, mostly, is spoilt; now and then what else is read beside it."""

    name = "policies"
    what = "documents"

    def __init__(self) -> None:
        hostile = [
            text.decode() for text in (*corpus.hostile("pol-*.yaml"), *corpus.hostile("[!p]*.yaml"))
        ]
        self._documents: list[Any] = []
        for text in (POLICY.decode(), _OTHERS, *hostile):
            self._documents += [document for document in yaml.safe_load_all(text) if document]
        self._texts = [POLICY, _OTHERS.encode(), *(text.encode() for text in hostile)]
        self._flows = b"\n".join(corpus.line(record) for record in corpus.RECORDS)

    def make(self, random: Random) -> Input:
        call = random.choice(_CALLS)
        files = {
            "policy.yaml": self._spoilt(random),
            "given.yaml": POLICY,
            "flows.jsonl": self._flows,
            "expect.yaml": _EXPECT.encode(),
            "queries.jsonl": _QUERIES,
            "options.yaml": _OPTIONS,
        }
        for flag, name in _SPOILT.items():
            if flag in call and random.random() < 0.5:
                files["policy.yaml"] = POLICY
                files[name] = self._beside(random, files[name])
        if random.random() < 0.4:
            lines = [mutate.tree(random, record, 1) for record in corpus.RECORDS]
            files["flows.jsonl"] = b"\n".join(map(corpus.line, lines))
            files["policy.yaml"] = random.choice((POLICY, files["policy.yaml"]))
        used = {name: data for name, data in files.items() if name in call}
        return Input(call, used)

    def _spoilt(self, random: Random) -> bytes:
        if random.random() < 0.2:
            return mutate.data(random, random.choice(self._texts))
        documents = [random.choice(self._documents) for _ in range(random.choice((1, 1, 2)))]
        return b"---\n".join(_text(random, mutate.tree(random, document)) for document in documents)

    @staticmethod
    def _beside(random: Random, raw: bytes) -> bytes:
        if random.random() < 0.3:
            return mutate.data(random, raw)
        return _text(random, mutate.tree(random, yaml.safe_load(raw.splitlines()[0])))

    def run(self, given: Input, place: Path) -> None:
        given.write(place)
        ran = run(list(given.call), place)
        if given.call[0] != "audit" or ran.code != 1:
            return
        # 1 says that there are findings: then there is a report, whatever else went wrong.
        if not ran.out:
            raise Fault(f"exit code 1 without a report: {ran.err[-500:]}")
        if given.call[-1] == "json" and not json.loads(ran.out)["findings"]:
            raise Fault("exit code 1 without findings")

    def close(self) -> None:
        pass


def _text(random: Random, document: Any) -> bytes:
    """``document`` as YAML in one of its styles, or as JSON; plain scalars lose their quotes at times."""
    style = random.randrange(3)
    if style == 0:
        return json.dumps(document).encode()
    text = yaml.safe_dump(
        document, default_flow_style=None if style == 1 else False, allow_unicode=True
    )
    if random.random() < 0.3:
        text = text.replace("'", "").replace('"', "")
    return text.encode("utf-8", "surrogatepass")
