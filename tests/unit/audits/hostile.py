"""Records whose text was written by whoever runs the pod, and a policy for them."""

from __future__ import annotations

from typing import Any

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: app, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather}}
  egress:
  - toEntities: [world]
    toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [HTTP]}}]
  - toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system}}]
    toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]
  - toFQDNs: [{matchPattern: "STARS"}]
    toPorts: [{ports: [{port: "443"}]}]
"""


def record(*, source_port: int = 40001, **more: Any) -> dict[str, Any]:
    """A connection of weather-1 to the world, as Hubble's JSON has it; to port 80 with an L7 record."""
    port = 80 if "l7" in more else 443
    return {
        "flow": {
            "time": "2026-01-31T10:00:01Z",
            "verdict": "FORWARDED",
            "IP": {"source": "10.0.0.1", "destination": "192.0.2.4"},
            "l4": {
                "TCP": {
                    "source_port": source_port,
                    "destination_port": port,
                    "flags": {"SYN": True},
                }
            },
            "source": {
                "identity": 1000,
                "namespace": "weather",
                "pod_name": "weather-1",
                "labels": ["k8s:app=weather", "k8s:io.kubernetes.pod.namespace=weather"],
            },
            "destination": {"identity": 2, "labels": ["reserved:world"]},
            "event_type": {"type": 4},
            "traffic_direction": "EGRESS",
            "is_reply": False,
            **more,
        },
        "node_name": "worker",
    }


def request(url: str, method: str = "GET", source_port: int = 40001) -> dict[str, Any]:
    """The proxy's record of a request that passed."""
    http = {"method": method, "url": url}
    return record(
        source_port=source_port,
        Type="L7",
        event_type={"type": 129},
        l7={"type": "REQUEST", "http": http},
    )
