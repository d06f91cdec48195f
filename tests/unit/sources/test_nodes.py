"""From a server's answers to what was missed: times are seconds here, and one ring holds 15 records."""

from __future__ import annotations

from collections.abc import Callable

from flowwatch.flows.model import Gap, NodeStatus
from flowwatch.sources.nodes import GONE, UNAVAILABLE, NodeNow, NodeWatch, ServerNow, Update

SECOND = 1_000_000_000


def at(seconds: float) -> int:
    return int(seconds * SECOND)


def node(name: str = "", up: float = 1000, held: int = 3, **more: str) -> NodeNow:
    return NodeNow(name, uptime=at(up), held=held, room=15, **more)


def nothing() -> dict[str, int]:
    raise AssertionError("no ring had to be asked")


def ring(**oldest: float) -> Callable[[], dict[str, int]]:
    return lambda: {name.strip("_"): at(begins) for name, begins in oldest.items()}


def ask(
    watch: NodeWatch,
    seconds: float,
    *nodes: NodeNow,
    oldest: Callable[[], dict[str, int]] = nothing,
    why: str = "",
    newest: dict[str, int] | None = None,
    complete: bool = True,
) -> Update:
    now = ServerNow(nodes=nodes, complete=complete)
    return watch.update(now, at(seconds), newest or {}, oldest, why)


def spans(update: Update) -> list[tuple[float, float]]:
    return [(gap.start / SECOND, gap.end / SECOND) for gap in update.gaps]


def test_a_server_that_was_restarted_has_nothing_from_before() -> None:
    watch = NodeWatch()
    assert ask(watch, 2000, node()).gaps == []
    watch.lost(at(2005))
    update = ask(watch, 2020, node(up=8), why="the connection was reset")
    assert update.gaps == [
        Gap(at(2005), at(2012), "the server was restarted; the connection was reset")
    ]


def test_a_server_lost_before_its_first_answer_has_a_gap_too() -> None:
    watch = NodeWatch()
    watch.lost(at(2005))
    assert spans(ask(watch, 2020, node(up=8), why="reset")) == [(2005, 2012)]


def test_what_the_ring_still_holds_is_no_gap() -> None:
    watch = NodeWatch()
    ask(watch, 2000, node())
    watch.lost(at(2005))
    assert ask(watch, 2020, node(up=1020), why="reset").gaps == []


def test_a_full_ring_is_asked_for_its_oldest_record() -> None:
    watch = NodeWatch()
    ask(watch, 2000, node())
    watch.lost(at(2005))
    full = node(up=1020, held=15)
    assert spans(ask(watch, 2020, full, why="reset", oldest=lambda: {"": at(2011)})) == [
        (2005, 2011)
    ]
    watch.lost(at(2025))
    assert ask(watch, 2030, full, why="reset", oldest=lambda: {"": at(2021)}).gaps == []


def test_a_ring_that_does_not_tell_may_have_wrapped() -> None:
    watch = NodeWatch()
    ask(watch, 2000, node())
    watch.lost(at(2005))
    (gap,) = ask(watch, 2020, node(up=1020, held=15), why="reset", oldest=dict).gaps
    assert (gap.start, gap.end) == (at(2005), at(2020))
    assert "may have wrapped" in gap.why


def test_records_seen_after_the_last_answer_make_the_gap_smaller() -> None:
    watch = NodeWatch()
    ask(watch, 2000, node())
    watch.lost(at(2005))
    newest = {"": at(2007)}
    assert spans(ask(watch, 2020, node(up=8), why="reset", newest=newest)) == [(2007, 2012)]
    # The time on a clock that is ahead proves nothing.
    watch.lost(at(2025))
    newest = {"": at(9999)}
    assert spans(ask(watch, 2040, node(up=8), why="reset", newest=newest)) == [(2025, 2032)]


def test_a_node_goes_comes_back_and_leaves() -> None:
    watch = NodeWatch()
    both = node("a"), node("b")
    assert [s.nodes for s in ask(watch, 2000, *both).statuses] == [("a",), ("b",)]
    update = ask(watch, 2010, node("a", 1010), NodeNow("b", UNAVAILABLE))
    assert update.statuses == [NodeStatus(UNAVAILABLE, ("b",), "", at(2010))]
    assert watch.away() == {"b": at(2010)}
    # Since when stays what it was.
    update = ask(watch, 2020, node("a", 1020), NodeNow("b", UNAVAILABLE))
    assert update.statuses[0].since == at(2010)
    update = ask(watch, 2030, node("a", 1030), node("b", 6))
    assert spans(update) == [(2000, 2024)]
    assert update.gaps[0].nodes == ("b",)
    assert watch.away() == {}
    update = ask(watch, 2040, node("a", 1040))
    assert update.statuses == [NodeStatus(GONE, ("b",), "", at(2040))]
    ask(watch, 2050, node("a", 1050), node("c", 2))
    assert [(c.name, c.state, c.since) for c in watch.changes] == [
        ("b", "unavailable", 2010),
        ("b", "back", 2030),
        ("b", "gone", 2040),
        ("c", "new", 2050),
    ]


def test_a_node_restarted_between_two_polls_is_noticed() -> None:
    watch = NodeWatch()
    ask(watch, 2000, node("a"))
    assert spans(ask(watch, 2010, node("a", up=4))) == [(2000, 2006)]


def test_a_relay_that_has_just_started_and_knows_nobody_yet() -> None:
    watch = NodeWatch()
    ask(watch, 2000, node("a"), node("b"))
    watch.lost(at(2002))
    update = ask(watch, 2010, why="reset")
    assert sorted(name for status in update.statuses for name in status.nodes) == ["a", "b"]
    assert set(watch.away()) == {"a", "b"}
    assert spans(ask(watch, 2020, node("a", 1020), node("b", 1020))) == []
    assert watch.away() == {}


def test_relay_told_it_first_and_a_poll_says_the_rest() -> None:
    watch = NodeWatch()
    watch.told(NodeStatus("NODE_CONNECTED", ("a", "b")), at(1999))
    ask(watch, 2000, node("a"), node("b"))
    told = watch.told(NodeStatus("NODE_ERROR", ("b",), "refused"), at(2005))
    assert told.since == at(2005)
    (status,) = ask(watch, 2010, node("a", 1010), NodeNow("b", UNAVAILABLE)).statuses
    assert (status.message, status.since) == ("refused", at(2005))


def test_an_old_relay_names_only_those_it_cannot_reach() -> None:
    watch = NodeWatch()
    watch.told(NodeStatus("NODE_CONNECTED", ("a", "b")), at(1999))
    ask(watch, 2000, NodeNow("b", UNAVAILABLE), complete=False)
    assert set(watch.away()) == {"b"}
    ask(watch, 2010, complete=False)
    assert watch.away() == {}
    assert [c.state for c in watch.changes] == ["unavailable", "back"]


def test_records_are_asked_for_again_from_before_a_node_went_away() -> None:
    watch = NodeWatch()
    ask(watch, 2000, node("a"), node("b"))
    ask(watch, 2010, node("a", 1010), NodeNow("b", UNAVAILABLE))
    assert watch.resume(at(2050)) == at(2000)
    ask(watch, 2020, node("a", 1020), node("b", 1020))
    assert watch.resume(at(2050)) == at(2050)
