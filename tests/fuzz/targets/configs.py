"""hubble's config file and HUBBLE_ variables, spoilt."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import yaml

from tests.fuzz import mutate
from tests.fuzz.inputs import Input
from tests.fuzz.program import loopback_only, run

_CONFIG = {
    "server": "127.0.0.1:1",
    "tls": False,
    "tls-allow-insecure": False,
    "tls-ca-cert-files": ["ca.pem"],
    "tls-client-cert-file": "cert.pem",
    "tls-client-key-file": "key.pem",
    "tls-server-name": "relay.example",
    "basic-auth-username": "u",
    "basic-auth-password": "p",
    "timeout": "5s",
    "request-timeout": "1s",
    "port-forward": False,
    "port-forward-port": 4245,
    "kubeconfig": "kubeconfig",
    "kube-context": "c",
    "kube-namespace": "kube-system",
    "allowlist": ['{"source_pod":["weather/"]}'],
    "denylist": ['{"verdict":["DROPPED"]}'],
    "debug": False,
}
_CALLS: tuple[tuple[str, ...], ...] = (
    ("observe", "--print-raw-filters"),
    ("summary", "--input-file", "flows.jsonl", "-o", "json"),
    ("summary", "--request-timeout", "1s"),
    ("status", "--request-timeout", "1s"),
    ("doctor", "--request-timeout", "1s", "-o", "json"),
)


class Configs:
    """One file or some variables at a time; whatever is in them, no connection leaves the machine."""

    name = "configs"
    what = "files"

    def make(self, random: Random) -> Input:
        call = random.choice((*_CALLS[:3], *_CALLS))
        some = dict(random.sample(list(_CONFIG.items()), random.randint(1, 6)))
        spoilt = mutate.tree(random, some)
        environ = {}
        if isinstance(spoilt, dict) and random.random() < 0.3:
            for name, value in spoilt.items():
                key = "HUBBLE_" + str(name).replace("-", "_").upper()
                text = value if isinstance(value, str) else json.dumps(value)
                if "\0" not in key + text and "=" not in key and len(key + text) < 10_000:
                    environ[_stored(key)] = _stored(text)
            spoilt = {}
        raw = yaml.safe_dump(spoilt, allow_unicode=True).encode("utf-8", "surrogatepass")
        if random.random() < 0.2:
            raw = mutate.data(random, yaml.safe_dump(some).encode())
        # Not by itself through a cluster, and by no proxy but one that isn't there.
        environ |= {"KUBECONFIG": "none", "grpc_proxy": "http://127.0.0.1:1"}
        return Input((*call, "--config", "config.yaml"), {"config.yaml": raw}, 1, environ)

    def run(self, given: Input, place: Path) -> None:
        given.write(place)
        (place / "flows.jsonl").write_bytes(b"")
        with loopback_only():
            run(list(given.call), place, environ=given.environ)

    def close(self) -> None:
        pass


def _stored(text: str) -> str:
    """As an environment gives it back: what is no UTF-8 in lone surrogates."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
