"""What ``observe`` prints is what the real ``hubble observe`` prints, byte for byte.

Both are given the same records: every capture of ours and of others, and made-up records of
every kind that they lack. Standard error is compared too: that is where words about nodes go.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from google.protobuf import json_format

from flowwatch.hubble.captures.files import CaptureReader, Chunk
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.hubble.wire.pb.relay import relay_pb2
from flowwatch.report.goformat import TIME_FORMATS
from flowwatch.report.observe import ObserveOptions, make_printer
from tests.interop.real import hubble
from tests.material import SHARED, both, name

Response = observer_pb2.GetFlowsResponse

# Each with the flags that mean the same to the CLI.
STYLES: dict[str, tuple[ObserveOptions, list[str]]] = {
    "plain": (ObserveOptions(), []),
    "nodes": (ObserveOptions(print_node_name=True), ["--print-node-name"]),
    "policies": (ObserveOptions(print_policy_names=True), ["--print-policy-names"]),
    "addresses": (ObserveOptions(ip_translation=False), ["--ip-translation=false"]),
    "numeric": (ObserveOptions(ip_translation=False), ["--numeric"]),
    "colors": (
        ObserveOptions(color=True, print_policy_names=True, print_node_name=True),
        ["--color=always", "--print-policy-names", "--print-node-name"],
    ),
    "debug": (ObserveOptions(debug=True), ["--debug"]),
    "silent": (ObserveOptions(silent=True), ["--silent-errors"]),
} | {
    name: (ObserveOptions(time_format=name), [f"--time-format={name}"])
    for name in (*TIME_FORMATS, "rfc3339NANO", "no-such-format")
}


def records(paths: list[str]) -> list[Response]:
    """All records of captures, bare flows wrapped, as both programs shall read them."""
    found = []
    chunks: Iterator[Chunk[None]] = CaptureReader(paths).chunks(lambda _: None)
    for chunk in chunks:
        for data in chunk.records:
            value = json.loads(data)
            if not {"flow", "lost_events", "node_status"} & value.keys():
                value = {"flow": value}
            found.append(json_format.ParseDict(value, Response(), ignore_unknown_fields=True))
    return found


def printed(responses: Iterable[Response], options: ObserveOptions) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    printer = make_printer(options, out, err)
    for response in responses:
        printer.write(response)
    printer.close()
    return out.getvalue(), err.getvalue()


def really_printed(responses: Iterable[Response], output: str, flags: list[str]) -> tuple[str, str]:
    lines = [
        json.dumps(json_format.MessageToDict(r, preserving_proto_field_name=True))
        for r in responses
    ]
    done = hubble(
        "observe", "--input-file", "-", "-o", output, *flags, input="\n".join(lines) + "\n"
    )
    # With --debug the CLI also logs, as time=… level=…; that isn't about nodes.
    err = "".join(line for line in done.stderr.splitlines(True) if not line.startswith("time="))
    return done.stdout, err


def with_output(options: ObserveOptions, output: str) -> ObserveOptions:
    values = {name: getattr(options, name) for name in ObserveOptions.__struct_fields__}
    return ObserveOptions(**{**values, "output": output})


def capture_files() -> list[Path]:
    return [
        path
        for path in [*both("captures/*"), *both("captures/*/*")]
        if path.suffixes and path.suffixes[-1] in (".json", ".jsonl", ".gz")
    ]


@pytest.mark.parametrize("output", ["compact", "dict", "table", "jsonpb"])
@pytest.mark.parametrize("style", ["plain", "colors", "RFC3339Nano"])
def test_every_capture_looks_as_in_hubble(output: str, style: str) -> None:
    paths = [str(path) for path in capture_files()]
    responses = records(paths)
    assert len(responses) > (2_000 if (SHARED / "captures").is_dir() else 150)
    options, flags = STYLES[style]
    ours = printed(responses, with_output(options, output))
    assert_equal(ours, really_printed(responses, output, flags))


@pytest.mark.parametrize("path", capture_files(), ids=name)
def test_each_capture_alone(path: Path) -> None:
    # Alone, since the columns of a table are as wide as its widest cell.
    responses = records([str(path)])
    options, flags = STYLES["nodes"]
    ours = printed(responses, with_output(options, "table"))
    assert_equal(ours, really_printed(responses, "table", flags))


@pytest.mark.parametrize("output", ["compact", "dict", "tab", "json"])
@pytest.mark.parametrize("style", list(STYLES))
def test_made_up_records_look_as_in_hubble(output: str, style: str) -> None:
    responses = made_up()
    options, flags = STYLES[style]
    ours = printed(responses, with_output(options, output))
    assert_equal(ours, really_printed(responses, output, flags))


def test_legacy_json_looks_as_in_hubble() -> None:
    responses = [*made_up(), *records([str(path) for path in capture_files()[:3]])]
    lines = [
        json.dumps(json_format.MessageToDict(r, preserving_proto_field_name=True))
        for r in responses
    ]
    done = hubble(
        "observe",
        *("--input-file", "-", "-o", "json"),
        input="\n".join(lines) + "\n",
        env={"HUBBLE_COMPAT": "legacy-json-output"},
    )
    ours = printed(responses, ObserveOptions(output="json", legacy_json=True))
    assert_equal(ours, (done.stdout, done.stderr))


@pytest.mark.parametrize("output", ["compact", "dict", "table", "jsonpb"])
def test_hostile_text_never_reaches_the_terminal(output: str) -> None:
    hostile = "a\x1b[2Jb\rc\x07d\x9be\u202ef\ng\th"
    flow = flow_pb2.Flow(Summary=hostile, node_name=hostile, source_names=[hostile])
    flow.IP.source = hostile
    flow.l7.dns.observation_source = hostile
    response = Response(flow=flow)
    status = Response(node_name=hostile)
    status.node_status.state_change = relay_pb2.NODE_ERROR
    status.node_status.message = hostile
    status.node_status.node_names.append(hostile)
    options = ObserveOptions(print_node_name=True, color=output == "compact", output=output)
    text = "".join(printed([response, status], options))
    for color in (31, 32, 33, 35, 36):
        text = text.replace(f"\x1b[{color}m", "")
    text = text.replace("\x1b[0m", "").replace("\n", "")
    assert text.isprintable(), repr(text)


def test_the_invalid_output_is_refused_in_the_same_words() -> None:
    from flowwatch.errors import UsageError
    from flowwatch.report.observe import check_output

    for args, output, follow in (
        (["-o", "yaml"], "yaml", False),
        (["-f", "-o", "table"], "table", True),
    ):
        with pytest.raises(UsageError) as refused:
            check_output(output, follow=follow)
        done = hubble("observe", *args)
        assert done.returncode == 1
        assert str(refused.value) in done.stderr


def assert_equal(ours: tuple[str, str], real: tuple[str, str]) -> None:
    """Equal, and a short message where not: pytest's own diff of megabytes takes minutes."""
    for stream, mine, theirs in zip(("stdout", "stderr"), ours, real, strict=True):
        my_lines, their_lines = mine.splitlines(True), theirs.splitlines(True)
        for number, pair in enumerate(zip(my_lines, their_lines, strict=False), 1):
            if pair[0] != pair[1]:
                pytest.fail(f"{stream}, line {number}:\nours {pair[0]!r}\nreal {pair[1]!r}")
        assert len(my_lines) == len(their_lines), stream
        assert mine == theirs, stream


