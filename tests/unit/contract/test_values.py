"""Whatever value a field of the contract has: every verb ends well, and all other records count.

Two ways: each field with each edge of its type, in one stream or file, through every verb; and
messages made at random (hypothesis), some fields at once, through a verb at random.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowwatch.cli.main import run
from flowwatch.doctor.evidence import JUDGES
from flowwatch.doctor.judge import Evidence, Heard, ring
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.flows.counting import Tally
from flowwatch.flows.decode_json import LineDecoder
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.guard import merge
from flowwatch.flows.known import changed
from flowwatch.flows.model import Batch
from flowwatch.flows.ranges import TIME
from flowwatch.hubble.wire.jsonprint import response_to_json
from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb
from flowwatch.report.status import namespaces_text, nodes_text, status_text
from flowwatch.sources.files import FileSource
from flowwatch.sources.nodes import NodeWatch
from flowwatch.sources.questions import server_now
from tests.unit.contract.values import LEAVES, leaves, odd_messages, usual
from tests.unit.hubble.client.test_connection import Server, serving
from tests.unit.tui import driven

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: deny, namespace: odd}
spec:
  endpointSelector: {matchLabels: {app: app}}
  egress:
    - toCIDR: [1.2.3.0/24]
      toPorts: [{ports: [{port: "443", protocol: TCP}]}]
    - toFQDNs: [{matchPattern: "*.example"}]
      toPorts: [{ports: [{port: "443", protocol: TCP}], rules: {http: [{path: "/x.*"}]}}]
"""

GOOD = 40
"""Records of a pod that nobody meddles with, each an attempt of its own."""

# Command line → exit codes that it may end with. Of the audit 1 is findings.
VERBS: dict[str, tuple[int, ...]] = {
    "summary": (0,),
    "summary -o json --direction both": (0,),
    "summary -o csv": (0,),
    "summary -o markdown": (0,),
    "summary --max-rows 4": (0,),
    "export --outcome all --direction both": (0,),
    "export --outcome all --format jsonl": (0,),
    "export --outcome all --format parquet --output OUT": (0,),
    "export --outcome all --policies POLICY": (0,),
    "export --raw --outcome all": (0,),
    "export --raw --outcome all --format parquet --output OUT": (0,),
    "export --grouped --outcome all --format jsonl": (0,),
    "observe --all": (0,),
    "observe --all -o dict --print-node-name --print-policy-names": (0,),
    "observe --all -o table --time-format RFC1123Z": (0,),
    "observe --all -o json": (0,),
    "observe --all -o csv": (0,),
    "observe --all --numeric --color always --debug": (0,),
    "audit -f POLICY": (0, 1),
    "audit -f POLICY -o json": (0, 1),
    "audit -f POLICY -o junit": (0, 1),
    "audit -f POLICY -o sarif": (0, 1),
    "audit -f POLICY -o github": (0, 1),
    "audit -f POLICY -o markdown": (0, 1),
    "audit -f POLICY -o html": (0, 1),
    "whatif -f POLICY --direction both": (0, 1),
    "whatif -f POLICY --current POLICY -o json": (0, 1),
    "whatif -f POLICY -o markdown": (0, 1),
}
FILTERED = (
    "summary --since 1h --until 1m",
    "summary --ip 10.0.0.0/8 --port 443 --protocol tcp",
    "summary --to-fqdn *.example --not --pod odd/app",
    "summary --http-url .*x --http-method GET",
    "summary --label app=app --identity world --workload app --node-name node-1",
    "summary --verdict DROPPED --drop-reason-desc POLICY_DENIED --type drop",
    "summary --traffic-direction egress --tcp-flags syn --cluster default",
)


def good(number: int) -> pb.GetFlowsResponse:
    message = usual("denied", f"good-{number}")
    message.flow.source.namespace = "good"
    message.flow.IP.source = "10.0.0.9"
    message.flow.l4.TCP.source_port = 50_000 + number
    return message


