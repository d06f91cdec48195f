"""Traffic on which other generators failed, or that teaches little: a useful answer to each."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import yaml

from flowwatch.drafts.draft import Draft, Drafter
from flowwatch.flows.model import Endpoint, Layer7, Verdict
from flowwatch.policy import load
from flowwatch.sources.files import FileSource
from tests.unit.audits.test_masked import UNLABELLED, masked
from tests.unit.audits.told import Capture
from tests.unit.drafts.test_draft import DNS_PODS, NAMESPACE, Seen, only, pod
from tests.unit.flows.made import ALLOW, l7
from tests.unit.marks.traffic import API, EVIL, POD


def names(seen: Seen) -> list[str]:
    """The names that a draft allows."""
    return [
        one["matchName"] for rule in only(seen.draft())["egress"] for one in rule.get("toFQDNs", ())
    ]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("api.example.com.", "api.example.com"),
        ("API.Example.Com", "api.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_name_is_written_as_policies_have_it(written: str, name: str) -> None:
    assert names(Seen().passes(1, API, destination_names=(written,))) == [name]


@pytest.mark.parametrize("written", ["*.example.com", "bücher.example", "a b", ""])
def test_what_no_policy_takes_for_a_name_is_never_one(written: str) -> None:
    draft = Seen().passes(1, API, destination_names=(written,)).draft()

    (rule,) = only(draft)["egress"]
    assert rule["toCIDR"] == [f"{API}/32"]
    assert load([("draft.yaml", draft.text)]).documents.rejected == []


def test_of_an_alias_it_is_the_name_that_was_asked_for() -> None:
    seen = Seen().looks_up(0, "www.example.com", API)
    seen.records[-1] = msgspec.structs.replace(
        seen.records[-1],
        l7=Layer7(
            type=2, dns_query="www.example.com", dns_ips=(API,), dns_ttl=300,
            dns_cnames=("edge.cdn.example.net",),
        ),
    )  # fmt: skip
    seen.passes(1, API)

    assert names(seen) == ["www.example.com"]


def test_a_name_that_does_not_exist_is_no_need() -> None:
    seen = Seen().looks_up(0, "gone.example.com", API)
    seen.records[-1] = msgspec.structs.replace(
        seen.records[-1], l7=Layer7(type=2, dns_query="gone.example.com")
    )

    assert names(seen) == []


def test_requests_through_a_proxy_are_a_need_of_their_port() -> None:
    api = pod("shop", "api")
    seen = Seen().passes(
        0, "10.1.0.5", (ALLOW,), destination=api, destination_port=8080, source_port=7000
    )
    request = Layer7(type=1, http_method="GET", http_url="http://api/x")
    seen.records.append(
        l7(
            0.1, request, destination_ip="10.1.0.5", destination_port=8080, source_port=7000,
            source=POD, destination=api,
        )
    )  # fmt: skip

    (rule,) = only(seen.draft())["egress"]

    assert rule["toPorts"] == [{"ports": [{"port": "8080", "protocol": "TCP"}]}]


def test_an_api_server_outside_is_an_entity_too() -> None:
    outside = Endpoint(
        identity=7, labels=("reserved:kube-apiserver", "reserved:world"), entity="kube-apiserver"
    )

    (rule,) = only(Seen().passes(0, "198.51.100.9", destination=outside).draft())["egress"]

    assert rule["toEntities"] == ["kube-apiserver"]


def test_a_pod_without_traffic_of_its_own_has_no_policy() -> None:
    seen = Seen().passes(0, "10.1.0.5", destination=pod("shop", "quiet"))

    draft = seen.draft(directions=frozenset({"egress"}))

    assert [one.plan.owner.name for one in draft.documents] == ["weather-app"]


def test_only_what_comes_in_says_nothing_of_where_it_goes() -> None:
    seen = Seen().passes(
        0,
        "10.0.0.9",
        source=pod("shop", "web"),
        destination=POD,
        direction=1,
        destination_port=8080,
    )

    draft = seen.draft(directions=frozenset({"egress", "ingress"}))

    (text,) = [one.text for one in draft.documents if one.plan.owner.namespace == "weather"]
    spec = yaml.safe_load(text)["spec"]
    assert "egress" not in spec
    assert spec["enableDefaultDeny"] == {"egress": False, "ingress": True}


def test_pods_without_labels_are_told_and_select_no_others_in_silence() -> None:
    bare = Endpoint(
        identity=2222, namespace="weather", pod="bare-1", workload="bare",
        labels=(f"{NAMESPACE}=weather",),
    )  # fmt: skip
    draft = Seen().passes(0, API, source=bare).passes(1, API).draft()

    (text,) = [one.text for one in draft.documents if one.plan.owner.name == "bare"]
    assert "these labels also select weather/weather-app" in text


def test_a_thousand_peers_are_one_small_policy() -> None:
    seen = Seen()
    for number in range(1000):
        seen.passes(number, f"198.51.{number // 250}.{number % 250}")

    draft = seen.draft()

    (rule,) = only(draft)["egress"]
    assert len(rule["toCIDR"]) == 1000
    assert draft.proof.allowed == draft.proof.needed == 1000
    assert load([("draft.yaml", draft.text)]).documents.rejected == []


def test_dns_pods_that_refuse_are_still_where_names_are_asked_for() -> None:
    seen = Seen().looks_up(0, "api.example.com", EVIL)
    seen.records[-1] = msgspec.structs.replace(
        seen.records[-1], l7=Layer7(type=2, dns_query="api.example.com")
    )

    (rule,) = only(seen.draft())["egress"]

    labels = rule["toEndpoints"][0]["matchLabels"]
    assert labels == {NAMESPACE: DNS_PODS.namespace, "k8s:k8s-app": "kube-dns"}


def unnamed(flows: Capture, end: str) -> None:
    """As an aggregate's key leaves it out."""
    known = flows.flows[0][end]
    assert isinstance(known, dict)
    known["pod_name"] = ""


