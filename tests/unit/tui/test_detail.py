"""The detail of a row, and the hubble command that shows its records."""

from __future__ import annotations

import shlex

import pytest

from flowwatch.egress.rows import Row
from flowwatch.flows.model import Endpoint
from flowwatch.flows.reasons import by_name
from flowwatch.tui.format import line_width
from flowwatch.tui.hubble_command import command
from flowwatch.tui.parts.detail import detail_lines
from flowwatch.tui.parts.ends import end_words, ends_lines
from flowwatch.tui.theme import FANCY
from tests.unit.tui.made import DENY, NOON, SECOND, denied, record, row

HUBBLE = ("hubble", "observe")
NOW = NOON + 60 * SECOND


def told(row: Row, columns: int = 90, records: int = 3) -> str:
    """The panel's text, with single spaces."""
    last = [record(row.key, at) for at in range(records)]
    lines = detail_lines(row, last, NOW, columns, FANCY, HUBBLE)
    assert max(line_width(line) for line in lines[:-records]) <= columns
    return " ".join("".join("".join(text for text, _ in line) + " " for line in lines).split())


def test_a_default_deny_names_no_policy_and_says_what_to_do() -> None:
    text = told(denied(1))
    reason = by_name("POLICY_DENIED")
    assert reason is not None
    assert reason.plain in text
    assert reason.next in text
    assert "no rule allows it: default deny, for which Hubble names no policy" in text
    assert "12 dropped, from 48 records" in text
    assert "first 12:00:00, last 12:00:50 UTC (10s ago)" in text
    assert "142.250.74.36" in text


APP = Endpoint(
    identity=48310,
    labels=(
        "k8s:app=weather-app",
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=weather",
        "k8s:io.cilium.k8s.namespace.labels.team=sky",
        "k8s:io.cilium.k8s.policy.cluster=demo",
        "k8s:io.cilium.k8s.policy.serviceaccount=weather-app",
        "k8s:io.kubernetes.pod.namespace=weather",
        "k8s:tier=web",
    ),
)
BLOCK = Endpoint(
    identity=16777224,
    labels=("cidr:203.0.113.64/26", "cidr:0.0.0.0/0", "cidr:203.0.0.0/8", "reserved:world"),
)


@pytest.mark.parametrize("direction", ["egress", "ingress"])
def test_both_ends_have_the_labels_that_next_asks_to_check(direction: str) -> None:
    made = denied(1, direction=direction)
    lines = detail_lines(made, (), NOW, 90, FANCY, HUBBLE, (APP, BLOCK))
    texts = ["".join(text for text, _ in line).rstrip() for line in lines]
    app = (
        "app=weather-app tier=web; namespace team=sky; service account weather-app; identity 48310"
    )
    block = "reserved:world cidr:203.0.113.64/26; identity 16777224"
    sender, receiver = (app, block) if direction == "egress" else (block, app)
    told = " ".join(" ".join(texts).split())
    assert f"From {sender} To {receiver}" in told


def test_ends_that_nobody_told_of_are_left_out_or_said_to_be_unknown() -> None:
    assert ends_lines(Endpoint(), Endpoint(), "egress", 90, 11) == []
    assert end_words(Endpoint(identity=7)) == "labels not recorded; identity 7"
    bare = Endpoint(identity=7, labels=("k8s:io.kubernetes.pod.namespace=a",))
    assert end_words(bare) == "no label of its own; identity 7"


def test_what_an_l7_rule_refused_is_named() -> None:
    text = told(
        denied(
            1,
            drop_reasons={"L7_DENIED": 3},
            proxy_refused=("GET http://geo:8080/admin", "DNS collector.clicks.example"),
        )
    )
    assert "Refused GET http://geo:8080/admin, DNS collector.clicks.example" in text


def test_a_deny_rule_is_named() -> None:
    text = told(denied(2, drop_reasons={"POLICY_DENY": 3}, denied_by=(DENY,)))
    assert "Denied by" in text
    assert "deny-world" in text
    assert "default deny" not in text


def test_a_deny_rule_without_a_name_is_not_called_a_default_deny() -> None:
    text = told(denied(2, drop_reasons={"POLICY_DENY": 3}))
    assert "a deny rule, which these records don't name" in text


def test_what_allowed_it_is_named_or_said_to_be_unnamed() -> None:
    assert "weather-egress" in told(row(5))
    assert "not named in these records" in told(row(5, allowed_by=()))


def test_audited_is_told_apart_from_forwarded() -> None:
    text = told(row(3, forwarded=0, audited=4))
    assert "A policy would deny this, but audit mode lets it through." in text
    assert "4 audited" in text


def test_every_reason_of_a_row_is_explained_the_most_frequent_first() -> None:
    text = told(denied(1, drop_reasons={"CT_MAP_INSERTION_FAILED": 2, "POLICY_DENIED": 10}))
    assert text.index("POLICY_DENIED (10)") < text.index("CT_MAP_INSERTION_FAILED (2)")
    for name in ("POLICY_DENIED", "CT_MAP_INSERTION_FAILED"):
        known = by_name(name)
        assert known is not None
        assert known.plain in text


