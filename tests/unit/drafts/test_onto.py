"""The smallest addition to policies that are there: what comes in, and that all else stays as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowwatch.drafts.draft import Drafter
from flowwatch.drafts.onto import Onto, OntoError, add_onto
from flowwatch.flows.model import Batch
from flowwatch.policy import load
from tests.in_process import flowwatch
from tests.material import OWN
from tests.unit.drafts.test_draft import HOST, Seen, pod
from tests.unit.marks.traffic import API, EVIL, POD

WEATHER = OWN / "captures" / "weather.jsonl"
GEO = pod("geo", "coder")

HEAD = """\
# What the weather app may do. Reviewed by Ana.
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather, namespace: weather}
spec:
  endpointSelector:
    matchLabels:
      app:   weather-app   # the one label
"""
SELECTED = "\n    matchLabels:\n      app:   weather-app   # the one label\n"
ADDRESSES = f"""{HEAD}
  egress:
  - toCIDR:
    - {API}/32  # the forecast
    # - 192.0.2.1/32 was given up
    toPorts:
    - ports:
      - {{port: "443", protocol: TCP}}

  # Nobody calls it.
  ingress: []
"""
PODS = f"""{HEAD}
  egress:
    - toEndpoints:
        - matchLabels: {{app: coder, k8s:io.kubernetes.pod.namespace: geo}}
      toPorts: [{{ports: [{{port: "80", protocol: TCP}}]}}]
"""


def added(seen: Seen, text: str, *picked: str, **options: Any) -> Onto:
    records = sorted(seen.records, key=lambda one: one.time)
    draft = Drafter(picked=picked, **options).read([Batch(flows=records)])
    onto = add_onto(draft, picked, "p.yaml", text)
    kept = iter(onto.after.splitlines())
    if "[{" not in text and not text.startswith("{"):
        # All lines stay, in their order.
        assert all(line in kept for line in text.splitlines())
    assert load([("p.yaml", onto.after)]).documents.rejected == []
    return onto


def new_lines(onto: Onto) -> list[str]:
    lines = onto.diff.splitlines()[2:]
    return [line[1:] for line in lines if line.startswith("+")]


def test_a_peer_joins_the_rule_that_has_its_port() -> None:
    onto = added(Seen().fails(1, EVIL), ADDRESSES, EVIL)

    assert new_lines(onto) == [
        f"    # {EVIL}:443/TCP: seen once, at 2023-11-14 22:13:21, 1 pod",
        f'    - "{EVIL}/32"',
    ]
    assert (onto.chosen, onto.allowed) == (1, 1)


def test_a_comment_under_the_last_item_stays_with_it() -> None:
    text = ADDRESSES.replace(
        "    # - 192.0.2.1/32 was given up", "      # - 192.0.2.1/32 was given up"
    )

    after = added(Seen().fails(1, EVIL), text, EVIL).after.splitlines()

    at = after.index("      # - 192.0.2.1/32 was given up")
    assert after[at + 2] == f'    - "{EVIL}/32"'


def test_a_port_joins_the_rule_that_has_its_peer_in_the_style_of_the_line() -> None:
    onto = added(
        Seen().fails(1, "10.1.0.5", destination=GEO, destination_port=81), PODS, "geo/coder"
    )

    assert new_lines(onto) == [
        '      toPorts: [{ports: [{port: "80", protocol: TCP}, {"port": "81", "protocol": "TCP"}]}]'
    ]
    assert onto.allowed == 1


def test_else_a_rule_is_added_and_nothing_is_widened() -> None:
    seen = Seen().fails(1, EVIL, destination_port=8443).fails(2, API, destination_port=22)

    onto = added(seen, ADDRESSES, f"{EVIL}:8443")

    spec = yaml.safe_load(onto.after)["spec"]
    assert len(spec["egress"]) == 2
    assert spec["egress"][1]["toCIDR"] == [f"{EVIL}/32"]
    assert spec["ingress"] == []
    assert onto.notes == [f"weather/weather-app to {EVIL}:8443/TCP: a rule more in weather/weather"]


def test_two_chosen_of_one_peer_are_one_rule() -> None:
    seen = Seen().fails(1, EVIL, destination_port=81).fails(2, EVIL, destination_port=82)

    onto = added(seen, ADDRESSES, EVIL)

    assert len(yaml.safe_load(onto.after)["spec"]["egress"]) == 2
    assert (onto.chosen, onto.allowed) == (2, 2)


def test_only_what_was_chosen_comes_in() -> None:
    onto = added(Seen().fails(1, EVIL).fails(2, "192.0.2.9"), ADDRESSES, "192.0.2.9")

    assert EVIL not in onto.after


def test_a_name_brings_the_rule_by_which_lookups_are_seen() -> None:
    seen = Seen().looks_up(0, "api.example.com", EVIL).fails(1, EVIL)

    onto = added(seen, ADDRESSES, "api.example.com:443")

    dns, name = sorted(
        yaml.safe_load(onto.after)["spec"]["egress"][1:], key=lambda one: "toFQDNs" in one
    )
    assert dns["toPorts"][0]["rules"] == {"dns": [{"matchPattern": "*"}]}
    assert name["toFQDNs"] == [{"matchName": "api.example.com"}]
    assert onto.allowed == 1


def test_a_lookup_joins_the_names_that_may_be_looked_up() -> None:
    text = f"""{HEAD}
  egress:
    - toEndpoints:
        - matchLabels:
            k8s:io.kubernetes.pod.namespace: kube-system
            k8s-app: kube-dns
      toPorts:
        - ports:
            - port: "53"
          rules:
            dns:
              - matchName: other.example.com
