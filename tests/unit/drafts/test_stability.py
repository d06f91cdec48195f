"""Whether a rule still learns: by when the newest of what it is for was first seen."""

from __future__ import annotations

import time
from collections.abc import Iterator

from flowwatch.drafts.draft import Drafter
from flowwatch.flows.model import Batch
from tests.unit.drafts.test_draft import Seen
from tests.unit.drafts.test_editing import sheet
from tests.unit.marks.traffic import API, EVIL

HOUR = 3_600_000_000_000


def later() -> Seen:
    """One peer from the beginning, another three hours in, both used to the end."""
    seen = Seen().passes(0, API)
    return seen.passes(3 * 3600, EVIL, destination_port=80).passes(5 * 3600, API)


def test_each_rule_says_whether_it_still_learns() -> None:
    text = later().draft(stable=4 * HOUR).text

    old, new = (text.partition(f"{one}/32")[0].rpartition("# ")[2] for one in (API, EVIL))
    assert old.startswith("stable: nothing new in 5.0 h\n")
    assert new.startswith("learning: something new 2.0 h ago, stable after 4.0 h without\n")


def test_the_head_says_what_holds_for_the_whole_policy() -> None:
    for asked, word in (
        (1, "stable: nothing new in 2.0 h"),
        (
            4,
            "learning: something new 2.0 h ago, stable after 4.0 h without (1 of 2 rules learning)",
        ),
        (
            9,
            "learning: something new 2.0 h ago, stable after 9.0 h without (2 of 2 rules learning)",
        ),
    ):
        assert f"\n# {word}\n" in later().draft(stable=asked * HOUR).text.partition("apiV")[0]


def test_without_the_question_nothing_is_said() -> None:
    assert "learning" not in later().draft().text
    assert "stable" not in later().draft().text


def test_the_editor_says_it_too() -> None:
    of = sheet(later(), stable=4 * HOUR)
    assert "(1 of 2 rules learning)" in of.text

    of.toggle(next(at for at, row in enumerate(of.rows) if row.target.text == EVIL))

    assert "# stable: nothing new in 5.0 h\n" in of.text


def _endless(seen: Seen, idle: int) -> Iterator[Batch]:
    """What was seen, then time that passes without anything."""
    yield seen.batch()
    for _ in range(idle):
        time.sleep(0.3)
        yield Batch()
    raise AssertionError("it went on")


def test_following_ends_when_nothing_new_came_for_so_long() -> None:
    drafter = Drafter(stable=HOUR, follows=True)

    draft = drafter.read(_endless(later(), idle=20))

    assert len(draft.documents) == 1
    assert "# stable: nothing new in " in draft.text


def test_what_is_still_open_counts_once() -> None:
    needs = Drafter().needs
    seen = Seen().passes(0, API).passes(60, EVIL).passes(120, API)
    needs.join.add(seen.batch())
    newest = needs.newest()
    assert newest == seen.records[0].time + 60_000_000_000

    needs.read([])

    assert needs.newest() == newest
