"""What was asked of servers: methods and paths of HTTP, names of DNS, where a draft is to say them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import yaml

from flowwatch.drafts.draft import Draft
from flowwatch.drafts.judging import Inquiry, Judging, ask_of
from flowwatch.drafts.requests import MOST_NAMES, MOST_PATHS, Request, folded
from flowwatch.flows.model import Layer7
from flowwatch.policy import load
from flowwatch.policy.party import Party
from tests.unit.drafts.test_draft import Seen, only, pod
from tests.unit.drafts.test_editing import sheet
from tests.unit.flows.made import ALLOW, l7
from tests.unit.marks.traffic import API, EVIL, POD

SHOP = pod("shop", "api")


class Asking(Seen):
    """With requests that a proxy lets pass."""

    def asks(
        self, at: float, *urls: str, method: str = "GET", port: int = 8080, **more: Any
    ) -> Asking:
        ends: dict[str, Any] = {
            "destination": SHOP,
            "destination_ip": "10.1.0.5",
            "destination_port": port,
            "source_port": 7000 + int(at),
        }
        address = str(ends.pop("destination_ip"))
        self.passes(at, address, (ALLOW,), answered=False, **ends)
        for url in urls:
            record = Layer7(type=1, http_method=method, http_url=f"http://api{url}", **more)
            self.records.append(l7(at + 0.1, record, source=POD, destination_ip=address, **ends))
        return self


def http(draft: Draft) -> Any:
    (rule,) = [one for one in only(draft)["egress"] if "http" in str(one)]
    return rule["toPorts"][0]["rules"]["http"]


def test_requests_are_said_where_they_are_asked_for() -> None:
    seen = Asking().asks(0, "/a", "/b").asks(1, "/b", method="POST")

    assert "http:" not in seen.draft().text
    assert http(seen.draft(l7=True)) == [
        {"method": "GET", "path": "/a"}, {"method": "(GET|POST)", "path": "/b"}
    ]  # fmt: skip


def test_the_proof_is_about_the_requests_too() -> None:
    draft = Asking().asks(0, "/a?x=1", "/a/b.c").draft(l7=True)

    assert draft.proof.words == "allows 1 of 1 needed, denies 0 of 0 others"
    narrow = draft.text.replace(r'"/a/b\\.c"', '"/other"')
    assert narrow != draft.text

    of = sheet(Asking().asks(0, "/a?x=1", "/a/b.c"), l7=True)
    assert of.edit_by_hand(narrow) == ""
    assert of.proof.failing == ("shop/api:8080/TCP",)


def test_no_path_that_was_not_asked_for_passes() -> None:
    draft = Asking().asks(0, "/v1/a.b", "/v1/(x)", "/q?city=x").draft(l7=True)
    ((_, rule),) = [
        (entry, port.l7)
        for entry in load([("draft.yaml", draft.text)]).documents.rules[0].entries
        for port in entry.ports or ()
        if port.l7 is not None
    ]

    passes = {
        url: rule.passes_request("GET", f"http://api{url}", None)
        for url in ("/v1/a.b", "/v1/(x)", "/q?city=y", "/q", "/v1/aXb", "/v1/a.b/c", "/v1/a.b?q=1", "/qq")
    }  # fmt: skip
    assert [url for url, said in passes.items() if said is True] == [
        "/v1/a.b", "/v1/(x)", "/q?city=y", "/q"
    ]  # fmt: skip


def test_endless_paths_are_a_rule_for_their_methods_and_a_word() -> None:
    urls = [f"/users/{number}" for number in range(MOST_PATHS + 1)]
    draft = Asking().asks(0, *urls).draft(l7=True)

    assert http(draft) == [{"method": "GET"}]
    assert f"# any path: more than {MOST_PATHS} were asked for" in draft.text


def test_a_path_that_may_have_been_escaped_is_both() -> None:
    assert http(Asking().asks(0, "/a%20b").draft(l7=True))[0]["path"] == "(/a b|/a%20b)"


def test_a_path_that_nobody_can_read_is_any() -> None:
    assert [one.path for one in folded([Request("GET", ()), Request("GET", ("/a",))])] == [""]


def test_attempts_without_their_requests_are_told() -> None:
    text = Asking().asks(0, "/a").asks(1).draft(l7=True).text

    assert "# requests were seen in 1 of 2 attempts: what the others asked isn't known" in text


def test_what_the_proxy_refused_is_no_request_that_passes() -> None:
    seen = Asking().asks(0, "/a").asks(1, "/evil")
    seen.records[-1] = msgspec.structs.replace(
        seen.records[-1], kind=msgspec.structs.replace(seen.records[-1].kind, verdict=2)
    )

    assert http(seen.draft(l7=True)) == [{"method": "GET", "path": "/a"}]


@pytest.mark.parametrize("kind", ["cnp", "ccnp", "knp"])
def test_each_kind_says_requests_or_that_it_can_t(kind: Any) -> None:
    draft = Asking().asks(0, "/a").draft(l7=True, kind=kind)

    assert ("NetworkPolicy has no word for requests" in draft.text) is (kind == "knp")
    assert ("http:" in draft.text) is (kind != "knp")


@pytest.mark.parametrize("path", ['/"', "/x\n- evil", "/\\", "/#", "/\x1b[31m", "/: x", "/*"])
def test_a_hostile_path_is_text(path: str) -> None:
    draft = Asking().asks(0, path).draft(l7=True)

    (one,) = yaml.safe_load_all(draft.text)
    assert load([("draft.yaml", draft.text)]).documents.rejected == []
    assert set(one["spec"]) == {"endpointSelector", "enableDefaultDeny", "egress"}
    assert "\x1b" not in draft.text


def lookups(draft: Draft) -> Any:
    (rule,) = [one for one in only(draft)["egress"] if "dns" in str(one)]
    return rule["toPorts"][0]["rules"]["dns"]


def test_only_lookups_of_what_is_needed_pass_where_that_is_asked_for() -> None:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API)
    seen.looks_up(2, "api.example.com.weather.svc.cluster.local", "192.0.2.9")
    seen.looks_up(3, "evil.example.net", EVIL).fails(4, EVIL)
    seen.looks_up(5, "evil.example.net.weather.svc.cluster.local", "192.0.2.9")

    assert lookups(seen.draft()) == [{"matchPattern": "*"}]
    assert lookups(seen.draft(dns_names=True)) == [
        {"matchName": "api.example.com"},
        {"matchName": "api.example.com.weather.svc.cluster.local"},
    ]


def test_what_is_chosen_may_be_looked_up_too() -> None:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API)
    seen.looks_up(3, "more.example.net", EVIL).fails(4, EVIL)

    draft = seen.draft(dns_names=True, picked=("more.example.net:443",))

    assert {"matchName": "more.example.net"} in lookups(draft)


def test_the_editor_lets_the_pattern_be_looked_up() -> None:
    of = sheet(Seen().looks_up(0, "api.example.com", API).passes(1, API), dns_names=True)

    of.rename(next(at for at, row in enumerate(of.rows) if row.target.form == "name"))

    assert '- matchPattern: "*.example.com"' in of.text
    assert '- matchPattern: "*"\n' not in of.text
    assert of.proof.failing == ()


def test_of_too_many_names_all_may_be_looked_up() -> None:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API)
    for number in range(MOST_NAMES + 1):
        seen.looks_up(2 + number, f"n{number}.example.org", "192.0.2.9")

    assert lookups(seen.draft(dns_names=True)) == [{"matchPattern": "*"}]


_ONE_PATH = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: one-path, namespace: weather}
spec:
  endpointSelector: {}
  egress:
  - toEntities: [all]
    toPorts:
    - ports: [{port: "8080", protocol: TCP}]
      rules: {http: [{path: /a}]}
"""


def test_one_question_is_answered_for_the_requests_that_it_is_asked_with() -> None:
    app = Party(("k8s:app=weather", "k8s:io.kubernetes.pod.namespace=weather"))
    api = Party(("k8s:app=api", "k8s:io.kubernetes.pod.namespace=shop"))
    question = Inquiry("egress", app, api, "TCP", 8080)
    policies = load([("one-path.yaml", _ONE_PATH)])
    asked: list[tuple[Request, ...]] = [(Request("GET", ("/b",)),), (), (Request("GET", ("/a",)),)]
    for ask in (ask_of(policies), Judging().by(policies)):
        assert [ask(question, one) for one in asked] == ["denied", "allowed", "allowed"]
