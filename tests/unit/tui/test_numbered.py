"""The numbered views: what each says of the same rows, and how one gets from one to the other."""

from __future__ import annotations

import re
from functools import partial

import pytest
from msgspec.structs import replace

from flowwatch.egress.folding import By, fold
from flowwatch.flows.model import Direction, Endpoint
from flowwatch.tui.parts.tabs import tabs_line
from flowwatch.tui.views import VIEWS
from flowwatch.tui.views.flows import pairs
from flowwatch.tui.views.nodes import nodes_seen
from tests.unit.flows.made import API, denied, flow
from tests.unit.tui.driven import Driven, Played, played, run, shown
from tests.unit.tui.made import FOLLOWING, NOON, SECOND, STORY, ShownMonitor, record, row, snapshot
from tests.unit.tui.test_dashboard import STORY as TRAFFIC

NUMBERED = [view for view in VIEWS if view.number]


def test_the_views_are_numbered_from_one_to_nine() -> None:
    assert [view.number for view in sorted(NUMBERED, key=lambda one: one.number)] == [*range(1, 10)]
    for columns in (20, 30, 80, 120):
        line = "".join(text for text, _ in tabs_line(NUMBERED, 3, columns))
        assert "[3" in line
        assert len(line) <= columns


@pytest.mark.parametrize(
    ("key", "seen"),
    [
        ("2", ["weather/weather-app", "WORKLOAD", "shop/cart"]),
        ("3", ["WHO TALKS TO IT", "www.google.com:443", "✗weather/weather-app", "coredns-5d78:53"]),
        ("4", ["weather/weather-egress", "allowed", "deny-world", "denied", "no rule allows it"]),
        ("5", ["POLICY_DENIED", "Next: ", "www.google.com:443", "POLICY_DENY", "example.com:443"]),
        ("6", ["FROM / TO", "weather/weather-app", "✗12", "✓10"]),
        ("8", ["DROPPED", "TIME (UTC)", "www.google.com"]),
        ("9", ["node-1", "node-2", "RECORDS/s"]),
    ],
)  # fmt: skip
def test_each_view_is_one_key_away_and_esc_comes_back(key: str, seen: list[str]) -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(110, 30)) as driven:
            await driven.press(key)
            await driven.sees(*seen)
            assert f"[{key} " in driven.text
            await driven.press("escape")
            await driven.sees("[1 Edges]", "DESTINATION")
            assert driven.app.trail == ("rows",)

    run(test())


def test_tab_goes_on_and_a_dash_goes_back_to_the_last_view() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot())) as driven:
            await driven.press("tab", "tab")
            await driven.sees("[3 Dest")
            # Views that were opened by their number don't pile up.
            assert driven.app.trail == ("rows", "destinations")
            await driven.press("minus")
            await driven.sees("[2 Work")
            await driven.press("minus")
            await driven.sees("[3 Dest")
            await driven.press("shift+tab", "shift+tab")
            await driven.sees("[1 Edges]")
            # Without policies there is no audit to go to.
            await driven.press("6", "tab")
            await driven.sees("[8 Flows]")
            await driven.press("tab", "tab")
            await driven.sees("[1 Edges]")

    run(test())


def test_enter_goes_into_the_rows_behind_a_line_and_esc_gives_the_others_back() -> None:
    async def test() -> None:
        async with played(Played(TRAFFIC)) as driven:
            await driven.press("slash")
            await driven.type("pod:")
            await driven.press("enter", "2")
            await driven.sees("[2 Work")
            await driven.press("j", "enter")
            await driven.sees("[1 Edges]")
            assert list(driven.app.trail) == ["rows", "workloads", "rows"]
            assert driven.app.chosen.query.text.startswith("pod: pod:=")
            seen = {line for line in driven.screen if line[1:2] in "✗✓"}
            assert seen
            # From there another view is of the same rows.
            await driven.press("3")
            await driven.sees("[3 Dest")
            await driven.press("escape", "escape")
            await driven.sees("[2 Work")
            assert driven.app.chosen.query.text == "pod:"
            assert list(driven.app.trail) == ["rows", "workloads"]

    run(test())


def heads(driven: Driven, text: str) -> bool:
    """Whether the first line says so."""
    return text in driven.screen[0]