def between_good_ones(messages: list[bytes]) -> list[bytes]:
    """``messages`` with the good ones spread among them."""
    step = max(len(messages) // GOOD, 1)
    mixed: list[bytes] = []
    for number in range(GOOD):
        mixed.append(good(number).SerializeToString())
        last = number == GOOD - 1
        mixed += (
            messages[number * step :] if last else messages[number * step : (number + 1) * step]
        )
    return mixed


@functools.cache
def stream() -> tuple[bytes, ...]:
    return tuple(between_good_ones([data for _, data in odd_messages()]))


@functools.cache
def lines() -> bytes:
    messages = map(pb.GetFlowsResponse.FromString, stream())
    return "".join(response_to_json(message) + "\n" for message in messages).encode()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("contract")
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "flows.jsonl").write_bytes(lines())
    return {
        "POLICY": str(folder / "policy.yaml"),
        "OUT": str(folder / "out"),
        "FILE": str(folder / "flows.jsonl"),
        "OTHER": str(folder / "other.jsonl"),
    }


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a Hubble server on loopback that sends the whole stream to whoever asks."""
    with serving(Server(flows=lambda *_: iter(stream()), status=lambda *_: b"")) as settings:
        yield settings.address.text


Ended = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ended(files: dict[str, str], capfd: pytest.CaptureFixture[str]) -> Ended:
    """Run a command line in this process: exit code, standard output, standard error."""

    def call(words: str, *more: str) -> tuple[int, str, str]:
        code = run([*[files.get(word, word) for word in words.split()], *more])
        told = capfd.readouterr()
        assert "a defect of flowwatch" not in told.err, told.err[-2000:]
        return code, told.out, told.err

    return call


def good_rows(out: str) -> list[tuple[Any, ...]]:
    return [
        (row["pod"], row["peer"], row["port"], row["dropped"], row["records"], row["drop_reasons"])
        for row in json.loads(out)["rows"]
        if row["namespace"] == "good"
    ]


ALL_GOOD = [("app-1", "1.2.3.4", 443, GOOD, GOOD, {"POLICY_DENIED": GOOD})]


@pytest.mark.parametrize("verb", VERBS)
def test_each_field_at_its_edges_from_a_file(
    verb: str, ended: Ended, files: dict[str, str]
) -> None:
    code, _, err = ended(verb, "--input-file", files["FILE"])
    assert code in VERBS[verb], err[-2000:]


@pytest.mark.parametrize("verb", VERBS)
def test_each_field_at_its_edges_from_a_server(verb: str, ended: Ended, address: str) -> None:
    code, _, err = ended(verb, "--server", address)
    assert code in VERBS[verb], err[-2000:]


@pytest.mark.parametrize("words", FILTERED)
def test_filters_meet_them_too(words: str, ended: Ended, files: dict[str, str]) -> None:
    code, _, err = ended(words, "--input-file", files["FILE"])
    assert code == 0, err[-2000:]
    assert ended(f"observe {words[8:]}", "--input-file", files["FILE"])[0] == 0


@pytest.mark.parametrize("reader", ["", "grpc"])
def test_all_other_records_count(
    reader: str, ended: Ended, files: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWWATCH_READER", reader)
    for source in (["--server", address], ["--input-file", files["FILE"]]):
        code, out, _ = ended("summary -o json --direction both", *source)
        told = json.loads(out)
        assert (code, good_rows(out)) == (0, ALL_GOOD)
        events = sum(one["count"] > 0 for one in told["lost"])
        assert told["records_read"] + told["records_skipped"] > len(stream()) - 200
        assert told["skipped_by_reason"] == {}
        assert events
        assert told["values_unknown"]


def test_live_and_from_a_file_they_are_the_same_flows() -> None:
    """But for times that can't be, which JSON can't say; and of records without an event type, as old
    captures have, a file's keep what only some types have."""
    messages = [data for _, data in odd_messages()]
    decoder, from_file = LineDecoder(), Batch()
    for data in messages:
        record = response_to_json(pb.GetFlowsResponse.FromString(data)).encode()
        merge(from_file, decoder.batch(decoder.any_record(record)[1]))
    live = WireDecoder().decode(messages)
    assert (live.skipped, from_file.skipped) == ({}, {})
    for ours, theirs in zip(live.flows, from_file.flows, strict=True):
        if not ours.time:
            theirs.time = 0
        if not ours.event_type:
            names = ("allowed_by", "denied_by", "match_type", "auth_type")
            theirs.kind = changed(theirs.kind, **{name: getattr(ours, name) for name in names})
        assert ours == theirs
    assert live.nodes == from_file.nodes
    assert live.lost == from_file.lost
    assert {**live.odd, TIME: 0} == {**from_file.odd, TIME: 0}