def made_up() -> list[Response]:
    """Records of every kind, with every number that has a word and some that have none."""
    flows: list[flow_pb2.Flow] = [flow_pb2.Flow()]

    def add(**fields: object) -> flow_pb2.Flow:
        flow = flow_pb2.Flow()
        json_format.ParseDict({"time": "2026-03-04T05:06:07.089Z", **fields}, flow)
        flows.append(flow)
        return flow

    for point in (*range(16), 255, 256, 300):
        add(verdict="FORWARDED", event_type={"type": 4, "sub_type": point})
    for number in range(260):
        add(verdict="DROPPED", event_type={"type": 1, "sub_type": number})
    for kind in (0, 2, 3, 7, 8, 129, 130, -1):
        for sub in (0, 1, 2, 3, 4, 5, 9, 257):
            add(
                event_type={"type": kind, "sub_type": sub},
                debug_capture_point=sub,
                sock_xlate_point=sub,
                verdict="TRACED",
            )
    policy = {"name": "allow-dns", "namespace": "weather", "kind": "CiliumNetworkPolicy"}
    policies = [policy, {"name": "no-kind"}, {"kind": "no-name"}, {**policy, "name": "second"}]
    for verdict in range(10):
        for match_type in (0, 1, 2, 3, 4, 5, 6, 7):
            for direction in range(4):
                add(
                    verdict=verdict,
                    event_type={"type": 5},
                    policy_match_type=match_type,
                    traffic_direction=direction,
                    egress_allowed_by=policies,
                    ingress_allowed_by=policies[1:],
                    egress_denied_by=policies[3:],
                    ingress_denied_by=policies[:1],
                )
    for number in (*range(17), 100, 65535, 16777217, 33554433, 4294967295):
        add(
            source={"identity": number},
            destination={"identity": number + 1 if number < 100 else 7},
            is_reply=bool(number % 2),
        )
    for auth in (0, 1, 2, 3):
        add(auth_type=auth, Summary="TCP Flags: SYN", ip_trace_id={"trace_id": str(auth)})
    for record in ("dns", "http", "kafka", None):
        for l7_type in (0, 1, 2, 3, 4):
            add(l7={"type": l7_type, **({record: {}} if record else {})}, verdict=l7_type)
    add(l7={"type": "RESPONSE", "dns": {"query": "a.b.", "observation_source": "proxy"}})
    for ip in ({"source": "10.0.0.1", "destination": "fd00::1"}, {}, None):
        for l4 in (
            {"TCP": {"source_port": 40000, "destination_port": 443}},
            {"UDP": {"source_port": 0, "destination_port": 53}},
            {"SCTP": {"destination_port": 7}},
            {"ICMPv4": {"type": 8}},
            None,
        ):
            for source in (
                {},
                {"namespace": "weather", "pod_name": "app-1"},
                {"pod_name": "alone"},
                {"namespace": "weather"},
            ):
                for service in (None, {"name": "api", "namespace": "back"}, {"name": "api"}, {}):
                    fields: dict[str, object] = {
                        "source": source,
                        "destination": source,
                        "source_names": ["one.example", "two.example"],
                        "destination_names": ["täst.example"],
                        "ethernet": {"source": "02:00:00:00:00:01", "destination": "x"},
                        "node_name": "cluster/node-1",
                    }
                    if ip is not None:
                        fields["IP"] = ip
                    if l4 is not None:
                        fields["l4"] = l4
                    if service is not None:
                        fields["destination_service"] = service
                        fields["source_service"] = {**service, "namespace": ""}
                    add(**fields)
    for time in (
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999999Z",
        "1970-01-01T00:00:00Z",
        "2026-12-31T23:59:59.1Z",
        "2026-02-03T04:05:06.123456Z",
        "2026-02-03T04:05:06.120000700Z",
        "9999-12-31T23:59:59.999999999Z",
    ):
        add(time=time)
    responses = [Response(flow=flow) for flow in flows]
    for number in range(5):
        lost = Response(node_name="" if number == 2 else "node-2")
        lost.lost_events.source = number  # type: ignore[assignment]
        lost.lost_events.num_events_lost = 10**number
        if number:
            lost.time.FromJsonString("2026-03-04T05:06:07.500Z")
            lost.lost_events.cpu.value = number
        if number > 2:
            lost.lost_events.first.FromJsonString("2026-03-04T05:06:07Z")
            lost.lost_events.last.FromJsonString("2026-03-04T05:06:08.250Z")
        responses.append(lost)
    for state in (1, 2, 3, 4):
        for count in (0, 1, 3, 40):
            status = Response(node_name="relay")
            status.time.FromJsonString("2026-03-04T05:06:09Z")
            status.node_status.state_change = state  # type: ignore[assignment]
            status.node_status.node_names.extend([f"cluster/worker-{n}" for n in range(count)])
            status.node_status.message = 'no "route"\nto\thost: \x07 é 😀 \\' if count else ""
            responses.append(status)
    long = Response()
    long.node_status.state_change = relay_pb2.NODE_UNAVAILABLE
    long.node_status.node_names.extend(["n" * 60, "m"])
    responses.append(long)
    return responses
