"""Every verb on every kind of standard output and standard error: its answer or one clear line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flowwatch.cli.flag_table import VERBS
from flowwatch.demo.server import DemoServer
from tests.command import ROOT, clean_environment
from tests.in_process import flowwatch

# Some dozens of processes a test: a minute on a busy machine, and more on a busier one. What each command
# says where nothing is odd is asked once for all of them.
pytestmark = [pytest.mark.timeout(400), pytest.mark.xdist_group("all-verbs")]

POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: daily, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress: [{toEntities: [cluster]}]
"""
FLOW = {
    "time": "2026-01-31T10:00:00.5Z",
    "uuid": "u1",
    "verdict": "DROPPED",
    "drop_reason_desc": "POLICY_DENIED",
    "IP": {"source": "10.0.0.1", "destination": "1.2.3.4", "ipVersion": "IPv4"},
    "l4": {"TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": True}}},
    "source": {
        "identity": 1000,
        "namespace": "weather",
        "pod_name": "weather-äpp-包裹",
        "labels": ["k8s:app=weather-app", "k8s:io.kubernetes.pod.namespace=weather"],
    },
    "destination": {"identity": 2, "labels": ["reserved:world"]},
    "event_type": {"type": 5},
    "traffic_direction": "EGRESS",
    "node_name": "node-1",
}
FILE = "--input-file FLOWS"
FINDING = (
    "audit",
    "whatif",
    "changes",
    "draft",
    "diff",
    "unused",
    "gap",
    "gate",
    "explain",
    "proof",
    "watch",
)
"""Verbs that end with 1 for an answer, and with 2 for what others end with 1 for."""

COMMANDS = {
    "": "--print-raw-filters -n weather",
    "demo": "demo --duration 20s --speed 100",
    "web": "web --print-raw-filters -n weather",
    "web demo": "web demo --print-raw-filters -n weather",
    "web draft": "web draft --print-raw-filters -n weather",
    "summary": f"summary {FILE}",
    "export": f"export {FILE}",
    "observe": f"observe {FILE}",
    "audit": f"audit -f POLICY {FILE}",
    "whatif": f"whatif -f POLICY {FILE}",
    "changes": f"changes {FILE}",
    "draft": f"draft --allow 1.2.3.4:443 --policies POLICY --l7 --dns-names --stable 2d {FILE}",
    "diff": "diff POLICY OTHER",
    "unused": f"unused -f POLICY {FILE}",
    "gap": f"gap -f POLICY {FILE}",
    "explain": "explain -f POLICY --from weather/weather-app --to world:443",
    "record": "record --to NEW --print-raw-filters -n weather",
    "gate": f"gate --max-dropped 5 {FILE}",
    "history info": "history info KEPT",
    "history ask": "history ask destinations KEPT",
    "history compact": "history compact KEPT",
    "history verify": "history verify KEPT",
    "history forget": "history forget KEPT --before 2020-01-01",
    "proof": "proof -f POLICY --history KEPT -o -",
    "watch": f"watch RULES --check {FILE}",
    "proof verify": "proof verify PROOF --history KEPT",
    "status": "status --server SERVER",
    "doctor": "doctor --server SERVER",
    "list nodes": "list nodes --server SERVER",
    "list namespaces": "list namespaces --server SERVER",
    "completion": "completion zsh",
    "version": "version",
    "help": "help observe",
}
"""A command line for each verb that answers and ends."""

MORE = [
    "--help",
    "--version",
    "__complete observe --drop-reason-desc P",
    "demo --print-policy",
    "demo --serve 127.0.0.1:0 --duration 1ms",
    f"--plain {FILE}",
    f"--plain --private {FILE}",
    f"summary {FILE} -o json",
    f"summary {FILE} -o csv",
    f"summary {FILE} -o markdown",
    f"summary {FILE} --waiting",
    f"export {FILE} --format jsonl",
    f"export {FILE} --format parquet",
    f"observe {FILE} -o json",
    f"observe {FILE} -o table",
    f"observe {FILE} -o dict",
    f"observe {FILE} -o csv",
    *(f"audit -f POLICY {FILE} -o {form}" for form in ("json", "junit", "sarif", "github", "html")),
    *(f"diff POLICY OTHER -o {form}" for form in ("json", "markdown")),
    f"unused -f POLICY {FILE} -o json",
    f"audit -f POLICY {FILE} --filter ns:weather",
    f"observe {FILE} --filter ns:weather",
    f"gap -f POLICY {FILE} -o json",
    "doctor --server SERVER -o json",
    "history info KEPT -o json",
    *(f"history ask outcomes KEPT -o {form}" for form in ("json", "csv")),
    "history ask --list",
    *(f"gate --max-dropped 0 {FILE} -o {form}" for form in ("json", "junit", "github", "markdown")),
    "summary --history KEPT -o json",
    "proof --with-flows --input-file FLOWS -o -",
    "watch --print grafana",
]
EVERY = [*COMMANDS.values(), *MORE]
DATA = ("json", "jsonl", "csv", "markdown", "parquet", "junit", "sarif", "github", "html")
ENCODED = [
    "help observe", f"summary {FILE}", f"observe {FILE}", f"audit -f POLICY {FILE}",
    f"export {FILE} --format csv", f"observe {FILE} -o json", f"audit -f POLICY {FILE} -o html",
    "demo --print-policy",
]  # fmt: skip
CHEAP = [one for one in EVERY if "SERVER" not in one and not one.startswith("demo --d")]

