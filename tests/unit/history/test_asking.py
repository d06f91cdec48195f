"""`flowwatch history ask`: questions, and what is told with their answers."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from flowwatch.cli.values import ENGINE, QUESTION
from flowwatch.flows.model import Batch, Gap, LostEvents
from flowwatch.history import store
from flowwatch.history.attempts.asking import BY_NAME, Limits, ask, sql_of
from flowwatch.history.attempts.engines import ENGINES, load_ibis
from flowwatch.history.attempts.questions import QUESTIONS
from flowwatch.history.recorder import Origin, Recorder
from flowwatch.report.answer import answer_lines
from flowwatch.report.human import width
from flowwatch.sources.files import FileSource
from tests.command import ROOT, one_line
from tests.in_process import flowwatch
from tests.unit.flows.made import flow
from tests.unit.history.asked import flows_of

WEATHER = ROOT / "tests" / "data" / "captures" / "weather.jsonl"
SECOND = 10**9


def made(folder: Path, batch: Batch) -> Path:
    store.create(folder)
    recorder = Recorder(folder, Origin("a test", ""))
    recorder.take(batch)
    recorder.close("the test ended")
    assert flowwatch("history", "compact", folder).returncode == 0
    return folder


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return made(tmp_path / "kept", Batch(flows=flows_of(FileSource([WEATHER]))))


def asked(folder: Path, question: str, *more: str) -> dict[str, Any]:
    done = flowwatch("history", "ask", question, folder, "-o", "json", *more)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_completion_knows_what_there_is() -> None:
    assert QUESTION.all() == tuple(one.name for one in QUESTIONS) == tuple(BY_NAME)
    assert ENGINE.all() == tuple(ENGINES)
    assert len(QUESTIONS) > 20


def test_the_list_tells_each_with_what_it_asks() -> None:
    done = flowwatch("history", "ask", "--list")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(BY_NAME)
    assert all(line.endswith(one.asks) for line, one in zip(lines, QUESTIONS, strict=True))


def test_what_is_blocked_by_workload_and_destination(kept: Path) -> None:
    [row] = asked(kept, "blocked", "-n", "weather", "--peer", "api.github.com")["rows"]
    assert (row["workload"], row["port"], row["drop_reason"]) == (
        "weather-app",
        443,
        "POLICY_DENIED",
    )
    assert (row["attempts"], row["tries"], row["records"]) == (1, 1, 2)
    done = flowwatch("history", "ask", "blocked", kept, "-n", "weather", "--peer", "*.github.com")
    head, line = done.stdout.splitlines()
    assert head.split()[:3] == ["NAMESPACE", "WORKLOAD", "PEER"]
    assert line.split()[:3] == ["weather", "weather-app", "api.github.com"]


def test_csv_has_the_same_rows_and_words_go_to_standard_error(kept: Path) -> None:
    rows = asked(kept, "namespaces")["rows"]
    done = flowwatch("history", "ask", "namespaces", kept, "-o", "csv", "--limit", "2")
    found = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["namespace"] for row in found] == [row["namespace"] for row in rows[:2]]
    assert [int(row["dropped"]) for row in found] == [row["dropped"] for row in rows[:2]]
    assert one_line(done).endswith("the first 2 rows: --limit 0 tells all")


def test_the_keys_of_its_json_are_documented_in_order(kept: Path) -> None:
    page = (ROOT / "docs" / "formats.md").read_text("utf-8")
    section = page.split("## `history ask -o json`")[1].split("\n## ")[0]
    heads = re.findall(r"^\| (`.+?`) \|", section, re.MULTILINE)
    assert re.findall(r"`(\w+)`", " ".join(heads)) == list(asked(kept, "outcomes"))


@pytest.mark.parametrize("wide", [80, 100, 120])
def test_a_narrow_screen_leaves_out_columns_and_says_which(kept: Path, wide: int) -> None:
    answer = ask(kept, BY_NAME["blocked"], Limits())
    lines = list(answer_lines(answer, wide))
    assert max(map(width, lines)) <= wide
    assert all(word in lines[0] for word in ("WORKLOAD", "PEER", "PORT", "ATTEMPTS"))
    told = " ".join(line.strip() for line in lines[1 + len(answer.rows) :])
    left = told.removeprefix("(too narrow for ").removesuffix(": -o csv has all)").split(", ")
    heads = [name.replace("_", " ") for name in answer.columns]
    assert [name for name in heads if name.upper() not in lines[0]] == left
    [head, *rows] = answer_lines(answer)
    assert (len(rows), width(head) > 120) == (len(answer.rows), True)


def test_a_window_is_from_its_beginning_until_before_its_end(kept: Path) -> None:
    times = sorted(row["first_seen"] for row in asked(kept, "blocked", "--limit", "0")["rows"])
    first = times[0]
    until = asked(kept, "blocked", "--until", first)
    assert (until["of"], until["rows"]) == ("attempts", [])
    since = asked(kept, "blocked", "--since", first)
    assert first in [row["first_seen"] for row in since["rows"]]
    minute = re.sub(r":\d\d\.\d+Z$", ":00Z", first)
    assert asked(kept, "blocked", "--since", minute)["of"] == "minutes"
    assert asked(kept, "blocked", "--since", "1h")["of"] == "minutes"


def test_new_and_quiet_look_at_both_sides_of_a_moment(tmp_path: Path) -> None:
    flows = []
    for number, (port, at) in enumerate([(443, 0), (443, 7200), (80, 0), (8080, 7200)]):
        one = flow(0, source_port=40_000 + number, destination_port=port)
        one.time += at * SECOND
        one.uuid = f"00000000-0000-4000-8000-{number:012x}"
        flows.append(one)
    folder = made(tmp_path / "kept", Batch(flows=flows))
    moment = json.loads(flowwatch("history", "info", folder, "-o", "json").stdout)["last"]
    for since in (moment, re.sub(r":\d\d\.\d+Z$", ":00Z", moment)):
        [new] = asked(folder, "new", "--since", since)["rows"]
        assert (new["port"], new["attempts_since"]) == (8080, 1)
        [quiet] = asked(folder, "quiet", "--since", since)["rows"]
        assert (quiet["port"], quiet["attempts_before"]) == (80, 1)


def test_gaps_and_losses_of_the_window_are_told(tmp_path: Path) -> None:
    flows = flows_of(FileSource([WEATHER]))
    start = min(one.time for one in flows)
    gap = Gap(start, start + 60 * SECOND, "the ring\x1b[31m had been overwritten", ("node-1",), "")
    lost = LostEvents("PERF_EVENT_RING_BUFFER", 7, "node-1", start, start, start)
    folder = made(tmp_path / "kept", Batch(flows=flows, gaps=[gap], lost=[lost]))
    told = asked(folder, "outcomes")
    assert [one["nodes"] for one in told["gaps"]] == [["node-1"]]
    assert told["warnings"] == ["7 events were lost before they were recorded: counts are at least"]
    later = "--since", "2100-01-01"
    assert (
        asked(folder, "outcomes", *later)["warnings"],
        asked(folder, "outcomes", *later)["gaps"],
    ) == ([], [])
    assert (
        "what it was asked of came until "
        in flowwatch("history", "ask", "outcomes", folder, *later).stderr
    )
    done = flowwatch("history", "ask", "outcomes", folder)
    assert "what it was asked of" not in done.stderr
    assert "flowwatch: gap on node-1 from " in done.stderr
    assert "\x1b" not in done.stderr
    late = asked(folder, "outcomes", "--since", "2100-01-01")
    assert (late["gaps"], late["rows"]) == ([], [])


def test_what_came_since_is_told(kept: Path) -> None:
    assert asked(kept, "outcomes")["warnings"] == []
    flowwatch("record", "--input-file", WEATHER.parent / "dns.jsonl", "--to", kept)
    [line] = asked(kept, "outcomes")["warnings"]
    assert re.fullmatch(
        r"\d+ records came, or went, since attempts were made: flowwatch history compact", line
    )


def test_a_file_that_is_torn_is_named_and_left_out(kept: Path) -> None:
    before = asked(kept, "outcomes")["rows"]
    [first] = (kept / "made" / "minutes").rglob("*.parquet")
    whole = first.read_bytes()
    first.write_bytes(whole[:-20])
    told = asked(kept, "outcomes")
    assert (bool(before), told["rows"]) == (True, [])
    assert told["warnings"] == [
        f"left out: {first.relative_to(kept / 'made')} is damaged, or was cut off"
    ]
    # As long as it was, and none any more.
    first.write_bytes(b"\0" * len(whole))
    done = flowwatch("history", "ask", "outcomes", kept)
    assert (done.returncode, done.stdout) == (1, "")
    assert "duckdb could not answer" in one_line(done)


@pytest.mark.parametrize("engine", ["duckdb", "chdb"])
@pytest.mark.parametrize("name", ["o'clock", 'a"b', "back\\slash", "' OR 1=1 --", "%", "é"])
def test_names_are_text_to_every_engine(name: str, engine: str, kept: Path) -> None:
    told = asked(kept, "who", "--peer", name, "--namespace", name, "--engine", engine)
    assert told["rows"] == []


def test_every_question_is_written_for_every_engine() -> None:
    ibis = load_ibis()
    limits = Limits(since=60 * SECOND, peer="*x*", namespaces=("a",))
    for question in QUESTIONS:
        for engine in ENGINES.values():
            sql = sql_of(ibis, question, limits, question.table, engine.dialect)
            # ClickHouse's own guess of how many different ones there are.
            assert "uniq(" not in sql


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "a question, and a history"),
        (["blocked"], 2, "a question, and a history"),
        (["blokced", "KEPT"], 2, "no question is called blokced: did you mean blocked? "),
        (["zzz", "KEPT"], 2, "no question is called zzz: flowwatch history ask --list tells all"),
        (["new", "KEPT"], 2, "new asks about a moment: --since 24h, or a time"),
        (["who", "KEPT"], 2, "who asks about a peer"),
        (["who", "KEPT", "--peer", "a*b"], 2, "invalid peer: a*b"),
        (["blocked", "KEPT", "--since", "soon"], 2, "failed to parse the since time"),
        (["blocked", "KEPT", "--engine", "sqlite"], 2, "invalid engine"),
        (["blocked", "NOWHERE"], 1, "is no history"),
    ],
)
def test_bad_words_are_one_line(words: list[str], code: int, said: str, kept: Path) -> None:
    places = {"KEPT": str(kept), "NOWHERE": str(kept / "nowhere")}
    done = flowwatch("history", "ask", *(places.get(word, word) for word in words))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in one_line(done)


def test_records_without_attempts_say_what_to_type(tmp_path: Path) -> None:
    flowwatch("record", "--input-file", WEATHER, "--to", tmp_path / "kept")
    done = flowwatch("history", "ask", "blocked", tmp_path / "kept")
    assert done.returncode == 1
    assert "no attempts were made of its records" in one_line(done)
    assert "flowwatch history compact" in one_line(done)
