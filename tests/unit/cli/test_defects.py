"""What nobody foresaw: exit code 70 and one line, from every verb and thread, and never 1."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import flowwatch.text
from flowwatch.errors import Defect
from tests.command import ROOT, clean_environment

FLOW = {
    "time": "2026-01-31T10:00:00.5Z",
    "uuid": "u1",
    "verdict": "DROPPED",
    "drop_reason_desc": "POLICY_DENIED",
    "IP": {"source": "10.0.0.1", "destination": "1.2.3.4"},
    "l4": {"TCP": {"source_port": 40000, "destination_port": 443}},
    "source": {"identity": 1000, "namespace": "weather", "pod_name": "weather-app-1"},
    "destination": {"identity": 2, "labels": ["reserved:world"]},
    "event_type": {"type": 5},
    "traffic_direction": "EGRESS",
}
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: inside, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress: [{toEntities: [cluster]}]
"""

PROGRAM = """
import sys, threading
def wrong(*_, **__):
    raise ArithmeticError("\\x1b]0;a name from a pod\\x07")
def broken(batches):
    yield from batches
    wrong()
{patch}
from flowwatch.__main__ import main
sys.exit(main())
"""

PLACES = {
    "the parser": ("flowwatch.cli.flags.parse = wrong", "summary"),
    "help": ("flowwatch.cli.usage.usage = wrong", "--help"),
    "summary": ("flowwatch.flows.join.Join.add = wrong", "summary FLOWS"),
    "export": ("flowwatch.report.export.table_writer = wrong", "export FLOWS"),
    "observe": ("flowwatch.report.observe.CompactPrinter.close = wrong", "observe FLOWS"),
    "an audit": ("flowwatch.audits.audit.Audit.finish = wrong", "audit -f POLICY FLOWS"),
    "an audit's report": ("flowwatch.report.audit.audit_lines = wrong", "audit -f POLICY FLOWS"),
    "draft": ("flowwatch.drafts.draft.Drafter.read = wrong", "draft FLOWS"),
    "changes": ("flowwatch.marks.changes.Changes.read = wrong", "changes FLOWS"),
    "whatif": ("flowwatch.audits.whatif.WhatIf.read = wrong", "whatif -f POLICY FLOWS"),
    "explain": (
        "flowwatch.policy.explain.explain = wrong",
        "explain -f POLICY --from weather/a --to world:443",
    ),
    "doctor": ("flowwatch.doctor.evidence.examine = wrong", "doctor --server 127.0.0.1:1"),
    "status": ("flowwatch.hubble.client.connection.connect = wrong", "status --server a:1"),
    "the demo": ("flowwatch.demo.server.DemoServer.__enter__ = wrong", "demo --duration 1s"),
}


def run(patch: str, words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a flowwatch that is wrong in one place."""
    (folder / "flows.jsonl").write_text(json.dumps({"flow": FLOW}) + "\n")
    (folder / "policy.yaml").write_text(POLICY)
    names = {
        "FLOWS": f"--input-file={folder / 'flows.jsonl'}",
        "POLICY": str(folder / "policy.yaml"),
    }
    # Of a class, the module is what stands before it.
    target = patch.split(" = ")[0].rpartition(".")[0]
    module = ".".join(part for part in target.split(".") if part.islower())
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(patch=f"import {module}\n{patch}")]
        + [names.get(word, word) for word in words.split()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env=clean_environment(str(folder)),
        check=False,
    )


@pytest.mark.parametrize("place", PLACES)
def test_a_verb_ends_with_70_and_one_line(place: str, tmp_path: Path) -> None:
    told = run(*PLACES[place], tmp_path)
    assert told.returncode == 70
    last = told.stderr.splitlines()[-1]
    assert last.startswith(
        "flowwatch: this is a defect of flowwatch, please report: ArithmeticError at "
    )
    assert last.endswith("send this line and what was run; --debug adds the traceback")
    assert "Traceback" not in told.stderr
    # Its message may quote what is nobody's business.
    assert "a name from a pod" not in told.stderr


def test_debug_shows_the_traceback_made_safe(tmp_path: Path) -> None:
    patch, words = PLACES["summary"]
    told = run(patch, f"{words} --debug", tmp_path)
    assert told.returncode == 70
    lines = told.stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2] == r"ArithmeticError: \x1b]0;a name from a pod\x07"
    assert lines[-1].startswith("flowwatch: this is a defect of flowwatch, please report: ")


def test_what_was_read_until_then_is_shown(tmp_path: Path) -> None:
    """The reading breaks after a record: its row is there, and said to be a part."""
    place = "flowwatch.sources.files.FileSource.batches"
    patch = f"{place} = (lambda known: lambda self: broken(known(self)))({place})"
    told = run(patch, "summary FLOWS", tmp_path)
    assert told.returncode == 70, told.stderr
    assert "weather/weather-app-1" in told.stdout
    said = told.stderr.splitlines()
    assert said[-2] == "flowwatch: this is what was read until then (1 flow): partial"
    assert "defect of flowwatch" in said[-1]


@pytest.mark.parametrize("verb", ["summary FLOWS", "audit -f POLICY FLOWS"])
def test_a_thread_of_ours_ends_the_work_with_70(verb: str, tmp_path: Path) -> None:
    patch = (
        "flowwatch.cli.shared.reading.Reading.nothing = "
        "lambda self: threading.Thread(target=wrong).start() or __import__('time').sleep(20)"
    )
    told = run(patch, verb, tmp_path)
    assert told.returncode == 70
    assert "please report: ArithmeticError" in told.stderr
    assert "Traceback" not in told.stderr


def test_memory_that_ran_out_is_no_finding(tmp_path: Path) -> None:
    patch = "flowwatch.audits.audit.Audit.finish = lambda *_: (_ for _ in ()).throw(MemoryError())"
    told = run(patch, "audit -f POLICY FLOWS", tmp_path)
    assert told.returncode == 70
    assert told.stderr.startswith("flowwatch: out of memory: ")


def test_help_says_so(tmp_path: Path) -> None:
    told = run("flowwatch.text.nothing = wrong", "--help", tmp_path)
    assert "70 a defect of flowwatch (please report;" in " ".join(told.stdout.split())


def test_the_place_is_the_innermost_of_ours() -> None:
    with pytest.raises(AttributeError) as failed:
        flowwatch.text.safe(3)  # type: ignore[arg-type]
    assert "AttributeError at text.py:" in str(Defect.of(failed.value))
