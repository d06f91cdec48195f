"""Ten policies on the kernel: what-if before, audit after, explain and diff without traffic say what it does.

And: the mistakes that people make end in flowwatch's sentence about each; a draft of what was needed lets
pass that and nothing else; what-if on a policy that takes another's place says what then happens.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from flowwatch.policy import load
from flowwatch.policy.difference import compare
from flowwatch.policy.explain import explain, read_end
from tests.command import flowwatch
from tests.lab import network
from tests.lab.lab import POD_NAME, POLICIES, ZONE, Lab
from tests.lab.scenarios import CACHE, FIVE, FIVE6, SIXTYSIX, TELEMETRY, dns, ping, tcp, udp

pytestmark = [pytest.mark.usefixtures("here"), pytest.mark.xdist_group("the kernel lab")]

BY_NAMES = {"weather", "no-dns"}
"""Policies that allow names: of an address whose name nobody asked for, flowwatch says that it can't tell."""
MISTAKES = {
    "no-dns": "no rule sends lookups through the DNS proxy",
    "wrong-port": "allows 203.0.113.5 on 8443/TCP; the traffic goes to 443/TCP",
    "wrong-label": "would allow pods with app=caches, namespace=weather; this is weather/cache-0",
    "deny-only": "it turns default deny on for egress, and no rule allows anything",
    "cidr-for-pods": "weather/cache-0 has an address in it, but blocks mean addresses outside",
}
TEN = ("only-five", "weather", "deny", "plain", "default-deny", *MISTAKES)

Where = tuple[str, str, int]
"""Address, protocol, port (of pings the type)."""
TYPES = {"ICMPv4": ("ICMP", 8), "ICMPv6": ("ICMPv6", 128)}
NAMED = {
    "weather/cache-0": CACHE,
    "kube-system/coredns": network.DNS,
    **{name: addresses[0] for name, (addresses, _) in ZONE.items()},
}


def where(one: dict[str, Any]) -> Where:
    protocol, port = TYPES.get(one["proto"], (one["proto"], one["port"]))
    return one["peer"], protocol, port


def tries(lab: Lab) -> None:
    lab.tries(dns("api.openweathermap.org", timeout=0.8))
    lab.tries(
        *(tcp(peer, timeout=1.1) for peer in (FIVE, SIXTYSIX, CACHE, FIVE6)),
        tcp(CACHE, 5432, timeout=1.1), tcp(TELEMETRY, 8080, timeout=1.1),
        udp(FIVE, timeout=0.8), udp(SIXTYSIX, timeout=0.8), ping(FIVE), ping(SIXTYSIX),
    )  # fmt: skip


def split(folder: Path, at: float) -> tuple[Path, Path]:
    """The records of before and after a moment."""
    halves = folder / "before.jsonl", folder / "after.jsonl"
    with halves[0].open("w") as before, halves[1].open("w") as after:
        for line in (
            gzip.decompress((folder / "flows.jsonl.gz").read_bytes()).decode().splitlines(True)
        ):
            file = before if seconds(json.loads(line)["time"]) < at else after
            file.write(line)
    return halves


def seconds(time: str) -> float:
    return datetime.fromisoformat(time[:26].rstrip("Z") + "+00:00").timestamp()


def denied(truth: dict[str, Any], since: float) -> dict[Where, bool]:
    """By destination: whether the kernel denied what was tried after a moment."""
    return {where(one): one["by_policy"] for one in truth["attempts"] if one["t"] >= since}


def asked(*words: str | Path) -> dict[str, Any]:
    done = flowwatch(*words, "-o", "json")
    assert done.returncode in (0, 1), done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def rows(said: list[dict[str, Any]]) -> Iterator[tuple[Where, dict[str, Any]]]:
    """Those of the application's egress, by destination."""
    for row in said:
        if row["direction"] == "egress" and row["subject"] == "weather/weather-app":
            yield (NAMED.get(row["peer"], row["peer"]), row["protocol"], row["port"]), row


@pytest.mark.parametrize("name", TEN)
def test_flowwatch_says_what_the_kernel_does(name: str, tmp_path: Path) -> None:
    with Lab(name) as lab:
        tries(lab)
        lab.policy(f"{name}.yaml")
        tries(lab)
        lab.save(tmp_path)
    truth = json.loads((tmp_path / "truth.json").read_text())
    [stage] = truth["stages"]
    before, after = split(tmp_path, stage["t"])
    file, kernel = tmp_path / f"{name}.yaml", denied(truth, stage["t"])
    compared = {"what-if": 0, "audit": 0, "explain": 0, "diff": 0}

    for at, row in rows(asked("whatif", "-f", file, "--input-file", before)["rows"]):
        if row["then"] == "unknown":
            assert name in BY_NAMES, row
            continue
        assert (row["then"] == "denied") == kernel[at], row
        compared["what-if"] += 1

    report = asked("audit", "-f", file, "--input-file", after)
    for at, row in rows(report["findings"]):
        if row["kind"] == "inconclusive":
            assert name in BY_NAMES, row
            continue
        assert row["kind"] == "ok", row
        assert (row["observed"] == "dropped") == kernel[at], row
        compared["audit"] += 1

    policies = load([(file.name, file.read_text())])
    pod = read_end(POD_NAME, "app=weather-app")
    # Nothing was in force before: whatever the kernel denies now was let through then.
    difference = compare(load([]), policies)
    for (address, protocol, port), held in kernel.items():
        to, labels = OF_PODS.get(address, (f"[{address}]" if ":" in address else address, ""))
        answer, *_ = explain(policies, pod, read_end(f"{to}:{port}", labels), protocol)
        if answer.decision.decision == "cant_tell":
            assert name in BY_NAMES, answer
            continue
        assert (answer.decision.decision == "denied") == held, answer
        compared["explain"] += 1
        subject, peer = pod.party, read_end(to, labels).party
        kinds = {one.kind for one in difference.about("egress", subject, peer, protocol, port)}
        assert ("newly denied" in kinds) == held, (kinds, address, protocol, port)
        compared["diff"] += 1

    print(f"{name}: {len(kernel)} destinations, {sum(kernel.values())} denied; agreed: {compared}")
    assert min(compared.values()) >= (6 if name in BY_NAMES else 10)
    if name in MISTAKES:
        assert MISTAKES[name] in json.dumps(report)


