"""`flowwatch diff` of two sets of 200 policies: the whole command, the best of several runs."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

POLICIES = 200
LIMIT = 5.0
"""Seconds."""
_SPACES = 20
_ROUNDS = 3
_FLOWWATCH = (sys.executable, "-m", "flowwatch")


def differences() -> list[tuple[str, str, str]]:
    """What was measured, what was reached, the goal."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for name, changed in (("every policy changed", True), ("one of all pods changed", False)):
            old, new = (Path(folder) / f"{at}.yaml" for at in ("old", "new"))
            old.write_text(_text(_policies(0 if changed else None, "ANY")))
            new.write_text(_text(_policies(7000 if changed else None, "UDP")))
            seconds = min(_seconds(old, new) for _ in range(_ROUNDS))
            about = f"diff of two sets of {POLICIES} policies, {name}"
            found.append((about, f"{seconds:.1f} s", f"≤ {LIMIT:.0f} s"))
        return found


def _seconds(old: Path, new: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run([*_FLOWWATCH, "diff", old, new], capture_output=True, check=False)
    took = time.perf_counter() - began
    if done.returncode != 1:
        raise RuntimeError(done.stderr.decode())
    return took


def _text(policies: list[Any]) -> str:
    return "\n---\n".join(map(json.dumps, policies))


def _policies(more: int | None, dns: str) -> list[Any]:
    """A policy each for many applications, a default deny for each namespace, two for all pods."""
    closed = [_closed(f"space{at}") for at in range(_SPACES)]
    wide = [
        _wide("dns", {}, [{"toEndpoints": [{"matchLabels": {"k8s-app": "kube-dns"}}],
                           "toPorts": _ports("53", protocol=dns)}]),
        _wide("prod", {"io.cilium.k8s.namespace.labels.env": "prod"}, [{"toEndpoints": [
            {"matchLabels": {"io.cilium.k8s.namespace.labels.env": "prod"}}]}]),
    ]  # fmt: skip
    apps = POLICIES - len(closed) - len(wide)
    return [*(_application(at, apps, more) for at in range(apps)), *closed, *wide]


def _ports(*numbers: str, protocol: str = "TCP") -> list[Any]:
    return [{"ports": [{"port": one, "protocol": protocol} for one in numbers]}]


def _application(at: int, apps: int, more: int | None) -> Any:
    peers = [(at * 7 + step * 13 + 1) % apps for step in range(4)]
    named = [
        {
            "matchLabels": {
                "app": f"app{one}",
                "io.kubernetes.pod.namespace": f"space{one % _SPACES}",
            }
        }
        for one in peers
    ]
    ports = ["8080", "9090", *([str(more)] if more else [])]
    block = f"10.{at % 50}"
    spec = {
        "endpointSelector": {"matchLabels": {"app": f"app{at}"}},
        "egress": [
            {"toEndpoints": named, "toPorts": _ports(*ports)},
            {"toFQDNs": [{"matchName": f"api{at}.example.com"},
                         {"matchPattern": f"*.cdn{at % 7}.example.net"}], "toPorts": _ports("443")},
            {"toCIDRSet": [{"cidr": f"{block}.0.0/16", "except": [f"{block}.3.0/24"]}]},
        ],
        "ingress": [{"fromEndpoints": named[:1], "toPorts": _ports("8080")}],
    }  # fmt: skip
    metadata = {"name": f"app{at}", "namespace": f"space{at % _SPACES}"}
    return _cilium("CiliumNetworkPolicy", metadata, spec)


def _closed(namespace: str) -> Any:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "closed", "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
    }


def _wide(name: str, labels: dict[str, str], egress: list[Any]) -> Any:
    spec = {"endpointSelector": {"matchLabels": labels}, "egress": egress}
    return _cilium("CiliumClusterwideNetworkPolicy", {"name": name}, spec)


def _cilium(kind: str, metadata: dict[str, str], spec: dict[str, Any]) -> Any:
    return {"apiVersion": "cilium.io/v2", "kind": kind, "metadata": metadata, "spec": spec}
