"""Clusters that are set up otherwise: what an audit says there, and what it says where nobody said it."""

from __future__ import annotations

from pathlib import Path

from flowwatch.audits.audit import Audit
from flowwatch.audits.findings import AuditReport
from flowwatch.audits.whatif import WhatIf
from flowwatch.policy import AgentOptions, load
from flowwatch.report.audit.text import audit_lines
from flowwatch.report.summary_table import Style
from flowwatch.sources.files import FileSource
from tests.unit.audits.told import Capture, endpoint

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toCIDR: [10.0.0.0/8]
"""


def audited(flows: Capture, folder: Path, **options: object) -> AuditReport:
    known = AgentOptions(**{"cluster": "default", "origin": "cilium.yaml", **options})  # type: ignore[arg-type]
    return judged(flows, folder, known if options else AgentOptions())


def judged(flows: Capture, folder: Path, options: AgentOptions) -> AuditReport:
    policies = load([("policy.yaml", POLICY)], options=options)
    return Audit(policies).read(FileSource([str(flows.write(folder))]).batches())


def found(report: AuditReport) -> list[tuple[str, str, str]]:
    return [(one.kind, one.subject, one.peer) for one in report.findings]


def cache_allowed() -> Capture:
    """A pod in 10.0.0.0/8 is reached, which a block of addresses mostly doesn't mean."""
    return Capture().add("shop/web", "→", "shop/cache", 6379)


def test_a_pod_in_a_block_is_allowed_where_blocks_mean_pods(tmp_path: Path) -> None:
    [leak] = found(audited(cache_allowed(), tmp_path, cidr_match_mode=()))
    assert leak == ("leak", "shop/web", "shop/cache")
    [fine] = found(audited(cache_allowed(), tmp_path, cidr_match_mode=("pods",)))
    assert fine == ("ok", "shop/web", "shop/cache")
    [leak] = found(audited(cache_allowed(), tmp_path, cidr_match_mode=("nodes",)))
    assert leak[0] == "leak"


def test_a_node_in_a_block_is_allowed_where_blocks_mean_nodes(tmp_path: Path) -> None:
    flows = Capture()
    flows.add("shop/web", "→", "remote-node", 443)
    assert found(audited(flows, tmp_path, cidr_match_mode=("pods",)))[0][0] == "leak"
    assert found(audited(flows, tmp_path, cidr_match_mode=("nodes",)))[0][0] == "ok"


def test_what_a_mode_would_explain_can_t_be_told_where_nobody_said_it(tmp_path: Path) -> None:
    [one] = audited(cache_allowed(), tmp_path).findings
    assert (one.kind, one.reason) == (
        "inconclusive",
        "default deny of shop/web: no rule allows it; can't tell, unless the cluster's options are known: "
        "where policy-cidr-match-mode has pods, shop/web spec.egress.0 (line 7) allows it "
        "(--cilium-config FILE says)",
    )
    # What no block would explain is a leak all the same.
    other = Capture().add("shop/web", "→", "198.51.100.7", 443)
    assert found(audited(other, tmp_path))[0][0] == "leak"
    # And what the defaults explain is as it should be.
    dropped = Capture().add("shop/web", "→", "shop/cache", 6379, "DROPPED")
    assert found(audited(dropped, tmp_path))[0][0] == "ok"
    [row] = (
        WhatIf(load([("policy.yaml", POLICY)]))
        .read(FileSource([str(cache_allowed().write(tmp_path))]).batches())
        .rows
    )
    assert row.change == "newly denied"
    assert (
        "where policy-cidr-match-mode has pods, shop/web spec.egress.0 (line 7) allows it"
        in row.reason
    )


def test_the_own_node_s_other_addresses_stand_in_its_labels(tmp_path: Path) -> None:
    """Asked by one address, meant by another: its identity has them all."""
    flows = Capture()
    flows.add("shop/web", "→", "host", 443)
    address = {"source": "10.0.1.1", "destination": "192.0.2.1", "ipVersion": "IPv4"}
    labels = ["reserved:host", "cidr:192.0.2.1/32", "cidr:10.9.0.1/32", "cidr:fd00--1/128"]
    flows.flows[0] |= {"IP": address, "destination": {"identity": 1, "labels": ["reserved:host"]}}
    [one] = audited(flows, tmp_path, cidr_match_mode=("nodes",)).findings
    assert one.kind == "inconclusive"
    assert one.reason == "the node may have other addresses than the one seen"
    flows.flows[0]["destination"] = {"identity": 1, "labels": labels}
    assert found(audited(flows, tmp_path, cidr_match_mode=("nodes",)))[0][0] == "ok"


def test_records_say_that_blocks_mean_pods_where_nobody_did(tmp_path: Path) -> None:
    flows = cache_allowed()
    cache = endpoint("shop/cache")
    cache["labels"] = [*cache["labels"], "cidr:10.0.0.0/8"]  # type: ignore[misc]
    flows.flows[0]["destination"] = cache
    assert found(audited(flows, tmp_path)) == [("ok", "shop/web", "shop/cache")]


