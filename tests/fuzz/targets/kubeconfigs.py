"""Kubeconfigs and what exec plugins answer, spoilt."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import yaml

from tests import kubeconfigs
from tests.fuzz import corpus, mutate
from tests.fuzz.inputs import Input
from tests.fuzz.program import Fault, loopback_only, run

_PEM = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="
_CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "test",
    "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u", "namespace": "n"}}],
    "clusters": [{"name": "c", "cluster": {
        "server": "https://127.0.0.1:1", "certificate-authority-data": _PEM,
        "tls-server-name": "api.example", "insecure-skip-tls-verify": False}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
    "preferences": {},
}  # fmt: skip
_USERS: tuple[dict[str, Any], ...] = (
    {"token": "t"},
    {"tokenFile": "token"},
    {"username": "u", "password": "p"},
    {"client-certificate-data": _PEM, "client-key-data": _PEM},
    {"client-certificate": "cert.pem", "client-key": "key.pem"},
    {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "args": ["x"],
              "env": [{"name": "A", "value": "b"}], "interactiveMode": "Never",
              "provideClusterInfo": True, "installHint": "install it"}},
    {"auth-provider": {"name": "gcp", "config": {"access-token": "t"}}},
)  # fmt: skip
_CLUSTERS: tuple[dict[str, Any], ...] = (
    {"server": "https://127.0.0.1:1"},
    {"server": "http://127.0.0.1:1", "proxy-url": "http://127.0.0.1:1"},
    {"server": "https://u:p@127.0.0.1:1/x", "certificate-authority": "ca.pem"},
    {"server": "http://127.0.0.1:1", "proxy-url": "socks5://127.0.0.1:1"},
)
_ANSWER = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "kind": "ExecCredential",
    "status": {"token": "t", "expirationTimestamp": "2099-01-01T00:00:00Z",
               "clientCertificateData": "x", "clientKeyData": "y"},
}  # fmt: skip
_CALLS: tuple[tuple[str, ...], ...] = (
    ("doctor", "--kubeconfig", "config"),
    ("doctor", "--kubeconfig", "config", "-o", "json"),
    ("summary", "-P", "--kubeconfig", "config"),
    ("audit", "--policies-from-cluster", "--kubeconfig", "config", "--input-file", "flows.jsonl"),
    ("status", "-P", "--kubeconfig", "config", "--kube-context", "test"),
)
_PLUGIN = f"#!{sys.executable}\nprint(open('answer', encoding='utf-8', errors='replace').read())\n"


class Kubeconfigs:
    """Nothing answers where they lead; what is looked for is what is made of them before."""

    name = "kubeconfigs"
    what = "files"

    def __init__(self) -> None:
        self._texts = [yaml.safe_dump(_CONFIG).encode(), *corpus.hostile("kubeconfig/*.yaml")]

    def make(self, random: Random) -> Input:
        if random.random() < 0.4:
            (case,) = kubeconfigs.cases(random, 1)
            return Input(random.choice(_CALLS), {"config": case.content, "answer": b"{}"})
        config = json.loads(json.dumps(_CONFIG))
        if random.random() < 0.7:
            config["users"][0]["user"] = random.choice(_USERS)
        if random.random() < 0.4:
            config["clusters"][0]["cluster"] = random.choice(_CLUSTERS)
        answer = json.dumps(_ANSWER)
        kind = random.randrange(10)
        if kind < 2 and "exec" in config["users"][0]["user"]:
            spoilt = json.dumps(mutate.tree(random, _ANSWER))
            answer = random.choice((spoilt, spoilt, "[" * 200_000, "{" * 5000, "x" * 100, ""))
        elif kind < 8:
            config = mutate.tree(random, config)
        raw = yaml.safe_dump(config, allow_unicode=True).encode("utf-8", "surrogatepass")
        if kind >= 8:
            raw = mutate.data(random, random.choice((raw, *self._texts)))
        return Input(random.choice(_CALLS), {"config": raw, "answer": answer.encode()})

    def run(self, given: Input, place: Path) -> None:
        given.write(place)
        (place / "flows.jsonl").write_bytes(b"")
        (place / "plugin").write_text(_PLUGIN)
        (place / "plugin").chmod(0o700)
        # A command that was spoilt is looked for, and isn't there.
        (place / "ca.pem").write_bytes(kubeconfigs.PEM)
        (place / "token").write_text(kubeconfigs.SECRET)
        with loopback_only():
            ran = run(list(given.call), place, environ={"PATH": str(place)})
        if kubeconfigs.SECRET in ran.err + ran.out.decode(errors="replace"):
            raise Fault("a secret is shown")

    def close(self) -> None:
        pass
