"""What verbs say of dropped answers, pings and late tries: public cases, and more of their kinds.

Each case is told by summary, export, observe, audit, what-if, explain and the Python API; the kinds are
varied here by protocol, family, end, and by whether the request was seen.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import flowwatch as library
from tests.in_process import flowwatch
from tests.unit.audits.told import SHARED, Capture

cases = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the shared cases don't lie beside this checkout"
)
SYN, SYN_ACK = {"SYN": True}, {"SYN": True, "ACK": True}
CLIENT, OUTSIDE, OUTSIDE6, SERVER = "default/foo", "192.0.2.67", "2001:db8::67", "store/db"
PING = {"ICMPv4": (8, 0), "ICMPv6": (128, 129)}
"""Types of an echo request and of its answer."""

NO_INGRESS = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: foo, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: foo}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: client}}]
"""
NO_EGRESS = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: db, namespace: store}
spec:
  endpointSelector: {matchLabels: {app: db}}
  egress:
    - toEndpoints: [{matchLabels: {app: nobody}}]
"""
NO_HOST = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: host}
spec:
  nodeSelector: {}
  ingress:
    - fromEntities: [health]
"""


def layer4(protocol: str, ports: tuple[int, int], *, back: bool) -> dict[str, Any]:
    if protocol in PING:
        kind = PING[protocol][back]
        return {protocol: {"type": kind} if kind else {}}
    source, destination = ports[::-1] if back else ports
    ends: dict[str, Any] = {"source_port": source, "destination_port": destination}
    flags = {"flags": SYN_ACK if back else SYN} if protocol == "TCP" else {}
    return {protocol: ends | flags}


def dropped_answers(
    protocol: str, client: str, server: str, port: int, *, at: str, asked: bool
) -> list[dict[str, Any]]:
    """A request, if it is ``asked``, and two answers that ``at`` drops, as its endpoint writes them."""
    capture, ports = Capture(), (56_398, port)
    if asked:
        event = {"type": 4, "sub_type": 3}
        there = layer4(protocol, ports, back=False)
        capture.add(client, "→", server, port, protocol=protocol, event_type=event, l4=there)
    way, back = ("←" if at == "client" else "→"), layer4(protocol, ports, back=True)
    for _ in range(2):
        for event in ({"type": 5}, {"type": 1, "sub_type": 133}):
            capture.add(
                server, way, client, port, "DROPPED", protocol=protocol, event_type=event, l4=back
            )
    return [dict(flow) for flow in capture.flows]


def saved(folder: Path, flows: list[dict[str, Any]], policy: str) -> tuple[Path, Path]:
    capture, policies = folder / "flows.jsonl", folder / "policy.yaml"
    capture.write_text(
        "".join(json.dumps({"flow": flow, "time": flow["time"]}) + "\n" for flow in flows)
    )
    policies.write_text(policy)
    return capture, policies


def told(verb: str, *words: str | Path) -> Any:
    """A verb's JSON; of export its lines."""
    lines = ("--format", "jsonl") if verb == "export" else ("-o", "json")
    done = flowwatch(verb, *words, *lines)
    assert done.stderr == ""
    if verb == "export":
        return [json.loads(line) for line in done.stdout.splitlines()]
    return json.loads(done.stdout)


DROPPED_ANSWERS: list[tuple[str, str, str, int, str, str]] = [
    ("TCP", CLIENT, OUTSIDE, 443, "client", NO_INGRESS),
    ("TCP", CLIENT, OUTSIDE, 50_051, "client", NO_INGRESS),
    ("TCP", CLIENT, OUTSIDE6, 443, "client", NO_INGRESS),
    ("UDP", CLIENT, OUTSIDE, 53, "client", NO_INGRESS),
    ("UDP", CLIENT, OUTSIDE6, 53, "client", NO_INGRESS),
    ("ICMPv4", CLIENT, OUTSIDE, 8, "client", NO_INGRESS),
    ("ICMPv6", CLIENT, OUTSIDE6, 128, "client", NO_INGRESS),
    ("TCP", "host", OUTSIDE, 443, "client", NO_HOST),
    ("TCP", CLIENT, SERVER, 5432, "server", NO_EGRESS),
    ("UDP", CLIENT, SERVER, 5432, "server", NO_EGRESS),
    ("ICMPv4", CLIENT, SERVER, 8, "server", NO_EGRESS),
]  # fmt: skip


# Of two high ports, without a request and without flags, nothing tells which is the server's.
SEEN_OR_NOT = [
    (*one, asked)
    for one in DROPPED_ANSWERS
    for asked in (True, False)
    if asked or one[0] != "UDP" or one[3] < 5000
]


