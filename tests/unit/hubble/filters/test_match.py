"""FlowFilters evaluated here, as Cilium's pkg/hubble/filters evaluates them.

tests/interop asks the real CLI the same of many more; these run without Go.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest
from google.protobuf import json_format

from flowwatch.hubble.filters.flags import Filters
from flowwatch.hubble.filters.match import _TESTS, FilterError, compile_filters
from flowwatch.hubble.filters.match.addresses import parse_address, parse_prefix
from flowwatch.hubble.filters.match.uri import request_path
from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter


def flow(**fields: Any) -> Flow:
    return json_format.ParseDict(fields, Flow())


def one(**fields: Any) -> FlowFilter:
    return json_format.ParseDict(fields, FlowFilter())


def matches(found: Flow, *allow: FlowFilter, deny: tuple[FlowFilter, ...] = ()) -> bool:
    return compile_filters(Filters(list(allow), list(deny)))(found)


DROP = flow(verdict="DROPPED", source={"namespace": "weather", "pod_name": "weather-1"})


def test_every_field_of_flow_filter_has_a_test() -> None:
    assert {name for name, _ in _TESTS} == set(FlowFilter.DESCRIPTOR.fields_by_name)


def test_allow_is_or_and_deny_wins() -> None:
    dropped, weather, shop = (
        one(verdict=["DROPPED"]),
        one(source_pod=["weather/"]),
        one(source_pod=["shop/"]),
    )
    assert matches(DROP)
    assert matches(DROP, shop, weather)
    assert matches(DROP, shop, shop, dropped)
    assert not matches(DROP, shop)
    assert not matches(DROP, weather, deny=(dropped,))
    assert not matches(DROP, deny=(shop, dropped))
    assert matches(DROP, deny=(shop,))


def test_fields_are_and_and_their_values_or() -> None:
    assert matches(DROP, one(verdict=["AUDIT", "DROPPED"], source_pod=["shop/", "weather/"]))
    assert not matches(DROP, one(verdict=["AUDIT", "DROPPED"], source_pod=["shop/"]))


def test_an_empty_filter_is_everything() -> None:
    assert matches(Flow(), one())
    assert not matches(DROP, deny=(one(),))


POD = {"namespace": "default", "pod_name": "web-1"}


@pytest.mark.parametrize(
    ("wanted", "source", "answer"),
    [
        ("web", POD, True),
        ("default/web", POD, True),
        ("/web", POD, True),
        ("default/", POD, True),
        ("/", POD, True),
        ("/", {"namespace": "x"}, True),
        ("/", {}, False),
        ("Web", POD, False),
        ("eb-1", POD, False),
        ("other/web", POD, False),
        ("web", {"namespace": "other", "pod_name": "web-1"}, False),
        # Upstream cuts at the second slash.
        ("default/web/zzz", POD, True),
    ],
)
def test_pods_by_namespace_and_start(wanted: str, source: dict[str, str], answer: bool) -> None:
    assert matches(flow(source=source), one(source_pod=[wanted])) is answer
    assert matches(flow(source=source), one(source_pod=["no/no", wanted])) is answer


LABELS = ["k8s:app=x", "k8s:n=7", "reserved:host", "cidr:10.1.0.0/16", "k8s:empty="]


@pytest.mark.parametrize(
    ("selector", "answer"),
    [
        ("app=x", True),
        ("k8s:app=x", True),
        ("any:app=x", True),
        ("unspec:app=x", True),
        ("container:app=x", False),
        ("app in (y, x)", True),
        ("app notin (y)", True),
        ("app!=x", False),
        ("gone!=x", True),
        ("gone notin (x)", True),
        ("!gone", True),
        ("!app", False),
        ("app,!gone,n>6", True),
        ("n>7", False),
        ("n<8", True),
        ("app>1", False),
        ("empty=", True),
        ("empty in ()", True),
        ("reserved:host", True),
        ("reserved:world", False),
        ("cidr:10.0.0.0/8", True),  # a prefix holds those within it
        ("cidr:10.1.2.0/24", False),
        ("!cidr:10.0.0.0/8", False),
        ("", True),
    ],
)
def test_label_selectors(selector: str, answer: bool) -> None:
    found = flow(source={"labels": LABELS})
    assert matches(found, one(source_label=[selector])) is answer


@pytest.mark.parametrize(
    ("pattern", "name", "answer"),
    [
        ("*.org", "a.b.org", True),
        ("*.org", "org", False),
        ("A.Org.", "a.org", True),
        ("a.org", "aXorg", False),
        ("a*", "a.ü", False),
        ("***a", "a", True),
        ("a.org", "a.org\n", False),
    ],
)
def test_dns_names(pattern: str, name: str, answer: bool) -> None:
    assert matches(flow(destination_names=["x", name]), one(destination_fqdn=[pattern])) is answer


def test_many_stars_cost_no_time() -> None:
    test = compile_filters(Filters([one(destination_fqdn=["*" * 60 + "x"])]))
    start = time.monotonic()
    assert not test(flow(destination_names=["a" * 250]))
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("pattern", "name", "answer"),
    [
        ("k1", "k1", True),
        ("default/k1", "k1", True),
        ("c/k1", "c/k1", True),
        ("k*", "c/k1", True),
        ("c/", "c/k1", True),
        ("c/k1", "k1", False),
        ("*", "", False),
    ],
)
def test_node_names(pattern: str, name: str, answer: bool) -> None:
    assert matches(flow(node_name=name), one(node_name=[pattern])) is answer


@pytest.mark.parametrize(
    ("wanted", "address", "answer"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.9.9.9/8", "10.1.2.3", True),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "::1", True),
        ("::ffff:0:0/96", "10.0.0.1", False),
        ("fe80::/10", "fe80::1%eth0", False),
        ("10.0.0.0/8", "", False),
        ("10.0.0.0/8", "nonsense", False),
        ("::1", "::1", True),
        ("::1", "0::1", False),  # compared as text
    ],
)
def test_addresses(wanted: str, address: str, answer: bool) -> None:
    found = flow(IP={"source": address})
    assert matches(found, one(source_ip=[wanted])) is answer
    assert matches(found, one(source_ip=["1.2.3.4/32", wanted])) is answer


def test_addresses_are_read_as_go_reads_them() -> None:
    assert parse_address("::ffff:1.2.3.4").value == 0xFFFF01020304
    assert parse_address("1::").value == 1 << 112
    assert parse_prefix("10.255.0.0/8").holds(parse_address("10.0.0.1"))
    for text in (
        "010.0.0.1",
        "1.2.3",
        "::1::",
        "1:2:3:4:5:6:7:8:9",
        "1::2:3:4:5:6:7:8",
        "",
        "%e",
        "fe80::%",
        ":",
    ):
        with pytest.raises(ValueError, match=r"^ParseAddr"):
            parse_address(text)
    for text in (
        "10.0.0.0/255.0.0.0",
        "10.0.0.0/08",
        "10.0.0.0/33",
        "fe80::1%e/10",
        "10/8",
        "1.1.1.1/",
    ):
        with pytest.raises(ValueError, match=r"^netip\.ParsePrefix"):
            parse_prefix(text)


def test_replies_are_three_valued_and_a_drop_is_none() -> None:
    assert matches(flow(verdict="DROPPED"), one(reply=[False]))
    assert not matches(flow(verdict="FORWARDED"), one(reply=[True, False]))
    assert matches(flow(verdict="FORWARDED", is_reply=False), one(reply=[False]))
    assert not matches(flow(verdict="FORWARDED", is_reply=False), one(reply=[True]))


def test_a_drop_reason_needs_a_drop() -> None:
    wanted = one(drop_reason_desc=["POLICY_DENIED"])
    assert matches(flow(verdict="DROPPED", drop_reason_desc="POLICY_DENIED"), wanted)
    assert not matches(flow(verdict="AUDIT", drop_reason_desc="POLICY_DENIED"), wanted)


def test_event_types() -> None:
    drop = flow(event_type={"type": 1, "sub_type": 133})
    assert matches(drop, one(event_type=[{"type": 1}]))
    assert matches(
        drop, one(event_type=[{"type": 4}, {"type": 1, "match_sub_type": True, "sub_type": 133}])
    )
    assert matches(drop, one(event_type=[{"match_sub_type": True, "sub_type": 133}]))
    assert not matches(drop, one(event_type=[{"type": 1, "match_sub_type": True}]))
    assert not matches(Flow(), one(event_type=[{}]))


def test_packets() -> None:
    syn = flow(
        l4={"TCP": {"source_port": 5, "destination_port": 443, "flags": {"SYN": True, "ECE": True}}}
    )
    assert matches(syn, one(tcp_flags=[{"SYN": True}]))
    assert not matches(syn, one(tcp_flags=[{"SYN": True, "ACK": True}]))
    assert matches(syn, one(destination_port=["443"], protocol=["TCP"]))
    assert matches(syn, one(protocol=["icmp", "dns", "tcp"]))
    assert not matches(flow(l4={"ICMPv4": {}}), one(source_port=["0"]))
    assert matches(flow(l4={"ICMPv6": {}}), one(protocol=["icmp"]))
    assert matches(flow(l7={"dns": {}}), one(protocol=["dns"]))
    assert matches(flow(source={"identity": 0}), one(source_identity=[0]))
    assert not matches(Flow(), one(source_identity=[0]))


def test_workloads_and_interfaces() -> None:
    found = flow(
        source={"workloads": [{"kind": "Deployment", "name": "x"}]},
        interface={"index": 2, "name": "eth0"},
    )
    for wanted in ({}, {"name": "x"}, {"kind": "Deployment"}, {"kind": "Deployment", "name": "x"}):
        assert matches(found, one(source_workload=[wanted]))
    assert not matches(found, one(source_workload=[{"name": "xx"}, {"kind": "Pod"}]))
    assert matches(found, one(interface=[{"name": "eth0"}]))
    assert not matches(found, one(interface=[{"index": 3, "name": "eth0"}]))
    assert not matches(Flow(), one(interface=[{}]))


def http(**fields: Any) -> Flow:
    return flow(l7={"http": fields})


def test_http() -> None:
    assert matches(http(code=404), one(http_status_code=["5+", "404"]))
    assert matches(http(code=404), one(http_status_code=["40+"]))
    assert not matches(http(code=4040), one(http_status_code=["404"]))
    assert not matches(http(), one(http_status_code=["4+"]))
    assert matches(http(method="GET"), one(http_method=["get"]))
    assert matches(http(url="http://h/a?x"), one(http_url=["a.x$"]))
    assert matches(http(url="http://h/%61/b?x"), one(http_path=["^/a/b$"]))
    assert not matches(http(url="http://h:x/a"), one(http_path=["a"]))
    header = {"key": "a", "value": "b"}
    assert matches(http(headers=[header]), one(http_header=[header]))
    assert not matches(http(headers=[header]), one(http_header=[{"key": "A", "value": "b"}]))


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/a#b", "/a#b"),
        ("//h/a", "//h/a"),
        ("http://h", ""),
        ("http://u@[::1]:80/a?b?c", "/a"),
        ("mailto:x", ""),
        ("*", "*"),
        ("/%e2%82", "/\ufffd\ufffd"),
        ("ftp://a:1:2/x", "/x"),
        ("http://a:1:2/x", None),
        ("http://[1.2.3.4]/", None),
        ("http://h^/", None),
        ("a/b", None),
        (":/x", None),
        ("/a\x00", None),
        ("/%zz", None),
        ("", None),
    ],
)
def test_paths_of_request_uris(uri: str, path: str | None) -> None:
    assert request_path(uri) == path


PARSE_X = 'strconv.ParseUint: parsing "x": invalid syntax'
NO_PAREN = "error parsing regexp: missing closing ): `(`"
NO_NAME = "invalid filter, name must not be empty"
NO_L7 = "filtering by http path requires the event type filter to only match 'l7' events"


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (one(source_port=["x"]), f'invalid source port filter: invalid port "x": {PARSE_X}'),
        (
            one(destination_ip=["1.1"]),
            'invalid IP address "1.1" in filter: ParseAddr("1.1"): IPv4 address too short',
        ),
        (one(protocol=["X"]), 'invalid protocol filter: unknown protocol: "X"'),
        (one(source_pod=[""]), NO_NAME),
        (one(source_service=[""]), f"invalid source service filter: {NO_NAME}"),
        (one(source_fqdn=["a b"]), "' ': invalid rune in pattern"),
        (one(node_name=["a/b/c"]), "too many slashes in pattern"),
        (
            one(source_label=["a in"]),
            "invalid source label filter: unable to parse requirement: found '' expected: '('",
        ),
        (
            one(http_status_code=["99"]),
            'invalid http status code filter: invalid status code prefix: "99"',
        ),
        (one(http_path=["a"], event_type=[{"type": 1}]), NO_L7),
        (one(http_path=["("]), f"invalid http path filter: (: {NO_PAREN}"),
        (
            one(dns_query=["("]),
            f"invalid DNS query filter: failed to compile regexp: {NO_PAREN}",
        ),
        # Of several mistakes a server names that of the filter that it builds first.
        (
            one(source_port=["x"], protocol=["x"]),
            'invalid protocol filter: unknown protocol: "x"',
        ),
    ],
)
def test_bad_values_are_refused_in_the_servers_words(wanted: FlowFilter, words: str) -> None:
    with pytest.raises(FilterError) as error:
        compile_filters(Filters(deny=[wanted]))
    assert str(error.value) == words


def cel(expression: str) -> FlowFilter:
    return one(experimental={"cel_expression": [expression]})


def test_cel_expressions() -> None:
    pytest.importorskip("cel_expr_python", reason="the extra cel is not installed")
    assert matches(DROP, cel("_flow.verdict == Verdict.DROPPED"))
    assert not matches(DROP, cel("_flow.source.pod_name.startsWith('shop')"))
    assert matches(DROP, one(experimental={"cel_expression": ["false", "true"]}))
    # What fails on a record ends it there, even before one that is true.
    assert not matches(DROP, one(experimental={"cel_expression": ["1 / 0 == 1", "true"]}))
    assert matches(DROP, one(experimental={}))
    for expression, words in (
        ("1", 'got "int", wanted "bool" result type'),
        ("_flow.source", 'got "flow.Endpoint", wanted "bool" result type'),
        ("null", 'got "null_type", wanted "bool" result type'),
        ("_flow.nope", "ERROR: <input>:1:6: undefined field 'nope'"),
        ("1 +\n", "ERROR: <input>:"),
    ):
        with pytest.raises(FilterError) as error:
            compile_filters(Filters([cel(expression)]))
        assert str(error.value).startswith(f"error compiling CEL expression: {words}")
        assert "\n" not in str(error.value)


def test_without_the_extra_cel_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python.cel", None)
    with pytest.raises(FilterError, match=r"pip install 'flowwatch\[cel\]'"):
        compile_filters(Filters([cel("true")]))


def test_filters_of_json_lines_are_those_of_protobuf() -> None:
    text = json.dumps({"source_pod": ["weather/"], "verdict": ["DROPPED"]})
    assert matches(DROP, json_format.Parse(text, FlowFilter()))
