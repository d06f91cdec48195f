"""Attempts in the server's tables: every question has the answer that a folder of the same records has."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from flowwatch.errors import OutputError
from flowwatch.history.attempts import columns
from flowwatch.history.attempts.asking import ask_of
from flowwatch.history.attempts.questions import QUESTIONS
from flowwatch.history.clickhouse import attempts, upkeep
from flowwatch.history.clickhouse.asking import InTables
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.url import server_of
from flowwatch.history.upkeep import Unwanted
from tests.benchmarks.traffic import story
from tests.command import ROOT, one_line
from tests.in_process import flowwatch
from tests.unit.history.clickhouse.servers import Old, Today
from tests.unit.history.clickhouse.test_answers import WEATHER, shown
from tests.unit.history.every_question import every, limits_of, middle
from tests.unit.history.test_answers import record

pytestmark = pytest.mark.xdist_group("clickhouse")

LINES = 3_000
TABLES = ("flowwatch_made", "flowwatch_attempts", "flowwatch_attempt_minutes")


@pytest.fixture(scope="module")
def kept(today: Today) -> str:
    """A history of which attempts were made, and that stays as it is."""
    return made(today)


@pytest.fixture
def url(today: Today) -> str:
    """One of the test's own."""
    return made(today)


def made(today: Today) -> str:
    url = today.url()
    flowwatch("record", "--input-file", WEATHER, "--to", url)
    done = flowwatch("history", "compact", url)
    assert (done.returncode, done.stderr) == (0, "")
    said = "nothing to merge: ClickHouse does that by itself"
    assert done.stdout.splitlines() == [said, "29 attempts made of the records"]
    return url


def asked(url: str, question: str, *more: str) -> dict[str, Any]:
    done = flowwatch("history", "ask", question, url, "-o", "json", *more)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def count(today: Today, url: str, table: str, what: str = "count()") -> int:
    return int(today.ask(f"SELECT {what} FROM {shown(url).rpartition('/')[2]}.{table}"))


def test_every_question_has_the_answer_of_the_folder(today: Today, tmp_path: Path) -> None:
    story(LINES, tmp_path / "flows.jsonl")
    folder = record(tmp_path / "flows.jsonl", tmp_path / "kept")
    flowwatch("history", "compact", folder)
    url = today.url()
    for words in (
        ("record", "--input-file", tmp_path / "flows.jsonl", "--to"),
        ("history", "compact"),
    ):
        assert flowwatch(*words, url).returncode == 0
    told = every(folder, "duckdb")
    assert len(told) == len(QUESTIONS)
    assert sum(bool(one.rows) for one in told.values()) >= 25
    tables, moment = InTables(Database(server_of(url))), middle(folder)
    for question in QUESTIONS:
        for since in (moment, moment + 1):
            limits = limits_of(question, since)
            found, wanted = ask_of(tables, question, limits), told[question.name]
            assert (found.columns, found.rows) == (wanted.columns, wanted.rows), question.name
            assert (found.notes, found.gaps) == (wanted.notes, wanted.gaps), question.name
            if not question.moment:
                break


def test_what_is_narrowed_and_told_is_that_of_the_folder(kept: str, tmp_path: Path) -> None:
    folder = record(WEATHER, tmp_path / "kept")
    flowwatch("history", "compact", folder)
    for words in (
        "blocked -n weather --peer *.github.com",
        "blocked --since 2026-11-28T17:56:30Z --until 2026-11-28T17:57:30Z",
        "destinations --limit 2",
        "who --peer o'clock",
        "reasons --workload weather-app --direction both",
        "outcomes --since 2100-01-01",
        "denied-by -n nobody",
    ):
        question, *more = words.split()
        of_tables, of_folder = (asked(where, question, *more) for where in (kept, str(folder)))
        assert of_tables.pop("engine") == "clickhouse"
        assert of_folder.pop("engine") == "duckdb"
        # When its recorder took them.
        assert of_tables.pop("records_until")
        assert of_folder.pop("records_until")
        assert of_tables == of_folder, words


