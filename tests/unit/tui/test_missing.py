"""What isn't seen is on the screen: gaps, nodes, losses, and the servers that are down."""

from __future__ import annotations

from msgspec.structs import replace

from flowwatch.flows.coverage import NodeAway
from flowwatch.flows.model import Gap
from flowwatch.flows.source import NodeChange, SourceState
from flowwatch.tui.parts import columns as cols
from flowwatch.tui.parts.banner import banner_line, needed
from flowwatch.tui.parts.headline import headline_lines
from flowwatch.tui.parts.timeline import timeline_lines
from flowwatch.tui.parts.title import title_line
from flowwatch.tui.state import ViewState
from flowwatch.tui.theme import FANCY, PLAIN
from flowwatch.tui.views.warnings import notice_lines
from tests.unit.tui.made import FOLLOWING, LOST, NOON, SECOND, row, second_by_second, snapshot
from tests.unit.tui.test_text import text

NOW = NOON + 60 * SECOND
GAP = Gap(NOON + 10 * SECOND, NOON + 14 * SECOND, "the server was restarted; \x1b[2Jreset")
AWAY = (NodeAway("node-9", NOON + 20 * SECOND, "refused"),)


def test_a_gap_is_shaded_where_nothing_was_counted() -> None:
    forwarded = tuple(0 if 9 <= i < 15 else 1 for i in range(30))
    line = second_by_second(forwarded, (0,) * 12 + (5,) + (0,) * 17)
    for signs in (FANCY, PLAIN):
        dropped, kept, axis = timeline_lines(line, False, 0, 80, signs, (GAP,))
        full = signs.bars[-1]
        assert text([kept])[24:] == full * 9 + " " + signs.gap * 4 + " " + full * 15
        # What was counted in it all the same stays.
        assert text([dropped])[24:] == " " * 10 + signs.gap * 2 + full + signs.gap
        assert f"{signs.gap} gap of 4" in text([axis])
        assert (signs.gap * 4, "warn") in kept


def test_a_gap_beyond_what_is_shown_leaves_no_mark() -> None:
    line = second_by_second((1,) * 30, (0,) * 30, NOON + 100 * SECOND)
    assert FANCY.gap not in text(timeline_lines(line, False, 0, 80, FANCY, (GAP,)))


def test_a_gap_at_the_end_is_shaded_up_to_now() -> None:
    line = second_by_second((1,) * 5, (0,) * 5)
    lines = timeline_lines(line, False, NOON + 20 * SECOND, 80, FANCY, (GAP,))
    assert text(lines).count(FANCY.gap * 4) == 2


def test_the_headline_says_how_long_nodes_are_unseen_and_how_fast_events_are_lost() -> None:
    shown = snapshot(
        lost=LOST,
        lost_rate=3.0,
        nodes_unavailable=("node-9",),
        nodes_away=AWAY,
        nodes_known=9,
        gaps=(GAP,),
    )
    first, second = headline_lines(shown, FOLLOWING, NOW, 0, 200, FANCY)
    assert "at least" in text([first])
    assert "1 of 9 nodes unseen for 40s: node-9" in text([second])
    assert "312 events lost, 3.0/s" in text([second])
    assert "gap 4s" in text([second])


def test_numbers_are_at_least_for_each_thing_that_is_missing() -> None:
    for missing in ({"lost": LOST}, {"nodes_unavailable": ("a",)}, {"gaps": (GAP,)}):
        assert "at least" in text(
            headline_lines(snapshot(**missing), FOLLOWING, NOW, 0, 120, FANCY)
        )
    assert "at least" not in text(headline_lines(snapshot(), FOLLOWING, NOW, 0, 120, FANCY))


def test_what_the_headline_says_itself_is_no_warning_more() -> None:
    told = "312 events were lost: counts are 'at least'"
    for warnings, end in (((told,), "w: why"), ((told, "clocks are apart"), "1 warning (w)")):
        shown = snapshot(lost=LOST, warnings=warnings)
        assert text(headline_lines(shown, FOLLOWING, NOW, 0, 240, FANCY)).rstrip().endswith(end)


def test_a_quiet_server_that_answers_is_told_from_one_that_does_not() -> None:
    late = NOW + 60 * SECOND
    answers = replace(FOLLOWING, heard=late / SECOND - 5)
    silent = replace(FOLLOWING, heard=late / SECOND - 50)
    assert "ago, server answers" in text(headline_lines(snapshot(), answers, late, 0, 120, FANCY))
    assert "server answers" not in text(headline_lines(snapshot(), silent, late, 0, 120, FANCY))


def test_the_page_of_notices_names_nodes_gaps_and_losses() -> None:
    state = replace(
        FOLLOWING,
        unavailable=("node-9",),
        changes=(
            NodeChange("node-3", "new", NOON / SECOND),
            NodeChange("node-9", "unavailable", NOON / SECOND + 20, "refused"),
        ),
    )
    shown = snapshot(lost=LOST, nodes_unavailable=("node-9",), nodes_away=AWAY, gaps=(GAP,))
    told = text(notice_lines(shown, state, 120))
    assert "node-9 since 12:00:20 UTC: refused" in told
    assert "12:00:00 UTC node-3 is new" in told
    assert "12:00:20 UTC node-9 went away: refused" in told
    assert "gap of 4 s, 12:00:10 to 12:00:14 UTC" in told
    assert "312 events on node-2: HUBBLE_RING_BUFFER" in told
    assert "\x1b" not in told


def test_one_of_two_servers_that_is_lost_is_told_and_the_other_goes_on() -> None:
    lost = SourceState("b:4245", "lost", "cannot connect to b:4245", retry_in=3.0, since=1.0)
    state = replace(FOLLOWING, where="a:4245, b:4245", servers=(FOLLOWING, lost))
    assert needed(state)
    assert not needed(replace(FOLLOWING, servers=(FOLLOWING, FOLLOWING)))
    banner = text([banner_line(state, 50.0, 120)])
    assert "Lost: cannot connect to b:4245" in banner
    assert "retry in 3s" in banner
    assert "1/2 servers" in text([title_line(state, ViewState("flowwatch"), 120, FANCY)])
    assert "b:4245: lost" in text(notice_lines(snapshot(), state, 120))


def test_the_cluster_is_a_column_when_there_are_several() -> None:
    several = cols.choose(100, snapshot().totals, True)
    assert "CLUSTER" in [column.title for column in several]
    assert "CLUSTER" not in [column.title for column in cols.choose(100, snapshot().totals)]
    (column,) = [column for column in several if column.title == "CLUSTER"]
    cells = cols.Cells(NOW, None, None)
    assert column.cell(row(1, cluster="ea\x1bst"), cells) == "ea\\x1bst"
