"""What can be wrong with a ClickHouse server, and what is in it: one line, and nothing is written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.in_process import flowwatch
from tests.interop.program import free_port
from tests.unit.history.clickhouse.servers import PASSWORD, Old, Today
from tests.unit.history.clickhouse.test_answers import WEATHER, shown

pytestmark = pytest.mark.xdist_group("clickhouse")


def said(url: str) -> tuple[str, str]:
    """What `record` and a verb that reads say, each in its one line."""
    lines = []
    for code, words in (
        (2, ("record", "--input-file", WEATHER, "--to", url)),
        (1, ("summary", "--history", url)),
    ):
        done = flowwatch(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1), done
        lines.append(done.stderr.removeprefix("flowwatch: ").strip())
    assert flowwatch("history", "info", url).stderr == f"flowwatch: {lines[1]}\n"
    return lines[0], lines[1]


def test_a_wrong_password_is_told_and_never_shown(old: Old) -> None:
    url = old.url().replace("a%20pass%2Fword%20of%20tests", "another%20pass%2Fword")
    recording, reading = said(url)
    assert recording == f"cannot record to {shown(url)}: the user or the password is wrong"
    assert reading == f"cannot read {shown(url)}: the user or the password is wrong"


def test_a_user_that_it_does_not_know(old: Old) -> None:
    url = old.url().replace("://flowwatch:", "://nobody-here:")
    assert said(url)[1] == f"cannot read {shown(url)}: it knows no such user"


@pytest.mark.parametrize("by", ["variable", "file"])
def test_who_asks_may_stand_outside_of_the_url(
    by: str, old: Old, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = old.url()
    bare = f"{shown(url)}?compress=0"
    monkeypatch.setenv("CLICKHOUSE_USER", "flowwatch")
    assert "it asks for a password" in flowwatch("history", "info", bare).stderr
    if by == "file":
        (tmp_path / "secret").write_text(f"{PASSWORD}\n", "utf-8")
        monkeypatch.setenv("CLICKHOUSE_PASSWORD_FILE", str(tmp_path / "secret"))
    else:
        monkeypatch.setenv("CLICKHOUSE_PASSWORD", PASSWORD)
    done = flowwatch("record", "--input-file", WEATHER, "--to", bare)
    assert done.returncode == 0, done.stderr


def test_a_file_of_a_password_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKHOUSE_PASSWORD_FILE", "/nowhere/secret")
    done = flowwatch("summary", "--history", "clickhouse://127.0.0.1:1/kept")
    assert (done.returncode, done.stderr) == (
        2,
        "flowwatch: cannot read CLICKHOUSE_PASSWORD_FILE: No such file or directory: /nowhere/secret\n",
    )


def test_a_database_is_not_ours_to_make(server: Old | Today) -> None:
    url = server.url("nobody_made_it")
    recording, reading = said(url)
    assert recording == f"cannot record to {shown(url)}: there is no such database"
    assert reading == f"cannot read {shown(url)}: there is no such database"


def test_nobody_listens() -> None:
    url = f"clickhouse://127.0.0.1:{free_port()}/kept"
    recording, reading = said(url)
    assert recording == f"cannot record to {url}: the server cannot be reached (Connection refused)"
    assert reading == f"cannot read {url}: the server cannot be reached (Connection refused)"


def test_an_empty_database_is_no_history(server: Old | Today) -> None:
    url = server.url()
    done = flowwatch("summary", "--history", url)
    assert (done.returncode, done.stderr) == (
        1,
        f"flowwatch: {shown(url)} is no history: it has no table flowwatch_history: "
        f"flowwatch record --to {shown(url)} makes one\n",
    )


def test_tables_of_a_newer_flowwatch_are_left_alone(server: Old | Today) -> None:
    url = server.url()
    flowwatch("record", "--input-file", WEATHER, "--to", url)
    database = shown(url).rpartition("/")[2]
    server.ask(f"INSERT INTO {database}.flowwatch_history VALUES (7)")
    recording, reading = said(url)
    assert recording == reading
    assert reading == (
        f"{shown(url)} was written by a newer flowwatch (format 7, this one knows 1): update flowwatch"
    )


@pytest.mark.parametrize("name", ["flowwatch_history", "flowwatch_flows", "flowwatch_events"])
def test_a_table_of_another_program_is_left_alone(name: str, server: Old | Today) -> None:
    url = server.url()
    database = shown(url).rpartition("/")[2]
    server.ask(f"CREATE TABLE {database}.{name} (recorded Int64) ENGINE = TinyLog")
    done = flowwatch("record", "--input-file", WEATHER, "--to", url)
    column = {"flowwatch_history": "format"}.get(name, "run")
    assert (done.returncode, done.stderr) == (
        2,
        f"flowwatch: {shown(url)}: the table {name} is none of flowwatch's: it has no column {column}: "
        "name another database\n",
    )
    assert server.ask(f"SELECT count() FROM {database}.{name}") == "0\n"


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("clickhouse://", "invalid ClickHouse URL: clickhouse://: as clickhouse://HOST/DATABASE"),
        ("clickhouse://localhost", "clickhouse://localhost: as clickhouse://HOST/DATABASE"),
        ("clickhouse://localhost/a/b", "clickhouse://localhost/a/b: as clickhouse://HOST/DATABASE"),
        ("clickhouse://localhost:x/kept", "clickhouse://localhost:x/kept: Port could not be cast"),
        (
            "clickhouse://me:a-secret-word@localhost",
            "clickhouse://***@localhost: as clickhouse://HOST",
        ),
        (
            "clickhouse://localhost/kept?safe=1",
            "no option safe; there are secure, verify, compress",
        ),
        ("clickhouse://localhost/kept?secure=perhaps", "secure is 0 or 1"),
    ],
)
def test_urls_that_are_none(url: str, line: str) -> None:
    done = flowwatch("summary", "--history", url)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert line in done.stderr
    assert "a-secret-word" not in done.stderr


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clickhouse_connect", None)
    done = flowwatch("summary", "--history", "clickhouse://localhost/kept")
    assert (done.returncode, done.stderr) == (
        2,
        "flowwatch: a history in ClickHouse needs clickhouse-connect: pip install 'flowwatch[clickhouse]'\n",
    )


def test_a_proof_is_of_files() -> None:
    done = flowwatch(
        "proof", "--history", "clickhouse://me:a-secret-word@localhost/kept", "-o", "-"
    )
    assert (done.returncode, done.stderr) == (
        2,
        "flowwatch: clickhouse://***@localhost/kept holds rows, and files are asked for: "
        "record to a folder, or to s3://BUCKET/PREFIX\n",
    )
