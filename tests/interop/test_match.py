"""The same filters on the same file give the same flows as the real CLI, record by record."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from flowwatch.cli.flags import parse
from flowwatch.hubble.filters import build
from flowwatch.hubble.jsonpb import flow_from_json
from flowwatch.hubble.match import FilterError, compile_filters
from flowwatch.hubble.pb.flow import flow_pb2
from tests.interop.real import Binaries, hubble

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

REFUSED = r"""
--port abc
--port 70000
--ip nonsense
--ip 10.0.0.0/99
--protocol nonsense
--pod ''
--node-name a/b/c
--fqdn 'a..'
--fqdn 'ü'
--http-status 99
--http-status 404 -t drop
--http-path '('
--http-url '(?=x)'
--cluster ''
-l 'a in'
-l '=b'
""".strip().split("\n")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory, binaries: Binaries, captures: Path) -> Path:
    """Made-up records of a busy node, and real ones, each with a uuid to know it by."""
    made = tmp_path_factory.mktemp("match") / "made.jsonl"
    command = [str(binaries.observer), "-generate", "6000", "-write-capture", str(made)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = made.read_text().splitlines()
    for real in sorted(captures.glob("hubble-otel/*.json")):
        lines += real.read_text().splitlines()
    path = made.with_name("all.jsonl")
    with path.open("w") as out:
        for number, line in enumerate(lines):
            record = json.loads(line)
            record["flow"]["uuid"] = str(number)
            out.write(json.dumps(record) + "\n")
    return path


@pytest.fixture(scope="module")
def flows(capture: Path) -> list[flow_pb2.Flow]:
    return [flow_from_json(json.loads(line)).flow for line in capture.read_text().splitlines()]


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


@pytest.mark.parametrize("line", REFUSED)
def test_what_a_server_refuses_is_refused(line: str, capture: Path) -> None:
    arguments = shlex.split(line)
    theirs = hubble("observe", "--input-file", capture, *arguments, check=False)
    assert theirs.returncode == 1
    parsed = parse(["observe", *arguments])
    with pytest.raises(FilterError):
        compile_filters(build(parsed.filters))
