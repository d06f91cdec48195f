"""What the parts of the screen say, as text: detail, headline, title, table, empty states."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from flowwatch.egress.rows import Totals
from flowwatch.report.human import width
from flowwatch.tui.format import Line, cut, ends, fit, line_width, rate, wrap
from flowwatch.tui.parts import columns as cols
from flowwatch.tui.parts.detail import detail_lines
from flowwatch.tui.parts.headline import headline_lines
from flowwatch.tui.parts.tail import tail_line
from flowwatch.tui.parts.timeline import timeline_lines
from flowwatch.tui.parts.title import title_line
from flowwatch.tui.state import ViewState
from flowwatch.tui.theme import FANCY, PLAIN
from flowwatch.tui.views.warnings import notice_lines
from tests.unit.tui.made import (
    COMPLETE,
    FOLLOWING,
    LOST,
    NOON,
    SECOND,
    denied,
    record,
    row,
    second_by_second,
    snapshot,
)

NOW = NOON + 60 * SECOND
HUBBLE = ("hubble", "observe")
EVIL = "\x1b]0;owned\x07[red]x[/red]\u202egnp.\x9b2J"


def text(lines: list[Line]) -> str:
    return "\n".join(["".join(part for part, _ in line).rstrip() for line in lines])


def test_the_detail_of_a_default_deny() -> None:
    records = [
        record(1, 40.0, kind="policy-verdict"),
        record(1, 40.001),
    ]

    assert (
        text(detail_lines(denied(1), records, NOW, 78, FANCY, HUBBLE))
        == """\
✗ weather/weather-app-7d9f8-x2x4z → www.google.com:443 TCP
Why        POLICY_DENIED (12): Policies apply to this pod, and none of their
           rules allows this connection.
Next       Check direction, port, peer labels and DNS name in the policies
           that select the pod; add a rule if it should pass.
Policy     no rule allows it: default deny, for which Hubble names no policy
Manner     dropped without an answer: the application tries again and hangs
           until its timeout
See it     y copies this command
  hubble observe --from-pod weather/weather-app-7d9f8-x2x4z
  --to-fqdn www.google.com --to-port 443 --protocol tcp --verdict DROPPED
  or, for records without the name:
  hubble observe --from-pod weather/weather-app-7d9f8-x2x4z
  --to-ip 142.250.74.36 --to-port 443 --protocol tcp --verdict DROPPED
