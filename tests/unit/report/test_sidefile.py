"""The file beside a table says what the table lacks, and isn't there when nothing is."""

from __future__ import annotations

import json
from pathlib import Path

from flowwatch.flows.model import Gap
from flowwatch.report.sidefile import note_beside
from tests.in_process import flowwatch
from tests.unit.report.made import START, row, snapshot


def test_what_is_missing_is_told_and_an_older_word_is_taken_back(tmp_path: Path) -> None:
    table = tmp_path / "drops.csv"
    table.write_text("header\n")
    gap = Gap(START, START + 42_000_000_000, "restarted", ("n\x1b[1",))
    beside = note_beside(str(table), snapshot(row(), gaps=(gap,)).coverage, lines=1)
    assert beside == f"{table}.warnings.json"
    told = json.loads(Path(beside).read_text())
    assert (told["file"], told["lines"], told["partial"]) == ("drops.csv", 1, False)
    assert told["gaps"][0]["seconds"] == 42.0
    assert told["nodes_unavailable"] == ["demo/node-3"]
    assert told["at_least"] is True
    assert "rows" not in told
    assert "\x1b" not in Path(beside).read_text()
    whole = snapshot(warnings=(), lost=(), nodes_unavailable=())
    assert note_beside(str(table), whole.coverage, lines=1) == ""
    assert [path.name for path in tmp_path.iterdir()] == ["drops.csv"]


def test_a_device_has_nothing_beside_it() -> None:
    assert note_beside("/dev/null", snapshot(row()).coverage, lines=1) == ""


def test_an_export_of_a_capture_with_losses(tmp_path: Path) -> None:
    capture, table = tmp_path / "flows.jsonl", tmp_path / "drops.csv"
    lost = {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "7"}
    capture.write_text(json.dumps({"lost_events": lost, "node_name": "n1"}) + "\nnot JSON at all\n")
    for more in ([], ["--raw"], ["--grouped"]):
        done = flowwatch("export", *more, "--input-file", capture, "--output", table)
        assert done.returncode == 0, done.stderr
        assert "drops.csv.warnings.json" in done.stderr
        told = json.loads((tmp_path / "drops.csv.warnings.json").read_text())
        assert told["lost_events"] == 7
        assert told["lost"][0]["node"] == "n1"
        assert told["records_skipped"] == 1
        assert len(told["warnings"]) == 2
