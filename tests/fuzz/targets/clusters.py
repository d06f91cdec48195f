"""What a Kubernetes API server answers, spoilt: relay's service and pods, secrets, policies."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests.fuzz import corpus, mutate
from tests.fuzz.inputs import Input
from tests.fuzz.program import loopback_only, run
from tests.fuzz.readers import POLICY

_POD = {
    "metadata": {
        "name": "hubble-relay-1",
        "namespace": "kube-system",
        "labels": {"k8s-app": "hubble-relay"},
    },
    "spec": {"containers": [{"name": "relay", "ports": [{"name": "grpc", "containerPort": 4245}]}]},
    "status": {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}
_SOUND: dict[str, Any] = {
    "services": {
        "kind": "Service", "metadata": {"name": "hubble-relay"},
        "spec": {"selector": {"k8s-app": "hubble-relay"}, "ports": [{"port": 80, "targetPort": "grpc"}]},
    },
    "pods": {"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [_POD, _POD]},
    "secrets": {"kind": "Secret", "data": {"ca.crt": "eA==", "tls.crt": "eA==", "tls.key": "eA=="}},
    "policies": {
        "kind": "CiliumNetworkPolicyList", "apiVersion": "cilium.io/v2",
        "metadata": {"resourceVersion": "1", "continue": ""}, "items": [yaml.safe_load(POLICY)],
    },
    "configmaps": {
        "kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "cilium-config"},
        "data": {"cluster-name": "blue", "policy-cidr-match-mode": "nodes pods", "enable-policy": "always"},
    },
    "other": {"kind": "Status", "status": "Failure", "message": "no", "reason": "NotFound", "code": 404},
}  # fmt: skip
_CALLS: tuple[tuple[str, ...], ...] = (
    ("audit", "--policies-from-cluster", "--input-file", "flows.jsonl", "-o", "json"),
    ("audit", "--policies-from-cluster", "--input-file", "flows.jsonl", "-o", "json"),
    ("summary", "-P"),
    ("status", "--tls-from-secret", "-P"),
    ("doctor",),
)


class Clusters:
    """An HTTP server on loopback, to which a sound kubeconfig leads."""

    name = "clusters"
    what = "answers"

    def __init__(self) -> None:
        self.given: Input | None = None
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()

    def make(self, random: Random) -> Input:
        files = {name: json.dumps(sound).encode() for name, sound in _SOUND.items()}
        for name in random.sample(list(_SOUND), random.choice((1, 1, 2))):
            spoilt = json.dumps(mutate.tree(random, _SOUND[name])).encode()
            files[name] = mutate.data(random, spoilt) if random.random() < 0.2 else spoilt
            if random.random() < 0.05:
                files[name] = random.choice((b"", b"null", b"[" * 100_000, b"\xff", b"<html>"))
        status = random.choice(
            ("200",) * 12 + ("401", "403", "404", "410", "429", "500", "204", "301", "999")
        )
        return Input(
            (*random.choice(_CALLS), "--kubeconfig", "config"), files, 1, {"FUZZ_STATUS": status}
        )

    def run(self, given: Input, place: Path) -> None:
        self.given = given
        (place / "flows.jsonl").write_bytes(b"\n".join(map(corpus.line, corpus.RECORDS)))
        named = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"}}
        config = {
            "clusters": [named],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        (place / "config").write_text(yaml.safe_dump(config))
        with loopback_only():
            run([*given.call, "--request-timeout", "2s"], place)

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body for ``path``."""
        assert self.given is not None
        name = next((part for part in path.split("?")[0].split("/") if part in _SOUND), "other")
        if "policies" in path or "cidrgroups" in path:
            name = "policies"
        status = 404 if name == "other" else int(self.given.environ["FUZZ_STATUS"])
        return status, self.given.files[name]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        threading.current_thread().name = "fuzz-answer"
        super().process_request_thread(request, client_address)

    def __init__(self, address: tuple[str, int], clusters: Clusters) -> None:
        super().__init__(address, _Handler)
        self.clusters = clusters

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is none of ours."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        status, body = self.server.clusters.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on standard error."""