def test_always_closes_what_no_policy_selects(tmp_path: Path) -> None:
    flows = Capture()
    flows.add("shop/db", "→", "198.51.100.8", 443, "DROPPED")
    flows.add("shop/db", "→", "198.51.100.7", 443)
    # Of this namespace no policy was given: some other may open it.
    flows.add("bank/api", "→", "198.51.100.9", 443)
    assert [one[0] for one in found(audited(flows, tmp_path))] == [
        "unexplained",
        "not covered",
        "not covered",
    ]
    report = audited(flows, tmp_path, enforcement="always")
    kinds = {(one.subject, one.peer): (one.kind, one.reason) for one in report.findings}
    assert kinds["shop/db", "198.51.100.7"][0] == "leak"
    assert kinds["shop/db", "198.51.100.8"] == (
        "ok",
        "default deny, since enable-policy is always in this cluster: no rule allows it",
    )
    assert kinds["bank/api", "198.51.100.9"][0] == "not covered"


def test_never_is_said_before_all_numbers(tmp_path: Path) -> None:
    flows = Capture().add("shop/web", "→", "198.51.100.7", 443)
    report = audited(flows, tmp_path, enforcement="never")
    assert [one[0] for one in found(report)] == ["not covered"]
    assert (
        report.findings[0].reason == "enable-policy is never in this cluster: no policy is enforced"
    )
    [note] = [one for one in report.blind.notes if "enable-policy" in one]
    assert note.startswith("enable-policy is never in this cluster: nothing is enforced")
    assert not any("no policy verdict" in one for one in report.blind.notes)


def test_what_passes_in_audit_mode_without_a_record_of_it_is_no_leak(tmp_path: Path) -> None:
    flows = Capture().add("shop/web", "→", "198.51.100.7", 443)
    report = audited(flows, tmp_path, audit_mode=True)
    [one] = report.findings
    assert one.kind == "inconclusive"
    assert one.reason.startswith(
        "policy-audit-mode is on: it passed, and no AUDIT record was seen; "
    )
    assert any("policy-audit-mode is on in this cluster" in note for note in report.blind.notes)


def test_pods_of_another_cluster_are_not_judged_by_this_one_s_policies(tmp_path: Path) -> None:
    flows = Capture()
    flows.add("blue/shop/web", "→", "198.51.100.7", 443, "DROPPED")
    flows.add("green/shop/web", "→", "198.51.100.7", 443)
    report = audited(flows, tmp_path, cluster="blue")
    assert sorted((one.kind, one.subject) for one in report.findings) == [
        ("not covered", "green/shop/web"),
        ("ok", "blue/shop/web"),
    ]
    assert any(
        note
        == "pods of other clusters (green) are not judged: the policies are those of blue, by cilium.yaml"
        for note in report.blind.notes
    )
    # Nobody said which cluster the policies are of: each is judged as its own.
    assert {one.kind for one in audited(flows, tmp_path).findings} == {"ok", "leak"}


def test_a_denial_that_icmp_answers_leaves_a_verdict_alone(tmp_path: Path) -> None:
    """No drop record is written then (Cilium 1.20, bpf/bpf_lxc.c, tail_policy_denied_ipv4)."""
    flows = Capture()
    flows.add("shop/web", "→", "198.51.100.7", 443, "DROPPED", event_type={"type": 5})
    report = audited(flows, tmp_path, deny_response="icmp")
    assert found(report) == [("ok", "shop/web", "198.51.100.7")]
    assert any("policy-deny-response is icmp" in note for note in report.blind.notes)


def test_a_report_says_which_options_it_judged_by(tmp_path: Path) -> None:
    def line(report: AuditReport) -> str:
        return next(
            one.strip() for one in audit_lines(report, Style(width=0)) if "judged by" in one
        )

    assert line(audited(cache_allowed(), tmp_path)) == (
        "judged by Cilium's defaults, as nobody said this cluster's options "
        "(--cilium-config FILE does)"
    )
    assert line(audited(cache_allowed(), tmp_path, cidr_match_mode=("pods",))) == (
        "judged by cilium.yaml: policy-cidr-match-mode: pods"
    )
    assert line(audited(cache_allowed(), tmp_path, enforcement="default")) == (
        "judged by cilium.yaml: all that decide at Cilium's defaults"
    )


def test_a_leak_s_advice_names_the_options_that_would_explain_it(tmp_path: Path) -> None:
    flows = Capture().add("shop/web", "→", "198.51.100.7", 443)
    assert "--cilium-config" in audited(flows, tmp_path).findings[0].advice
    assert (
        "--cilium-config" not in audited(flows, tmp_path, enforcement="default").findings[0].advice
    )


def test_a_draft_is_tried_by_the_cluster_s_options(tmp_path: Path) -> None:
    flows = cache_allowed().write(tmp_path)
    for mode, then in (((), "denied"), (("pods",), "allowed")):
        options = AgentOptions(cidr_match_mode=mode, cluster="default", origin="cilium.yaml")
        draft = load([("policy.yaml", POLICY)], options=options)
        report = WhatIf(draft).read(FileSource([str(flows)]).batches())
        assert [row.then for row in report.rows] == [then]
        assert report.options is options
        # A pod that the draft doesn't select is what it was, in a cluster that closes all, too.
        closed = load([("policy.yaml", POLICY.replace("app: web", "app: other"))],
                      options=AgentOptions(enforcement="always", origin="cilium.yaml"))  # fmt: skip
        assert WhatIf(closed).read(FileSource([str(flows)]).batches()).counts == {"unchanged": 1}