def test_ingress_is_one_key_away_in_every_view_and_its_heading_says_so() -> None:
    """Where a view is of something else, the traffic below it is seen."""

    async def test() -> None:
        for size in ((80, 24), (120, 40)):
            async with played(Played(TRAFFIC), size=size) as driven:
                await driven.sees("PODS")
                for view in [view for view in VIEWS if view.name not in ("audit", "draft")]:
                    if view.name == "record":
                        await driven.press("8", "enter")
                        await driven.sees("The record, as it was read")
                    else:
                        driven.app.go(view.name)
                    for direction in ("ingress", "both", "egress"):
                        await driven.press("i")
                        assert driven.app.chosen.query.direction == direction
                        await driven.until(partial(heads, driven, direction), view.name)
                    assert (view.ways == "chosen") is (driven.app.trail[-1] == view.name)
                    driven.app.go("rows")

    run(test())


def test_nodes_are_of_the_direction_that_is_chosen() -> None:
    arriving = flow(1.0, direction=Direction.INGRESS, destination=API, node="node-2")

    async def test() -> None:
        async with played(Played([*denied(), arriving]), size=(120, 30)) as driven:
            await driven.press("9")
            for said in ("DROPPED drop 1.2.3.4", "FORWARDED to-stack"):
                await driven.sees(said)
                told = [line for line in driven.screen if "seen " in line]
                assert [said in line for line in told] == [said[0] == "D", said[0] == "F"]
                await driven.press("i")

    run(test())


def test_numbers_of_a_view_are_the_sums_of_its_rows() -> None:
    many = tuple(
        row(
            i,
            dropped=i,
            drop_reasons={"POLICY_DENIED": i},
            forwarded=2 * i,
            pod=f"web-{i}",
            workload="web",
        )
        for i in range(1, 9)
    )

    async def test() -> None:
        async with shown(ShownMonitor(snapshot(many))) as driven:
            for key in "23":
                await driven.press(key)
                await driven.sees(f"[{key} ")
                await driven.until(
                    lambda: re.search(r"✗ +36 +72 ", driven.text), "36 dropped, 72 forwarded"
                )
            folded = fold(many, By("workload", "", False, False))
            assert [(one.dropped, one.forwarded) for one in folded] == [(36, 72)]

    run(test())


def test_a_drops_two_records_are_one_line() -> None:
    verdict = record(1, 1.0, number=1, kind="policy-verdict")
    drop = record(1, 1.001, number=2, kind="drop")
    again = record(1, 3.0, number=3, kind="drop")
    other = record(2, 3.1, number=4, kind="policy-verdict")
    assert pairs([verdict, drop, again, other]) == [(other,), (again,), (verdict, drop)]


def test_enter_on_a_record_shows_it_whole() -> None:
    async def test() -> None:
        shown_records = tuple(record(1, at, number=at + 1, flow=flow()) for at in range(3))
        async with shown(ShownMonitor(snapshot(recent=shown_records)), size=(100, 40)) as driven:
            await driven.press("8")
            await driven.sees("TIME (UTC)")
            await driven.press("j", "enter")
            await driven.sees("The record, as it was read", "verdict", "source_port")
            await driven.press("escape")
            await driven.sees("[8 Flows]")

    run(test())


def test_flows_follow_the_row_that_was_picked() -> None:
    async def test() -> None:
        async with played(Played(TRAFFIC)) as driven:
            await driven.press("j")
            row = driven.app.seen.selected
            assert row is not None
            await driven.press("8")
            await driven.sees("f: of all rows")
            lines = [line for line in driven.screen if "DROPPED" in line and ":" in line]
            await driven.press("f")
            await driven.sees("f: of the selected one")
            await driven.until(
                lambda: len([x for x in driven.screen if "DROPPED" in x and ":" in x]) > len(lines)
            )

    run(test())


def test_nodes_say_what_they_sent_last() -> None:
    told = nodes_seen([record(1, at, node=f"n{at % 2}") for at in range(5)])
    assert {name: (one.count, one.first) for name, one in told.items()} == {
        "n0": (3, NOON),
        "n1": (2, NOON + SECOND),
    }

    async def test() -> None:
        async with shown(
            ShownMonitor(snapshot(), replace(FOLLOWING, unavailable=("node-2",)))
        ) as driven:
            await driven.press("9")
            await driven.until(lambda: re.search(r"! away +node-2", driven.text), "node-2 is away")
            await driven.until(lambda: re.search(r"✓ seen +node-1", driven.text), "node-1 is seen")

    run(test())


def test_the_map_has_boxes_and_lines_where_there_is_room() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(120, 40)) as driven:
            await driven.press("6")
            await driven.sees("┌──", "├── ✗12", "▶ www.google.com")
            await driven.resize(80, 24)
            await driven.sees("FROM / TO")
            assert "├──" not in driven.text

    run(test())


