"""The demo's own server recorded, stopped, and asked with every verb: what it had said while it ran."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from flowwatch.cli.flag_table import VERBS
from tests.command import ROOT, clean_environment
from tests.in_process import flowwatch

# One server, asked by all.
pytestmark = pytest.mark.xdist_group("every-verb")

ASKED = {
    "summary": [
        "summary -o json",
        "summary -o markdown",
        "summary --by workload,peer",
        "summary --waiting",
        "summary --waiting -o json",
    ],
    "export": [
        "export --outcome all --direction both",
        "export --raw --outcome all --format jsonl",
        "export --grouped --outcome all --direction both",
    ],
    "observe": [
        # As live by default, hubble asks for fewer fields than a file has.
        "observe --verdict DROPPED -o jsonpb",
        "observe --since 2m -o json --verdict FORWARDED",
    ],
    "audit": ["audit -o json -f POLICY", "audit -f POLICY"],
    "whatif": ["whatif -o json -f POLICY", "whatif -f POLICY"],
    "changes": ["changes -o json", "changes"],
    "draft": ["draft --direction both", "draft --explain api.github.com:443 -n weather"],
    "unused": ["unused -o json -f POLICY", "unused -f POLICY"],
    "gap": ["gap -o json -f POLICY", "gap -f POLICY"],
    "gate": ["gate --max-dropped 5 -o json", "gate --max-dropped 5 --direction both"],
    "watch": ["watch RULES -o json"],
    "": ["--plain"],
}
"""By verb what is asked."""
ELSEWHERE = {"web", "web draft", "proof", "proof verify"}
"""The dashboard and the editor in a browser; what reads nothing that is live."""


class Told(NamedTuple):
    code: int
    out: str
    err: str


class Recorded(NamedTuple):
    """What was said live, and where the same records are kept."""

    live: dict[str, Told]
    kept: Path
    until: str
    policy: Path
    server: str

    def asked(self, command: str, *source: str | Path) -> Told:
        files = {"POLICY": str(self.policy), "RULES": str(self.policy.with_name("rules.yaml"))}
        words = [files.get(word, word) for word in command.split()]
        # The same moment for both, to count back from.
        words = [self.until_before(120) if word == "2m" else word for word in words]
        done = flowwatch(*words, "--until", self.until, *source)
        return Told(done.returncode, done.stdout, done.stderr)

    def until_before(self, seconds: int) -> str:
        moment = datetime.fromisoformat(self.until).timestamp() - seconds
        return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")

    def later(self, command: str) -> Told:
        """Of the history; it is called by the server's name then."""
        told = self.asked(command, "--history", self.kept)
        name = f"history {self.kept}"
        return told._replace(
            out=told.out.replace(name, self.server), err=told.err.replace(name, self.server)
        )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    folder = tmp_path_factory.mktemp("demo")
    policy = folder / "weather.yaml"
    policy.write_text(flowwatch("demo", "--print-policy").stdout, "utf-8")
    (folder / "rules.yaml").write_text(
        "rules: [{when: new-blocked, learn: 1m}, {when: cut}]\n", "utf-8"
    )
    serving = subprocess.Popen(
        [sys.executable, "-m", "flowwatch", "demo", "--serve=127.0.0.1:0"],
        cwd=ROOT,
        env=clean_environment(str(folder)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert serving.stdout is not None
        server = re.search(r"127\.0\.0\.1:\d+", serving.stdout.readline())
        assert server is not None
        # Nodes' records come in a little later than they are made, on a busy machine by seconds.
        until = (datetime.now(UTC) - timedelta(seconds=10)).isoformat().replace("+00:00", "Z")
        time.sleep(1)
        # All that it holds, however long a busy machine takes for it.
        words = ("--server", server[0], "--to", folder / "kept", "--raw", "--all")
        done = flowwatch("record", *words)
        assert done.returncode == 0, done.stderr
        found = Recorded({}, folder / "kept", until, policy, server[0])
        for command in (command for commands in ASKED.values() for command in commands):
            found.live[command] = found.asked(command, "--server", server[0])
    finally:
        serving.send_signal(signal.SIGINT)
        serving.wait(timeout=30)
        if serving.stdout is not None:
            serving.stdout.close()
    return found


def test_no_verb_that_reads_a_history_is_left_out() -> None:
    reads = {
        verb.name
        for verb in VERBS
        if any(flag.name == "history" for group in verb.groups for flag in group.flags)
    }
    assert reads - ELSEWHERE == set(ASKED)


WHOLE = [
    command
    for verb, commands in ASKED.items()
    if verb not in ("", "observe")
    for command in commands
]


@pytest.mark.parametrize("command", WHOLE)
def test_what_was_said_live_is_said_again(command: str, recorded: Recorded) -> None:
    live = recorded.live[command]
    assert len(live.out) > 200
    assert recorded.later(command) == live


@pytest.mark.parametrize("command", ASKED["observe"])
def test_records_are_printed_as_they_came(command: str, recorded: Recorded) -> None:
    """To the byte; but what Hubble lost is no record of a history's, and stands on standard error."""
    live, later = recorded.live[command], recorded.later(command)
    lines = live.out.splitlines()
    assert later.out.splitlines() == [line for line in lines if '"lost_events":' not in line]
    assert len(lines) > 50
    lost = any('"lost_events":' in line for line in lines)
    assert ("events were lost" in later.err) == lost
    assert (later.code, live.code) == (0, 0)


def test_the_dashboard_s_lines_tell_the_same(recorded: Recorded) -> None:
    """But for what only a look in between tells: the clock's, what turned and turned back."""
    live, later = recorded.live["--plain"], recorded.later("--plain")

    def still(told: Told) -> list[str]:
        lines = told.out.splitlines()
        sure = ("policies changed:", "events lost", "blocked: weather/weather-app")
        return [*[one for one in lines if any(word in one for word in sure)], lines[-1]]

    assert sorted(still(later)) == sorted(still(live))
    assert len(still(live)) > 6
    assert "counts from" in still(live)[-1]
    assert later.code == live.code == 0
