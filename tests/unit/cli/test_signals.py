"""What ends a process from outside: Ctrl-C, SIGTERM, SIGHUP. Real processes, at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.benchmarks.pty_driver import Terminal
from tests.command import ROOT, clean_environment

SIGNALS = [
    (signal.SIGINT, "interrupted"),
    (signal.SIGTERM, "terminated"),
    (signal.SIGHUP, "hung up"),
]
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: inside, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress: [{toEntities: [cluster]}]
"""


def line(number: int) -> bytes:
    """A dropped SYN, as a line of a capture."""
    flow = {
        "time": f"2026-01-31T10:{number // 60 % 60:02d}:{number % 60:02d}Z",
        "uuid": str(number),
        "verdict": "DROPPED",
        "drop_reason_desc": "POLICY_DENIED",
        "IP": {"source": "10.0.0.1", "destination": "1.2.3.4"},
        "l4": {"TCP": {"source_port": 1 + number % 60_000, "destination_port": 443}},
        "source": {"identity": 1000, "namespace": "weather", "pod_name": "weather-app-1"},
        "destination": {"identity": 2, "labels": ["reserved:world"]},
        "event_type": {"type": 5},
        "traffic_direction": "EGRESS",
    }
    return json.dumps({"flow": flow}).encode() + b"\n"


@contextmanager
def running(
    folder: Path, words: Sequence[str | Path], *, ignored: Sequence[int] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own, as a shell starts one: no signal is ignored but ``ignored``."""
    traps = "".join(f"trap '' {number}; " for number in ignored)
    with subprocess.Popen(
        ["sh", "-c", f'{traps}exec "$@"', "sh", sys.executable, "-m", "flowwatch", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=clean_environment(str(folder)),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def heard(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the process has read what it was sent: its answer is being made."""
    until = time.monotonic() + 30
    while not list(folder.glob(".drops.csv.*.tmp")) and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.01)
    # Then it waits for more of its input.
    time.sleep(1.0)


@pytest.mark.parametrize(("number", "word"), SIGNALS)
def test_what_was_read_until_then_is_kept_as_partial(
    tmp_path: Path, number: int, word: str
) -> None:
    target = tmp_path / "drops.csv"
    with running(tmp_path, ["export", "--input-file", "-", "-o", target]) as process:
        assert process.stdin is not None
        process.stdin.write(b"".join(map(line, range(5000))))
        process.stdin.flush()
        heard(process, tmp_path)
        process.send_signal(number)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert f"flowwatch: {word} after " in told.decode()
    assert "Traceback" not in told.decode()
    # The side file says so, too.
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["drops.csv.partial", "drops.csv.partial.warnings.json"]
    assert len((tmp_path / "drops.csv.partial").read_text().splitlines()) > 1000