def test_the_pages_question_by_hand_is_that_of_ask(today: Today, kept: str) -> None:
    page = (ROOT / "docs" / "history.md").read_text("utf-8")
    [sql] = [
        text for text in re.findall(r"```sql\n(.*?);\n```", page, re.DOTALL) if "argMax" in text
    ]
    sql = sql.replace("flows.", f"{shown(kept).rpartition('/')[2]}.")
    found = [json.loads(line) for line in today.ask(f"{sql} FORMAT JSONEachRow").splitlines()]
    wanted = asked(kept, "blocked", "--limit", "20")["rows"]
    assert found
    assert sorted(map(values, found)) == sorted(map(values, wanted))


def values(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(
        [str(row[name]) for name in ("workload", "peer", "port", "drop_reason", "attempts")]
    )


def test_the_tables_have_the_columns_that_are_declared(today: Today, kept: str) -> None:
    database = shown(kept).rpartition("/")[2]
    for table, declared in zip(TABLES[1:], (columns.ATTEMPTS, columns.MINUTES), strict=True):
        said = today.ask(f"SELECT name, comment FROM system.columns WHERE database = '{database}' AND "
                         f"table = '{table}' ORDER BY position FORMAT JSONCompactEachRow")  # fmt: skip
        found = [json.loads(line) for line in said.splitlines()]
        assert [name for name, _ in found] == ["making", *[one.name for one in declared]]
        assert all(comment for _, comment in found)


def test_what_lies_there_is_told_and_checked(kept: str) -> None:
    about = json.loads(flowwatch("history", "info", kept, "-o", "json").stdout)
    assert (about["attempts"], about["records_not_in_attempts"]) == (29, 0)
    assert "Attempts: 29, made of what came until" in flowwatch("history", "info", kept).stdout
    assert "64 records and 29 attempts" in flowwatch("history", "verify", kept).stdout


def test_what_came_since_is_told_and_made_anew(today: Today, url: str) -> None:
    assert asked(url, "outcomes")["warnings"] == []
    flowwatch("record", "--input-file", WEATHER.parent / "dns.jsonl", "--to", url)
    [line] = asked(url, "outcomes")["warnings"]
    assert line.endswith("came, or went, since attempts were made: flowwatch history compact")
    about = json.loads(flowwatch("history", "info", url, "-o", "json").stdout)
    assert about["records_not_in_attempts"] > 0
    assert "attempts made of the records" in flowwatch("history", "compact", url).stdout
    assert asked(url, "outcomes")["warnings"] == []
    # One making is there, and none is made where nothing came.
    assert [count(today, url, table, "uniqExact(making)") for table in TABLES] == [1, 1, 1]
    assert "attempts" not in flowwatch("history", "compact", url).stdout


def test_what_is_forgotten_is_in_no_attempt(today: Today, url: str) -> None:
    weather = "countIf(namespace = 'weather' OR startsWith(peer, 'weather/'))"
    assert count(today, url, TABLES[1], weather)
    done = flowwatch("history", "forget", url, "--namespace", "weather")
    assert (done.returncode, done.stderr) == (0, "")
    for table in TABLES[1:]:
        assert count(today, url, table, weather) == 0
        assert count(today, url, table) > 0
    [line] = asked(url, "outcomes")["warnings"]
    assert line == "27 records of namespace weather were deleted from the history"


def test_a_making_that_was_killed_is_in_no_answer_and_goes(today: Today, url: str) -> None:
    """Rows without a name in the table of makings, as a process leaves them that is killed half-way."""
    before = [asked(url, name)["rows"] for name in ("outcomes", "retried", "denied-by")]
    database = shown(url).rpartition("/")[2]
    for making in ("20200101T000000-dead", "29990101T000000-busy"):
        for table in TABLES[1:]:
            today.ask(f"INSERT INTO {database}.{table} SELECT * REPLACE('{making}' AS making) FROM "
                      f"{database}.{table} LIMIT 3")  # fmt: skip
            assert count(today, url, table, f"countIf(making = '{making}')") == 3
    assert [asked(url, name)["rows"] for name in ("outcomes", "retried", "denied-by")] == before
    flowwatch("record", "--input-file", WEATHER.parent / "dns.jsonl", "--to", url)
    flowwatch("history", "compact", url)
    # Of one that began a day ago nobody is at work any more.
    for table in TABLES[1:]:
        assert count(today, url, table, "countIf(making LIKE '2020%')") == 0
        assert count(today, url, table, "countIf(making LIKE '2999%')") == 3


def test_one_that_was_killed_before_it_tidied_up_is_tidied_after(today: Today, url: str) -> None:
    database = shown(url).rpartition("/")[2]
    for table in TABLES:
        today.ask(f"INSERT INTO {database}.{table} SELECT * REPLACE('30000101T000000-old' AS making"
                  f"{', at - 1 AS at' if table == TABLES[0] else ''}) FROM {database}.{table}")  # fmt: skip
        assert count(today, url, table, "uniqExact(making)") == 2
    before = asked(url, "outcomes")["rows"]
    assert "attempts" not in flowwatch("history", "compact", url).stdout
    assert [count(today, url, table, "uniqExact(making)") for table in TABLES] == [1, 1, 1]
    assert asked(url, "outcomes")["rows"] == before


def test_of_two_at_once_the_later_one_stays(
    today: Today, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(server_of(url))
    flowwatch("record", "--input-file", WEATHER.parent / "dns.jsonl", "--to", url)
    tidy = attempts._tidy

    def beside(*given: Any) -> None:
        monkeypatch.setattr(attempts, "_tidy", tidy)
        flowwatch("record", "--input-file", WEATHER.parent / "bare.jsonl", "--to", url)
        assert attempts.make(database) is not None
        tidy(*given)

    monkeypatch.setattr(attempts, "_tidy", beside)
    assert attempts.make(database) is not None
    assert [count(today, url, table, "uniqExact(making)") for table in TABLES] == [1, 1, 1]
    assert asked(url, "outcomes")["warnings"] == []


def test_a_making_that_fails_leaves_what_was_there(
    today: Today, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = asked(url, "outcomes")["rows"]
    flowwatch("record", "--input-file", WEATHER.parent / "dns.jsonl", "--to", url)
    database = shown(url).rpartition("/")[2]
    today.ask(f"ALTER TABLE {database}.{TABLES[2]} RENAME COLUMN tries TO tried")
    monkeypatch.setattr(attempts, "create", lambda database: None)
    done = flowwatch("history", "compact", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert one_line(done).startswith(f"flowwatch: can't change {shown(url)}: ")
    today.ask(f"ALTER TABLE {database}.{TABLES[2]} RENAME COLUMN tried TO tries")
    assert asked(url, "outcomes")["rows"] == before
    assert [count(today, url, table, "uniqExact(making)") for table in TABLES] == [1, 1, 1]


def test_what_was_made_beside_one_who_forgets_is_taken_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(server_of(url))
    flowwatch("record", "--input-file", WEATHER.parent / "dns.jsonl", "--to", url)
    wrote = attempts._write

    def write(*given: Any) -> int:
        monkeypatch.setattr(attempts, "_write", wrote)
        written = wrote(*given)
        upkeep.forget(database, Unwanted(namespaces=("weather",)))
        return written

    monkeypatch.setattr(attempts, "_write", write)
    with pytest.raises(OutputError, match="were deleted meanwhile"):
        attempts.make(database)
    namespaces = [row["namespace"] for row in asked(url, "namespaces")["rows"]]
    assert namespaces
    assert "weather" not in namespaces


def test_who_asks_while_they_are_made_anew_is_answered_of_the_new_ones(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = InTables(Database(server_of(url)))
    flowwatch("record", "--input-file", WEATHER.parent / "dns.jsonl", "--to", url)
    rows_of = attempts.rows_of

    def meanwhile(*given: Any) -> int:
        monkeypatch.setattr(attempts, "rows_of", rows_of)
        flowwatch("history", "compact", url)
        return rows_of(*given)

    monkeypatch.setattr(attempts, "rows_of", meanwhile)
    [outcomes] = [one for one in QUESTIONS if one.name == "outcomes"]
    told = ask_of(tables, outcomes, limits_of(outcomes, 0))
    wanted = asked(url, "outcomes", "--direction", "both")["rows"]
    assert wanted
    assert sum(row[told.columns.index("attempts")] for row in told.rows) == sum(
        row["attempts"] for row in wanted
    )
    assert told.notes == []


def test_a_column_that_came_with_a_later_version_is_added(today: Today, url: str) -> None:
    before = asked(url, "late")["rows"], asked(url, "retried")["rows"]
    database = shown(url).rpartition("/")[2]
    today.ask(f"ALTER TABLE {database}.{TABLES[1]} DROP COLUMN waited_us")
    today.ask(f"TRUNCATE TABLE {database}.{TABLES[0]}")
    flowwatch("history", "compact", url)
    assert (asked(url, "late")["rows"], asked(url, "retried")["rows"]) == before


def test_what_has_grown_old_goes_and_is_told(today: Today, url: str) -> None:
    flowwatch("record", "--input-file", WEATHER, "--to", url, "--keep", "3650d")
    database = shown(url).rpartition("/")[2]
    for table in TABLES[1:]:
        assert "toIntervalSecond(315360000)" in today.ask(f"SHOW CREATE TABLE {database}.{table}")
    # As the server does it when it merges.
    today.ask(f"ALTER TABLE {database}.{TABLES[1]} DELETE WHERE namespace = 'weather' "
              "SETTINGS mutations_sync = 1")  # fmt: skip
    lines = asked(url, "retried")["warnings"]
    assert [line for line in lines if line.endswith("attempts are gone: they have grown old")]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", ""),
        ('{"format": 99}', " (flowwatch_made was written by a newer flowwatch)"),
        ("[]", " (flowwatch_made is damaged)"),
    ],
)
def test_nothing_made_is_one_line(today: Today, said: str, why: str) -> None:
    url = today.url()
    flowwatch("record", "--input-file", WEATHER, "--to", url)
    if said:
        database = shown(url).rpartition("/")[2]
        today.ask(f"INSERT INTO {database}.{TABLES[0]} VALUES ('x', now64(9), '{said}')")
    done = flowwatch("history", "ask", "blocked", url)
    assert (done.returncode, done.stdout) == (1, "")
    assert one_line(done) == (
        f"flowwatch: {shown(url)}: no attempts were made of its records{why}: "
        f"flowwatch history compact {shown(url)} makes them"
    )
    assert flowwatch("history", "compact", url).returncode == 0
    assert asked(url, "outcomes")["rows"]


def test_another_engine_is_refused_and_so_is_what_is_no_history(today: Today, kept: str) -> None:
    done = flowwatch("history", "ask", "blocked", kept, "--engine", "duckdb")
    assert (done.returncode, done.stdout) == (2, "")
    assert one_line(done).endswith("is asked of its server: leave out --engine duckdb")
    for verb in (("ask", "blocked"), ("compact",)):
        done = flowwatch("history", *verb, today.url())
        assert (done.returncode, done.stdout) == (1, "")
        assert "is no history" in one_line(done)
        done = flowwatch("history", *verb, "clickhouse://127.0.0.1:1/flows")
        assert (done.returncode, done.stdout) == (1, "")
        assert "the server cannot be reached (Connection refused)" in one_line(done)


def test_anothers_table_is_left_alone(today: Today) -> None:
    url = today.url()
    flowwatch("record", "--input-file", WEATHER, "--to", url)
    database = shown(url).rpartition("/")[2]
    today.ask(f"DROP TABLE {database}.{TABLES[1]}")
    today.ask(f"CREATE TABLE {database}.{TABLES[1]} (mine String) ENGINE = MergeTree ORDER BY mine")
    done = flowwatch("history", "compact", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is none of flowwatch's: it has no column making" in one_line(done)


def test_a_server_that_is_too_old_says_which_is_needed(old: Old) -> None:
    url = old.url()
    flowwatch("record", "--input-file", WEATHER, "--to", url)
    needed = f"attempts need ClickHouse 22.3 or later, {shown(url)} is 18.16"
    done = flowwatch("history", "ask", "blocked", url)
    assert (done.returncode, done.stdout) == (2, "")
    assert needed in one_line(done)
    done = flowwatch("history", "compact", url)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"by itself; {needed}" in done.stdout