"""
    seen = Seen().looks_up(0, "api.example.com", EVIL).fails(1, EVIL)

    onto = added(seen, text, "api.example.com:443")

    dns = yaml.safe_load(onto.after)["spec"]["egress"][0]["toPorts"][0]["rules"]["dns"]
    assert dns == [{"matchName": "other.example.com"}, {"matchName": "api.example.com"}]


def test_a_deny_rule_in_the_way_is_named_and_nothing_is_added() -> None:
    text = ADDRESSES.replace("  ingress: []\n", f"  egressDeny:\n  - toCIDR: [{EVIL}/32]\n")

    onto = added(Seen().fails(1, EVIL), text, EVIL)

    assert onto.diff == ""
    assert onto.allowed == 0
    assert "spec.egressDeny.0 (line 20) denies it, whatever else allows it" in onto.notes[0]


def test_what_is_allowed_already_is_said_and_nothing_is_added() -> None:
    onto = added(Seen().fails(1, API), ADDRESSES, API)

    assert (onto.diff, onto.chosen, onto.allowed) == ("", 1, 1)
    assert "allowed by weather/weather spec.egress.0" in onto.notes[0]


def test_a_policy_of_others_is_left_alone() -> None:
    onto = added(Seen().fails(1, EVIL), ADDRESSES.replace("weather-app", "db"), EVIL)

    # Nothing restricts the weather app there.
    assert onto.diff == ""
    assert "no policy selects it" in onto.notes[0]


def test_of_several_documents_the_one_that_selects_the_fewest_others() -> None:
    wide = f"{HEAD}  egress: []\n  ingress:\n  - {{}}\n".replace("name: weather,", "name: wide,")
    wide = wide.replace(SELECTED, " {}\n")
    other = "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n"
    text = f"{wide}---\n{ADDRESSES}---\n{other}"
    seen = Seen().fails(1, EVIL).passes(2, API, source=pod("weather", "other"))

    onto = added(seen, text, EVIL)

    documents = list(yaml.safe_load_all(onto.after))
    assert documents[1]["spec"]["egress"][0]["toCIDR"] == [f"{API}/32", f"{EVIL}/32"]
    assert documents[0] == next(yaml.safe_load_all(text))


def test_who_else_a_policy_selects_is_said() -> None:
    text = ADDRESSES.replace(SELECTED, " {}\n")
    seen = Seen().fails(1, EVIL).passes(2, API, source=pod("weather", "other"))

    assert added(seen, text, EVIL).notes[0].endswith("; it selects weather/other as well")


def test_a_kubernetes_policy_says_what_it_can() -> None:
    text = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
    name: weather
    namespace: weather
spec:
    podSelector: {}
    policyTypes: [Egress]
"""
    seen = Seen().fails(1, "10.1.0.5", destination=GEO, destination_port=81)
    seen.fails(2, "192.168.0.1", destination=HOST)

    onto = added(seen, text, "geo/coder", "host")

    (rule,) = yaml.safe_load(onto.after)["spec"]["egress"]
    assert rule["ports"] == [{"protocol": "TCP", "port": 81}]
    assert "weather/weather-app to host:443/TCP: can't be added: host can't be named" in onto.notes
    assert (onto.chosen, onto.allowed) == (2, 1)


def test_a_list_as_kubectl_prints_it_in_json() -> None:
    policy = yaml.safe_load(ADDRESSES)
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [policy]}, indent=2)

    onto = added(Seen().fails(1, EVIL, destination_port=81), text, EVIL)

    assert json.loads(onto.after)["items"][0]["spec"]["egress"][1]["toCIDR"] == [f"{EVIL}/32"]


@pytest.mark.parametrize("written", ["", " []", " null", " ~  # nothing yet"])
def test_a_list_that_is_empty_yet(written: str) -> None:
    deny = "  egressDeny: [{toCIDR: [192.0.2.1/32]}]\n"
    text = f"{HEAD}{deny}  egress:{written}\n"

    onto = added(Seen().fails(1, EVIL), text, EVIL)

    assert yaml.safe_load(onto.after)["spec"]["egress"][0]["toCIDR"] == [f"{EVIL}/32"]
    assert onto.allowed == 1


