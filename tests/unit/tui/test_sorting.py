"""Lists in the order of one of their headings: by click and key, said, and remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch.errors import UsageError
from flowwatch.tui.own_table import Arranged, known, read_arranged
from flowwatch.tui.parts.sorting import (
    Sorted,
    after,
    called,
    heading_at,
    in_order,
    marked,
    ranked,
    read_order,
)
from flowwatch.tui.views import LISTS
from tests.unit.tui.driven import Driven, Played, played, run
from tests.unit.tui.test_dashboard import STORY


def column(driven: Driven, heading: str) -> list[str]:
    """The cells below a heading, from its first character on, up to the next two spaces."""
    at = next(at for at, line in enumerate(driven.screen) if heading in line)
    place = driven.screen[at].index(heading)
    below = []
    for line in driven.screen[at + 1 :]:
        if not line[place : place + 4].strip():
            break
        below.append(line[place:].split("  ")[0].split(" ")[0])
    return below


def test_what_headings_are_called_and_where_they_stand() -> None:
    head = (("   ", "head"), ("DROPPED ", "head"), ("CAUSE, then WHO", "head"), ("  1/20", "dim"))
    assert [called(text) for text, _ in head[1:3]] == ["dropped", "cause"]
    assert [heading_at(head, at, ("dropped", "cause")) for at in (1, 4, 12, 27)] == [
        "", "dropped", "cause", "",
    ]  # fmt: skip
    assert marked(head, Sorted("cause"))[2] == ("CAUSE, then WHO", "strong")
    assert marked(head, None) == head


@pytest.mark.parametrize(
    ("texts", "values", "number", "expected"),
    [
        (["9", "1,200", "-", "35"], [None] * 4, True, ["1,200", "35", "9", "-"]),
        (["0.5", "12.0", "8"], [None] * 3, True, ["12.0", "8", "0.5"]),
        (["b", "", "A"], [None] * 3, False, ["A", "b", ""]),
        (["00:01:00", "23:59:00", ""], [2.0, 1.0, None], False, ["00:01:00", "23:59:00", ""]),
    ],
)
def test_amounts_come_the_largest_first_and_names_by_the_alphabet(
    texts: list[str], values: list[float | None], number: bool, expected: list[str]
) -> None:
    ranks = ranked(texts, values, number=number)
    assert in_order(texts, ranks, reverse=False) == expected


def test_equal_ones_stay_as_they_were_and_notes_at_the_end() -> None:
    lines = ["b1", "a1", "b2", "a2", "a note"]
    ranks = [text[0] for text in lines[:-1]]
    assert in_order(lines, ranks, reverse=False) == ["a1", "a2", "b1", "b2", "a note"]
    assert in_order(lines, ranks, reverse=True) == ["b1", "b2", "a1", "a2", "a note"]


def test_a_key_goes_through_the_headings_and_back_to_the_lists_own_order() -> None:
    order, gone = after(None, ("a", "b")), []
    while order is not None:
        gone.append(str(order))
        order = after(order, ("a", "b"))
    assert gone == ["a", "b"]
    assert after(Sorted("no longer there"), ("a",)) == Sorted("a")


def test_a_click_sorts_and_turns_round_and_the_title_says_it(tmp_path: Path) -> None:
    path = tmp_path / "flowwatch" / "table"

    async def test() -> None:
        async with played(Played(STORY), size=(120, 30), arranged_file=path) as driven:
            await driven.press("2")
            await driven.sees("WORKLOAD", "by drops")
            own = column(driven, "WORKLOAD")
            line = next(at for at, text in enumerate(driven.screen) if "WORKLOAD" in text)
            await driven.click("WORKLOAD", line)
            await driven.sees("by workload", "sorted by workload")
            assert column(driven, "WORKLOAD") == sorted(own)
            await driven.click("WORKLOAD", line)
            await driven.sees("by workload reversed")
            assert column(driven, "WORKLOAD") == sorted(own, reverse=True)
            await driven.press("1")
            await driven.sees("by drops")
            await driven.press("2")
            await driven.sees("by workload reversed")
            assert known(path, LISTS).lists == {"workloads": Sorted("workload", True)}
        kept = known(path, LISTS)
        async with played(
            Played(STORY), size=(120, 30), arranged_file=path, sorted=kept.lists
        ) as driven:
            await driven.press("2")
            await driven.sees("by workload reversed")
            assert column(driven, "WORKLOAD") == sorted(own, reverse=True)

    run(test())


@pytest.mark.parametrize("name", LISTS)
def test_every_list_is_sorted_by_each_of_its_headings(name: str) -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(200, 40)) as driven:
            await driven.press("colon")
            await driven.type(name)
            await driven.press("enter")
            await driven.until(lambda: driven.app.trail[-1] == name, name)
            await driven.press("S")
            await driven.sees("s, or a click on a heading, sorts the list")
            for by in LISTS[name]:
                await driven.press("s")
                await driven.sees(f"sorted by {by}")
                await driven.press("S")
                await driven.sees(f"sorted by {by} reversed")
            await driven.press("s")
            await driven.sees("in the list's own order")
            assert name not in driven.app.chosen.sorted

    run(test())


def test_where_room_is_short_a_key_goes_through_the_headings_that_are_seen() -> None:
    async def test() -> None:
        async with played(Played(STORY), size=(80, 24)) as driven:
            await driven.press("3")
            await driven.sees("WHO TALKS TO IT")
            for by in ("dropped", "forwarded", "destination", "who talks to it"):
                await driven.press("s")
                await driven.sees(f"sorted by {by}")
                assert driven.screen[0].rstrip().endswith(f"by {by}")
            await driven.press("s")
            await driven.sees("in the list's own order")

    run(test())


def test_a_lists_order_leaves_what_is_remembered_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "table"
    path.write_text("columns = reason, dropped\norder = rate reversed\nnodes = lost\n")

    async def test() -> None:
        async with played(Played(STORY), size=(120, 30), arranged_file=path) as driven:
            await driven.press("5", "s", "s", "S")
            await driven.sees("by cause reversed")

    run(test())
    assert known(path, LISTS) == Arranged(
        ("drop_reasons", "dropped"), "rate", True, {"causes": Sorted("cause", True)}
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nodes = lst", "table:1: no heading 'lst' in nodes: did you mean lost?"),
        ("order = rate\nnods = lost", "table:2: nothing is called 'nods': did you mean nodes?"),
        ("map = dropped", "table:1: nothing is called 'map'"),
    ],
)
def test_a_file_that_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "table"
    path.write_text(text)
    with pytest.raises(UsageError) as refused:
        read_arranged(path, LISTS)
    assert said in str(refused.value)


def test_an_order_is_read_as_it_is_said() -> None:
    for order in (Sorted("who talks to it", True), Sorted("records/s")):
        assert read_order(str(order)) == order