def test_the_map_is_folded_by_workload_namespace_pod_or_a_label() -> None:
    """And what is behind a line is what it was folded by."""
    labelled = Endpoint(
        identity=7, namespace="shop", pod="cart-1", workload="cart", labels=("k8s:tier=web",)
    )
    records = [*denied(0), flow(1, source=labelled, source_ip="10.0.0.2", destination_ip="1.2.3.5")]

    async def test() -> None:
        async with played(Played(records), size=(120, 40)) as driven:
            await driven.press("6")
            await driven.sees("WORKLOAD", "│ weather/weather-app", "│ shop/cart", "✗1", "✓1")
            await driven.press("v")
            await driven.sees("NAMESPACE", "│ weather ", "│ shop ", "✗1", "✓1")
            await driven.press("v")
            await driven.sees("POD", "│ weather/weather-app-1", "│ shop/cart-1")
            await driven.type(":fold label:tier")
            await driven.press("enter")
            await driven.sees("│ no label tier", "│ tier=web", "✗1", "✓1")
            await driven.press("G", "enter")
            await driven.sees("tier=web ", "1.2.3.5:443", "of 1 row")

    run(test())


def test_the_maps_destinations_are_folded_too_and_their_sums_are_kept() -> None:
    """Two pods of one workload: a line that leads to the rows of both; broken where nothing gets through."""
    to = [
        Endpoint(
            identity=9, namespace="api", pod=f"api-{n}", labels=("k8s:tier=back",), workload="api"
        )
        for n in (1, 2)
    ]
    records = [
        *denied(0, destination=to[0], destination_ip="10.0.0.8"),
        *denied(1, destination=to[1], destination_ip="10.0.0.9", source_port=2),
        *denied(2, destination_ip="1.2.3.9", source_port=3),
        flow(3, destination=to[1], destination_ip="10.0.0.9", source_port=4),
    ]

    async def test() -> None:
        async with played(Played(records), size=(120, 40)) as driven:
            await driven.press("6")
            await driven.sees("── ✗2 ✓1 ─────────▶ api/api", "── ✗1 ╌╌╌╌╌╌╌╌╌╌╌╌▶ 1.2.3.9")
            await driven.press("enter")
            await driven.sees("api/api-1:443", "api/api-2:443", "of 2 rows")
            await driven.press("escape", "v")
            await driven.until(
                lambda: re.search(r"✗2 ✓1 ─+▶ api\n", driven.text + "\n"), "by namespace"
            )
            await driven.type(":fold label:tier")
            await driven.press("enter")
            await driven.sees("▶ tier=back")
            await driven.type(":fold pod")
            await driven.press("enter")
            await driven.sees("▶ api/api-1", "▶ api/api-2")
            await driven.resize(80, 24)
            await driven.type(":fold namespace")
            await driven.press("enter")
            await driven.sees("FROM / TO", "✗2 ✓1")

    run(test())


def test_a_click_on_a_views_name_opens_it() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot())) as driven:
            line = next(y for y, text in enumerate(driven.screen) if "[1 Edges]" in text)
            await driven._pilot.click(offset=(driven.screen[line].index("5 "), line))
            await driven.sees("[5 ")
            assert driven.app.trail == ("rows", "causes")

    run(test())


def test_a_view_without_rows_says_what_to_do() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot(STORY[4:5])), size=(100, 30)) as driven:
            await driven.press("5")
            await driven.sees("Nothing was dropped for which a cause is to be found")
            await driven.press("d")
            await driven.sees(
                "No drops: nothing was dropped or audited", "d shows the forwarded ones"
            )

    run(test())


@pytest.mark.parametrize("key", ["2", "3", "4", "5", "6", "8", "9"])
def test_a_view_that_is_opened_again_is_as_if_it_were_for_the_first_time(key: str) -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot()), size=(110, 30)) as driven:
            await driven.press(key)
            await driven.sees("▌")
            first = driven.screen[:-1]
            body = driven.app.seen
            await driven.press("j", "j", "1")
            await driven.sees("[1 Edges]")
            await driven.press(key)
            await driven.until(lambda: driven.screen[:-1] == first, "the first line is selected")
            # To make and lay out another one would take five times as long.
            assert driven.app.seen is body

    run(test())


def test_a_view_that_was_kept_is_shown_in_the_theme_and_of_the_rows_of_now() -> None:
    async def test() -> None:
        async with played(Played(TRAFFIC), size=(110, 30)) as driven:
            await driven.press("3")
            await driven.sees("WHO TALKS TO IT", "alpha", "beta")
            await driven.press("1", "T", "slash")
            await driven.type("beta")
            await driven.press("enter", "3")
            await driven.sees("WHO TALKS TO IT", "beta")
            await driven.until(lambda: "alpha" not in driven.text.partition("WHO TALKS")[2])
            assert {part.look for part in driven.app.parts} == {driven.app.look}

    run(test())