def test_lines_keep_their_ends() -> None:
    onto = added(Seen().fails(1, EVIL), ADDRESSES.replace("\n", "\r\n"), EVIL)

    assert onto.after.count("\n") == onto.after.count("\r\n")
    assert onto.allowed == 1


def test_a_text_without_a_last_line_s_end() -> None:
    text = PODS.rstrip("\n")

    onto = added(Seen().fails(1, EVIL), text, EVIL)

    assert onto.allowed == 1
    assert onto.after.startswith(text)


def test_what_stands_behind_an_alias_is_not_changed_for_others() -> None:
    text = f"{HEAD}  egress: &same\n  - toCIDR: [192.0.2.1/32]\n  egressDeny: *same\n"

    onto = added(Seen().fails(1, EVIL), text, EVIL)

    assert onto.diff == ""
    assert "an alias" in onto.notes[0]


def test_traffic_that_comes_in() -> None:
    text = ADDRESSES.replace("  ingress: []\n", "  ingress:\n  - fromEntities: [health]\n")
    seen = Seen().fails(
        1,
        "10.0.0.9",
        source=pod("shop", "web"),
        destination=POD,
        direction=1,
        destination_port=8080,
    )

    onto = added(seen, text, "shop/web", directions=frozenset({"ingress"}))

    rule = yaml.safe_load(onto.after)["spec"]["ingress"][1]
    assert rule["fromEndpoints"][0]["matchLabels"]["k8s:app"] == "web"
    assert onto.allowed == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "kind: Deployment\napiVersion: apps/v1\n",
        "{{ template }}",
        HEAD + "  egres: []\n",
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(OntoError):
        added(Seen().fails(1, EVIL), text, EVIL)


# On the command line ---------------------------------------------------------------------------


@pytest.fixture
def existing(tmp_path: Path) -> Path:
    path = tmp_path / "weather.yaml"
    path.write_text(ADDRESSES)
    return path


def test_a_diff_writes_nothing(existing: Path) -> None:
    told = flowwatch(
        "draft",
        "--input-file",
        WEATHER,
        "--onto",
        existing,
        "--allow",
        "api.github.com:443",
        "--diff",
    )

    assert told.returncode == 0
    assert told.stdout.startswith(f"--- {existing}\n+++ {existing}\n@@ ")
    assert "matchName: api.github.com" in told.stdout
    assert existing.read_text() == ADDRESSES


def test_the_file_itself_is_written_by_output(existing: Path) -> None:
    told = flowwatch(
        "draft",
        "--input-file",
        WEATHER,
        "--onto",
        existing,
        "--allow",
        "api.github.com:443",
        "-o",
        existing,
    )

    assert (told.returncode, told.stdout) == (0, "")
    assert "matchName: api.github.com" in existing.read_text()
    assert "allows 1 of 1 chosen" in told.stderr


def test_without_a_choice_what_was_dropped_is_listed(existing: Path) -> None:
    told = flowwatch("draft", "--input-file", WEATHER, "--onto", existing)

    assert (told.returncode, told.stdout) == (3, "")
    assert "nothing was chosen" in told.stderr
    assert "  api.github.com:443\n" in told.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--diff",), "--diff shows what is added to policies: give --onto FILE, too"),
        (("--onto", ""), "give --onto FILE, too"),
        (("--onto", "/nowhere.yaml"), "cannot read /nowhere.yaml"),
        (("--onto", WEATHER), "weather.jsonl:1"),
        (("--onto", "{}", "--kind", "knp"), "cannot set both --onto and --kind"),
        (("--onto", "{}", "--explain", "x"), "cannot set both --onto and --explain"),
        (("--onto", "{}", "--diff", "-o", "x"), "cannot set both --diff"),
        (("--cilium-config", "/nowhere"), "/nowhere"),
    ],
)
def test_bad_input_is_one_line(existing: Path, words: tuple[str | Path, ...], line: str) -> None:
    given = [existing if word == "{}" else word for word in words]

    told = flowwatch("draft", "--input-file", WEATHER, "--allow", "api.github.com:443", *given)

    assert (told.returncode, told.stdout) == (2, "")
    assert line in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_peer_is_picked_with_its_protocol_too() -> None:
    """As tables and comments spell it; of another protocol it is another."""
    seen = Seen().passes(0, API).fails(1, EVIL)
    assert added(seen, ADDRESSES, f"{EVIL}:443/TCP").allowed == 1
    assert added(seen, ADDRESSES, f"{EVIL}:443/UDP").notes == [
        f"{EVIL}:443/UDP: nothing that was seen tried it"
    ]
