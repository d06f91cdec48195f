"""Bad input, as a person meets it: one clear line, the right exit code, nothing lost."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import pty
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import ROOT, clean_environment, one_line
from tests.in_process import flowwatch

FLOW = {
    "time": "2026-01-31T10:00:00.5Z",
    "uuid": "u1",
    "verdict": "DROPPED",
    "drop_reason_desc": "POLICY_DENIED",
    "IP": {"source": "10.0.0.1", "destination": "1.2.3.4", "ipVersion": "IPv4"},
    "l4": {"TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": True}}},
    "source": {"identity": 1000, "namespace": "weather", "pod_name": "weather-app-1"},
    "destination": {"identity": 2, "labels": ["reserved:world"]},
    "event_type": {"type": 5},
    "traffic_direction": "EGRESS",
    "node_name": "node-1",
}


def line(**changes: object) -> str:
    """One wrapped record of a dropped SYN, with some fields changed or (None) left out."""
    flow = {key: value for key, value in (FLOW | changes).items() if value is not None}
    return json.dumps({"flow": flow, "node_name": "node-1", "time": flow.get("time")}) + "\n"


def summary(*arguments: str | Path, **more: object) -> dict[str, object]:
    told = flowwatch("summary", "-o", "json", *arguments, **more)  # type: ignore[arg-type]
    assert told.stdout, told.stderr
    parsed: dict[str, object] = json.loads(told.stdout)
    return parsed


# --- files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["summary", "observe", "export"])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("missing", None, "No such file"),
        ("binary", bytes(range(256)) * 40, ""),
        ("text", b"hello\nworld\n", ""),
        ("pcap", b"\xd4\xc3\xb2\xa1" + bytes(40), ""),
    ],
)
def test_what_is_no_capture_is_said_in_one_line(
    verb: str, name: str, content: bytes | None, words: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    told = flowwatch(verb, "--input-file", path)
    assert told.returncode == 1
    assert "Traceback" not in told.stderr
    last = told.stderr.splitlines()[-1]
    assert last.startswith("flowwatch: ")
    assert name in last
    assert words in last


def test_a_directory_is_refused(tmp_path: Path) -> None:
    told = flowwatch("summary", "--input-file", tmp_path)
    assert told.returncode == 1
    assert "directory" in one_line(told)


def test_an_empty_file_is_an_empty_answer(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    told = flowwatch("summary", "--input-file", path)
    assert told.returncode == 0
    assert summary("--input-file", path)["rows"] == []


def test_a_cut_last_line_is_counted_and_the_rest_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    path.write_text(line() + line(uuid="u2")[:100])
    told = summary("--input-file", path)
    assert told["records_read"] == 1
    assert told["records_skipped"] == 1
    assert told["warnings"]


def test_a_truncated_gzip_shows_what_was_read_and_says_partial(tmp_path: Path) -> None:
    path = tmp_path / "cut.gz"
    records = "".join(line(uuid=os.urandom(40).hex()) for _ in range(400))
    path.write_bytes(gzip.compress(records.encode())[:-3000])
    told = flowwatch("summary", "--input-file", path, "-o", "json")
    assert told.returncode == 1
    assert 0 < json.loads(told.stdout)["records_read"] < 400
    assert "partial" in told.stderr


def test_mixed_lines_are_read_around_the_bad_ones(tmp_path: Path) -> None:
    path = tmp_path / "mixed.jsonl"
    path.write_text(line() + "not json\n" + "[1, 2]\n" + '{"a": 1}\n' + line(uuid="u2"))
    told = summary("--input-file", path)
    assert told["records_read"] == 2
    assert told["records_skipped"] == 4


def test_a_line_of_100_mb_is_skipped_and_the_rest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("w") as out:
        out.write(line())
        out.write('{"flow": {"uuid": "')
        for _ in range(100):
            out.write("x" * 1_000_000)
        out.write('"}}\n')
        out.write(line(uuid="u2"))
    told = summary("--input-file", path)
    assert told["records_read"] == 2
    assert told["records_skipped"] == 1


def test_a_newer_hubble_s_numbers_names_and_fields_are_read(tmp_path: Path) -> None:
    path = tmp_path / "newer.jsonl"
    path.write_text(
        line(drop_reason_desc=250, drop_reason=250)
        + line(drop_reason_desc="BRAND_NEW", IP=FLOW["IP"] | {"destination": "1.1.1.1"})  # type: ignore[operator]
        + line(verdict="QUARANTINED", new_field={"a": [1]}, uuid="u3")
        + line(event_type={"type": 77, "sub_type": 99}, verdict=42)
    )
    told = summary("--input-file", path)
    assert told["records_read"] == 4
    reasons = [row["drop_reasons"] for row in told["rows"]]  # type: ignore[attr-defined]
    assert {"250": 1} in reasons
    assert {"BRAND_NEW": 1} in reasons
    assert flowwatch("observe", "--input-file", path).returncode == 0


@pytest.mark.parametrize(
    "gone", ["source", "destination", "IP", "l4", "time", "event_type", "verdict"]
)
def test_a_flow_without_one_of_its_parts(gone: str, tmp_path: Path) -> None:
    path = tmp_path / "flow.jsonl"
    path.write_text(line(**{gone: None}))
    assert summary("--input-file", path)["records_read"] == 1
    for verb in ("observe", "export"):
        told = flowwatch(verb, "--input-file", path)
        assert told.returncode == 0, told.stderr


HOSTILE = "\x1b]0;owned\x07\x9b31m\u202e[red]=cmd()"


def test_names_from_the_network_can_do_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hostile.jsonl"
    end = {"namespace": HOSTILE, "pod_name": "=HYPERLINK(1)" + HOSTILE, "labels": [HOSTILE]}
    path.write_text(line(source=end, destination_names=["=cmd()|" + HOSTILE], node_name=HOSTILE))
    for arguments in (
        ["summary"],
        ["summary", "-o", "markdown"],
        ["summary", "-o", "csv"],
        ["summary", "-o", "json"],
        ["export"],
        ["export", "--raw"],
        ["export", "--grouped"],
        *(["observe", "-o", form] for form in ("compact", "dict", "table", "json", "csv")),
    ):
        told = flowwatch(*arguments, "--input-file", path)
        assert told.returncode == 0, told.stderr
        for char in "\x1b\x07\x9b\u202e":
            assert char not in told.stdout, arguments
            assert char not in told.stderr, arguments
    cells = [
        cell
        for arguments in (["export"], ["export", "--raw"], ["summary", "-o", "csv"])
        for row in csv.reader(io.StringIO(flowwatch(*arguments, "--input-file", path).stdout))
        for cell in row
    ]
    assert any("cmd()" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "@"))]


def test_standard_input_is_read(tmp_path: Path) -> None:
    assert summary("--input-file", "-", input=line() * 3)["records_read"] == 3


# --- outputs -----------------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_exit_1(tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    path.write_text(line())
    told = flowwatch("export", "--input-file", path, "--output", "/dev/full")
    assert told.returncode == 1
    assert "No space left" in one_line(told)


def test_an_export_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    old = tmp_path / "drops.csv"
    old.write_text("kept")
    told = flowwatch("export", "--input-file", tmp_path / "missing", "--output", old)
    assert told.returncode == 1
    assert old.read_text() == "kept"
    assert [p.name for p in tmp_path.iterdir()] == ["drops.csv"]


def test_a_partial_export_does_not_take_the_name_of_the_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "cut.gz", tmp_path / "drops.csv"
    records = "".join(line(uuid=os.urandom(40).hex()) for _ in range(400))
    source.write_bytes(gzip.compress(records.encode())[:-3000])
    told = flowwatch("export", "--input-file", source, "--output", target)
    assert told.returncode == 1
    assert not target.exists()
    assert (tmp_path / "drops.csv.partial").read_text().count("\n") > 1
    assert "partial" in told.stderr


@pytest.mark.parametrize("arguments", [["export", "--raw"], ["observe"], ["summary", "-o", "json"]])
def test_a_closed_pipe_ends_quietly(arguments: list[str], tmp_path: Path) -> None:
    path = tmp_path / "flows.jsonl"
    path.write_text(
        "".join(
            line(uuid=str(i), IP=FLOW["IP"] | {"destination": f"1.2.{i // 250}.{i % 250}"})  # type: ignore[operator]
            for i in range(5000)
        )
    )
    with subprocess.Popen(
        [sys.executable, "-m", "flowwatch", *arguments, "--input-file", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=clean_environment(str(tmp_path)),
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.read(10)
        program.stdout.close()
        words = program.stderr.read()
        assert program.wait(20) == 141
    assert words == b""


# --- servers -----------------------------------------------------------------------------------


@contextmanager
def serving(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """A TCP server on loopback that gives each connection to ``answer``; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                held.append(connection)
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for connection in held:
            connection.close()


