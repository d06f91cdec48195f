"""``flowwatch watch`` as a person, a receiver and a restart meet it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flowwatch.demo.server import DemoServer
from flowwatch.watching.state import Folder
from tests.command import ROOT, clean_environment
from tests.in_process import flowwatch

RULES = """\
rules:
  - {alert: NewlyBlocked, when: new-blocked, workload: "weather/*", learn: 1m}
"""


class Hook:
    """A receiver that answers as it is told, and keeps what it got."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        """Codes of the next answers; then 200."""
        self.got: list[Any] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                code = hook.answers.pop(0) if hook.answers else 200
                if code == 200:
                    hook.got.append(body)
                self.send_response(code)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/s3cret"

    @property
    def alerts(self) -> list[Any]:
        return [alert for body in self.got for alert in body["alerts"]]


@pytest.fixture
def hook() -> Iterator[Hook]:
    one = Hook()
    thread = threading.Thread(target=one.server.serve_forever)
    thread.start()
    yield one
    one.server.shutdown()
    thread.join()
    one.server.server_close()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES)
    return path


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's story in a file."""
    path = tmp_path_factory.mktemp("capture") / "flows.jsonl"
    with DemoServer(live=False, seed=1) as server:
        done = flowwatch("observe", "--server", server.address, "--all", "-o", "jsonpb")
    assert done.returncode == 0, done.stderr
    path.write_text(done.stdout)
    return path


def test_alerts_are_told_by_line_and_by_webhook(rules: Path, hook: Hook) -> None:
    done = flowwatch("watch", rules, "--demo", "--webhook", hook.url)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert len(lines) > 4
    assert all(" firing   NewlyBlocked: weather/weather-app → " in line for line in lines)
    assert len(hook.alerts) == len(lines)
    body = hook.got[0]
    assert (body["version"], body["status"]) == ("4", "firing")
    assert body["commonLabels"]["alertname"] == "NewlyBlocked"
    assert {"peer", "workload", "severity"} <= body["alerts"][0]["labels"].keys()
    assert "s3cret" not in done.stdout + done.stderr


def test_what_was_not_seen_is_said_at_the_end(rules: Path, capture: Path) -> None:
    done = flowwatch("watch", rules, "--input-file", capture)
    assert " events were lost" in done.stderr
    nobody = flowwatch("watch", rules, "--input-file", capture, "--namespace", "wether")
    assert "no record of namespace wether" in nobody.stderr


def test_the_quiet_half_ends_with_0(rules: Path) -> None:
    done = flowwatch("watch", rules, "--demo=before")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_receiver_that_fails_for_a_while_gets_each_alert_once(rules: Path, hook: Hook) -> None:
    hook.answers = [500, 503, 429]
    done = flowwatch("watch", rules, "--demo", "--webhook", hook.url, "-o", "json")
    told = [json.loads(line)["fingerprint"] for line in done.stdout.splitlines()]
    assert sorted(alert["fingerprint"] for alert in hook.alerts) == sorted(told)
    assert "answered 500; alerts wait, and it is tried again" in done.stderr
    assert "it is told again" in done.stderr