Attempts   12 dropped, from 48 records, 0.2/s
Seen       first 12:00:00, last 12:00:50 UTC (10s ago)
Address    142.250.74.36
Last records (UTC)
12:00:40.001 ✗ DROPPED    drop POLICY_DENIED SYN node-1
12:00:40.000 ✗ DROPPED    policy-verdict POLICY_DENIED SYN node-1"""
    )


def test_a_refusal_without_drop_records_is_told_apart_from_a_silent_drop() -> None:
    verdicts = [record(1, kind="policy-verdict")]

    assert "refused at once (ICMP)" in text(
        detail_lines(denied(1), verdicts, NOW, 78, FANCY, HUBBLE)
    )


def test_columns_leave_by_priority() -> None:
    def titles(columns: int) -> list[str]:
        return [c.title for c in cols.choose(columns, Totals(dropped=1))]

    assert titles(40) == ["DROPPED", "POD", "DESTINATION"]
    assert titles(60) == ["DROPPED", "FORWARDED", "POD", "DESTINATION"]
    assert titles(80) == ["DROPPED", "FORWARDED", "POD", "DESTINATION", "REASON"]
    assert "LAST" in titles(100)
    assert titles(400)[-3:] == ["POLICY", "WORKLOAD", "RECORDS"]
    assert "AUDITED" in [c.title for c in cols.choose(120, Totals(audited=1))]


def test_a_namespace_that_all_share_stands_in_the_header() -> None:
    chosen = cols.choose(80, Totals())
    cells = cols.Cells(NOW, "weather", None)

    assert "POD in weather" in text([cols.header(chosen, [20] * 5, "drops", "weather", "PEER")])
    assert "weather/" not in text(
        [cols.row_line(row(1), chosen, [40] * 5, cells, FANCY, selected=False)]
    )


def test_a_reader_that_cannot_keep_up_says_so() -> None:
    slow = replace(FOLLOWING, backlog=90, backlog_limit=100)

    assert "can't keep up: buffer 90% full" in text(
        headline_lines(snapshot(), slow, NOW, 0, 120, FANCY)
    )


def test_nodes_that_relay_cannot_reach_are_named() -> None:
    state = replace(FOLLOWING, nodes_unavailable=1, unavailable=("node-9",))

    assert "2/3 nodes" in text([title_line(state, ViewState("flowwatch"), 100, FANCY)])
    assert "1 of 3 nodes unseen: node-9" in text(
        headline_lines(snapshot(), state, NOW, 0, 120, FANCY)
    )


def test_plain_and_encrypted_connections_are_told_apart() -> None:
    view = ViewState("flowwatch")

    assert "localhost:4245 plain" in text([title_line(FOLLOWING, view, 100, FANCY)])
    assert "localhost:4245 TLS" in text(
        [title_line(replace(FOLLOWING, encrypted=True), view, 100, FANCY)]
    )


def test_a_long_timeline_is_shown_whole_or_its_end() -> None:
    line = second_by_second((1,) * 600, (0,) * 599 + (7,))

    whole = text(timeline_lines(line, True, 0, 80, FANCY))
    end = text(timeline_lines(line, False, 0, 80, FANCY))

    assert "12:00:00 ─" in whole
    assert "12:10:0" in whole
    assert "per 12s" in whole
    assert "12:00:00 ─" not in end
    assert "per 1s" in end
    # Seven drops in one second are seven, however many seconds a column holds.
    assert "max 7" in whole
    assert "max 7" in end


def test_quiet_time_moves_the_timeline_on() -> None:
    line = second_by_second((5,), (0,))

    assert "12:00:30 UTC" in text(timeline_lines(line, False, NOON + 30 * SECOND, 80, FANCY))


def test_plain_signs_are_ascii() -> None:
    shot = snapshot()
    cells = cols.Cells(NOW, None, (PLAIN.to, PLAIN.of))
    chosen = cols.choose(100, shot.totals)
    lines = [
        *headline_lines(shot, COMPLETE, NOW, 0, 100, PLAIN),
        *timeline_lines(shot.timeline, False, 0, 100, PLAIN),
        cols.row_line(denied(1), chosen, [60 for _ in chosen], cells, PLAIN, selected=True),
        tail_line(record(1, pod="p", peer="q"), 100, PLAIN),
    ]

    assert text(lines).isascii()


def test_notices_name_every_loss_with_its_node() -> None:
    shot = snapshot(
        lost=LOST, records_skipped={"not JSON": 2}, folded_rows=7, warnings=("careful",)
    )

    shown = text(notice_lines(shot, FOLLOWING, 100))

    assert "312 events on node-2: HUBBLE_RING_BUFFER, last at 12:00:30 UTC" in shown
    assert "2: not JSON" in shown
    assert "7 rows into 'other'" in shown
    assert "careful" in shown


def test_pieces_of_text() -> None:
    assert fit("weather/weather-app-7d9f8-x2x4z", 22, tail=5) == "weather/weather-…x2x4z"
    assert width(fit("包裹包裹包裹", 5)) == 5
    assert wrap("aaa bbb ccc", 8) == ["aaa bbb", "ccc"]
    assert wrap("x" * 20, 8) == ["x" * 8, "x" * 8, "x" * 4]
    assert cut((("包裹", "text"),), 3) == (("包…", "text"),)
    assert line_width(ends((("left", "text"),), (("right", "text"),), 20)) == 20
    assert [rate(x) for x in (0.0, 0.31, 9.96, 1234.0, 20_400.0)] == [
        "0",
        "0.3",
        "10",
        "1,234",
        "20k",
    ]


@pytest.mark.parametrize(
    ("line", "columns", "left"),
    [
        ((("one two", "text"),), 5, (("one …", "text"),)),
        ((("one two", "text"),), 7, (("one two", "text"),)),
        ((("a", "head"), ("bcdef", "text")), 3, (("a", "head"), ("b…", "text"))),
        ((("abc", "head"), ("def", "text")), 3, (("ab…", "head"),)),
        ((("api…", "text"), (" more", "dim")), 5, (("api…", "text"), ("…", "dim"))),
        ((("api…x", "text"),), 5, (("api…x", "text"),)),
        ((("api…xy", "text"),), 5, (("api…", "text"),)),
        ((("──────", "dim"),), 3, (("───", "dim"),)),
        ((("name", "text"), ("   ", "dim")), 5, (("name", "text"), (" ", "dim"))),
        ((("word", "text"),), 1, (("w", "text"),)),
        ((("word", "text"),), 0, ()),
    ],
)
def test_words_that_are_cut_off_say_so(line: Line, columns: int, left: Line) -> None:
    assert cut(line, columns) == left
