"""The first line: what limits the rows is on it at any width; the rest gives way to that."""

from __future__ import annotations

from msgspec.structs import replace

from flowwatch.egress.query import Query
from flowwatch.flows.source import SourceState
from flowwatch.tui.format import line_width
from flowwatch.tui.parts.title import title_line
from flowwatch.tui.state import ViewState
from flowwatch.tui.theme import FANCY
from tests.unit.tui.made import FOLLOWING

RELAY = replace(FOLLOWING, where="127.0.0.1:33089", nodes_connected=2)
ONE = "--namespace weather"
THREE = "--namespace weather --verdict DROPPED --protocol tcp"


def title(words: str, columns: int, state: SourceState = RELAY, query: Query | None = None) -> str:
    view = ViewState("flowwatch", words, query or Query(noise=False))
    line = title_line(state, view, columns, FANCY)
    assert line_width(line) == columns
    return " ".join("".join(text for text, _ in line).split())


def test_node_count_plain_and_order_go_before_a_filter() -> None:
    assert title(ONE, 120) == (
        "flowwatch 127.0.0.1:33089 plain live 2 nodes --namespace weather egress by drops"
    )
    assert title(ONE, 80) == (
        "flowwatch 127.0.0.1:33089 plain live 2 nodes --namespace weather egress"
    )
    assert title(ONE, 66) == "flowwatch 127.0.0.1:33089 live --namespace weather egress"


def test_filters_that_do_not_fit_are_counted() -> None:
    assert title(THREE, 80).endswith("live -n weather --verdict DROPPED +1 egress")
    assert title(THREE, 60).endswith("live -n weather +2 egress")


def test_what_limits_the_rows_is_on_the_screen_at_any_width() -> None:
    query = Query(drops_only=True, text="github", noise=False)
    for columns in range(18, 200):
        assert "weather" in title(THREE, columns)
        assert "weather" in title(THREE, columns, replace(RELAY, phase="lost"))
        if columns >= 38:
            both = title(THREE, columns, query=query)
            assert all(part in both for part in (" weather", "drops only", "/github"))


def test_a_negated_filter_stays_one() -> None:
    assert title("--not --verdict FORWARDED --pod default/a --ipv4", 60).endswith(
        "--not --verdict FORWARDED +2 egress"
    )


def test_the_name_of_a_long_pod_is_shortened() -> None:
    pod = "--from-pod weather/weather-app-8k2d9f7c-bq4jr --verdict DROPPED"
    assert title(pod, 40) == "--from-pod weather/wea…2d9f7c-bq4jr +1"