def test_who_cannot_be_reached_is_told_by_name_and_host(tmp_path: Path, capture: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"http://127.0.0.1:{taken.getsockname()[1]}"
        rules = tmp_path / "rules.yaml"
        rules.write_text(f"receivers: [{{name: ops, url: {host}}}]\n{RULES}")
        done = flowwatch("watch", rules, "--input-file", capture, "--webhook", f"{host}/s3cret-way")
    why = "can't be reached (Connection refused); alerts wait"
    assert f"flowwatch: ops: {host} {why}" in done.stderr
    assert f"flowwatch: {host}: it {why}" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr


def test_what_a_receiver_refuses_is_said_and_not_tried_for_ever(rules: Path, hook: Hook) -> None:
    hook.answers = [404] * 50
    done = flowwatch("watch", rules, "--demo", "--webhook", hook.url)
    assert "answered 404: it is not told again" in done.stderr
    assert done.returncode == 1


def test_a_restart_neither_repeats_nor_loses(
    rules: Path, tmp_path: Path, hook: Hook, capture: Path
) -> None:
    state = tmp_path / "state"
    command = ("watch", rules, "--input-file", capture, "--state", state, "--webhook", hook.url)
    hook.answers = [500] * 1000
    # Nothing is delivered in ten seconds: it is kept.
    first = flowwatch(*command)
    assert " not delivered: kept in " in first.stderr
    assert not hook.got
    hook.answers = []
    second = flowwatch(*command)
    assert second.stdout == ""
    told = len(first.stdout.splitlines())
    assert told > 4
    assert len(hook.alerts) == told
    third = flowwatch(*command)
    assert (third.stdout, len(hook.alerts)) == ("", told)


def test_killed_amid_it_nothing_is_lost(
    rules: Path, tmp_path: Path, hook: Hook, capture: Path
) -> None:
    state = tmp_path / "state"
    words = ["watch", str(rules), "--input-file", str(capture), "--state", str(state)]
    words += ["--webhook", hook.url]
    hook.answers = [500] * 100_000
    process = subprocess.Popen(
        [sys.executable, "-m", "flowwatch", *words],
        cwd=ROOT,
        env=clean_environment(str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    assert "firing" in process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    hook.answers = []
    flowwatch(*words)
    once = {alert["fingerprint"] for alert in hook.alerts}
    whole = flowwatch("watch", rules, "--input-file", capture, "-o", "json")
    assert once == {json.loads(line)["fingerprint"] for line in whole.stdout.splitlines()}


def test_two_runs_do_not_share_a_state(rules: Path, tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "state"))
    try:
        done = flowwatch("watch", rules, "--demo", "--state", tmp_path / "state")
    finally:
        folder.close()
    assert done.returncode == 2
    assert "another flowwatch watch uses" in done.stderr


def test_a_command_gets_each_alert_on_its_standard_input(rules: Path, tmp_path: Path) -> None:
    out = tmp_path / "got"
    code = f"import sys; open({str(out)!r}, 'a').write(sys.stdin.read() + chr(10))"
    command = f'{sys.executable} -c "{code}"'
    done = flowwatch("watch", rules, "--demo", "--exec", command)
    got = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(got) == len(done.stdout.splitlines())
    assert {one["status"] for one in got} == {"firing"}


def test_metrics_are_served_while_it_runs(rules: Path) -> None:
    with demo_server() as address:
        process = subprocess.Popen(
            [sys.executable, "-m", "flowwatch", "watch", str(rules), "--server", address,
             "--metrics", "127.0.0.1:0"],
            cwd=ROOT, env=clean_environment("/nonexistent"), stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            while "metrics on " not in line:
                assert line
                line = process.stderr.readline()
            url = line.strip().rpartition("metrics on ")[2]
            until = time.monotonic() + 60
            text = ""
            while "flowwatch_attempts_total{" not in text and time.monotonic() < until:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    text = answer.read().decode()
                time.sleep(0.2)
            assert "flowwatch_attempts_total{" in text
            process.send_signal(signal.SIGINT)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
            if process.stderr is not None:
                process.stderr.close()


@contextmanager
def demo_server() -> Iterator[str]:
    with DemoServer(live=True, seed=1, speed=20.0) as server:
        yield server.address


BAD = {
    "rules: [{when: new-blockd}]": ':1: unknown rule "new-blockd" (did you mean "new-blocked"?)',
    "rules: [{alert: A}]": ":1: a rule needs when: one of new-blocked,",
    "rules:\n- {when: cut, quiet: 1m}": ":2: quiet is of gone-quiet, not of cut",
    "rules:\n- when: cut\n  notify: [ops]": ':3: unknown receiver "ops": none is declared',
    "rules:\n- {when: new-blocked, learn: soon}": ":2: rules[0].learn: ",
    "rules: []": ":1: no rule in it: rules is a list",
    "": ":1: no rule in it",
    "rules: [{when: cut}, {when: cut}]": ':1: two rules are called "cut"',
    "receivers: [{name: a}]\nrules: [{when: cut}]": ":1: a receiver needs url",
    "a: [": ":2: not YAML: ",
    "receivers:\n- name: a\n  url: 'http://[::1/s3cret'\nrules: [{when: cut}]":
        ":3: receivers[0].url: no URL as https://alerts.example/hook",
    'receivers:\n- name: a\n  url: "http://a\\n.example"\nrules: [{when: cut}]':
        ":3: receivers[0].url: no URL",
    "receivers:\n- name: a\n  url-file: /no/such\nrules: [{when: cut}]":
        ":3: receivers[0].url-file: cannot read /no/such: No such file",
    'receivers:\n- name: a\n  url-file: "a\\0b"\nrules: [{when: cut}]':
        ":3: receivers[0].url-file: no name of a file",
    "receivers:\n- {name: '', url: 'http://a'}": ":2: receivers[0].name: a name is wanted",
    "rules:\n- when: cut\n  alert: ' '": ":3: rules[0].alert: a name is wanted, not nothing",
    "rules: &a [{when: cut, labels: *a}]": ":1: an alias inside what it stands for",
    "rules:\n- when: cut\n  when: cut": ':3: key "rules[0].when" is there twice',
}  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_bad_rules_are_one_line_with_their_place(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    done = flowwatch("watch", path, "--demo")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"{path}{BAD[text]}" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "one file of rules is wanted"),
        (("no-such-file",), "cannot read no-such-file: No such file"),
        (("{rules}", "--webhook", "nonsense"), "a webhook is no URL"),
        (("{rules}", "--webhook-format", "teams"), "invalid webhook format: teams"),
        (("{rules}", "--exec", "'"), "--exec: No closing quotation"),
        (("{rules}", "--metrics", "nowhere"), "invalid --metrics: nowhere"),
        (("--print", "poems"), "nothing to print is called: poems"),
    ],
)
def test_bad_words_are_one_line(words: tuple[str, ...], said: str, rules: Path) -> None:
    done = flowwatch("watch", *[word.replace("{rules}", str(rules)) for word in words], "--demo")
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if said in line] or [done.stderr]
    assert said in line