def drafted(flows: Capture, folder: Path) -> Draft:
    return Drafter().read(FileSource([str(flows.write(folder))]).batches())


def test_aggregated_lines_teach_though_they_name_no_pod(tmp_path: Path) -> None:
    flows = masked(aggregate={"egress_flow_count": 3})
    for end in ("source", "destination"):
        unnamed(flows, end)

    draft = drafted(flows, tmp_path)

    (rule,) = only(draft)["egress"]
    assert rule["toEndpoints"] == [{"matchLabels": {NAMESPACE: "shop", "k8s:app": "api"}}]
    assert "# aggregated: 1 line stands for 3 records" in draft.text
    assert "0 pods" not in draft.text
    assert draft.proof.words == "allows 1 of 1 needed, denies 0 of 0 others"


def test_of_a_pod_that_no_record_names_there_is_no_policy_of_its_own(tmp_path: Path) -> None:
    flows = masked(aggregate={"egress_flow_count": 3})
    unnamed(flows, "source")

    draft = Drafter("pod").read(FileSource([str(flows.write(tmp_path))]).batches())

    assert draft.documents == ()
    assert "1 attempt can't teach anything: the record doesn't name its pod" in draft.notes


@pytest.mark.parametrize("end", ["source", "destination"])
def test_records_without_labels_teach_nothing_and_are_told(end: str, tmp_path: Path) -> None:
    draft = drafted(masked(**{end: UNLABELLED}), tmp_path)

    assert draft.documents == ()
    assert any("1 attempt can't teach anything: the record has no labels" in n for n in draft.notes)


def test_hashes_revisions_ordinals_and_jobs_never_select() -> None:
    passing = (
        "k8s:pod-template-hash=7d9c6b5f4", "k8s:controller-revision-hash=web-5d4",
        "k8s:statefulset.kubernetes.io/pod-name=web-0", "k8s:apps.kubernetes.io/pod-index=0",
        "k8s:batch.kubernetes.io/job-name=backup-29", "k8s:job-name=backup-29",
    )  # fmt: skip
    seen = Seen()
    for number, label in enumerate(passing):
        end = pod("shop", "web", label, number=number)
        seen.passes(number, "10.1.0.5", destination=end).passes(10 + number, API, source=end)

    draft = seen.draft()

    assert all(label.partition("=")[0] not in draft.text for label in passing)
    (shop,) = [one for one in draft.documents if one.plan.owner.namespace == "shop"]
    selector = yaml.safe_load(shop.text)["spec"]["endpointSelector"]
    assert selector == {"matchLabels": {"k8s:app": "web"}}


def test_what_is_redirected_to_a_proxy_is_let_through() -> None:
    seen = Seen().passes(0, "10.1.0.5", (ALLOW,), destination=pod("shop", "api"))
    for at, one in enumerate(seen.records):
        kind = msgspec.structs.replace(one.kind, verdict=Verdict.REDIRECTED)
        if one.kind.is_reply is False:
            seen.records[at] = msgspec.structs.replace(one, kind=kind)

    (rule,) = only(seen.draft())["egress"]

    assert rule["toEndpoints"][0]["matchLabels"]["k8s:app"] == "api"


def test_a_name_whose_lookup_was_refused_is_neither_needed_nor_looked_up() -> None:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API)
    seen.looks_up(2, "evil.example.com", EVIL)
    for at in (-1, -2):
        one = seen.records[at]
        if one.l7 is not None:
            kind = msgspec.structs.replace(one.kind, verdict=Verdict.DROPPED)
            refused = Layer7(type=1, dns_query="evil.example.com")
            seen.records[at] = msgspec.structs.replace(one, kind=kind, l7=refused)

    text = seen.draft(dns_names=True).text

    assert "evil" not in text
    assert "matchName: api.example.com" in text


def test_an_ipv6_address_is_never_in_a_rule_for_ipv4() -> None:
    seen = Seen().passes(0, API).passes(1, "2001:db8::7", source_ip="2001:db8::1")

    (rule,) = only(seen.draft())["egress"]

    assert rule["toCIDR"] == ["198.51.100.1/32", "2001:db8::7/128"]
