"""The same filters on the same file give the same flows as the real CLI, record by record."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path
from random import Random

import pytest

from flowwatch.cli.flags import parse
from flowwatch.errors import UsageError
from flowwatch.hubble.filters.flags import build
from flowwatch.hubble.filters.match import FilterError, compile_filters
from flowwatch.hubble.wire.jsonpb import FlowParser
from flowwatch.hubble.wire.pb.flow import flow_pb2
from tests.interop import odd_flows
from tests.interop.real import Binaries, hubble
from tests.material import both

COMMAND_LINES = r"""
--verdict DROPPED
--verdict FORWARDED --verdict AUDIT
--drop-reason-desc POLICY_DENIED
-n weather
-n weather -n shop
--from-namespace weather --to-fqdn '*.org'
--to-fqdn '*.openweathermap.org' --to-fqdn '*.github.com'
--fqdn '*'
--from-pod weather/weather
--pod /
--pod weather/ --not --verdict FORWARDED
--not --namespace kube-system
--not --protocol dns --not --protocol udp
--protocol tcp
--protocol icmp
--protocol http
--port 443
--to-port 53 --protocol udp
--from-port 9080
--ip 10.0.0.0/8
--from-ip 10.244.0.0/16 --to-port 443
--ip 10.244.0.148
-4
-6
--ip-version none
-t policy-verdict
-t drop:133
-t trace:to-proxy -t trace:to-stack
-t l7
--traffic-direction egress
--traffic-direction ingress --verdict DROPPED
--reply
--not-reply
--tcp-flags syn
--tcp-flags syn,ack --tcp-flags rst
-l reserved:world
-l 'k8s:app in (productpage, reviews)'
-l '!reserved:host'
-l app
-l 'app!=productpage'
-l 'app notin (productpage)'
-l k8s:io.kubernetes.pod.namespace=weather
--from-label k8s:app=scheduler,io.kubernetes.pod.namespace=ci
--to-label reserved:host
--identity world
--identity 3418
--to-identity remote-node --to-identity host
--workload Deployment/scheduler
--from-workload Deployment/
--workload nothing
--service ''
--service /
--to-service shop/
--cluster default
--http-status 200
--http-status 4+ --http-status 5+
--http-method get
--http-path '^/reviews'
--http-url 'http://[a-z]+:9080/'
--http-path '/productpage$'
--node-name worker1
--node-name 'default/*'
--node-name 'w*'
--encrypted
--unencrypted
--interface eth0
--allowlist '{"dns_query":["^api\\."]}'
--allowlist '{}'
--denylist '{}'
--denylist '{"verdict":["FORWARDED"]}' -n payments
--allowlist '{"source_pod":["weather/"],"event_type":[{"type":5}]}'
--namespace weather --verdict DROPPED --not --to-port 53 -t drop
--uuid nothing
""".strip().split("\n")

ODD_COMMAND_LINES = 120

REFUSED = r"""
--port abc
--port 70000
--port ''
--port +80
--port '8"0'
--ip nonsense
--ip 10.0.0.0/99
--ip 10.0.0.0/08
--ip 10.0.0.0/255.0.0.0
--ip 10.0.0/8
--ip 010.0.0.1
--ip 1.2.3.4.5
--ip 1..2.3
--ip 256.1.1.1
--ip 1.2.3.
--ip 1.2.3.x
--ip fe80::%/10
--ip fe80::1%e/10
--ip %eth0
--ip :::
--ip 1:2:3:4:5:6:7:8:9
--ip 1:2:3:4:5:6:7
--ip 1::2::3
--ip 12345::
--ip '::g'
--ip '1:'
--ip 1:2:3:4:5:6:7:1.2.3.4
--ip ::1.2.3
--ip '1:2:3:4:5:6:7::8'
--ip ':1'
--ip ':'
--ip ''
--ip /
--ip 1.1.1.1/
--ip 1.1.1.1/-1
--ip 1.1.1.1/+1
--ip ::/129
--ip 1.1.1.1/33333333333333333333333
--protocol nonsense
--pod ''
--service ''
--from-service ''
--node-name a/b/c
--node-name ''
--node-name 'a..'
--node-name './x'
--fqdn 'a..'
--fqdn 'ü'
--fqdn "a'b"
--fqdn 'a b'
--fqdn ''
--fqdn '.'
--http-status 99
--http-status 404 -t drop
--http-status 4
--http-status ''
--http-status 4++
--http-method get -t drop
--http-path a -t drop
--http-url a -t drop
--http-header a:b -t drop
--http-path '('
--http-path 'a)'
--http-path 'a**'
--http-path 'a{2}{3}'
--http-path '*a'
--http-path 'a|*'
--http-path '(*)'
--http-path 'a{1001}'
--http-path 'a{3,2}'
--http-path '(a{100}){100}'
--http-path 'a{99999999999}'
--http-path '[a'
--http-path '[b-a]'
--http-path '[[:foo:]]'
--http-path '\1'
--http-path '\8'
--http-path '\Z'
--http-path '\C'
--http-path '\x'
--http-path '\xg1'
--http-path '\x1'
--http-path '\x{110000}'
--http-path '\x{}'
--http-path '\x{12'
--http-path '\x{1g}'
--http-path '\é'
--http-path '[\é]'
--http-path '(?i'
--http-path '(?-)'
--http-path '(?i-)'
--http-path '(?i--s:a)'
--http-path '(?P<>a)'
--http-path '(?P<a'
--http-path '(?P<a-b>c)'
--http-path '(?<a'
--http-path '(?<=a)'
--http-path '(?P=a)'
--http-path '(?P<a>'
--http-path '(?>a)'
--http-path '(?#x)'
--http-path 'a*+'
--http-path 'a*??'
--http-path 'a+?*'
--http-path '[a-\d]'
--http-path '[]'
--http-path '[^]'
--http-path '[a&&b--c||d~~e]'
--http-url '(?=x)'
--http-url '('
--cluster ''
--cluster a --cluster ''
-l 'a in'
-l '=b'
-l ' '
-l ','
-l 'a,'
-l 'a,,b'
-l 'a=b=c'
-l 'a===b'
-l 'a!b'
-l '!a=b'
-l '!a in (b)'
-l '!!a'
-l '!'
-l 'a in b'
-l 'a in (b'
-l 'a in (b c)'
-l 'a in (b,'
-l 'a in (=)'
-l 'a in (b,(c))'
-l 'a notin (b) c'
-l 'a < x'
-l 'a <'
-l 'a > -1'
-l 'a gt 1'
-l 'a b'
-l 'a(b)'
-l '(a)'
-l ')'
-l 'k8s:a:b=c'
-l 'k8s:a/b/c'
-l 'k8s:A.b/c'
-l 'k8s:/c'
-l 'k8s:'
-l ':a'
-l '$host'
-l 'a=-b'
-l 'a=b/c'
-l 'a in (-b,c,-d)'
-l 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
-l 'a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
-l 'é'
--node-label 'a in'
--to-label 'a in'
--port abc --label 'a in' --service ''
--ip x --identity 1 --protocol nope
--not --port abc
--port abc --not --ip x
--allowlist '{"dns_query":["("]}'
""".strip().split("\n")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory, binaries: Binaries) -> Path:
    """Made-up records of a busy node, the demo's, and real ones, each with a uuid to know it by."""
    made = tmp_path_factory.mktemp("match") / "made.jsonl"
    command = [str(binaries.observer), "-generate", "6000", "-write-capture", str(made)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = made.read_text().splitlines()
    for path in [*both("captures/weather.jsonl"), *both("captures/hubble-otel/*.json")]:
        lines += path.read_text().splitlines()
    path = made.with_name("all.jsonl")
    with path.open("w") as out:
        for number, line in enumerate(lines):
            record = json.loads(line)
            record["flow"]["uuid"] = str(number)
            out.write(json.dumps(record) + "\n")
    return path


@pytest.fixture(scope="module")
def flows(capture: Path) -> list[flow_pb2.Flow]:
    parse = FlowParser().response
    return [parse(line).flow for line in capture.read_bytes().splitlines()]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_the_same_flows_match(line: str, capture: Path, flows: list[flow_pb2.Flow]) -> None:
    arguments = shlex.split(line)
    theirs = hubble(
        "observe", "--input-file", capture, "-o", "jsonpb", *arguments, timeout=60, check=False
    )
    parsed = parse(["observe", *arguments])
    filters = build(parsed.filters, parsed.list("allowlist"), parsed.list("denylist"))
    if theirs.returncode:
        with pytest.raises(FilterError):
            compile_filters(filters)
        return
    matches = compile_filters(filters)
    expected = [json.loads(text)["flow"]["uuid"] for text in theirs.stdout.splitlines()]
    assert [flow.uuid for flow in flows if matches(flow)] == expected


CEL = r"""
--cel-expression '_flow.verdict == Verdict.DROPPED'
--cel-expression '_flow.is_reply == true' --cel-expression 'has(_flow.l7.dns)'
--cel-expression '_flow.l4.TCP.destination_port == 443u' --not --cel-expression 'has(_flow.l7)'
--cel-expression '_flow.source.labels.exists(l, l.startsWith("k8s:app="))' -n weather
--cel-expression '"reserved:world" in _flow.destination.labels && _flow.time > timestamp(0)'
--cel-expression '_flow.destination_names[0].endsWith(".org")'
--cel-expression '_flow.l4.TCP.destination_port == 443'
--cel-expression '_flow.IP.source.matches("^10[.]")'
--cel-expression '_flow.nope'
--cel-expression true --cel-expression 5
""".strip().split("\n")


@pytest.mark.parametrize("line", CEL)
def test_the_same_flows_match_cel(line: str, capture: Path, flows: list[flow_pb2.Flow]) -> None:
    pytest.importorskip("cel_expr_python", reason="the extra cel is not installed")
    test_the_same_flows_match(line, capture, flows)


@pytest.mark.parametrize("line", REFUSED)
def test_what_a_server_refuses_is_refused_in_its_words(line: str) -> None:
    arguments = shlex.split(line)
    theirs = hubble("observe", "--input-file", "/dev/null", *arguments, check=False)
    assert theirs.returncode == 1
    assert refusal(arguments) == short(theirs.stderr)


def refusal(arguments: list[str]) -> str:
    parsed = parse(["observe", *arguments])
    filters = build(parsed.filters, parsed.list("allowlist"), parsed.list("denylist"))
    with pytest.raises(FilterError) as refused:
        compile_filters(filters)
    return short(str(refused.value))


def short(words: str) -> str:
    """Without Kubernetes' explanation of what a label may hold: ours is another, and shorter."""
    return re.sub(r'(Invalid value: "[^"]*"): (?!for ).*', r"\1", words.strip())


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[flow_pb2.Flow]]:
    random = Random(1)
    records = [{"flow": odd_flows.record(random, str(number))} for number in range(700)]
    path = tmp_path_factory.mktemp("odd") / "odd.jsonl"
    lines = [json.dumps(record).encode() for record in records]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    parse = FlowParser().response
    return path, [parse(line).flow for line in lines]


@pytest.mark.parametrize("seed", range(ODD_COMMAND_LINES))
def test_the_same_odd_flows_match(seed: int, odd: tuple[Path, list[flow_pb2.Flow]]) -> None:
    path, records = odd
    arguments = odd_flows.arguments(Random(seed))
    theirs = hubble("observe", "--input-file", path, "-o", "jsonpb", *arguments, timeout=60)
    answer: list[str] | str = short(theirs.stderr)
    if theirs.returncode == 0:
        answer = [json.loads(text)["flow"]["uuid"] for text in theirs.stdout.splitlines()]
    assert selected(arguments, records) == answer, shlex.join(arguments)


def selected(arguments: list[str], records: list[flow_pb2.Flow]) -> list[str] | str:
    """The uuids of the records that the command line selects, or why it is refused."""
    try:
        parsed = parse(["observe", *arguments])
        filters = build(parsed.filters, parsed.list("allowlist"), parsed.list("denylist"))
        matches = compile_filters(filters)
    except (UsageError, FilterError) as refused:
        return short(str(refused))
    return [flow.uuid for flow in records if matches(flow)]
