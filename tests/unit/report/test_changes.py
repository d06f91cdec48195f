"""What a policy changed, in each format: read as a person or a program would."""

from __future__ import annotations

import io
import json

import pytest
from markdown_it import MarkdownIt

from flowwatch.marks.changes import ChangesReport
from flowwatch.report.changes import CHANGES_FORMATS, write_changes
from flowwatch.report.summary_table import Style
from tests.unit.marks.traffic import ALLOW, API, EVIL, THIRD, Traffic
from tests.unit.report.made_audit import HOSTILE


def story(peer: str = "") -> ChangesReport:
    """Ten seconds without a policy, ten with one."""
    traffic = Traffic()
    names = (peer,) if peer else ()
    for at in range(10):
        traffic.passes(at, API, asked=False, destination_names=names)
        traffic.passes(at, EVIL, asked=False)
    for at in range(10, 20):
        traffic.passes(at, API, (ALLOW,), destination_names=names, answered=at < 9)
        traffic.fails(at, EVIL).fails(at + 0.5, THIRD)
    return traffic.report()


def written(report: ChangesReport, form: str = "text", *, ascii: bool = False) -> str:
    out = io.StringIO()
    write_changes(report, form, out, style=Style(width=0, ascii=ascii))
    return out.getvalue()


def test_the_text_reads_from_the_moment_to_each_row() -> None:
    assert (
        written(story()).splitlines()[3:]
        == """\
▲ 22:13:30.000  weather/weather-egress came into force
    found from 1 destination (let through, then denied), 1 destination (no policy was asked, then one was); \
nothing was different yet at 22:13:29.000
    before 22:13:20.499 to 22:13:30.000, after 22:13:30.000 to 22:13:39.500 UTC (9.5s each)

  CUT: 1 row
  ✗ weather/weather-app → 203.0.113.9:443/TCP  ✓ 9 → ✗ 10
      default deny: weather/weather-egress (CiliumNetworkPolicy)

  NEW: 1 row
  + weather/weather-app → 203.0.113.10:443/TCP  - → ✗ 10
      default deny: weather/weather-egress (CiliumNetworkPolicy)

  SAME: 1 row
  = weather/weather-app → 198.51.100.1:443/TCP  ✓ 9 → ✓ 10
      allowed by weather/weather-egress (CiliumNetworkPolicy); let through, but no answer any more

1 mark: 1 cut, 1 new, 0 gone quiet, 1 same""".splitlines()
    )


def test_json_has_the_marks_and_every_row() -> None:
    told = json.loads(written(story(), "json"))

    (mark,) = told["marks"]
    assert mark["policies"] == ["weather/weather-egress (CiliumNetworkPolicy)"] == mark["came"]
    assert mark["counts"] == {"cut": 1, "new": 1, "quiet": 0, "same": 1}
    assert [node["node"] for node in mark["nodes"]] == ["node-1"]
    rows = {row["peer"]: row for row in told["rows"]}
    assert (rows[EVIL]["change"], rows[EVIL]["before"]["forwarded"], rows[EVIL]["after"]["denied"]) == (
        "cut", 9, 10,
    )  # fmt: skip
    assert rows[API]["before"]["answered"] == 9
    assert rows[API]["after"]["answered"] == 0


def test_markdown_has_a_table_for_each_mark() -> None:
    text = MarkdownIt().enable("table").render(written(story(), "markdown"))

    assert text.count("<table>") == 1
    assert text.count("<tr>") == 4


def test_without_a_mark_it_says_so_and_how_to_set_one() -> None:
    traffic = Traffic()
    for at in range(5):
        traffic.passes(at, API)

    for form in ("text", "markdown"):
        assert "--mark TIME sets a mark by hand" in written(traffic.report(), form)
    assert json.loads(written(traffic.report(), "json"))["marks"] == []


def test_without_colours_and_signs_it_is_ascii() -> None:
    assert written(story(), ascii=True).isascii()


@pytest.mark.parametrize("form", CHANGES_FORMATS)
def test_names_can_do_nothing(form: str) -> None:
    text = written(story(HOSTILE), form)
    assert "\x1b" not in text
    assert HOSTILE not in text
