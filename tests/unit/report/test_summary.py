"""One table, four formats: terminal, JSON, CSV, Markdown."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pandas
import pytest

from flowwatch.egress.rows import Snapshot
from flowwatch.errors import UsageError
from flowwatch.output import Output
from flowwatch.report.coverage import warning_lines
from flowwatch.report.human import width
from flowwatch.report.summary import SUMMARY_FORMATS, write_summary
from flowwatch.report.summary_markdown import code
from flowwatch.report.summary_table import Style, table_lines
from tests.in_process import flowwatch
from tests.unit.audits.told import Capture
from tests.unit.report.made import HOSTILE, forwarded, row, snapshot


def text(taken: Snapshot, summary_format: str, style: Style | None = None) -> str:
    file = io.BytesIO()
    with Output(file, "a test") as out:
        write_summary(taken, summary_format, out, style=style)
    return file.getvalue().decode()


STORY = snapshot(
    row(),
    row(peer="exfil.example.org", forwarded=0, dropped=1, drop_reasons={"L7_DENIED": 1}),
    forwarded(peer="api.openweathermap.org"),
    forwarded(peer="kube-system/kube-dns", port=53, protocol="UDP", forwarded=1_234_567),
    forwarded(peer="10.0.0.9", port=8, protocol="ICMPv4", forwarded=0, unknown=1),
    forwarded(peer="fd00::1", audited=4),
)


def test_the_table_at_80_columns() -> None:
    assert text(STORY, "table") == (
        "  NAMESPACE/POD   DESTINATION        FORWARDED  DROPPED  AUDITED  REASON\n"
        "✗ weather…-cnsfl  google.com:443             2        3        -  POLICY_…IED +1\n"
        "✗ weather…-cnsfl  exfil.exa…org:443          -        1        -  L7_DENIED\n"
        "✓ weather…-cnsfl  api.openw…org:443          7        -        -  -\n"
        "✓ weather…-cnsfl  kube-syst…:53/UDP       1.2M        -        -  -\n"
        "? weather…-cnsfl  10.0.0.9 ICMPv4            -        -        -  -\n"
        "! weather…-cnsfl  [fd00::1]:443              7        -        4  -\n"
        "\n"
        "1,234,592 attempts: 1,234,583 forwarded, 4 dropped (<0.1%), 4 audited, 1 unknown\n"
        "412 records in 1m30s, 2026-03-04T05:06:07Z to 05:07:37Z\n"
        "counts are 'at least'\n"
    )


@pytest.mark.parametrize("columns", [40, 60, 80, 100, 120, 160, 200])
def test_no_line_of_the_table_is_wider_than_the_terminal(columns: int) -> None:
    wide = row(
        pod="n" * 90, peer="名" * 60 + ".example", workload="w" * 70, audited=5, errors=123_456
    )
    lines = table_lines(snapshot(row(), wide), Style(width=columns))
    table = lines[: lines.index("")]
    assert max(map(width, table)) <= columns


def test_wider_terminals_show_more() -> None:
    def header(columns: int) -> list[str]:
        return table_lines(STORY, Style(width=columns))[0].split()

    assert "REASON" in header(80)
    assert "POLICY" not in header(80)
    assert {"LAST", "POLICY"} <= set(header(140))
    assert {"WORKLOAD", "RECORDS"} <= set(header(0))


def test_a_row_is_marked_by_the_worst_that_happened() -> None:
    rows = (row(), forwarded(audited=1), forwarded(errors=1), forwarded(), forwarded(forwarded=0))
    lines = table_lines(snapshot(*rows), Style())
    assert [line[0] for line in lines[1:6]] == ["✗", "!", "!", "✓", "?"]
    plain = table_lines(snapshot(*rows), Style(ascii=True))
    assert [line[0] for line in plain[1:6]] == ["x", "!", "!", "+", "?"]
    assert all(line.isascii() for line in plain)


def test_colors_and_bold_change_nothing_else() -> None:
    colored = table_lines(STORY, Style(color=True))
    bold = table_lines(STORY, Style(bold=True))
    assert any("\x1b[1;31m✗" in line for line in colored)
    assert any(line.startswith("\x1b[1m✗\x1b[0m \x1b[1mweather") for line in bold)
    assert not any("\x1b[31m" in line or "1;31" in line for line in bold)
    for styled in (colored, bold):
        assert [re.sub(r"\x1b\[[\d;]+m", "", line) for line in styled] == table_lines(
            STORY, Style()
        )


def test_both_directions_are_told_apart() -> None:
    lines = table_lines(snapshot(row(), row(direction="ingress")), Style(width=0))
    assert "PEER" in lines[0]
    assert "→" in lines[1]
    assert "←" in lines[2]


def test_nothing_seen_and_rows_hidden() -> None:
    empty = snapshot(first_seen=0, last_seen=0, records_read=0, lost=(), nodes_unavailable=())
    assert text(empty, "table") == "No attempts\n0 records\n"
    assert "1 of 57 rows shown\n" in text(snapshot(row(), matched=57), "table")


def test_the_json_object() -> None:
    value = json.loads(text(STORY, "json"))
    assert value["schema_version"] == 2
    assert value["window"] == {
        "first_seen": "2026-03-04T05:06:07.089000123Z",
        "last_seen": "2026-03-04T05:07:37.089000123Z",
        "seconds": 90.0,
    }
    assert value["totals"]["dropped"] == 4
    assert (value["records_read"], value["records_skipped"]) == (412, 3)
    assert value["skipped_by_reason"] == {"not JSON": 2, "no flow": 1}
    assert value["lost_events"] == 12
    assert value["lost"][0]["source"] == "HUBBLE_RING_BUFFER"
    assert value["nodes"] == ["demo/node-1", "demo/node-2"]
    assert value["nodes_unavailable"] == ["demo/node-3"]
    assert value["warnings"][0].startswith("12 events were lost")
    assert value["rows"][0] == {
        "direction": "egress",
        "namespace": "weather",
        "pod": "weather-app-6d5fd48c7d-cnsfl",
        "workload": "weather-app",
        "peer": "google.com",
        "peer_kind": "dns",
        "port": 443,
        "protocol": "TCP",
        "forwarded": 2,
        "dropped": 3,
        "audited": 0,
        "errors": 0,
        "unknown": 0,
        "records": 22,
        "drop_reasons": {"POLICY_DENIED": 2, "POLICY_DENY": 1},
        "policies": [
            {
                "effect": "deny",
                "kind": "CiliumNetworkPolicy",
                "namespace": "weather",
                "name": "only-openweathermap",
            },
            {
                "effect": "allow",
                "kind": "CiliumClusterwideNetworkPolicy",
                "namespace": "",
                "name": "dns",
            },
        ],
        "first_seen": "2026-03-04T05:06:07.089000123Z",
        "last_seen": "2026-03-04T05:07:37.089000123Z",
        "rate": 0.123,
        "peer_addresses": ["142.250.1.1", "142.250.1.2"],
        "cluster": "",
        "server": "",
        "answered": 0,
        "refused": 0,
        "unreachable": 0,
        "answers_dropped": 0,
        "late": 0,
        "waited": 0.0,
        "proxy_refused": [],
        "noise": {},
        "uncounted": 0,
        "not_recorded": [],
        "encrypted": "",
        "policy_log": [],
        "state": "dropped",
        "since": "2026-03-04T05:06:27.089000123Z",
        "state_before": "forwarded",
        "until": "2026-03-04T05:06:17.089000123Z",
        "pods": 1,
        "waiting": 0.0,
    }


def test_times_that_nobody_knows_are_null() -> None:
    value = json.loads(text(snapshot(first_seen=0, last_seen=0), "json"))
    assert value["window"] == {"first_seen": None, "last_seen": None, "seconds": 0.0}


def test_the_csv_holds_what_the_json_holds() -> None:
    frame = pandas.read_csv(io.StringIO(text(STORY, "csv")), keep_default_na=False)
    objects = json.loads(text(STORY, "json"))["rows"]
    assert list(frame.columns) == ["schema_version", *objects[0]]
    assert len(frame) == len(objects) == 6
    for name in ("forwarded", "dropped", "records", "port", "schema_version"):
        assert frame[name].dtype == "int64"
    assert frame["drop_reasons"][0] == "POLICY_DENIED=2; POLICY_DENY=1"
    assert frame["policies"][0] == (
        "deny CiliumNetworkPolicy weather/only-openweathermap; allow CiliumClusterwideNetworkPolicy dns"
    )
    assert frame["peer_addresses"][0] == "142.250.1.1; 142.250.1.2"
    for name in ("peer", "protocol", "first_seen", "forwarded"):
        assert list(frame[name]) == [one[name] for one in objects]


def test_markdown_is_a_table_with_totals() -> None:
    lines = text(STORY, "markdown").splitlines()
    assert all(line.count(" | ") == lines[0].count(" | ") for line in lines[:8])
    assert lines[2].startswith("| ❌ | `weather/weather-app-6d5fd48c7d-cnsfl` | `google.com:443` |")
    assert "4 dropped" in lines[9]
    assert lines[-1] == "> `node \\x1b[31mred`"


@pytest.mark.parametrize("summary_format", list(SUMMARY_FORMATS))
def test_hostile_names_stay_text(summary_format: str) -> None:
    hostile = row(
        namespace=HOSTILE,
        pod=HOSTILE,
        workload=HOSTILE,
        peer=HOSTILE,
        protocol=HOSTILE,
        drop_reasons={HOSTILE: 3},
        peer_addresses=(HOSTILE,),
    )
    output = text(snapshot(hostile), summary_format, Style(width=0))
    assert output.replace("\n", "").isprintable()
    if summary_format == "json":
        assert json.loads(output)["rows"][0]["peer"] == HOSTILE
    elif summary_format == "csv":
        cells = pandas.read_csv(io.StringIO(output)).iloc[0].tolist()
        assert not any(str(one).startswith("=") for one in cells)
        assert len(cells) == 41
    else:
        assert len(output.splitlines()) == len(
            text(snapshot(row()), summary_format, Style(width=0)).splitlines()
        )


def test_code_spans_hold_pipes_and_backticks() -> None:
    assert code("a|b") == "`a\\|b`"
    assert code("a\\|b") == "`a\\x5c\\|b`"
    assert code("a``b") == "```a``b```"
    assert code("`") == "`` ` ``"
    assert code("") == ""


def test_warnings_are_safe_lines() -> None:
    assert warning_lines(STORY.coverage)[1] == "node \\x1b[31mred"


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="invalid output format: yaml: choose one of table, json"):
        text(STORY, "yaml")


def test_a_loss_is_told_once(tmp_path: Path) -> None:
    """Why counts are "at least" stands beside the table, and nowhere else."""
    lost = {"source": "HUBBLE_RING_BUFFER", "num_events_lost": "12"}
    path = Capture().add("shop/web", "→", "198.51.100.1", 443).write(tmp_path)
    with path.open("a") as file:
        file.write(json.dumps({"lost_events": lost, "node_name": "n1"}) + "\n")
    for form, line in (
        ("table", "flowwatch: 12 events were lost"),
        ("markdown", "> `12 events were"),
    ):
        told = flowwatch("summary", "-o", form, "--input-file", path)
        lines = [one for one in (told.stdout + told.stderr).splitlines() if "lost" in one]
        assert len(lines) == 1
        assert lines[0].startswith(line)