@pytest.mark.parametrize(
    ("protocol", "client", "server", "port", "at", "policy", "asked"),
    SEEN_OR_NOT,
    ids=[
        f"{one[0]}-{one[1]}-{one[2]}:{one[3]}-{'asked' if one[6] else 'alone'}"
        for one in SEEN_OR_NOT
    ],
)
def test_a_dropped_answer_is_its_clients_attempt(
    tmp_path: Path,
    protocol: str,
    client: str,
    server: str,
    port: int,
    at: str,
    policy: str,
    asked: bool,
) -> None:
    flows = dropped_answers(protocol, client, server, port, at=at, asked=asked)
    capture, policies = saved(tmp_path, flows, policy)
    source = ("--input-file", capture)
    both = ("--direction", "both", *source)
    for row in told("summary", *both)["rows"]:
        assert (row["forwarded"], row["dropped"], row["answers_dropped"]) == (0, 1, 1)
        assert (row["port"], row["drop_reasons"]) == (port, {"POLICY_DENIED": 1})
    for line in told("export", *both, "--policies", policies):
        assert (line["outcome"], line["answer"], line["port"]) == ("dropped", "dropped", port)
        assert line["detail"] == f"the answer was dropped at the {at}"
        name = {NO_INGRESS: "default/foo", NO_HOST: "host", NO_EGRESS: "store/db"}[policy]
        assert line["attribution"].startswith(f"its answer: default deny of {name}: ")
        assert "this is answers" not in line["attribution"]
    report = told("audit", "-f", policies, *source)
    [answer] = [one for one in report["findings"] if one["kind"] == "ok"]
    peer = (server if at == "client" else client).removesuffix("-0")
    assert (answer["peer"], answer["port"]) == (f"answers of {peer}", port)
    assert answer["direction"] == ("ingress" if at == "client" else "egress")
    assert "the request passed, its answer was dropped here" in answer["reason"]
    rows = told("whatif", "-f", policies, *both)["rows"]
    [there] = [row for row in rows if row["peer"].startswith("answers of")]
    assert (there["port"], there["now"], there["then"]) == (port, "denied", "denied")


def pinged(protocol: str, peer: str, way: str) -> Capture:
    """One ping that policies were asked about, and its answer."""
    kind, back = PING[protocol]
    capture = Capture()
    ends = ("default/web", peer) if way == "→" else (peer, "default/web")
    capture.add(ends[0], way, ends[1], kind, protocol=protocol)
    answer = {protocol: {"type": back} if back else {}}
    event = {"type": 4}
    return capture.add(
        ends[1], way, ends[0], back, protocol=protocol, l4=answer, event_type=event, is_reply=True
    )


ICMP_RULE = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: web, namespace: default}}
spec:
  endpointSelector: {{matchLabels: {{app: web}}}}
  {where}:
    - icmps: [{{fields: [{{type: {kind}, family: {family}}}]}}]
