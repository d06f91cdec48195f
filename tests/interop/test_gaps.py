"""Every drop-in of a gap is taken by the real API server and by Cilium, and is as narrow as it is said to be.

The policies that it is set against allow more than was used, each peer and port as wide as the editor goes:
what is told as never used is allowed by them and denied by the drop-in, by Cilium's own engine too.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from flowwatch.drafts.draft import Drafter
from flowwatch.drafts.editing import Editing
from flowwatch.drafts.gap import GapReport, gaps
from flowwatch.policy import load
from tests.interop.control_plane import ControlPlane
from tests.interop.judged_documents import Judge, Judged
from tests.interop.oracle import Asked, Oracle
from tests.interop.policy_difference import examples
from tests.interop.test_drafts import WAYS, batches, captures, questions
from tests.material import name


def wide(drafter: Drafter) -> str:
    """Policies that let through all that was seen, and as much beside as a choice in the editor may."""
    texts = []
    for sheet in Editing(drafter).sheets:
        for row, of in enumerate(sheet.rows):
            if not of.dropped:
                for _ in of.ways[1:]:
                    sheet.rename(row)
                sheet.open_ports(row)
        texts.append(sheet.text)
    return "---\n".join(text for text in texts if text)


def found(path: Path | None) -> tuple[str, GapReport]:
    """The wide policies, and the gaps between them and what was used."""
    drafter = Drafter(directions=WAYS)
    draft = drafter.read(batches(path))
    text = wide(drafter)
    return text, gaps(draft, load([("wide.yaml", text)]))


@pytest.mark.parametrize(
    "path", [None, *captures()], ids=lambda path: name(path) if path else "demo"
)
def test_cilium_decides_between_policies_and_drop_in_as_the_gap_says(
    path: Path | None, oracle: Oracle, report: Callable[[str], None]
) -> None:
    text, told = found(path)
    if not told.gaps:
        return
    used = [one for one, said in questions(told.draft) if said == "allowed"]
    narrow = told.draft.text
    for of, policies in (("policies", text), ("drop-ins", narrow)):
        judged = oracle.ask(policies, used)
        assert (judged.rejected, judged.unknown) == ((), ())
        assert {one.verdict for one in judged.answers} <= {"allowed"}
        for _ in used:
            report(f"used and allowed by {of}")
    for gap in told.gaps:
        assert gap.proof.failing == ()
        assert gap.refused == ()
        for what, changes, verdicts in (
            (
                "never used: allowed before, denied by the drop-in",
                gap.beside,
                ("allowed", "denied"),
            ),
            ("never used: denied before, allowed by the drop-in", gap.wider, ("denied", "allowed")),
        ):
            asked: list[Asked] = examples(changes, "")
            for policies, verdict in zip((text, gap.document.text), verdicts, strict=True):
                for one, answer in zip(asked, oracle.ask(policies, asked).answers, strict=True):
                    assert answer.verdict == verdict, (what, one, policies)
            for _ in asked:
                report(what)


def test_the_api_server_takes_every_drop_in(api: ControlPlane) -> None:
    judged = Judged()
    judge = Judge(api)
    for path in [None, *captures()]:
        _, told = found(path)
        for gap in told.gaps:
            text = gap.document.text
            assert judge.add(judged, text, text) == "taken there and taken here", (path, text)
    print(f"\ndrop-ins at the API server: {judged}")
    assert judged.counts["taken there and taken here"] > 50
