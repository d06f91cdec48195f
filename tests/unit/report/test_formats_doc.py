"""docs/formats.md says what the code writes."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from flowwatch.audits.whatif import WhatIf
from flowwatch.drafts.draft import Drafter
from flowwatch.drafts.gap import gaps
from flowwatch.egress.record_schema import RECORD
from flowwatch.egress.schema import ATTEMPT, ROW, SCHEMA_VERSION, Column
from flowwatch.flows.reasons import L7_DENIED
from flowwatch.marks.unused import Finder
from flowwatch.output import ClosedPipe
from flowwatch.policy import load
from flowwatch.policy.difference import compare
from flowwatch.policy.explain import explain, read_end
from flowwatch.policy.queries import Queries
from flowwatch.report.audit.json import audit_object
from flowwatch.report.audit.words import REMARKS
from flowwatch.report.changes import changes_object
from flowwatch.report.difference import Compared, difference_object
from flowwatch.report.explain import explanation_object
from flowwatch.report.gap import gaps_object
from flowwatch.report.reference import markdown_reference, with_tables
from flowwatch.report.summary import summary_object
from flowwatch.report.unused import unused_object
from flowwatch.report.whatif import whatif_object
from flowwatch.sources.files import FileSource
from tests.unit.audits.planted import CORRECT, capture
from tests.unit.report.made import snapshot
from tests.unit.report.made_audit import everything
from tests.unit.report.test_changes import story

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [ATTEMPT, ROW, RECORD], ids=["attempts", "rows", "records"])
def test_columns_are_documented_as_they_are(columns: tuple[Column[Any], ...]) -> None:
    assert markdown_reference(columns) in TEXT


def test_make_docs_has_nothing_to_write() -> None:
    assert with_tables(TEXT) == TEXT


def test_keys_of_the_summary_are_documented_in_order() -> None:
    section = TEXT.split("## `summary -o json`")[1].split("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(summary_object(snapshot()))


def test_keys_and_rules_of_the_audit_are_documented() -> None:
    section = TEXT.split("## `audit -o json`")[1].split("\n## ")[0]
    found = audit_object(everything())
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(found)
    inner = [
        found["evidence"],
        *(found[key][0] for key in ("findings", "hints", "expectations", "policies")),
    ]
    inner += [found["findings"][1]["rules"][0], found["policies"][0]["rules"][0]]
    for keys in inner:
        assert {key for key in keys if f"`{key}`" not in section} == set()
    for kind, words in REMARKS.items():
        assert f"| `flowwatch/{kind}` | {words.level} | {words.meaning} |" in TEXT


def test_keys_of_whatif_changes_and_explain_are_documented(tmp_path: Path) -> None:
    policies = load([("policy.yaml", CORRECT)])
    (tmp_path / "flows.jsonl").write_text(capture(CORRECT))
    with closing(FileSource([tmp_path / "flows.jsonl"])) as source:
        changes = whatif_object(WhatIf(policies).read(source.batches()))
    ends = read_end("weather/weather-app", ""), read_end("api.openweathermap.org:443", "")
    moved = changes_object(story())
    other = load([("policy.yaml", CORRECT.replace("443", "8443"))])
    with closing(FileSource([tmp_path / "flows.jsonl"])) as source:
        wider = gaps_object(gaps(Drafter().read(source.batches()), policies))
    with closing(FileSource([tmp_path / "flows.jsonl"])) as source:
        idle = unused_object(Finder(other, 0).read(source.batches()))
    differing = difference_object(Compared(policies, other, compare(policies, other), {}))
    told = explanation_object(explain(policies, *ends, ""))
    for name, found, inner in (
        (
            "whatif",
            changes,
            [changes["window"], next(row for row in changes["rows"] if row["rules"])],
        ),
        (
            "changes",
            moved,
            [moved["window"], moved["marks"][0], moved["rows"][0], moved["rows"][0]["before"]],
        ),
        ("gap", wider, [wider["workloads"][0], wider["workloads"][0]["proof"]]),
        ("unused", idle, [idle["window"], idle["unused"][0]]),
        (
            "diff",
            differing,
            [
                differing["changes"][0],
                differing["changes"][0]["example"],
                *(
                    differing["changes"][0]["example"][key]
                    for key in ("subject", "before", "after")
                ),
            ],
        ),
        ("explain", told, [told["answers"][0], told["answers"][0]["steps"][0]]),
    ):
        section = TEXT.split(f"## `{name} -o json`")[1].split("\n## ")[0]
        assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(found)
        for keys in inner:
            assert {key for key in keys if f"`{key}`" not in section} == set()


def test_the_example_of_a_query_is_answered_as_documented() -> None:
    section = TEXT.split("## `explain --queries`")[1].split("\n## ")[0]
    example = section.split("```json\n")[1].split("```")[0]
    answer = Queries(load([("policy.yaml", CORRECT)])).answer(example.encode())
    assert answer["id"] == 1
    assert ", ".join(f"`{key}`" for key in answer) in section
    for protocol in re.findall(r"`(\w+)`", section.split("| `protocol` |")[1].splitlines()[0]):
        Queries(load([])).answer(example.replace('"TCP"', f'"{protocol}"').encode())


def test_numbers_in_the_text() -> None:
    assert f"`schema_version` is {SCHEMA_VERSION}." in TEXT
    assert f"`L7_DENIED`, {L7_DENIED}." in TEXT
    assert f"| {ClosedPipe('').exit_code} | nobody reads" in TEXT


if __name__ == "__main__":
    PAGE.write_text(with_tables(TEXT), encoding="utf-8")