def silent(connection: socket.socket) -> None:
    time.sleep(30)


def hangs_up(connection: socket.socket) -> None:
    connection.close()


def web(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    connection.close()


def babble(connection: socket.socket) -> None:
    connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
    time.sleep(30)


@pytest.mark.parametrize("verb", ["summary", "observe", "status"])
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (silent, "says nothing"),
        (hangs_up, "closes"),
        (web, "HTTP/1"),
        (babble, "not Hubble"),
    ],
)
def test_wrong_servers_are_told_apart(
    verb: str, answer: Callable[[socket.socket], None], words: str
) -> None:
    with serving(answer) as address:
        told = flowwatch(verb, "--server", address, "--request-timeout", "1s")
    assert told.returncode == 1
    assert words in one_line(told)


def test_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    told = flowwatch("summary", "--server", address)
    assert told.returncode == 1
    assert "onnection refused" in one_line(told)


def test_the_default_server_that_is_not_there_says_how_to_reach_one() -> None:
    told = flowwatch("summary", "--server", "127.0.0.1:1")
    assert told.returncode == 1
    assert "--server" in one_line(told)


def test_tls_where_plain_is_expected(tmp_path: Path) -> None:
    certificate, key = _self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])

    def answer(connection: socket.socket) -> None:
        try:
            with context.wrap_socket(connection, server_side=True) as tls:
                tls.recv(100)
        except OSError:
            connection.close()

    with serving(answer) as address:
        told = flowwatch("summary", "--server", address, "--request-timeout", "2s")
    assert told.returncode == 1
    assert "speaks TLS" in one_line(told)
    assert "--tls" in told.stderr


