"""What a mask, an aggregate's key or redaction left out isn't recorded: nothing follows from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowwatch.audits.findings import AuditReport
from tests.unit.audits.told import Capture, attributed, audited, endpoint, said

WEB = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - RULE
"""
TO_API = "toEndpoints: [{matchLabels: {app: api}}]"
TO_BLOCK = "toCIDR: [203.0.113.0/24]"
TO_NAME = "toFQDNs: [{matchName: example.com}]"
TO_WORLD = "toEntities: [world]"
UNLABELLED = {"namespace": "shop", "pod_name": "web-0"}
WORLD = {"identity": 2, "labels": ["reserved:world"]}


def kinds(report: AuditReport) -> list[tuple[str, str]]:
    return [(one.kind, one.reason) for one in report.findings]


def masked(**fields: Any) -> Capture:
    """One record of a TCP connection in the egress of shop/web, as a mask leaves it (None: left out)."""
    flows = Capture()
    flows.add("shop/web", "→", "shop/api", 8080, protocol="TCP")
    kept = {"event_type": None, "is_reply": None, "uuid": None, **fields}
    flow = {**flows.flows[0], **kept}
    flows.flows = [
        {key: value for key, value in flow.items() if value is not None or key == "node"}
    ]
    return flows


NOTHING_FOLLOWS: dict[str, tuple[str, dict[str, Any], str]] = {
    "labels of the pod": (
        TO_WORLD,
        {"source": UNLABELLED},
        "the record has no labels of the pod: its identity was not known, or a field mask left them out",
    ),
    "labels of the other end": (
        TO_WORLD,
        {"destination": {"namespace": "shop", "pod_name": "api-0"}},
        "the record has no labels of the other end",
    ),
    "all of the other end, but for an address that may be a pod's": (
        TO_WORLD,
        {"destination": {}},
        "the record doesn't say who the other end is",
    ),
    "whether it is an answer": (
        TO_WORLD,
        {"l4": {"UDP": {"destination_port": 50_000}}},
        "the record doesn't say whether it is of an answer: a field mask or an aggregate's key left it out",
    ),
    "the verdict, and so what became of it": (
        TO_WORLD,
        {"verdict": None, "aggregate": {"egress_flow_count": 3}},
        "the record has no verdict",
    ),
    "the port": (TO_WORLD, {"l4": {"TCP": {}}}, "the record has no port"),
    "the protocol": (TO_WORLD, {"l4": None}, "the record has no protocol"),
    "why it was dropped": (
        TO_API,
        {"verdict": "DROPPED"},
        "dropped, and the record doesn't say why: the reason isn't recorded",
    ),
    "an address that a block asks for": (
        TO_BLOCK,
        {"destination": WORLD, "IP": None},
        "the record has no address of the other end, and rules are about addresses",
    ),
    "an address that a name asks for": (
        TO_NAME,
        {"destination": WORLD, "IP": None},
        "the record has no address of the other end, so no DNS name of it",
    ),
}


@pytest.mark.parametrize("left_out", NOTHING_FOLLOWS)
def test_what_is_left_out_leaves_it_open(left_out: str, tmp_path: Path) -> None:
    rule, fields, why = NOTHING_FOLLOWS[left_out]
    report = audited(WEB.replace("RULE", rule), masked(**fields), tmp_path)
    assert kinds(report) == [("inconclusive", why)]


def test_a_block_may_mean_a_pod_whose_address_is_left_out(tmp_path: Path) -> None:
    """Where policy-cidr-match-mode has pods, and no record says which address the pod has."""
    [(kind, why)] = kinds(audited(WEB.replace("RULE", TO_BLOCK), masked(IP=None), tmp_path))
    assert kind == "inconclusive"
    assert "where policy-cidr-match-mode has pods" in why


def test_what_needs_nothing_of_it_is_judged(tmp_path: Path) -> None:
    """No rule of this policy asks for an address, and a drop by policy needs no flags."""
    flow = masked(destination=WORLD, IP=None, verdict="DROPPED", drop_reason_desc="POLICY_DENIED")
    [(kind, why)] = kinds(audited(WEB.replace("RULE", TO_API), flow, tmp_path))
    assert (kind, why.partition(":")[0]) == ("ok", "default deny of shop/web")


def test_policies_may_select_whom_a_mask_hides(tmp_path: Path) -> None:
    report = audited(WEB.replace("RULE", TO_API), masked(source=UNLABELLED), tmp_path)
    [use] = report.policies
    assert (use.subjects, use.unlabelled, use.rules[0].perhaps) == ((), 1, 1)
    text = said(report)
    assert "selects nothing that was seen with labels, but 1 attempt has none recorded" in text
    assert "PROBABLE MISTAKES" not in text


def test_rules_may_have_been_needed_by_what_a_mask_hides(tmp_path: Path) -> None:
    report = audited(WEB.replace("RULE", TO_API), masked(l4=None), tmp_path)
    assert "never exercised for certain: 1 attempt may have needed it" in said(report)