def test_a_reason_of_a_newer_hubble_is_shown_as_it_is() -> None:
    assert "SOMETHING_NEW (1)" in told(denied(1, drop_reasons={"SOMETHING_NEW": 1}))


def test_the_last_records_are_there_the_newest_first() -> None:
    text = told(denied(1))
    assert text.index("12:00:02.000") < text.index("12:00:01.000") < text.index("12:00:00.000")


@pytest.mark.parametrize("columns", [38, 58, 90, 200])
def test_the_panel_never_gets_wider_than_asked(columns: int) -> None:
    told(denied(1, pod="a" * 120, peer="b" * 200), columns)


POD = "--from-pod weather/weather-app-7d9f8-x2x4z"
TCP = "--to-port 443 --protocol tcp"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, f"{POD} --to-fqdn api.openweathermap.org {TCP}"),
        ({"dropped": 1}, f"{POD} --to-fqdn api.openweathermap.org {TCP} --verdict DROPPED"),
        ({"peer": "1.2.3.4", "peer_kind": "address"}, f"{POD} --to-ip 1.2.3.4 {TCP}"),
        ({"peer": "2001:db8::1", "peer_kind": "address"}, f"{POD} --to-ip 2001:db8::1 {TCP}"),
        ({"peer": "world", "peer_kind": "entity"}, f"{POD} --to-label reserved:world {TCP}"),
        ({"peer": "api/api-1", "peer_kind": "pod"}, f"{POD} --to-pod api/api-1 {TCP}"),
        ({"peer": "api/api", "peer_kind": "service"}, f"{POD} --to-service api/api {TCP}"),
        (
            {"direction": "ingress", "peer": "api/api-1", "peer_kind": "pod"},
            f"--to-pod weather/weather-app-7d9f8-x2x4z --from-pod api/api-1 {TCP}",
        ),
        (
            {"namespace": "", "pod": "10.0.0.7", "peer": "api/api-1", "peer_kind": "pod"},
            f"--from-ip 10.0.0.7 --to-pod api/api-1 {TCP}",
        ),
        (
            {"port": 0, "protocol": "ICMPv4", "peer": "1.2.3.4", "peer_kind": "address"},
            f"{POD} --to-ip 1.2.3.4 --protocol icmpv4",
        ),
    ],
)
def test_the_command_for_a_row(fields: dict[str, object], expected: str) -> None:
    assert command(row(1, **fields)) == f"hubble observe {expected}"


def test_folded_rows_have_no_command() -> None:
    assert command(row(1, peer_kind="other")) == ""


# Of the pairs that hubble refuses, those that a row's two sides could make.
_ONE_OF = [
    {"--from-fqdn", "--from-ip", "--ip", "--fqdn", "--from-namespace", "--namespace"},
    {"--to-fqdn", "--to-ip", "--ip", "--fqdn", "--to-namespace", "--namespace"},
    {"--from-fqdn", "--from-ip", "--ip", "--fqdn", "--from-pod", "--pod"},
    {"--to-fqdn", "--to-ip", "--ip", "--fqdn", "--to-pod", "--pod"},
]


@pytest.mark.parametrize("direction", ["egress", "ingress"])
@pytest.mark.parametrize("kind", ["dns", "pod", "service", "entity", "address", "unknown"])
@pytest.mark.parametrize("namespace", ["weather", ""])
def test_no_command_has_a_pair_that_hubble_refuses(
    direction: str, kind: str, namespace: str
) -> None:
    peers = {"pod": "api/api-1", "service": "api/api", "address": "1.2.3.4", "entity": "host"}
    made = row(
        1,
        direction=direction,
        namespace=namespace,
        pod="app" if namespace else "10.0.0.1",
        peer=peers.get(kind, "x.example.org"),
        peer_kind=kind,
        peer_addresses=("1.2.3.4", "1.2.3.5"),
    )
    for by_address in (False, True):
        flags = {w for w in shlex.split(command(made, by_address=by_address)) if w[:2] == "--"}
        for group in _ONE_OF:
            assert len(flags & group) <= 1, flags


@pytest.mark.parametrize("name", ["$(reboot)", "a b", "`id`", "x;y", "--output=x", "\x1b[2Jx", "'"])
def test_a_hostile_name_stays_one_word_of_the_shell(name: str) -> None:
    words = shlex.split(command(row(1, peer=name)))
    assert words[:2] == ["hubble", "observe"]
    if "--to-fqdn" in words:
        assert words[words.index("--to-fqdn") + 1] == name
    else:
        # What can't be typed, or would read as a flag, is left out.
        assert name.startswith("-") or not name.isprintable()
    assert "--output=x" not in words