VERBS = {
    "export": ["export", "--input-file", "FLOWS", "-o", "OUT/drops.csv"],
    "export to Parquet": [
        *("export", "--format", "parquet", "--input-file", "FLOWS", "-o", "OUT/drops.parquet"),
    ],
    "summary": ["summary", "--input-file", "FLOWS"],
    "observe": ["observe", "--input-file", "FLOWS", "--all"],
    "audit": ["audit", "-f", "POLICY", "--input-file", "FLOWS"],
    "draft": ["draft", "--input-file", "FLOWS"],
    "changes": ["changes", "--input-file", "FLOWS"],
    "whatif": ["whatif", "-f", "POLICY", "--input-file", "FLOWS"],
    "demo": ["demo", "--duration", "1m"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_at_any_moment_nothing_stays_behind(tmp_path: Path, verb: str) -> None:
    """While it starts, reads, writes, tidies up: the right code, a word, and no file of ours."""
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "flows.jsonl").write_bytes(b"".join(map(line, range(8000))))
    (tmp_path / "policy.yaml").write_text(POLICY)
    places = {"FLOWS": "flows.jsonl", "POLICY": "policy.yaml"}
    words = [
        str(tmp_path / places[word]) if word in places else word.replace("OUT", str(out))
        for word in VERBS[verb]
    ]
    chance = random.Random(verb)
    for _ in range(5):
        number, word = chance.choice(SIGNALS)
        with running(tmp_path, words) as process:
            assert process.stdin is not None
            process.stdin.close()
            process.stdin = None
            # Not in the first moments: those are Python's own.
            time.sleep(0.15 + chance.random() * 1.2)
            process.send_signal(number)
            _, told = process.communicate(timeout=60)
        text = told.decode()
        done = process.returncode in (0, 1, 3) and word not in text  # 3: nothing to learn from
        assert done or process.returncode in (128 + number, -number), text
        assert "Exception" not in text
        if process.returncode == 128 + number:
            assert word in text
        assert list(out.glob(".*")) == []


def test_a_second_one_ends_it_without_an_answer(tmp_path: Path) -> None:
    target = tmp_path / "drops.csv"
    with running(tmp_path, ["export", "--input-file", "-", "-o", target]) as process:
        assert process.stdin is not None
        process.stdin.write(b"".join(map(line, range(5000))))
        process.stdin.flush()
        heard(process, tmp_path)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=30)
    assert process.returncode in (128 + signal.SIGTERM, 128 + signal.SIGHUP)
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(("number", "word"), SIGNALS)
@pytest.mark.parametrize("verb", ["status", "doctor", "list nodes", "observe", "summary"])
def test_waiting_for_a_server(tmp_path: Path, verb: str, number: int, word: str) -> None:
    """One that takes the connection and says nothing."""
    with subprocess.Popen(
        [sys.executable, "-c", SILENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        words = [*verb.split(), "--server", address, "--timeout", "30s", "--request-timeout", "30s"]
        with running(tmp_path, words) as process:
            assert server.stdout.readline() == "taken\n"
            time.sleep(0.2)  # what it sends at first is sent
            began = time.monotonic()
            process.send_signal(number)
            _, told = process.communicate(timeout=20)
            assert process.returncode == 128 + number, told
            assert f"flowwatch: {word}" in told.decode()
            assert time.monotonic() - began < 10
        server.kill()


SILENT = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    print("%s:%d" % server.getsockname(), flush=True)
    taken = server.accept()
    print("taken", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(("number", "word"), SIGNALS)
def test_what_only_serves_ends_so(tmp_path: Path, number: int, word: str) -> None:
    with running(tmp_path, ["demo", "--serve", "127.0.0.1:0"]) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith(b"serving the demo on ")
        process.send_signal(number)
        _, told = process.communicate(timeout=20)
    # Ctrl-C is how it is meant to end.
    code = 0 if number == signal.SIGINT else 128 + number
    assert process.returncode == code
    assert (word in told.decode()) == bool(code)


def test_what_was_ignored_stays_ignored(tmp_path: Path) -> None:
    """``nohup``, and Ctrl-C for a shell's background jobs."""
    words = ["export", "--input-file", "-", "-o", str(tmp_path / "drops.csv")]
    ignored = [signal.SIGHUP, signal.SIGINT]
    with running(tmp_path, words, ignored=ignored) as process:
        assert process.stdin is not None
        process.stdin.write(line(1))
        process.stdin.flush()
        heard(process, tmp_path)
        for number in ignored:
            process.send_signal(number)
        time.sleep(0.3)
        assert process.poll() is None
        process.communicate(line(2), timeout=20)
    assert process.returncode == 0
    assert len((tmp_path / "drops.csv").read_text().splitlines()) == 3


def test_a_window_closed_on_an_answer_to_come(tmp_path: Path) -> None:
    """Nobody is there to read it: the code is the signal's all the same."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    argv = [sys.executable, "-m", "flowwatch", "summary", "--input-file", str(fifo)]
    with Terminal(argv, env=clean_environment(str(tmp_path))) as terminal, fifo.open("wb") as pipe:
        pipe.write(line(1))
        pipe.flush()
        terminal.run_for(2.0)
        terminal.close()
        assert terminal.wait(20) == 128 + signal.SIGHUP
