"""What a draft says of traffic: the traps that other generators fell into, each as a small example."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml

from flowwatch.audits.audit import Audit
from flowwatch.drafts.draft import Draft, Drafter
from flowwatch.flows.model import Batch, Endpoint, Layer7
from flowwatch.policy import load
from tests.unit.flows.made import ALLOW, WORLD, l7, reply
from tests.unit.marks.traffic import API, EVIL, POD, Traffic

NAMESPACE = "k8s:io.kubernetes.pod.namespace"


def pod(namespace: str, app: str, *more: str, number: int = 1, workload: str = "") -> Endpoint:
    labels = (f"k8s:app={app}", f"{NAMESPACE}={namespace}", *more)
    return Endpoint(
        identity=2000 + len(app), namespace=namespace, pod=f"{app}-{number}", workload=workload or app,
        labels=labels,
    )  # fmt: skip


DNS_PODS = Endpoint(
    identity=3000, namespace="kube-system", pod="coredns-1", workload="coredns",
    labels=("k8s:k8s-app=kube-dns", f"{NAMESPACE}=kube-system"),
)  # fmt: skip
HOST = Endpoint(identity=1, labels=("reserved:host",), entity="host")
NODE = Endpoint(identity=6, labels=("reserved:remote-node",), entity="remote-node")
API_SERVER = Endpoint(
    identity=7, labels=("reserved:kube-apiserver", "reserved:remote-node"), entity="kube-apiserver"
)


class Seen(Traffic):
    """With lookups."""

    def looks_up(
        self, at: float, name: str, address: str, *, source: Endpoint = POD, **dns: Any
    ) -> Seen:
        to: dict[str, Any] = {
            "destination": DNS_PODS,
            "destination_port": 53,
            "protocol": "UDP",
            "tcp_flags": 0,
        } | dns
        self.passes(
            at, "10.96.0.10", (ALLOW,), source=source, source_port=53000, **to, answered=False
        )
        answer = Layer7(type=2, dns_query=name, dns_ips=(address,), dns_ttl=300)
        self.records.append(
            l7(
                at + 0.01, answer, is_reply=True, source=DNS_PODS, destination=source,
                source_ip="10.96.0.10", destination_ip="10.0.0.1", source_port=53,
                destination_port=53000, protocol="UDP",
            )
        )  # fmt: skip
        return self

    def batch(self) -> Batch:
        return Batch(flows=sorted(self.records, key=lambda one: one.time))

    def draft(self, **options: Any) -> Draft:
        drafter = Drafter(**options)
        found = drafter.read([self.batch()])
        assert found.proof.failing == ()
        return found


def only(draft: Draft) -> Any:
    """The one document, as its reader has it."""
    (one,) = yaml.safe_load_all(draft.text)
    return one["spec"]


def test_the_weather_app_needs_its_lookups_and_its_forecast() -> None:
    seen = Seen().looks_up(0, "api.openweathermap.org", API).passes(1, API).passes(2, API)

    spec = only(seen.draft())

    assert spec["endpointSelector"] == {"matchLabels": {"k8s:app": "weather-app"}}
    assert spec["enableDefaultDeny"] == {"egress": True, "ingress": False}
    dns, forecast = spec["egress"]
    assert dns == {
        "toEndpoints": [{"matchLabels": {NAMESPACE: "kube-system", "k8s:k8s-app": "kube-dns"}}],
        "toPorts": [
            {
                "ports": [{"port": "53", "protocol": "ANY"}],
                "rules": {"dns": [{"matchPattern": "*"}]},
            }
        ],
    }
    assert forecast == {
        "toFQDNs": [{"matchName": "api.openweathermap.org"}],
        "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}],
    }


def test_the_evidence_stands_beside_each_rule() -> None:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API).passes(62, API)

    text = seen.draft().text

    assert (
        "# api.example.com:443/TCP: 2 attempts, 2023-11-14 22:13:21 to 2023-11-14 22:14:22, 1 pod\n"
        in text
    )
    assert "# kube-system/coredns:53/UDP: seen once, at 2023-11-14 22:13:20, 1 pod\n" in text


def test_equal_traffic_in_another_order_gives_equal_bytes() -> None:
    pods = [pod("shop", name) for name in ("a", "b", "c")]
    one, other = Seen(), Seen()
    for at, end in enumerate(pods):
        one.passes(
            at, f"10.1.0.{at}", destination=end, destination_port=8000 + at, source_port=100 + at
        )
    for at, end in reversed(list(enumerate(pods))):
        other.passes(
            at, f"10.1.0.{at}", destination=end, destination_port=8000 + at, source_port=100 + at
        )

    assert one.draft().text == other.draft().text


def test_what_was_dropped_is_a_candidate_that_a_person_picks() -> None:
    seen = Seen().passes(0, API).fails(1, EVIL).fails(2, EVIL)

    assert [one["toCIDR"] for one in only(seen.draft())["egress"]] == [[f"{API}/32"]]
    assert f"#   to {EVIL}:443/TCP: 2 attempts" in seen.draft().text
    for words in (f"{EVIL}:443", f"{EVIL}:443/TCP", EVIL):  # as the comment has it, too
        draft = seen.draft(picked=(words,))
        (rule,) = only(draft)["egress"]
        assert rule["toCIDR"] == [f"{API}/32", f"{EVIL}/32"]
        assert not any("nothing to allow" in note for note in draft.notes)
    assert (
        "203.0.113.77 was not dropped: nothing to allow"
        in seen.draft(picked=("203.0.113.77",)).notes
    )


def test_what_is_dropped_since_a_policy_came_is_no_need_any_more() -> None:
    seen = Seen().passes(0, EVIL).passes(0, API).fails(10, EVIL).passes(11, API)

    assert [one["toCIDR"] for one in only(seen.draft())["egress"]] == [[f"{API}/32"]]
    assert "let through until 2023-11-14 22:13:20" in seen.draft().text


def test_only_drops_give_no_policy() -> None:
    draft = Seen().fails(0, EVIL).draft()

    assert draft.documents == ()
    assert draft.quiet == ("weather/weather-app",)


def test_no_flows_give_no_policy() -> None:
    assert Seen().draft().documents == ()


def test_dns_pods_are_named_by_the_labels_they_have() -> None:
    # One that selects k8s-app and another label, which these pods haven't got, would cut all names.
    spec = only(Seen().looks_up(0, "api.example.com", API).passes(1, API).draft())

    assert spec["egress"][0]["toEndpoints"][0]["matchLabels"]["k8s:k8s-app"] == "kube-dns"
    assert len(spec["egress"][0]["toEndpoints"][0]["matchLabels"]) == 2


def test_node_local_dns_is_a_rule_to_the_node() -> None:
    seen = Seen().looks_up(0, "api.example.com", API, destination=HOST)
    seen.passes(1, API)

    dns = only(seen.draft())["egress"][0]

    assert dns["toEntities"] == ["host"]
    assert dns["toPorts"][0]["rules"] == {"dns": [{"matchPattern": "*"}]}


def test_names_without_a_lookup_of_their_own_get_the_dns_rule_of_others() -> None:
    other = pod("shop", "web")
    seen = Seen().looks_up(0, "api.example.com", API, source=other)
    seen.passes(1, API, destination_names=("api.example.com",))

    text = next(one.text for one in seen.draft().documents if one.plan.owner.namespace == "weather")

    assert "no lookup of these pods was seen" in text
    assert "k8s:k8s-app: kube-dns" in text


def test_names_where_nobody_looked_anything_up_get_the_usual_dns_pods_and_a_word() -> None:
    seen = Seen().passes(1, API, destination_names=("api.example.com",))

    text = seen.draft().text

    assert "these are Kubernetes' usual DNS pods; check their labels" in text
    assert "k8s:k8s-app: kube-dns" in text


@pytest.mark.parametrize(
    ("end", "entity"), [(HOST, "host"), (NODE, "remote-node"), (API_SERVER, "kube-apiserver")]
)
def test_nodes_and_the_api_server_are_entities_and_never_addresses(
    end: Endpoint, entity: str
) -> None:
    (rule,) = only(Seen().passes(0, "192.168.1.2", destination=end).draft())["egress"]

    assert rule["toEntities"] == [entity]


def test_the_port_is_the_endpoint_s_and_the_service_a_comment() -> None:
    seen = Seen().passes(
        0, "10.1.0.5", destination=pod("shop", "api"), destination_port=8080, destination_service="shop/api"
    )  # fmt: skip

    draft = seen.draft()

    assert only(draft)["egress"][0]["toPorts"][0]["ports"] == [{"port": "8080", "protocol": "TCP"}]
    assert "as service shop/api" in draft.text


def test_two_namespaces_with_the_same_labels_are_told_apart() -> None:
    seen = Seen().passes(0, "10.1.0.5", destination=pod("shop", "api"))
    seen.fails(1, "10.1.0.6", destination=pod("other", "api"))

    (rule,) = only(seen.draft())["egress"]

    assert rule["toEndpoints"] == [{"matchLabels": {NAMESPACE: "shop", "k8s:app": "api"}}]


def test_another_cluster_is_named() -> None:
    far = msgspec.structs.replace(pod("shop", "api"), cluster="two")
    here = msgspec.structs.replace(POD, cluster="one")
    (rule,) = only(Seen().passes(0, "10.9.0.1", destination=far, source=here).draft())["egress"]

    assert rule["toEndpoints"][0]["matchLabels"]["k8s:io.cilium.k8s.policy.cluster"] == "two"


def test_rotating_addresses_of_a_name_are_one_name() -> None:
    seen = Seen()
    for at in range(4):
        seen.looks_up(at, "api.example.com", f"198.51.100.{at}").passes(
            at + 0.5, f"198.51.100.{at}"
        )

    rules = only(seen.draft())["egress"]

    assert [list(rule) for rule in rules] == [["toEndpoints", "toPorts"], ["toFQDNs", "toPorts"]]


def test_ipv6_addresses_are_blocks_of_one() -> None:
    (rule,) = only(Seen().passes(0, "2001:db8::7", source_ip="2001:db8::1").draft())["egress"]

    assert rule["toCIDR"] == ["2001:db8::7/128"]


def test_pings_are_types_of_icmp() -> None:
    seen = Seen().passes(
        0, API, protocol="ICMPv4", source_port=0, destination_port=8, tcp_flags=0, answered=False
    )

    (rule,) = only(seen.draft())["egress"]

    assert rule["icmps"] == [{"fields": [{"type": 8, "family": "IPv4"}]}]
    assert "toPorts" not in rule


def test_answers_teach_nothing() -> None:
    seen = Seen()
    seen.records.append(
        reply(0, source=WORLD, source_ip=API, destination_ip="10.0.0.1", destination=POD)
    )

    assert seen.draft(directions=frozenset({"egress", "ingress"})).documents == ()


def test_a_scan_teaches_nothing() -> None:
    seen = Seen().passes(0, API)
    for port in range(20):
        seen.passes(1 + port, EVIL, destination_port=1000 + port, answered=False)

    draft = seen.draft()

    assert [one["toCIDR"] for one in only(draft)["egress"]] == [[f"{API}/32"]]
    assert f"left out as a scan: {EVIL}, 20 ports without an answer" in draft.text


def test_probes_of_the_node_need_no_rule() -> None:
    seen = Seen()
    for at, source in ((0, HOST), (1, pod("shop", "web"))):
        seen.passes(
            at, "10.0.0.9", source=source, destination=POD, direction=1, source_ip="10.0.1.1",
            destination_port=8080,
        )  # fmt: skip

    draft = seen.draft(directions=frozenset({"ingress"}))

    (rule,) = only(draft)["ingress"]
    assert rule["fromEndpoints"] == [{"matchLabels": {NAMESPACE: "shop", "k8s:app": "web"}}]
    assert "probes" in draft.text


def test_the_health_endpoint_needs_a_rule_as_the_node_does_not() -> None:
    """Cilium lets a node reach its pods in spite of default deny, and nobody else."""
    health = Endpoint(identity=4, labels=("reserved:health",), entity="health")
    seen = Seen().passes(
        0, "10.0.0.9", source=health, destination=POD, direction=1, source_ip="10.0.1.1",
        destination_port=8080,
    )  # fmt: skip

    draft = seen.draft(directions=frozenset({"ingress"}))

    (rule,) = only(draft)["ingress"]
    assert rule["fromEntities"] == ["health"]
    assert "probes" not in draft.text
    after = Audit(load([("draft.yaml", draft.text)])).read([Batch(flows=seen.records)])
    assert {one.kind for one in after.findings if one.direction == "ingress"} == {"ok"}


def test_more_ports_than_a_rule_may_have_are_several_rules() -> None:
    seen = Seen()
    for port in range(45):
        seen.passes(port, "10.1.0.5", destination=pod("shop", "api"), destination_port=1000 + port)

    rules = only(seen.draft())["egress"]

    assert [len(rule["toPorts"][0]["ports"]) for rule in rules] == [40, 5]


def test_a_request_that_a_proxy_refused_is_no_need() -> None:
    seen = Seen().passes(0, API, (ALLOW,), source_port=7000)
    seen.records.append(
        l7(
            0.1, Layer7(type=1, http_method="GET", http_url="http://api/x"), verdict=2,
            destination_ip=API, source_port=7000, source=POD,
        )
    )  # fmt: skip

    draft = seen.draft()

    assert draft.documents == ()
    assert "1 attempt can't teach anything: a proxy refused what was asked" in draft.notes


@pytest.mark.parametrize("kind", ["cnp", "ccnp", "knp"])
@pytest.mark.parametrize("owner", ["workload", "pod", "namespace"])
def test_each_kind_for_each_owner_is_a_policy_that_lets_the_need_through(
    kind: Any, owner: Any
) -> None:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API)
    seen.passes(2, "10.1.0.5", destination=pod("shop", "api"), destination_port=8080)

    draft = seen.draft(kind=kind, owner=owner)

    assert draft.proof.allowed == draft.proof.needed == 3
    assert load([("draft.yaml", draft.text)]).policies


def test_kubernetes_policies_say_what_they_lose() -> None:
    seen = (
        Seen()
        .looks_up(0, "api.example.com", API)
        .passes(1, API)
        .passes(2, "10.0.0.2", destination=NODE)
    )
    drafter = Drafter(kind="knp")
    draft = drafter.read([Batch(flows=sorted(seen.records, key=lambda one: one.time))])

    lost = [note.partition(": ")[2] for note in draft.notes if "NetworkPolicy" in note]
    assert sorted(lost) == [
        "NetworkPolicy has no word for it: remote-node can't be named",
        "NetworkPolicy knows no names: api.example.com by address, which may change",
    ]
    assert draft.proof.failing == ("remote-node:443/TCP",)


HOSTILE = (
    "yes", "null", "1e3", "0o17", "~", "a: b", "a #b", "- x", "{x}", "*a", "&a", "!t", "\"q\"", "'q'",
    "x\nspec: {}", "x\n---\nkind: Evil", "x\x1b[31m", "##[add-mask]x", "x" * 300,
)  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text_in_yaml_and_in_comments(name: str) -> None:
    end = Endpoint(
        identity=9, namespace="shop", pod=f"{name}-1", workload=name,
        labels=(f"k8s:app={name}", f"{NAMESPACE}=shop"),
    )  # fmt: skip
    seen = Seen().passes(0, "10.1.0.5", destination=end).passes(1, API, destination_names=(name,))
    seen.passes(2, API, source=msgspec.structs.replace(POD, workload=name, namespace="weather"))

    draft = seen.draft()

    documents = list(yaml.safe_load_all(draft.text))
    assert {one["kind"] for one in documents} == {"CiliumNetworkPolicy"}
    assert {one["metadata"]["namespace"] for one in documents} == {"weather"}
    assert "\x1b" not in draft.text
    assert len(load([("draft.yaml", draft.text)]).policies) == len(documents)


def test_an_audit_by_the_draft_of_the_same_flows_finds_nothing() -> None:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API).fails(2, EVIL)
    seen.passes(3, "10.1.0.5", destination=pod("shop", "api"), destination_port=8080)
    text = seen.draft().text

    records = sorted(seen.records, key=lambda one: one.time)
    report = Audit(load([("draft.yaml", text)])).read([Batch(flows=records)])

    assert [one.kind for one in report.findings if one.kind in ("leak", "overblock")] == []


def test_why_a_line_is_there_or_is_not() -> None:
    seen = Seen().passes(0, API).fails(1, EVIL)
    draft = seen.draft()

    assert draft.why(f"{API}:443")[0].startswith(
        f"weather/weather-app: allows {API}:443/TCP: seen once"
    )
    assert "which a policy drops" in draft.why(EVIL)[0]
    assert draft.why("nobody.example") == []
