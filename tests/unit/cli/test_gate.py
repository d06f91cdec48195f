"""`flowwatch gate` through the program: what breaks a rule, and what a pipeline makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema

from flowwatch.demo.server import DemoServer
from tests.command import ROOT, one_line
from tests.in_process import flowwatch

CAPTURES = ROOT / "tests" / "data" / "captures"
WEATHER, TCP = CAPTURES / "weather.jsonl", CAPTURES / "tcp.jsonl"
STEADY = ROOT / "tests" / "data" / "kernel-lab" / "steady" / "flows.jsonl.gz"
JUNIT = xmlschema.XMLSchema(str(ROOT / "tests" / "schemas" / "junit.xsd"))


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    assert flowwatch("record", "--input-file", TCP, "--to", folder).returncode == 0
    return folder


def test_as_many_drops_as_allowed_are_kept_and_one_more_is_broken() -> None:
    """13 attempts of the recording were dropped, by its truth written by hand."""
    done = flowwatch("gate", "--input-file", STEADY, "--max-dropped", "13")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "kept: 13 dropped attempts, at most 13 (26 attempts in 54 s)\n"
    done = flowwatch("gate", "--input-file", STEADY, "--max-dropped", "12")
    assert done.returncode == 1
    first, _, title, *rows = done.stdout.splitlines()
    assert first == "broken: 13 dropped attempts, at most 12 (26 attempts in 54 s)"
    assert title == "DROPPED ATTEMPTS"
    assert [row.split(": ")[1] for row in rows] == [
        "6 attempts, 6 dropped (POLICY_DENIED)",
        "6 attempts, 6 dropped (POLICY_DENIED)",
        "1 attempt, 1 dropped (POLICY_DENIED)",
    ]


def test_filters_are_those_of_every_verb() -> None:
    words = ("gate", "--input-file", STEADY, "--max-dropped", "0")
    assert flowwatch(*words, "--verdict", "FORWARDED").returncode == 0
    assert flowwatch(*words, "--to-port", "443").returncode == 1


def test_what_the_baseline_has_is_not_new(kept: Path) -> None:
    words = ("gate", "--baseline", kept, "--max-new-destinations", "0")
    assert flowwatch(*words, "--input-file", TCP).returncode == 0
    done = flowwatch(*words, "--input-file", WEATHER, "-o", "json")
    assert done.returncode == 1
    told = json.loads(done.stdout)
    [rule] = told["rules"]
    known = json.loads(flowwatch("summary", "--input-file", TCP, "-o", "json").stdout)["rows"]
    new = {(row["workload"], row["peer"], row["port"]) for row in rule["rows"]}
    assert new
    assert new.isdisjoint({(row["workload"], row["peer"], row["port"]) for row in known})
    assert (rule["found"], rule["most"], rule["broken"]) == (len(rule["rows"]), 0, True)
    enough = str(rule["found"])
    again = ("gate", "--baseline", kept, "--max-new-destinations", enough)
    assert flowwatch(*again, "--input-file", WEATHER).returncode == 0


def test_junit_has_a_case_for_each_rule(kept: Path) -> None:
    words = ("gate", "--baseline", kept, "--input-file", WEATHER, "-o", "junit")
    done = flowwatch(*words, "--max-new-destinations", "0", "--max-dropped", "1000")
    assert done.returncode == 1
    JUNIT.validate(done.stdout)
    root = ElementTree.fromstring(done.stdout)
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    cases = {case.get("name"): case.find("failure") for case in root.iter("testcase")}
    assert cases["dropped attempts: at most 1,000"] is None
    assert cases["new destinations: at most 0"] is not None


def test_github_and_markdown_tell_the_same() -> None:
    words = ("gate", "--input-file", STEADY, "--max-dropped", "0", "-o")
    notice, error = flowwatch(*words, "github").stdout.splitlines()
    assert notice.startswith("::notice title=flowwatch gate::broken: 13 dropped attempts")
    assert error.startswith("::error title=13 dropped attempts%2C at most 0::weather/")
    text = flowwatch(*words, "markdown").stdout
    assert text.startswith("**broken: 13 dropped attempts, at most 0")
    assert text.count("POLICY_DENIED") == 3


def test_it_looks_at_a_server_from_now_on() -> None:
    """The demo's server has drops in its memory, and none to come: it isn't live."""
    with DemoServer("127.0.0.1:0", live=False) as server:
        words = ("gate", "--server", server.address, "--max-dropped", "0")
        assert flowwatch(*words).returncode == 1
        done = flowwatch(*words, "--for", "1s")
    assert done.returncode == 3
    assert done.stdout == "kept: 0 dropped attempts, at most 0 (0 attempts in 0 s)\n"
    assert done.stderr.endswith("no attempt was seen: that nothing is broken proves nothing\n")


def test_of_the_demo_before_and_after_its_policy() -> None:
    assert flowwatch("gate", "--demo=after", "--max-dropped", "0", "-n", "weather").returncode == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing says what is too much"),
        (["--max-new-destinations", "0"], "what is new is told by a baseline"),
        (["--max-dropped", "0", "--baseline", "x"], "what is new is told by a baseline"),
        (["--max-dropped", "0", "--follow"], "a gate ends"),
        (["--max-dropped", "0", "--for", "5m", "--input-file", "x"], "--for looks at a server"),
        (["--max-dropped", "-1"], "invalid argument"),
        (["--max-dropped", "0", "--input-file", "missing.jsonl"], "missing.jsonl"),
        (["--max-new-destinations", "0", "--baseline", "missing"], "missing is no history"),
    ],
)
def test_bad_input_is_one_line_and_2(words: list[str], said: str) -> None:
    done = flowwatch("gate", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in one_line(done)