def test_the_dashboard_shows_them(files: dict[str, str]) -> None:
    async def test() -> None:
        monitor = LiveMonitor(FileSource([files["FILE"]]), live=False)
        monitor.start()
        try:
            async with driven.shown(monitor, (140, 40)) as screen:
                await screen.sees("good", "app-1")
                for key in _KEYS:
                    await screen.press(key)
                    await screen.settled()
                assert monitor.failure is None
        finally:
            monitor.stop()

    driven.run(test())


_KEYS = (
    "i",
    "i",
    "d",
    "t",
    "s",
    "s",
    "s",
    "s",
    "s",
    "s",
    "S",
    "enter",
    "down",
    "down",
    "G",
    "z",
    "w",
)


def test_the_doctor_judges_them() -> None:
    flows = [flow for flow in WireDecoder().decode(stream()).flows if flow.time]
    heard = Heard(flows=flows, arrivals=[1769853601 * 10**9] * len(flows), complete=True)
    evidence = Evidence(now=1769853601 * 10**9, held=5, room=5, oldest=heard, sample=heard, live=heard,
                        verdicts=heard, denials=heard, names=heard, dns=heard, queries=heard)  # fmt: skip
    assert ring(evidence).what
    for name, judge in JUDGES:
        assert judge(evidence).name == name


def answers(kind: Any) -> Iterator[Any]:
    """Answers of a server in which one field has an edge of its type."""
    for leaf in leaves(kind.DESCRIPTOR):
        for value in leaf.values:
            message = kind()
            leaf.put(message, value)
            yield message


def test_what_a_server_says_of_itself_is_printed_whatever_it_is() -> None:
    for status in answers(pb.ServerStatusResponse):
        for form in ("compact", "dict", "json", "table"):
            assert status_text(status, form).endswith("\n")
    for listed in answers(pb.GetNodesResponse):
        for form in ("table", "wide", "json"):
            assert nodes_text(listed.nodes, form).endswith("\n")
    for named in answers(pb.GetNamespacesResponse):
        for form in ("table", "wide", "json"):
            assert namespaces_text(named.namespaces, form).endswith("\n")


class _Answering:
    """A connection that gives these answers."""

    def __init__(self, status: pb.ServerStatusResponse, nodes: pb.GetNodesResponse) -> None:
        self._status, self._nodes = status, nodes

    def server_status(self) -> pb.ServerStatusResponse:
        return self._status

    def nodes(self) -> pb.GetNodesResponse:
        return self._nodes


def test_what_a_server_says_of_its_nodes_is_followed_whatever_it_is() -> None:
    now = 1769853600 * 10**9
    relay = pb.ServerStatusResponse()
    relay.num_connected_nodes.value = 1
    asked = [(one, pb.GetNodesResponse()) for one in answers(pb.ServerStatusResponse)]
    asked += [(relay, one) for one in answers(pb.GetNodesResponse)]
    watch, tally = NodeWatch(), Tally()
    for number, (status, nodes) in enumerate(asked):
        answer = server_now(_Answering(status, nodes))  # type: ignore[arg-type]
        update = watch.update(answer, now + number, {"": now}, dict, "lost" if number % 3 else "")
        tally.add(Batch(nodes=update.statuses, gaps=update.gaps))
        assert isinstance(tally.coverage(now).warnings, tuple)


# --- at random ----------------------------------------------------------------------------------


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A usual message with up to eight fields at random: an edge of each, or anything of its type."""
    message = usual(draw(st.sampled_from(["denied", "passed", "dns", "http", "lost", "node"])))
    for leaf in draw(st.lists(st.sampled_from(LEAVES), max_size=8)):
        leaf.put(message, draw(st.sampled_from(leaf.values)))
    return message.SerializeToString()


@settings(
    max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
@given(odd=st.lists(messages(), min_size=1, max_size=30), verb=st.sampled_from([*VERBS]))
def test_messages_at_random(
    odd: list[bytes], verb: str, ended: Ended, files: dict[str, str]
) -> None:
    mixed = between_good_ones(odd)
    texts = [response_to_json(pb.GetFlowsResponse.FromString(data)) for data in mixed]
    Path(files["OTHER"]).write_text("\n".join(texts))
    code, _, err = ended(verb, "--input-file", files["OTHER"])
    assert code in VERBS[verb], err[-2000:]
    code, out, _ = ended("summary -o json", "--input-file", files["OTHER"])
    assert (code, good_rows(out)) == (0, ALL_GOOD)
