"""What goes wrong with DNS names: told as what happened, not only as a drop."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowwatch.audits.audit import Audit
from flowwatch.audits.findings import AuditReport
from flowwatch.policy import load
from flowwatch.sources.files import FileSource
from tests.unit.audits import planted, told
from tests.unit.audits.planted import API, APP, CORRECT, End
from tests.unit.audits.told import Capture

NODE_LOCAL = """\
    - toEntities: [host]
      toPorts: [{ports: [{port: "53", protocol: UDP}]}]
"""


def audited(policy: str, traffic: str, folder: Path) -> AuditReport:
    path = folder / "flows.jsonl"
    path.write_text(traffic)
    return Audit(load([("policy.yaml", policy)])).read(FileSource([path]).batches())


def hints(report: AuditReport) -> dict[str, str]:
    return {one.name: one.text for one in report.hints}


def test_a_forbidden_name_at_the_address_of_an_allowed_one(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in planted.capture(CORRECT).splitlines()]
    for line in lines:
        if line["flow"].get("destination_names") == [API.dns]:
            line["flow"]["destination_names"] = [API.dns, "tracker.example"]
    report = audited(CORRECT, "".join(json.dumps(line) + "\n" for line in lines), tmp_path)
    assert hints(report) == {
        "shared-address": "spec.egress.1 allows api.openweathermap.org; tracker.example has the same "
        "address (93.184.216.34), and passes by it"
    }
    [hint] = report.hints
    assert (hint.line, hint.attempts) == (12, 3)


def test_a_rule_for_what_an_alias_leads_to(tmp_path: Path) -> None:
    policy = CORRECT.replace("api.openweathermap.org", "edge.cdn.example")
    lines = [json.loads(line) for line in planted.capture(policy).splitlines()]
    for line in lines:
        if dns := line["flow"].get("l7"):
            dns["type"] = "RESPONSE"
            dns["dns"] |= {"ips": [API.ip], "cnames": ["edge.cdn.example."]}
    report = audited(policy, "".join(json.dumps(line) + "\n" for line in lines), tmp_path)
    assert hints(report)["name-behind-an-alias"] == (
        "spec.egress.1 allows edge.cdn.example; the pod asks for api.openweathermap.org, which leads there "
        "by CNAME, and only the name asked for counts: allow api.openweathermap.org"
    )


def test_lookups_that_pass_beside_the_dns_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = End("", "10.0.0.5", ("reserved:host",))
    monkeypatch.setattr(planted, "_endpoint", _with_host(planted._endpoint))
    monkeypatch.setattr(planted, "TRIES", [(APP, host, "UDP", 53), (APP, API, "TCP", 443)])
    policy = CORRECT + NODE_LOCAL
    traffic = "".join(
        line + "\n" for line in planted.capture(policy).splitlines() if '"l7"' not in line
    )
    report = audited(policy, traffic, tmp_path)
    text = hints(report)["lookups-beside-the-proxy"]
    assert text.startswith(
        "spec.egress.1 allows DNS names, but lookups at host pass without DNS rules"
    )
    assert "node-local DNS?" in text


def test_lookups_through_the_proxy_are_no_mistake(tmp_path: Path) -> None:
    assert hints(audited(CORRECT, planted.capture(CORRECT), tmp_path)) == {}


@pytest.mark.parametrize(
    ("label", "told"), [("cidr:93.184.216.34/32", True), (f"fqdn:{API.dns}", False)]
)
def test_a_name_that_expired_while_the_application_kept_the_address(
    tmp_path: Path, label: str, told: bool
) -> None:
    without = CORRECT.replace("api.openweathermap.org", "other.example")
    lines = [json.loads(line) for line in planted.capture(without).splitlines()]
    for line in lines:
        if line["flow"].get("destination_names") == [API.dns]:
            line["flow"]["destination"]["labels"] = [label, "reserved:world"]
    report = audited(CORRECT, "".join(json.dumps(line) + "\n" for line in lines), tmp_path)
    [finding] = [one for one in report.findings if one.kind == "overblock"]
    assert finding.peer == API.dns
    assert ("Cilium did not know the address by that name then" in finding.reason) is told


def _with_host(endpoint: object) -> object:
    def made(end: End) -> dict[str, object]:
        if end.labels == ("reserved:host",):
            return {"identity": 1, "labels": ["reserved:host"]}
        return endpoint(end)  # type: ignore[operator, no-any-return]

    return made


NAMED = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toPorts: [{ports: [{port: "53"}], rules: {dns: [{matchPattern: "*"}]}}]
    - toFQDNs: [{matchName: mq.example}]
"""


@pytest.mark.parametrize(
    ("ttl", "labels", "words"),
    [
        (300, ["reserved:world"],
         "mq.example was answered 1 s before, TTL 300 s, through the DNS proxy: the agent had the answer, "
         "and did not apply it"),
        (300, ["fqdn:*.example", "reserved:world"],
         "the address' identity carries fqdn:*.example, another rule's name, and not mq.example (mq.example "
         "was answered 1 s before, TTL 300 s): the agent did not apply this rule to it"),
    ],
    ids=["not applied", "under another rule"],
)  # fmt: skip
def test_a_drop_although_the_name_was_answered_is_the_agents_doing(
    ttl: int, labels: list[str], words: str, tmp_path: Path
) -> None:
    flows = Capture().answer("shop/web", "mq.example", "192.0.2.9", ttl)
    flows.add("shop/web", "→", "192.0.2.9", 5672, "DROPPED")
    flows.flows[-1]["destination"] = {"identity": 16777300, "labels": labels}
    flows.flows[-1]["time"] = "2026-01-31T10:00:01.500000000Z"
    [finding] = [
        one for one in told.audited(NAMED, flows, tmp_path).findings if one.kind == "overblock"
    ]
    assert finding.reason == f"allowed by shop/web spec.egress.1 (line 8); {words}"


def test_a_drop_after_the_answer_expired_says_for_how_long(tmp_path: Path) -> None:
    flows = Capture().answer("shop/web", "mq.example", "192.0.2.9", 20)
    flows.add("shop/web", "→", "192.0.2.9", 5672, "DROPPED", time="2026-01-31T10:01:00.500000000Z")
    report = told.audited(NAMED, flows, tmp_path)
    [incident] = report.incidents
    assert incident.name == "name-expired"
    assert "40 s before the drop" in incident.text
    assert not report.failed


def test_m8_the_answer_is_in_the_capture(tmp_path: Path) -> None:
    folder = told.SHARED / "m8-fqdn-reason"
    if not folder.is_dir():
        pytest.skip("no m8-fqdn-reason beside the checkout")
    policy = (folder / "policy.yaml").read_text()
    text = told.said(told.audited(policy, folder / "flows.jsonl", tmp_path))
    assert "mq.example was answered 0.2 s before, TTL 300 s" in text
    assert "the agent had the answer, and did not apply it" in text
    assert "expired" not in text