CLOSED, FULL, LEFT = ">&-", ">/dev/full", ">pipe"
OUTPUTS = (CLOSED, FULL, LEFT)
ERRORS = ("2>&-", "2>/dev/full", "2>pipe")
NEITHER = (">&- 2>&-", ">/dev/full 2>/dev/full")


def turn(commands: list[str], kinds: tuple[str, ...], kind: str) -> list[str]:
    """Those whose turn it is: each command has one of the kinds.

    All write by the same few lines, and a process for each kind of each command took ten minutes of CPU.
    """
    return commands[kinds.index(kind) :: len(kinds)]


def written_to(kind: str) -> list[str]:
    """The commands that are tried there: of each verb one, and its other forms in turn."""
    return [*COMMANDS.values(), *turn(MORE, OUTPUTS, kind)]


@dataclass(frozen=True)
class Told:
    code: int
    out: bytes
    err: str


def nobody_reads() -> int:
    """The writing end of a pipe whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@dataclass
class Place:
    """Where the command lines are run."""

    folder: Path
    server: str
    plain: dict[str, Told] = field(default_factory=dict)
    """What each says to a pipe, in UTF-8."""

    def run(
        self,
        command: str,
        redirected: str = "",
        *,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        env: Mapping[str, str] | None = None,
    ) -> Told:
        """In a shell, which redirects as a user does."""
        names = {
            "FLOWS": self.folder / "flows.jsonl",
            "POLICY": self.folder / "policy.yaml",
            "OTHER": self.folder / "other.yaml",
            "SERVER": self.server,
            "KEPT": self.folder / "kept",
            "PROOF": self.folder / "proof.zip",
            "RULES": self.folder / "rules.yaml",
        }
        words = [str(names.get(word, word)) for word in command.split()]
        done = subprocess.run(
            [
                "sh",
                "-c",
                f'exec "$@" {redirected}',
                "sh",
                sys.executable,
                "-m",
                "flowwatch",
                *words,
            ],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            timeout=60,
            cwd=ROOT,
            env=clean_environment(str(self.folder)) | {"LC_ALL": "C.UTF-8", **(env or {})},
            check=False,
        )
        err = (done.stderr or b"").decode("utf-8", "replace")
        assert "Traceback" not in err, err
        assert "Exception ignored" not in err, err
        return Told(done.returncode, done.stdout or b"", err)

    def told(self, command: str) -> Told:
        """The answer where nothing is odd."""
        if command not in self.plain:
            self.plain[command] = self.run(command)
        return self.plain[command]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("out")
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    (folder / "other.yaml").write_text(POLICY.replace("cluster", "world"), "utf-8")
    (folder / "flows.jsonl").write_text(json.dumps({"flow": FLOW}, ensure_ascii=False), "utf-8")
    (folder / "rules.yaml").write_text("rules: [{when: cut, alert: Äpp}]\n", "utf-8")
    kept = flowwatch("record", "--input-file", folder / "flows.jsonl", "--to", folder / "kept")
    assert kept.returncode == 0
    # Merged already, so that to merge it says the same each time.
    assert flowwatch("history", "compact", folder / "kept").returncode == 0
    made = ("-f", folder / "policy.yaml", "--history", folder / "kept", "-o", folder / "proof.zip")
    assert flowwatch("proof", *made).returncode == 0
    with DemoServer("127.0.0.1:0", live=False) as server:
        yield Place(folder, server.address)


def wrong(commands: list[str], check: Callable[[str], object]) -> dict[str, object]:
    """What ``check`` finds wrong, by command; two run at a time."""
    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(commands, pool.map(check, commands), strict=True))
    return {command: what for command, what in found.items() if what}


def test_no_verb_is_left_out() -> None:
    assert set(COMMANDS) == {verb.name for verb in VERBS}


def test_each_command_has_its_turn() -> None:
    for commands, kinds in ((MORE, OUTPUTS), (CHEAP, ERRORS), (CHEAP, NEITHER)):
        assert sorted(one for kind in kinds for one in turn(commands, kinds, kind)) == sorted(
            commands
        )


@pytest.mark.parametrize(
    ("redirected", "why"),
    [(CLOSED, "it is closed"), (FULL, "No space left on device")],
)
def test_output_that_can_t_be_written_is_one_line(place: Place, redirected: str, why: str) -> None:
    def check(command: str) -> object:
        told = place.run(command, redirected)
        # 1 would be findings of an audit.
        code = 2 if command.startswith(FINDING) else 1
        good = told.err.endswith(f"flowwatch: can't write standard output: {why}\n")
        return None if good and told.code == code else told

    assert wrong(written_to(redirected), check) == {}


def test_a_reader_that_left_ends_it_quietly(place: Place) -> None:
    writer = nobody_reads()

    def check(command: str) -> object:
        told = place.run(command, stdout=writer)
        return None if told.code == 141 and "flowwatch: can't" not in told.err else told

    assert wrong(written_to(LEFT), check) == {}
    os.close(writer)


@pytest.mark.parametrize("redirected", ERRORS)
def test_words_that_nobody_can_hear_change_nothing_else(place: Place, redirected: str) -> None:
    writer = nobody_reads()

    def check(command: str) -> object:
        plain = place.told(command)
        pipe = redirected == "2>pipe"
        told = place.run(command, stderr=writer) if pipe else place.run(command, redirected)
        same = told.code == plain.code and _said(command, told) == _said(command, plain)
        return None if same else (plain, told)

    assert wrong(turn(CHEAP, ERRORS, redirected), check) == {}
    os.close(writer)


def _said(command: str, told: Told) -> object:
    """What is the same each time: of lines for changes, which come as it looks, the counts at the end."""
    if command.startswith("--plain"):
        return told.out.splitlines()[-1]
    return len(told.out)


@pytest.mark.parametrize("redirected", NEITHER)
def test_neither_can_be_written(place: Place, redirected: str) -> None:
    def check(command: str) -> object:
        told = place.run(command, redirected)
        return None if told.code == (2 if command.startswith(FINDING) else 1) else told

    assert wrong(turn(CHEAP, NEITHER, redirected), check) == {}


ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "utf-16": {"PYTHONIOENCODING": "utf-16"},
    "utf-8": {"PYTHONIOENCODING": "utf-8:strict"},
    "utf-8 of LC_ALL=C": {"LC_ALL": "C"},
    "ascii of LC_ALL=C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


@pytest.mark.parametrize("named", ENCODINGS)
def test_any_encoding_gets_the_whole_answer(place: Place, named: str) -> None:
    encoding = named.split()[0]

    def check(command: str) -> object:
        plain = place.told(command)
        told = place.run(command, env=ENCODINGS[named])
        if command.split()[-1] in DATA:
            same = told.out == plain.out
        else:
            # Our own signs have an ASCII form, names are spelt out: no line is lost, none is added.
            lines = told.out.decode(encoding).split("\n")
            same = len(lines) == plain.out.count(b"\n") + 1
        return None if same and told.code == plain.code else (plain, told)

    assert wrong(ENCODED, check) == {}


def test_names_and_signs_in_ascii(place: Place) -> None:
    ascii = ENCODINGS["ascii"]
    told = place.run(COMMANDS["observe"], env=ascii)
    assert rb"weather/weather-\xe4pp-\u5305\u88f9:40000 (ID:1000) <>" in told.out
    assert b"..." in place.run("--help", env=ascii).out
    assert b"+ config " in place.run(COMMANDS["doctor"], env=ascii).out


def test_a_full_pipe_that_does_not_block_is_waited_for(place: Place) -> None:
    """As when a shell or a program that shares our pipe has made it so."""
    (place.folder / "many.jsonl").write_text(json.dumps({"flow": FLOW}) + "\n", "utf-8")
    line = json.dumps({"flow": FLOW}) + "\n"
    (place.folder / "many.jsonl").write_text(line * 3000, "utf-8")
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    arguments = ["observe", "--input-file", str(place.folder / "many.jsonl"), "--all"]
    for unbuffered in ("", "1"):
        with subprocess.Popen(
            [sys.executable, "-m", "flowwatch", *arguments],
            stdout=writer,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env=clean_environment(str(place.folder)) | {"PYTHONUNBUFFERED": unbuffered},
        ) as program:
            read = b""
            while read.count(b"\n") < 3000 and program.poll() is None:
                time.sleep(0.01)
                read += os.read(reader, 65_536)
            assert program.wait(20) == 0
            assert program.stderr is not None
            assert program.stderr.read() == b""
        assert read.count(b"\n") == 3000
    os.close(reader)
    os.close(writer)
