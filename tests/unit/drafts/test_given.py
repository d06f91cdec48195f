"""What a draft says in the words of policies that are there: CIDR groups, and ports by their name."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from flowwatch.drafts.draft import Draft, Drafter
from flowwatch.drafts.editing import Editing
from flowwatch.drafts.onto import add_onto
from flowwatch.policy import PolicySet, load
from tests.unit.drafts.test_draft import Seen, only, pod
from tests.unit.drafts.test_editing import sheet
from tests.unit.marks.traffic import API, EVIL, POD

GROUPS = f"""\
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {{name: all}}
spec: {{externalCIDRs: [198.51.0.0/16, "2001:db8::/32"]}}
---
apiVersion: cilium.io/v2
kind: CiliumCIDRGroup
metadata: {{name: partners}}
spec: {{externalCIDRs: [{API}/32, 192.0.2.0/28]}}
"""
NAMED = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress:
    - toEndpoints: [{matchLabels: {app: api, io.kubernetes.pod.namespace: shop}}]
      toPorts: [{ports: [{port: http, protocol: TCP}]}]
"""


def given(text: str) -> PolicySet:
    policies = load([("given.yaml", text)])
    assert policies.documents.rejected == []
    return policies


def asks_the_api(seen: Seen, port: int = 8080, **more: Any) -> Seen:
    return seen.passes(3, "10.1.0.5", destination=pod("shop", "api"), destination_port=port, **more)


def test_an_address_is_said_by_the_smallest_group_that_has_it() -> None:
    draft = Seen().passes(0, API).passes(1, EVIL).draft(given=given(GROUPS))

    groups, others = only(draft)["egress"]
    assert groups["toCIDRSet"] == [{"cidrGroupRef": "partners"}]
    assert others["toCIDR"] == [f"{EVIL}/32"]
    assert draft.proof.words == "allows 2 of 2 needed, denies 0 of 0 others"
    assert f"# a CIDR group that is there, all its blocks: seen was {API}\n" in draft.text


def test_a_name_comes_before_a_group_and_a_drop_stays_an_address() -> None:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API)
    draft = seen.fails(2, "192.0.2.3").draft(given=given(GROUPS))

    assert "cidrGroupRef" not in draft.text
    assert "to 192.0.2.3:443/TCP" in draft.text


@pytest.mark.parametrize("kind", ["cnp", "ccnp", "knp"])
def test_each_kind_has_an_answer_for_a_group(kind: Any) -> None:
    draft = Seen().passes(0, API).draft(given=given(GROUPS), kind=kind)

    assert draft.proof.words == "allows 1 of 1 needed, denies 0 of 0 others"
    assert ("NetworkPolicy knows no CIDR groups" in draft.text) is (kind == "knp")


def test_in_the_editor_a_group_may_be_its_address() -> None:
    of = sheet(Seen().passes(0, API), given=given(GROUPS))
    assert of.rows[0].target.text == "partners"

    of.rename(0)

    assert yaml.safe_load(of.text)["spec"]["egress"][0]["toCIDR"] == [f"{API}/32"]
    assert of.proof.failing == ()


def test_a_port_is_said_by_the_name_that_the_policy_has_for_it() -> None:
    seen = asks_the_api(Seen()).fails(4, "10.1.0.5", destination=pod("shop", "api"))
    draft = seen.draft(given=given(NAMED))

    (rule,) = only(draft)["egress"]
    assert rule["toPorts"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    assert 'the port "http"' in draft.text
    assert draft.proof.words == "allows 1 of 1 needed, denies 1 of 1 others"


def test_a_port_that_the_policy_has_by_number_stays_a_number() -> None:
    both = NAMED.replace("{port: http,", '{port: "8080", protocol: TCP}, {port: http,')

    (rule,) = only(asks_the_api(Seen()).draft(given=given(both)))["egress"]

    assert rule["toPorts"] == [{"ports": [{"port": "8080", "protocol": "TCP"}]}]


def test_of_two_names_nobody_can_tell_which() -> None:
    two = NAMED.replace("{port: http,", "{port: web, protocol: TCP}, {port: http,")

    (rule,) = only(asks_the_api(Seen()).draft(given=given(two)))["egress"]

    assert rule["toPorts"] == [{"ports": [{"port": "8080", "protocol": "TCP"}]}]


def test_a_port_of_what_comes_in_has_the_owner_s_name() -> None:
    policy = NAMED.replace("egress:", "ingress:").replace("toEndpoints", "fromEndpoints")
    seen = Seen().passes(
        0, "10.0.0.9", source=pod("shop", "api"), destination=POD, direction=1, destination_port=8080
    )  # fmt: skip

    draft = seen.draft(given=given(policy), directions=frozenset({"ingress"}))

    (rule,) = only(draft)["ingress"]
    assert rule["toPorts"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]
    assert draft.proof.words == "allows 1 of 1 needed, denies 0 of 0 others"


def test_kubernetes_policies_have_names_of_ports_too() -> None:
    draft = asks_the_api(Seen()).draft(given=given(NAMED), kind="knp")

    (rule,) = only(draft)["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": "http"}]
    assert draft.proof.words == "allows 1 of 1 needed, denies 0 of 0 others"


def test_the_editor_keeps_the_name_of_a_port() -> None:
    of = sheet(asks_the_api(Seen()), given=given(NAMED))

    of.rename(0)

    assert "port: http" in of.text
    assert of.proof.failing == ()


def test_a_drop_onto_a_policy_with_names_is_allowed_by_its_number() -> None:
    # Its name isn't known: nothing let it through.
    seen = asks_the_api(Seen()).fails(4, "10.1.0.5", destination=pod("shop", "api"))
    drafter = Drafter(picked=("shop/api:443",), given=given(NAMED))
    draft: Draft = drafter.read([seen.batch()])

    onto = add_onto(draft, drafter.picked, "weather.yaml", NAMED)

    assert onto.allowed == onto.chosen == 1
    assert 'port: "443"' in onto.after or '"port": "443"' in onto.after
    assert Editing(drafter).sheets
