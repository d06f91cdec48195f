"""Each fault of ClickHouse in docs/history.md: what is said, and the exit code, is what stands there.

What is one line of a verb is played here; of the others the table says what tests of their own hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.command import ROOT
from tests.in_process import flowwatch
from tests.interop.program import free_port
from tests.unit.history.clickhouse import test_asking, test_away
from tests.unit.history.clickhouse.servers import Old, Today
from tests.unit.history.clickhouse.test_answers import WEATHER, shown
from tests.unit.history.clickhouse.tls import Secured

pytestmark = pytest.mark.xdist_group("clickhouse")

PAGE = (ROOT / "docs" / "history.md").read_text("utf-8")
[_TABLE] = re.findall(
    r"<!-- clickhouse faults -->\n(.*?)<!-- /clickhouse faults -->", PAGE, re.DOTALL
)
ROWS: dict[str, tuple[str, str]] = {
    name: (said, lost)
    for name, said, lost in [line[2:-2].split(" | ") for line in _TABLE.splitlines()[2:]]
}
ELSEWHERE: dict[str, Callable[..., Any]] = {
    "the server away for a while": test_away.test_what_comes_while_it_is_wordswaits_in_a_folder,
    "… until the recorder ends": test_away.test_one_that_ends_meanwhile_leaves_it_to_the_next,
    "… and the folder for it is full": test_away.test_a_folder_that_is_full_is_told_and_so_is_the_gap,
    "an insert whose answer never comes": test_away.test_an_answer_that_never_came_makes_nothing_twice,
    "`kill -9`, again and again": test_away.test_killed_again_and_again,
    "`compact` that fails half-way, or is killed": test_asking.test_a_making_that_fails_leaves_what_was_there,
}


def away(_: Any) -> str:
    return f"clickhouse://127.0.0.1:{free_port()}/flows"


def wrong_password(request: Any) -> str:
    old: Old = request.getfixturevalue("old")
    return old.url().replace("a%20pass%2Fword%20of%20tests", "another%20pass%2Fword")


def no_database(request: Any) -> str:
    today: Today = request.getfixturevalue("today")
    return today.url("nobody_made_this_one")


def changed(sql: str, *, recorded: bool = True) -> Callable[[Any], str]:
    """A database of which ``sql`` has changed something, beside a history or without one."""

    def play(request: Any) -> str:
        today: Today = request.getfixturevalue("today")
        url = today.url()
        if recorded:
            flowwatch("record", "--input-file", WEATHER, "--to", url)
        if sql:
            today.ask(sql.replace("flows.", f"{shown(url).rpartition('/')[2]}.", 1))
        return url

    return play


def tls(kind: str, *, ca: str = "", client: str = "") -> Callable[[Any], str]:
    """A database behind TLS of that kind, asked with that CA, and a client certificate of another."""

    def play(request: Any) -> str:
        secured: Secured = request.getfixturevalue("secured")
        return secured.url(kind, secured.client(client) if client else "", ca=ca)

    return play


PLAYED: dict[str, Callable[[Any], str]] = {
    "the server away, when a verb begins": away,
    "nothing made yet, when `ask` begins": changed(""),
    "made by a newer flowwatch, when `ask` begins": changed(
        "INSERT INTO flows.flowwatch_made VALUES ('x', now64(9), '{\"format\": 99}')"
    ),
    "a wrong password": wrong_password,
    "no such database": no_database,
    "`secure=1`, and a CA that is not known here": tls("good", ca="elsewhere"),
    "… a certificate that has expired": tls("expired"),
    "… a certificate of another name": tls("elsewhere"),
    "… a client certificate is asked for": tls("asking"),
    "… and that of another CA is shown": tls("asking", client="elsewhere"),
    "… no TLS at that port": tls("plain"),
    "tables of a newer flowwatch": changed("INSERT INTO flows.flowwatch_history VALUES (7)"),
    "a table of another program, when `record` begins": changed(
        "CREATE TABLE flows.flowwatch_flows (recorded Int64) ENGINE = TinyLog", recorded=False
    ),
}


def test_each_row_is_held_to_a_test() -> None:
    assert sorted(ROWS) == sorted([*PLAYED, *ELSEWHERE])


@pytest.mark.parametrize("name", PLAYED)
def test_a_fault_is_as_the_page_says(name: str, request: pytest.FixtureRequest) -> None:
    url = PLAYED[name](request)
    verbs = {
        "`ask`": ("history", "ask", "blocked", url),
        "`record`": ("record", "--input-file", str(WEATHER), "--to", url),
    }
    words = next((verb for of, verb in verbs.items() if of in name), ("summary", "--history", url))
    done = flowwatch(*words)
    codes = f"exit code {done.returncode}"
    if words[0] == "summary":
        codes += f"; of `record` {flowwatch(*verbs['`record`']).returncode}"
    said = done.stderr.removeprefix("flowwatch: ").strip()
    assert "a-secret-word" not in said
    said = said.replace("not for localhost", "not for ch.example")
    assert (said.replace(shown(url), "clickhouse://ch.example/flows"), done.stdout) == (
        ROWS[name][0],
        "",
    )
    assert ROWS[name][1].removesuffix("; nothing is written") == codes
