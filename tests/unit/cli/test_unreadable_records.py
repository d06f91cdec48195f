"""Records that can't be read, as a person meets them: from a server that sends them between good ones,
and from files. Every verb shows the others, says which were not read and why, and may keep them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flowwatch.cli.main import run
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.query import Query
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2 as pb
from flowwatch.sources.live import LiveSource
from flowwatch.sources.nodes import ServerNow
from tests.material import SHARED, where_shared
from tests.unit.flows.test_hostile_records import DAMAGED, GOOD, record, tcp, wire
from tests.unit.hubble.client.test_connection import Server, serving

HOSTILE = SHARED / "cases" / "hostile"

Ran = Callable[..., tuple[int, str, list[str]]]

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: deny, namespace: weather}
spec:
  endpointSelector: {}
  egress: [{}]
"""


@pytest.fixture
def ran(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ran:
    """Run a command line here: exit code, standard output, the lines on standard error."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "policy.yaml").write_text(POLICY)

    def call(*words: object) -> tuple[int, str, list[str]]:
        code = run([str(word) for word in words])
        told = capfd.readouterr()
        return code, told.out, [line.removeprefix("flowwatch: ") for line in told.err.splitlines()]

    return call


def good(number: int) -> bytes:
    return wire(uuid=f"good-{number}", l4=tcp(40_000 + number, 443))


def between(*bad: bytes) -> list[bytes]:
    """``bad`` with a good record before, between and after them."""
    messages = [good(0)]
    for number, one in enumerate(bad, 1):
        messages += [one, good(number)]
    return messages


@contextmanager
def server(messages: list[bytes]) -> Iterator[str]:
    """The address of a Hubble server on loopback that sends just these."""
    with serving(Server(flows=lambda *_: iter(messages), status=lambda *_: b"")) as settings:
        yield settings.address.text


BAD = [data for data, _ in DAMAGED.values()]
WHY = [why for _, why in DAMAGED.values()]
ALL_GOOD = len(BAD) + 1


def shown(verb: str, out: str) -> int:
    """How many of the good records, each an attempt, ``verb`` shows."""
    if verb.startswith("summary"):
        rows = json.loads(out)["rows"]
        return sum(row["dropped"] for row in rows if row["pod"] == "app")
    return sum("1.2.3.4" in line for line in out.splitlines())


@pytest.mark.parametrize("reader", ["", "grpc"])
@pytest.mark.parametrize(
    "verb",
    ["summary -o json", "export", "export --raw", "observe --all", "observe --all -o json",
     "observe --all -o csv", "observe --all -o dict"],
)  # fmt: skip
def test_bad_records_of_a_server_cost_themselves(
    verb: str, reader: str, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWWATCH_READER", reader)
    with server(between(*BAD)) as address:
        code, out, err = ran(*verb.split(), "--server", address)
    assert code == 0
    assert shown(verb, out) == ALL_GOOD
    told = "\n".join(json.loads(out)["warnings"] if verb == "summary -o json" else err)
    for why in set(WHY):
        places = [2 * number for number, one in enumerate(WHY, 1) if one == why]
        which = "record " if len(places) == 1 else "records "
        assert f"skipped: {why} ({which}{', '.join(map(str, places))})" in told


@pytest.mark.parametrize(
    "verb", ["audit -f {policy} -o json", "whatif -f {policy} -o json", "summary -o json"]
)
def test_the_evidence_is_said_to_lack_them(verb: str, ran: Ran, tmp_path: Path) -> None:
    words = verb.format(policy=tmp_path / "policy.yaml").split()
    with server(between(*BAD)) as address:
        code, out, _ = ran(*words, "--server", address)
    assert code in (0, 1)
    value = json.loads(out)
    warnings = value.get("warnings") or value["evidence"]["warnings"]
    assert sum("skipped: " in line for line in warnings) == len(set(WHY))


def test_the_dashboard_goes_on() -> None:
    """A stream that is followed: what comes after a bad record is counted as well."""
    batches = [between(*BAD), [], between(*BAD)]

    class Endless:
        backlog = 0
        reached = True

        def __init__(self) -> None:
            self.closed = threading.Event()

        def chunks(self) -> Iterator[list[bytes]]:
            yield from batches
            while not self.closed.wait(0.02):
                yield []

        def close(self) -> None:
            self.closed.set()

    class Connected:
        def open(self, _since: int | None) -> Endless:
            return Endless()

        def nodes(self) -> ServerNow:
            return ServerNow()

        def oldest(self) -> dict[str, int]:
            return {}

        def peek(self, _since: int) -> list[bytes]:
            return []

        def close(self) -> None:
            """Nothing is open."""

    monitor = LiveMonitor(LiveSource(Connected, where="test", follow=True))
    monitor.start()
    try:
        waits = threading.Event()
        for _ in range(200):
            taken = monitor.snapshot(Query())
            if sum(taken.coverage.records_skipped.values()) == 2 * len(BAD):
                break
            waits.wait(0.05)
    finally:
        monitor.stop()
    assert monitor.failure is None
    assert taken.totals.dropped == ALL_GOOD
    assert sum(taken.coverage.records_skipped.values()) == 2 * len(BAD)


# --- --keep-bad ---------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["summary", "export", "observe --all", "audit -f {policy}"])
def test_the_bytes_are_kept(verb: str, ran: Ran, tmp_path: Path) -> None:
    folder = tmp_path / "kept" / "here"
    words = verb.format(policy=tmp_path / "policy.yaml").split()
    with server(between(*BAD)) as address:
        code, _, err = ran(*words, "--server", address, "--keep-bad", folder)
    assert code in (0, 1)
    assert f"{len(BAD)} records that could not be read are kept in {folder}" in err
    names = sorted(path.name for path in folder.iterdir())
    assert names[0] == "record-000002-flow-source-pod-name-is-not-UTF-8.bin"
    assert [(folder / name).read_bytes() for name in names] == BAD


def test_an_earlier_run_s_are_not_overwritten(ran: Ran, tmp_path: Path) -> None:
    with server(between(BAD[0])) as address:
        for _ in range(3):
            ran("summary", "--server", address, "--keep-bad", tmp_path / "kept")
    name = "record-000002-flow-source-pod-name-is-not-UTF-8"
    found = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert found == [f"{name}-1.bin", f"{name}-2.bin", f"{name}.bin"]


def test_records_of_a_file_are_kept_as_they_stand_there(ran: Ran, tmp_path: Path) -> None:
    wrong, junk = b'{"flow": {"source": 7, "verdict": 1}}', b"no json at all"
    capture = tmp_path / "flows.jsonl"
    capture.write_bytes(b"\n".join([record(), wrong, junk, record(uuid="u2"), b'{"a": 1}', b""]))
    for verb in ("summary", "observe"):
        folder = tmp_path / verb
        code, _, err = ran(verb, "--input-file", capture, "--keep-bad", folder)
        assert code == 0
        assert f"3 records that could not be read are kept in {folder}" in err
        kept = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert kept == {
            "record-000000-not-JSON.bin": junk,
            "record-000002-a-field-s-value-is-of-the-wrong-type.json": wrong,
            "record-000004-JSON-without-a-flow.json": b'{"a": 1}',
        }


def test_what_stands_beside_a_record_on_its_line_costs_itself(ran: Ran, tmp_path: Path) -> None:
    capture = tmp_path / "flows.jsonl"
    capture.write_bytes(
        record() + b"}}\n" + record(uuid="u2") + b" trailing }\n" + record(uuid="u3")
    )
    for verb in ("summary", "observe"):
        code, out, err = ran(verb, "--input-file", capture)
        assert (code, err[:1]) == (0, ["2 records were skipped: not JSON"])
    assert out.count("1.2.3.4:443") == 3


def test_nothing_bad_nothing_kept(ran: Ran, tmp_path: Path) -> None:
    capture = tmp_path / "flows.jsonl"
    capture.write_bytes(record())
    code, _, err = ran("summary", "--input-file", capture, "--keep-bad", tmp_path / "kept")
    assert (code, err) == (0, [])
    assert list((tmp_path / "kept").iterdir()) == []


def test_enough_is_enough(ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowwatch.sources.keeping.LIMIT", 3)
    with server(between(*BAD)) as address:
        code, _, err = ran("summary", "--server", address, "--keep-bad", tmp_path / "kept")
    assert code == 0
    assert f"{len(BAD) - 3} more were not kept in {tmp_path / 'kept'}: 3 are enough" in err
    assert len(list((tmp_path / "kept").iterdir())) == 3


@pytest.mark.parametrize("place", ["a-file", "a-file/below", "/proc/no/such", "a\0b"])
def test_a_folder_that_can_t_be_is_said_before_anything_is_read(
    place: str, ran: Ran, tmp_path: Path
) -> None:
    (tmp_path / "a-file").write_text("")
    code, out, err = ran("summary", "--server", "127.0.0.1:1", "--keep-bad", tmp_path / place)
    assert (code, out) == (2, "")
    (line,) = err
    assert line.startswith("cannot keep records in ")


def test_a_folder_that_goes_away_costs_no_record(ran: Ran, tmp_path: Path) -> None:
    folder = tmp_path / "kept"

    def messages(_request: bytes, _context: Any) -> Iterator[bytes]:
        folder.rmdir()
        yield from between(BAD[0])

    with serving(Server(flows=messages, status=lambda *_: b"")) as settings:
        code, out, err = ran(
            "summary", "-o", "json", "--server", settings.address.text, "--keep-bad", folder
        )
    assert (code, shown("summary", out)) == (0, 2)
    assert f"1 more was not kept in {folder}: No such file or directory" in err


@pytest.mark.parametrize("verb", ["summary", "export", "observe"])
def test_a_server_of_which_nothing_can_be_read_is_no_quiet_one(
    verb: str, ran: Ran, tmp_path: Path
) -> None:
    with server(BAD[:1] * 3) as address:
        code, out, err = ran(verb, "--server", address, "--keep-bad", tmp_path / "kept")
    assert (code, "attempt" in out) == (1, False)
    assert err[-1].startswith(f"{address} sent no record that can be read (3 × {WHY[0]}): ")
    assert len(list((tmp_path / "kept").iterdir())) == 3


@pytest.mark.parametrize("verb", ["status", "list nodes"])
def test_an_answer_that_can_t_be_read_is_named(verb: str, ran: Ran) -> None:
    def damaged(*_: Any) -> bytes:
        return b"\x0a\x7f"

    with serving(Server(status=damaged, nodes=damaged)) as settings:
        code, _, err = ran(*verb.split(), "--server", settings.address.text)
    assert code == 1
    assert "with what can't be read (" in err[-1]


# --- what the audit makes of it -----------------------------------------------------------------


@pytest.mark.parametrize("port", [65536 + 80, 0])
def test_a_port_that_is_not_known_is_no_leak(port: int, ran: Ran, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY.replace("[{}]", "[{toCIDR: [9.9.9.9/32]}]"))
    end = {"labels": ["k8s:app=app", "k8s:io.kubernetes.pod.namespace=weather"], "pod_name": "app"}
    passed = {"verdict": "FORWARDED", "drop_reason_desc": None, "egress_denied_by": None}
    odd = record(source=end | {"namespace": "weather"}, l4=tcp(40000, port), **passed)
    capture = tmp_path / "flows.jsonl"
    capture.write_bytes(odd)
    words = ["audit", "-f", tmp_path / "policy.yaml", "-o", "json", "--input-file", capture]
    code, out, _ = ran(*words)
    (finding,) = json.loads(out)["findings"]
    assert (code, finding["kind"], finding["reason"]) == (
        0,
        "inconclusive",
        "the record has no port",
    )


# --- a record that can be read, and not be printed ----------------------------------------------


def test_a_defect_in_printing_costs_one_record(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(flow: flow_pb2.Flow) -> str:
        if flow.uuid == "u2":
            raise KeyError("a defect")
        return "DENIED"

    monkeypatch.setattr(
        "flowwatch.report.observe_words.Words.verdict", lambda _, flow: broken(flow)
    )
    capture = tmp_path / "flows.jsonl"
    capture.write_bytes(b"\n".join(record(uuid=f"u{n}") for n in (1, 2, 3)))
    code, out, err = ran("observe", "--input-file", capture, "--keep-bad", tmp_path / "kept")
    assert (code, out.count("DENIED")) == (0, 2)
    assert any(
        "a defect of flowwatch (KeyError at" in line and "(record 2)" in line for line in err
    )
    (kept,) = (tmp_path / "kept").iterdir()
    assert pb.GetFlowsResponse.FromString(kept.read_bytes()).flow.uuid == "u2"


def test_a_time_that_json_can_not_say_is_null_and_told(ran: Ran, tmp_path: Path) -> None:
    odd = pb.GetFlowsResponse.FromString(GOOD)
    odd.flow.time.seconds = odd.time.seconds = 2**60
    odd.flow.Summary = 'a text with ":null in it'
    with server([GOOD, odd.SerializeToString()]) as address:
        code, out, err = ran("observe", "--all", "-o", "json", "--server", address)
    assert code == 0
    assert '"time":null' in out
    assert err == ["1 record has a time that JSON can't say: null stands for it"]
    (tmp_path / "again.jsonl").write_text(out)
    code, out, err = ran("summary", "-o", "json", "--input-file", tmp_path / "again.jsonl")
    assert json.loads(out)["records_read"] == 2


# --- files of which nothing can be read ---------------------------------------------------------

LOST_FILES: dict[str, tuple[bytes, str]] = {
    "zero bytes": (bytes(1_000_000), "1 × zero bytes where records should be"),
    "brackets": (b"[" * 1_000_000, "not JSON"),
    "braces": (b"{" * 1_000_000, "not JSON"),
    "closing brackets": (b"]}" * 500_000, "not JSON"),
    "pairs of brackets": (b"[]" * 500_000, "JSON without a flow"),
    "commas": (b"," * 1_000_000, "not JSON"),
    "a record that is cut off": (record()[:-9], "cut off in the middle"),
    "records that are all wrong": (b'{"flow": {"source": 7}}\n' * 50, "50 × a field's value"),
    "something else": (b"%PDF-1.7\n%\xff\xff\xff\n", "not JSON"),
}


@pytest.mark.parametrize("verb", ["summary", "export", "observe"])
@pytest.mark.parametrize("case", LOST_FILES)
def test_a_file_of_which_nothing_can_be_read_is_no_quiet_cluster(
    case: str, verb: str, ran: Ran, tmp_path: Path
) -> None:
    data, why = LOST_FILES[case]
    capture = tmp_path / "flows.jsonl"
    capture.write_bytes(data)
    code, out, err = ran(verb, "--input-file", capture)
    assert code == 1
    assert "attempt" not in out
    assert err[-1].startswith("flows.jsonl holds no Hubble flows (")
    assert why in err[-1]


def test_of_the_audit_it_is_no_finding(ran: Ran, tmp_path: Path) -> None:
    capture = tmp_path / "flows.jsonl"
    capture.write_bytes(bytes(1000))
    code, out, err = ran("audit", "-f", tmp_path / "policy.yaml", "--input-file", capture)
    assert (code, out) == (2, "")
    assert "holds no Hubble flows" in err[-1]


def test_one_lost_file_of_several_is_named_and_the_others_are_shown(
    ran: Ran, tmp_path: Path
) -> None:
    whole, lost = tmp_path / "whole.jsonl", tmp_path / "lost.jsonl"
    whole.write_bytes(record())
    lost.write_bytes(bytes(100_000))
    for files in ([whole, lost], [lost, whole]):
        words = [word for file in files for word in ("--input-file", file)]
        code, out, err = ran("summary", "-o", "json", *words)
        assert (code, shown("summary", out)) == (1, 1)
        assert err[-1].startswith("lost.jsonl holds no Hubble flows (1 × zero bytes")
        assert "partial" in err[-1]


# --- what was found by mutation -----------------------------------------------------------------


@where_shared(
    "cases/hostile",
    "verb,reader",
    [
        (verb, reader)
        for verb in ("summary -o json", "export", "export --raw", "observe --all",
                     "observe --all -o json")
        for reader in ("", "grpc")
    ],
)  # fmt: skip
def test_the_shared_messages(
    verb: str, reader: str, ran: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWWATCH_READER", reader)
    bad = [path.read_bytes() for path in sorted(HOSTILE.glob("wire-*.bin"))]
    assert len(bad) >= 7
    for one in [*([each] for each in bad), bad]:
        with server(between(*one)) as address:
            code, out, err = ran(*verb.split(), "--server", address)
        assert code == 0
        ours = [line for line in out.splitlines() if "weather-app" not in line]
        assert shown(verb, out if verb.startswith("summary") else "\n".join(ours)) == len(one) + 1
        warnings = json.loads(out)["warnings"] if verb.startswith("summary") else err
        assert warnings or "EVENTS LOST" in out or "4294967295" in out or "lost_events" in out


@where_shared(
    "cases/hostile",
    "name,told,rows",
    [
        ("json-time-9999", "a time that no clock shows", {"1.2.3.4:443": 2}),
        ("json-portbig", "a port above 65535", {"1.2.3.4:443": 1, "1.2.3.4:0": 1}),
        ("json-dir-new", "the traffic direction SIDEWAYS", {"1.2.3.4:443": 1}),
        (
            "port-collision2",
            "a port above 65535",
            {"1.1.1.1:0": 1, **{f"{n}.1.1.1:443": 1 for n in range(1, 5)}},
        ),
    ],
)
def test_the_shared_captures(name: str, told: str, rows: dict[str, int], ran: Ran) -> None:
    path = HOSTILE / f"{name}.jsonl"
    code, out, _ = ran("summary", "-o", "json", "--input-file", path)
    value = json.loads(out)
    assert code == 0
    found = {f"{row['peer']}:{row['port']}": row["dropped"] for row in value["rows"]}
    assert found == rows
    assert [told in line for line in value["warnings"]] == [True]
    for verb in ("export", "export --raw", "export --grouped", "observe", "observe -o json"):
        assert ran(*verb.split(), "--input-file", path)[0] == 0