def test_the_example_is_rules(tmp_path: Path) -> None:
    printed = flowwatch("watch", "--print", "example")
    path = tmp_path / "rules.yaml"
    path.write_text(printed.stdout)
    checked = flowwatch("watch", path, "--check")
    assert checked.returncode == 0
    assert len(checked.stdout.splitlines()) == 5


@pytest.mark.skipif(
    not shutil.which("prometheus-alertmanager") and not os.environ.get("CI"),
    reason="no Alertmanager on this machine",
)
def test_the_real_alertmanager_takes_what_it_is_told(rules: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = tmp_path / "alertmanager.yaml"
    config.write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            ["prometheus-alertmanager", f"--config.file={config}",
             f"--storage.path={tmp_path / 'data'}", f"--web.listen-address={address}",
             "--cluster.listen-address="],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                urllib.request.urlopen(f"http://{address}/-/ready", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        done = flowwatch(
            "watch", rules, "--demo", "-o", "json",
            "--webhook", f"http://{address}", "--webhook-format", "alertmanager-api",
        )  # fmt: skip
        with urllib.request.urlopen(f"http://{address}/api/v2/alerts", timeout=5) as answer:
            known = json.load(answer)
    finally:
        process.terminate()
        process.wait(30)
    told = {one["fingerprint"]: one for one in map(json.loads, done.stdout.splitlines())}
    assert {one["fingerprint"] for one in known} == set(told)
    for one in known:
        assert one["labels"] == told[one["fingerprint"]]["labels"]
        assert one["annotations"] == told[one["fingerprint"]]["annotations"]
