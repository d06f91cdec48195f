"""`flowwatch diff` through the program: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowwatch.cli.completion import FILES, complete
from flowwatch.report.difference import DIFFERENCE_FORMATS
from tests.command import one_line
from tests.in_process import flowwatch
from tests.unit.audits.planted import CORRECT, capture


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.yaml"
    path.write_text(CORRECT)
    return path


@pytest.fixture
def new(tmp_path: Path) -> Path:
    path = tmp_path / "new.yaml"
    path.write_text(
        CORRECT + "  egressDeny:\n    - toPorts: [{ports: [{port: '443', protocol: TCP}]}]\n"
    )
    return path


def test_a_set_beside_itself_ends_with_0(old: Path) -> None:
    done = flowwatch("diff", old, old)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\nno difference: both sets decide alike\n")


def test_what_differs_is_told_with_an_example_and_ends_with_1(old: Path, new: Path) -> None:
    done = flowwatch("diff", old, new)
    assert (done.returncode, done.stderr) == (1, "")
    assert "NEWLY DENIED\n" in done.stdout
    assert "egress of pods with app=weather-app, namespace=weather" in done.stdout
    assert "      on 443/TCP\n" in done.stdout
    assert "        before: allowed by weather/" in done.stdout
    assert "        after: denied by weather/" in done.stdout
    assert done.stdout.splitlines()[-1] == "different: 1 newly denied"


@pytest.mark.parametrize("form", DIFFERENCE_FORMATS)
def test_each_format_ends_with_the_same_code(form: str, old: Path, new: Path) -> None:
    done = flowwatch("diff", old, new, "-o", form)
    assert (done.returncode, done.stderr) == (1, "")
    assert "api.openweathermap.org" in done.stdout
    assert flowwatch("diff", new, new, "-o", form).returncode == 0


def test_an_example_in_json_is_a_question_that_explain_answers_so(old: Path, new: Path) -> None:
    found = json.loads(flowwatch("diff", old, new, "-o", "json").stdout)
    assert found["counts"]["newly denied"] == 1
    (change,) = found["changes"]
    asked = change["example"]
    query = {
        "direction": change["direction"],
        **{key: asked[key] for key in ("subject", "peer", "protocol", "port")},
    }
    for path, side in ((old, "before"), (new, "after")):
        answer = flowwatch("explain", "-f", path, "--queries", "-", input=json.dumps(query)).stdout
        assert json.loads(answer)["decision"] == asked[side]["decision"]


def test_pods_of_captures_narrow_it_and_are_named(tmp_path: Path, old: Path, new: Path) -> None:
    flows = tmp_path / "flows.jsonl"
    flows.write_text(capture(CORRECT))
    done = flowwatch("diff", old, new, "--pods", flows)
    assert done.returncode == 1
    assert "sets of labels that pods have" in done.stderr or "set of labels" in done.stderr
    assert "e.g. weather/weather-app" in done.stdout
    elsewhere = [
        path.read_text().replace("namespace: weather", "namespace: none") for path in (old, new)
    ]
    for path, text in zip((old, new), elsewhere, strict=True):
        path.write_text(text)
    assert flowwatch("diff", old, new).returncode == 1
    assert flowwatch("diff", old, new, "--pods", flows).returncode == 0


def test_a_folder_and_standard_input_are_sets_too(tmp_path: Path, old: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "one.yaml").write_text(CORRECT)
    assert flowwatch("diff", folder, "-", input=CORRECT).returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "two sets of policies are compared, not 0"),
        (["OLD"], "two sets of policies are compared, not 1"),
        (["-", "-"], "standard input was given twice"),
        (["OLD", "missing.yaml"], "cannot read missing.yaml"),
        (["OLD", "OLD", "--pods", "missing.jsonl"], "missing.jsonl"),
        (["OLD", "OLD", "-o", "csv"], "csv"),
    ],
)
def test_bad_input_is_one_line_and_2(words: list[str], said: str, old: Path) -> None:
    done = flowwatch("diff", *(str(old) if word == "OLD" else word for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in one_line(done)


def test_hostile_text_is_escaped(tmp_path: Path, old: Path) -> None:
    hostile = tmp_path / "hostile.yaml"
    hostile.write_text(CORRECT + '  egressDeny:\n    - toGroups: [{x: "\\e[31m|`"}]\n')
    for form in DIFFERENCE_FORMATS:
        assert "\x1b" not in flowwatch("diff", old, hostile, "-o", form).stdout


def test_files_are_completed_behind_it() -> None:
    assert complete(["diff", ""]).adds == FILES
    assert ("--pods", "compare for") in [
        (word, about[:11]) for word, about in complete(["diff", "--p"]).candidates
    ]


def test_its_help_says_what_stands_behind_it() -> None:
    told = flowwatch("diff", "--help").stdout
    assert "Usage:  flowwatch diff OLD NEW [flags]" in told
    assert "Example:  flowwatch diff old.yaml new.yaml" in told