OF_PODS = {
    CACHE: ("weather/cache-0", "app=cache"),
    network.DNS: ("kube-system/coredns", "k8s-app=kube-dns"),
}


WATCHED = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: watch-names, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress:
  - toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system}}]
    toPorts: [{ports: [{port: "53", protocol: UDP}], rules: {dns: [{matchPattern: "*"}]}}]
  - toEntities: [all]
"""


def test_a_draft_lets_pass_what_was_needed_and_nothing_else(tmp_path: Path) -> None:
    def needed(lab: Lab) -> list[dict[str, Any]]:
        said = lab.tries(dns("api.openweathermap.org"))
        return said + lab.tries(tcp(FIVE), tcp(CACHE), udp(TELEMETRY))

    others = [
        tcp(FIVE, 5432, timeout=0.8), tcp(SIXTYSIX, timeout=0.8), tcp(CACHE, 5432, timeout=0.8),
        udp(TELEMETRY, 5002, timeout=0.8), tcp(TELEMETRY, 443, timeout=0.8), ping(FIVE),
    ]  # fmt: skip
    with Lab("draft") as lab:
        lab.policy("watch-names.yaml", text=WATCHED)
        needed(lab)
        lab.kernel()
        drafted = flowwatch("draft", "--server", lab.server, "--last", "65535")
        assert drafted.returncode == 0, drafted.stderr
        lab.policy("draft.yaml", text=drafted.stdout)
        good, bad = needed(lab), lab.tries(*others)
        truth = lab.truth()

    assert [one["result"] for one in good] == ["ok"] * 4, drafted.stdout
    assert [one["result"] for one in bad] == ["timeout"] * 6, drafted.stdout
    after = denied(truth, truth["stages"][1]["done"])
    assert sum(after.values()) == len(others)
    assert len(after) == len(others) + 4


def test_what_if_of_a_policy_in_another_s_place_is_what_then_happens(tmp_path: Path) -> None:
    with Lab("swap") as lab:
        lab.policy("only-five.yaml")
        tries(lab)
        lab.policy("only-sixtysix.yaml")
        tries(lab)
        lab.save(tmp_path)
    truth = json.loads((tmp_path / "truth.json").read_text())
    then, now = truth["stages"][1]["t"], truth["stages"][0]["t"]
    before, after = split(tmp_path, then)
    first = denied({"attempts": [one for one in truth["attempts"] if one["t"] < then]}, now)
    second = denied(truth, then)
    changed = {at: second[at] for at in second if second[at] != first[at]}
    sets = [
        load([(name, (POLICIES / name).read_text())])
        for name in ("only-five.yaml", "only-sixtysix.yaml")
    ]
    difference, pod = compare(*sets), read_end(POD_NAME, "app=weather-app").party
    for (address, protocol, port), held in second.items():
        to, labels = OF_PODS.get(address, (f"[{address}]" if ":" in address else address, ""))
        kinds = {
            one.kind
            for one in difference.about("egress", pod, read_end(to, labels).party, protocol, port)
        }
        turned = {"newly denied" if held else "newly allowed"}
        assert kinds == (turned if (address, protocol, port) in changed else set())

    new, old = POLICIES / "only-sixtysix.yaml", POLICIES / "only-five.yaml"
    report = asked("whatif", "-f", new, "--current", old, "--input-file", before)
    told = {
        at: row["change"] == "newly denied"
        for at, row in rows(report["rows"])
        if row["change"] != "unchanged"
    }
    assert told == changed
    assert set(changed.values()) == {True, False}
    changes = asked("changes", "--input-file", tmp_path / "flows.jsonl.gz")
    # What was in force from the beginning came unseen.
    assert len(changes["marks"]) == 1
    for stage, text in zip(truth["stages"], (old, new), strict=True):
        half = before if stage["policy"] == "only-five.yaml" else after
        findings = asked("audit", "-f", text, "--input-file", half)["findings"]
        assert {row["kind"] for _, row in rows(findings)} == {"ok"}
