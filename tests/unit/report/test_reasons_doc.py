"""docs/reasons.md and ``explain --reason`` say what the table of drop reasons says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from flowwatch.flows.reasons import REASONS
from flowwatch.flows.reasons_table import CLASSES
from flowwatch.report.reasons import REASON_TABLES
from flowwatch.report.reference import with_tables
from tests.command import one_line
from tests.in_process import flowwatch

PAGE = Path(__file__).parents[3] / "docs" / "reasons.md"


def test_make_docs_has_nothing_to_write() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text, REASON_TABLES) == text


def test_every_reason_stands_on_the_page_once() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == CLASSES
    names = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(names) == sorted(one.name for one in REASONS.values())


@pytest.mark.parametrize("asked", ["POLICY_DENY", "policy_deny", "181"])
def test_a_reason_is_explained_by_its_name_or_number(asked: str) -> None:
    told = flowwatch("explain", "--reason", asked)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines() == [
        "POLICY_DENY",
        "  Hubble's number: 181",
        "  in Cilium: Policy denied by denylist",
        "  class: policy",
        "  what happened: A deny rule forbids this connection, and a deny rule wins over every allow.",
        "  what to look at: Look at the policy named as denying; if none is named, search the "
        "egressDeny and ingressDeny rules.",
    ]


def test_the_proxys_denials_have_no_number() -> None:
    told = flowwatch("explain", "--reason", "L7_DENIED").stdout
    assert told.startswith(
        "L7_DENIED\n  class: policy\n  what happened: The connection was allowed, "
    )


def test_every_reason_is_explained_as_json() -> None:
    for one in REASONS.values():
        told = json.loads(flowwatch("explain", "--reason", one.name, "-o", "json").stdout)
        assert told.pop("number") == (one.number if one.number >= 0 else None)
        assert told == {
            "name": one.name,
            "cilium_text": one.cilium_text,
            "group": one.group,
            "plain": one.plain,
            "next": one.next,
        }


def test_a_number_that_is_newer_is_told_honestly() -> None:
    assert "doesn't know" in flowwatch("explain", "--reason", "254").stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("POLICY_DENYED",), "invalid --reason: POLICY_DENYED: did you mean POLICY_DENIED?"),
        (("",), "invalid --reason: "),
        (("POLICY_DENY", "--from", "a/b"), "cannot set both --reason and --from"),
    ],
)
def test_what_is_no_reason_is_refused_in_one_line(words: tuple[str, ...], told: str) -> None:
    done = flowwatch("explain", "--reason", *words)
    assert done.returncode == 2
    assert one_line(done).startswith(f"flowwatch: {told}")


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8"), REASON_TABLES), encoding="utf-8")
