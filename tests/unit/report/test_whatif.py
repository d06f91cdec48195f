"""The what-if's formats: what was not seen is said, and names can do nothing."""

from __future__ import annotations

import io

import pytest
from markdown_it import MarkdownIt

from flowwatch.audits.comparison import Change
from flowwatch.audits.whatif import WhatIfReport, WhatIfRow
from flowwatch.flows.coverage import Coverage
from flowwatch.report.summary_table import Style
from flowwatch.report.whatif import WHATIF_FORMATS, write_whatif
from tests.unit.report.made_audit import HOSTILE

SECOND = 1_000_000_000


def row(change: Change, peer: str = "2001:db8::1", **more: str) -> WhatIfRow:
    found = WhatIfRow(
        change, "ingress", "weather/app", peer, "TCP", 443, "allowed", "denied", "a reason"
    )
    found.attempts, found.first, found.last = 3, SECOND, 2 * SECOND
    for key, value in more.items():
        setattr(found, key, value)
    return found


def report(*rows: WhatIfRow, notes: tuple[str, ...] = ("5 events were lost",)) -> WhatIfReport:
    counts = {one.change: 3 * sum(one.change == each.change for each in rows) for one in rows}
    return WhatIfReport(
        rows, counts, 3 * len(rows), Coverage(SECOND, 61 * SECOND, 9 * len(rows)), notes
    )


def written(given: WhatIfReport, form: str) -> str:
    out = io.StringIO()
    write_whatif(given, form, out, style=Style(width=0))
    return out.getvalue()


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_what_was_not_seen_is_said_first(form: str) -> None:
    text = written(report(row("newly denied"), row("unchanged")), form)
    for words in ("18 records in 1m, 6 attempts", "a short window", "5 events were lost"):
        assert text.index(words) < text.index("weather/app")
    assert "2001:db8::1 (to its 443/TCP)" in text
    assert "3 newly denied, 0 newly allowed, 0 can't tell, 3 unchanged" in text


@pytest.mark.parametrize("form", WHATIF_FORMATS)
def test_nothing_seen_is_told(form: str) -> None:
    text = written(WhatIfReport((), {}, 0, Coverage()), form)
    assert ("no flows at all" if form != "json" else '"first": null') in text


def test_the_side_that_is_asked_comes_first() -> None:
    assert "weather/app ← 2001:db8::1 (to its 443/TCP)  3x" in written(
        report(row("newly denied")), "text"
    )
    table = written(report(row("newly denied")), "markdown")
    assert (
        "| ingress | `weather/app` | `2001:db8::1 (to its 443/TCP)` | 3 | allowed | denied |"
        in table
    )


@pytest.mark.parametrize("form", WHATIF_FORMATS)
def test_hostile_names_can_do_nothing(form: str) -> None:
    hostile = row("newly denied", HOSTILE, subject=HOSTILE, reason=HOSTILE)
    text = written(report(hostile, notes=(HOSTILE,)), form)
    assert not [char for char in text if (char < " " and char != "\n") or char in "\x7f\x9b\u202e"]
    if form == "markdown":
        html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
        assert "<script" not in html
        assert "<a " not in html
        assert html.count("<td") == 7


def test_long_lists_are_cut_and_counted() -> None:
    rows = [row("newly denied", f"peer-{number}") for number in range(51)]
    rows += [row("unchanged", f"same-{number}") for number in range(17)]
    text = written(report(*rows), "markdown")
    assert "… and 1 more row (`-o json` has them all)" in text
    assert text.count("`peer-") == 50
    assert "    and 2 more rows (-o json has them all)" in written(report(*rows), "text")
