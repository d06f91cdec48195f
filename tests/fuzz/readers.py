"""The ways to read flows, and what each says of the good records: the same, whatever stands beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.corpus import GOOD
from tests.fuzz.program import Fault, Ran

POLICY = b"""\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: app}}
  egress:
  - toFQDNs: [{matchName: example.org}, {matchPattern: "*.example.org"}]
    toPorts: [{ports: [{port: "443", protocol: TCP}], rules: {http: [{method: GET, path: "/v[0-9]+"}]}}]
  - toEndpoints: [{matchLabels: {k8s-app: kube-dns, "k8s:io.kubernetes.pod.namespace": kube-system}}]
    toPorts: [{ports: [{port: "53", protocol: ANY}], rules: {dns: [{matchPattern: "*"}]}}]
"""


def _ok(ran: Ran) -> None:
    if ran.code:
        raise Fault(f"exit code {ran.code}: {ran.err[-500:]}")


def _json(ran: Ran) -> Any:
    try:
        return json.loads(ran.out)
    except ValueError as error:
        raise Fault(f"no JSON: {error} in {ran.out[:200]!r}") from None


def _good(rows: list[dict[str, Any]]) -> Any:
    """Theirs among ``rows``; the rate depends on when others came."""
    good = [row for row in rows if row["namespace"] == GOOD]
    return [{name: row[name] for name in row if name != "rate"} for row in good]


def _rows(ran: Ran, _place: Path) -> Any:
    _ok(ran)
    return _good(_json(ran)["rows"])


def _uuids(ran: Ran, _place: Path) -> Any:
    _ok(ran)
    lines = [json.loads(line) for line in ran.out.splitlines()]
    uuids = [str(line.get("flow", {}).get("uuid")) for line in lines]
    return [uuid for uuid in uuids if uuid.startswith(f"{GOOD}-")]


def _words(ran: Ran, _place: Path) -> Any:
    """How often a name of theirs stands there: for outputs that are for people."""
    _ok(ran)
    text = ran.out.decode()
    if odd := {letter for letter in text if ord(letter) < 0x20 and letter not in "\n\t\r"}:
        raise Fault(f"control characters in the output: {odd}")
    return text.count(f"{GOOD}/app")


def _attempts(ran: Ran, place: Path) -> Any:
    _ok(ran)
    lines = [json.loads(line) for line in (place / "out").read_bytes().splitlines()]
    return _good(lines)


def _csv(ran: Ran, place: Path) -> Any:
    _ok(ran)
    lines = (place / "out").read_text().split("\n")
    return [line for line in lines if f",{GOOD}," in line]


def _judged(ran: Ran, _place: Path) -> Any:
    """0 and 1 say something of the traffic: then there is a report, and 1 has findings."""
    if ran.code not in (0, 1):
        raise Fault(f"exit code {ran.code}: {ran.err[-500:]}")
    report = _json(ran)
    return report["schema_version"]


@dataclass(frozen=True)
class Reader:
    """A verb, without where the flows come from."""

    arguments: tuple[str, ...]
    good: Callable[[Ran, Path], Any]


READERS = (
    Reader(("summary", "-o", "json"), _rows),
    Reader(("summary", "-o", "json", "--direction", "both"), _rows),
    Reader(("summary",), _words),
    Reader(("observe", "--last", "100000", "-o", "jsonpb"), _uuids),
    Reader(("observe", "--last", "100000", "-o", "compact", "--print-policy-names"), _words),
    Reader(("observe", "--last", "100000", "-o", "dict"), _words),
    Reader(("observe", "--last", "100000", "-o", "table"), _words),
    Reader(("export", "--format", "jsonl", "--outcome", "all", "-o", "out"), _attempts),
    Reader(("export", "--raw", "--format", "csv", "--outcome", "all", "-o", "out"), _csv),
    Reader(("export", "--grouped", "--format", "jsonl", "--outcome", "all", "-o", "out"), _attempts),
    Reader(("export", "--format", "jsonl", "-o", "out", "--policies", "policy.yaml"), _attempts),
    Reader(("audit", "-f", "policy.yaml", "-o", "json"), _judged),
    Reader(("whatif", "-f", "policy.yaml", "-o", "json"), _judged),
)  # fmt: skip