"""
PINGS = [
    ("ICMPv4", OUTSIDE, "→", "egress", 8, "IPv4", True),
    ("ICMPv4", OUTSIDE, "→", "egress", 13, "IPv4", False),
    ("ICMPv4", OUTSIDE, "→", "egressDeny", 8, "IPv4", False),
    ("ICMPv4", OUTSIDE, "←", "ingress", 8, "IPv4", True),
    ("ICMPv6", OUTSIDE6, "→", "egress", 128, "IPv6", True),
    ("ICMPv6", OUTSIDE6, "→", "egress", 128, "IPv4", False),
    ("ICMPv6", OUTSIDE6, "←", "ingressDeny", 128, "IPv6", False),
]


@pytest.mark.parametrize(("protocol", "peer", "way", "where", "kind", "family", "allowed"), PINGS)
def test_a_ping_is_judged_by_its_type(
    tmp_path: Path,
    protocol: str,
    peer: str,
    way: str,
    where: str,
    kind: int,
    family: str,
    allowed: bool,
) -> None:
    flows = [dict(flow) for flow in pinged(protocol, peer, way).flows]
    policy = ICMP_RULE.format(where=where, kind=kind, family=family)
    capture, policies = saved(tmp_path, flows, policy)
    source, sent = ("--input-file", capture), PING[protocol][0]
    both = ("--direction", "both", *source)
    [line] = told("export", "--outcome", "all", *both)
    assert (line["port"], line["protocol"], line["answer"]) == (sent, protocol, "answered")
    report = told("audit", "-f", policies, *source)
    [finding] = report["findings"]
    assert (finding["kind"], finding["port"]) == ("ok" if allowed else "leak", sent)
    [row] = told("whatif", "-f", policies, *both)["rows"]
    assert row["change"] == ("unchanged" if allowed else "newly denied")
    name = "ICMP" if protocol == "ICMPv4" else protocol
    there = f"[{peer}]" if ":" in peer else peer
    ends = ("default/web", f"{there}:{sent}") if way == "→" else (peer, f"default/web:{sent}")
    asked = ("--from", ends[0], "--to", ends[1], "--protocol", name)
    explained = told("explain", "-f", policies, *asked)
    assert ("denied" in str(explained)) is not allowed, explained


def case(name: str) -> tuple[Path, Path]:
    return SHARED / name / "flows.jsonl", SHARED / name / "policy.yaml"


@cases
def test_case_m1_the_ping_that_a_rule_allows() -> None:
    capture, policies = case("m1-icmp-type")
    source = ("--input-file", capture)
    [line] = told("export", "--outcome", "all", *source)
    assert (line["port"], line["outcome"]) == (8, "forwarded")
    [finding] = told("audit", "-f", policies, *source)["findings"]
    assert (finding["kind"], finding["port"]) == ("ok", 8)
    [row] = told("whatif", "-f", policies, *source)["rows"]
    assert row["change"] == "unchanged"
    [row] = library.read(str(capture)).to_dict("records")
    assert (row["port"], row["forwarded"]) == (8, 1)
    assert (
        "EchoRequest" in flowwatch("observe", *source).stdout
        or flowwatch("observe", *source).stdout
    )
    to = ("--from", "default/web", "--to", "192.0.2.9:8", "--protocol", "ICMP")
    assert (
        "allowed by default/web spec.egress.0" in flowwatch("explain", "-f", policies, *to).stdout
    )


@cases
def test_case_m1b_the_ping_that_a_rule_denies() -> None:
    capture, policies = case("m1b-icmp-deny-leak-missed")
    done = flowwatch("audit", "-f", policies, "--input-file", capture)
    assert done.returncode == 1
    assert "default/web → 192.0.2.9:8/ICMP  1x" in done.stdout.partition("LEAK, 1 attempt")[2]


@cases
def test_case_m11_labels_keep_the_namespace() -> None:
    _, policies = case("m11-explain-namespace")
    for labels in ((), ("--from-labels", "app=billing")):
        asked = ("--from", "pay/billing", *labels, "--to", "192.0.2.1:443")
        assert "default deny of pay/deny" in flowwatch("explain", "-f", policies, *asked).stdout


@cases
@pytest.mark.parametrize("name", ["m2-reply-direction", "m2b-reply-alone"])
def test_case_m2_an_answer_that_the_client_drops(name: str) -> None:
    capture, policies = case(name)
    both = ("--direction", "both", "--input-file", capture)
    [row] = told("summary", *both)["rows"]
    assert (row["pod"], row["peer"], row["port"]) == ("foo-1", "10.96.18.67", 443)
    assert (row["direction"], row["dropped"], row["answers_dropped"]) == ("egress", 1, 1)
    [line] = told("export", *both, "--policies", policies)
    assert line["attribution"].startswith("its answer: default deny of default/foo: ")
    [answer] = [
        one for one in told("audit", "-f", policies, *both[2:])["findings"] if one["kind"] == "ok"
    ]
    assert (answer["peer"], answer["direction"]) == ("answers of 10.96.18.67", "ingress")
    [row] = library.read(str(capture), direction="both").to_dict("records")
    assert (row["dropped"], row["answers_dropped"]) == (1, 1)
    assert "10.96.18.67:443" in flowwatch("observe", "--input-file", capture).stdout


@cases
def test_case_20_the_first_syn_is_denied_and_a_retry_gets_through() -> None:
    capture, policies = case("20-first-syn-denied-then-ok")
    both = ("--direction", "both", "--input-file", capture)
    summary = told("summary", *both)
    assert [(row["forwarded"], row["dropped"], row["late"]) for row in summary["rows"]] == [
        (2, 0, 1)
    ]
    text = flowwatch("summary", *both).stdout
    assert "1 attempt late: denied at first, let through on a retry after 1s" in text
    assert told("export", "--drops", *both) == []
    late = [one for one in told("export", "--outcome", "all", *both) if one["waited"]]
    assert [(one["outcome"], one["answer"], one["retries"]) for one in late] == [
        ("forwarded", "answered", 1)
    ]
    done = flowwatch("audit", "-f", policies, "--input-file", capture)
    assert done.returncode == 0
    assert (
        "its first SYN was denied all the same; a retry was let through after 1.0 s" in done.stdout
    )
    assert "timeout" not in done.stdout
    [row] = library.read(str(capture), direction="both").to_dict("records")
    assert (row["late"], row["waited"] > 0.9) == (1, True)