def _self_signed(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "1", "-subj", "/CN=localhost", "-keyout", key, "-out", certificate],
        capture_output=True,
        check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("needs the openssl command to make a certificate")
    return certificate, key


def test_a_grpc_server_that_is_not_hubble() -> None:
    from concurrent import futures

    import grpc

    server = grpc.server(futures.ThreadPoolExecutor(2))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        told = flowwatch("summary", "--server", f"127.0.0.1:{port}")
    finally:
        server.stop(None)
    assert told.returncode == 1
    assert "not a Hubble server" in one_line(told)


@pytest.mark.parametrize("verb", ["summary", "observe", "export"])
def test_ctrl_c_while_waiting(verb: str, tmp_path: Path) -> None:
    with (
        serving(silent) as address,
        subprocess.Popen(
            [sys.executable, "-m", "flowwatch", verb, "--server", address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=clean_environment(str(tmp_path)),
        ) as program,
    ):
        time.sleep(2)
        program.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, words = program.communicate(timeout=20)
    assert time.monotonic() - began < 5
    assert program.returncode == 130
    assert "Traceback" not in words


# --- usage -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], "unknown flag: --nonsense"),
        (["--namespce", "x"], "did you mean --namespace?"),
        (["sumary"], "did you mean summary?"),
        (["summary", "-o", "xml"], "invalid output format: xml"),
        (["observe", "-o", "xml"], "invalid output format: xml"),
        (["export", "--format", "xlsx"], "invalid format: xlsx"),
        (["export", "--raw", "--grouped"], "cannot set both"),
        (["export", "--outcome", "lost"], "invalid outcome: lost"),
        (["summary", "--direction", "up"], "invalid direction: up"),
        (["summary", "--max-rows", "1"], "too few"),
        (["summary", "-f"], "a summary ends"),
        (["observe", "-f", "-o", "table"], "not compatible with follow mode"),
        (["observe", "--since", "yesterday"], "failed to parse the since time"),
        (["observe", "--pod"], "flag needs an argument: --pod"),
        (["observe", "--input-file", "x", "-f"], "cannot follow a capture file"),
        (["demo", "--speed", "0"], "invalid speed"),
        (["list"], "list nodes"),
        ([], "needs a terminal"),
    ],
)
def test_a_wrong_command_line_is_exit_2(arguments: list[str], words: str) -> None:
    told = flowwatch(*arguments)
    assert told.returncode == 2
    assert words in one_line(told)
    assert told.stdout == ""


def test_parquet_is_not_sent_to_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "flows.jsonl").write_text(json.dumps({"flow": FLOW}) + "\n")
    words = ["export", "--input-file", "flows.jsonl", "--format", "parquet"]
    controller, terminal = pty.openpty()
    try:
        told = subprocess.run(
            [sys.executable, "-m", "flowwatch", *words],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=clean_environment(str(tmp_path)),
            timeout=60,
        )
    finally:
        os.close(terminal)
        os.close(controller)
    assert told.returncode == 2
    assert (
        one_line(told) == "flowwatch: a terminal can't show parquet: give --output FILE, or pipe it"
    )