def test_attribution_concludes_nothing_either(tmp_path: Path) -> None:
    dropped = {"verdict": "DROPPED", "drop_reason_desc": "POLICY_DENIED"}
    policy = WEB.replace("RULE", TO_API)
    assert attributed(policy, masked(**dropped, source=UNLABELLED), tmp_path) == [
        "can't tell: the record has no labels of the pod: its identity was not known, or a field mask "
        "left them out"
    ]
    assert attributed(policy, masked(verdict="DROPPED"), tmp_path) == [
        "dropped, and the record doesn't say why: the reason isn't recorded"
    ]


def test_a_record_without_a_direction_shows_no_leak_at_the_other_end(tmp_path: Path) -> None:
    """It may be of the client's node: whether the server's let it in, nothing shows."""
    policy = WEB.replace("app: web", "app: api").replace("egress", "ingress")
    policy = policy.replace("RULE", "fromEndpoints: [{matchLabels: {app: cron}}]")
    report = audited(policy, masked(traffic_direction=None), tmp_path)
    [ingress] = [one for one in report.findings if one.direction == "ingress"]
    assert ingress.kind == "inconclusive"
    assert ingress.reason == "the record has no direction: nothing shows that it passed here"


def test_aggregated_lines_show_no_leak(tmp_path: Path) -> None:
    """What passed here may be what another line says was refused by the proxy."""
    report = audited(
        WEB.replace("RULE", TO_WORLD), masked(aggregate={"egress_flow_count": 3}), tmp_path
    )
    assert kinds(report) == [
        (
            "inconclusive",
            "aggregated: packets passed here, and what became of their attempts is in no line",
        )
    ]


def test_aggregated_answers_are_no_leak_of_the_server(tmp_path: Path) -> None:
    """UDP has no flags: without is_reply coredns' answers look as if it asked the pod."""
    flows = Capture()
    flows.flows = [
        {
            "time": "2026-01-31T10:00:00Z", "verdict": "FORWARDED", "node_name": "",
            "source": {**endpoint("shop/web"), "pod_name": ""},
            "destination": {**endpoint("kube-system/coredns"), "pod_name": ""},
            "l4": {"UDP": {"destination_port": 51_000}}, "traffic_direction": "EGRESS",
            "aggregate": {"egress_flow_count": 3},
        }
    ]  # fmt: skip
    report = audited(WEB.replace("RULE", TO_API), flows, tmp_path)
    assert [one.kind for one in report.findings] == ["inconclusive"]
    assert report.blind.coverage.aggregated_records == 3


HTTP = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: api, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: api}}
  ingress:
    - fromEndpoints: [{matchLabels: {app: web}}]
      toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules: {http: [{path: "PATH"}]}
"""
HIDES = "the agent hides queries of URLs, and the path is matched with them"
HIDDEN = [{"key": "Accept", "value": "HUBBLE_REDACTED"}]


def requests(*urls: str, headers: list[dict[str, str]]) -> Capture:
    """A request to each URL that the proxy let through."""
    flows = Capture()
    for url in urls:
        flows.http("shop/web", "←", "shop/api", 80, "GET")
        l7: Any = flows.flows[-1]["l7"]
        l7["http"] = {**l7["http"], "url": url, "headers": headers}
    return flows


REDACTED: dict[str, tuple[str, tuple[str, ...], list[dict[str, str]], list[tuple[str, str]]]] = {
    "the path has to end there": (
        "/items",
        ("http://api/items",),
        HIDDEN,
        [("inconclusive", HIDES)],
    ),
    "whatever comes then": ("/items.*", ("http://api/items",), HIDDEN, [("ok", "allowed by")]),
    "another path": (
        "/items",
        ("http://api/other",),
        HIDDEN,
        [("leak", "GET http://api/other passed, though no L7 rule allows it")],
    ),
    "the agent shows queries": (
        "(/items|/other.*)",
        ("http://api/other?x=1", "http://api/items"),
        HIDDEN,
        [("ok", "allowed by"), ("ok", "allowed by")],
    ),
    "the agent hides nothing": (
        "/items",
        ("http://api/items",),
        [{"key": "Accept", "value": "*/*"}],
        [("ok", "allowed by")],
    ),
}


@pytest.mark.parametrize("case", REDACTED)
def test_queries_that_the_agent_hides_may_have_been_there(case: str, tmp_path: Path) -> None:
    path, urls, headers, told = REDACTED[case]
    flows = requests(*urls, headers=headers)
    report = audited(HTTP.replace("PATH", path), flows, tmp_path)
    found = [(one.kind, one.reason) for one in report.findings for _ in range(one.attempts)]
    assert [
        (kind, why[: len(text)]) for (kind, why), (_, text) in zip(found, told, strict=True)
    ] == told
