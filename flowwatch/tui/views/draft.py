"""The editor: a policy drafted from what was seen, decided on row by row, and proven at each key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowwatch.tui.desk import Desk
from flowwatch.tui.keys import OPENING, Key
from flowwatch.tui.parts.bench import Bench
from flowwatch.tui.view import Body, View

if TYPE_CHECKING:
    from flowwatch.drafts.editing import Sheet


@dataclass(frozen=True, kw_only=True)
class DraftView(View):
    """The view of a draft."""

    def body(self, desk: Desk) -> Body:
        return Bench(self, desk)


def _on(act: Callable[[Bench], object]) -> Callable[[Desk], None]:
    """An action of the editor: its keys act only where it is seen."""

    def action(desk: Desk) -> None:
        if isinstance(desk.seen, Bench):
            act(desk.seen)

    return action


def _choosing(how: Callable[[Sheet, int], None]) -> Callable[[Desk], None]:
    return _on(lambda bench: bench.choose(how))


def _refusal(desk: Desk) -> str:
    if desk.drafting is None:
        hidden = desk.options.private
        return "a draft is about names that are hidden" if hidden else "nothing can be drafted here"
    return desk.drafting.refusal


DRAFT = DraftView(
    name="draft",
    words="a policy of what was seen, to be decided on row by row",
    key=OPENING["draft"],
    refusal=_refusal,
    ways="both",
    keys={
        Key("draft_take", (" ",), "need this peer, or leave it out", "need", "draft"): (
            _choosing(lambda sheet, row: sheet.toggle(row))
        ),
        Key(
            "draft_name",
            ("a",),
            "name the peer otherwise: this name or *.name, these labels or the namespace, the address "
            "behind a name, or its block",
            "named",
            "draft",
        ): _choosing(lambda sheet, row: sheet.rename(row)),
        Key("draft_ports", ("o",), "these ports, or any", "ports", "draft"): (
            _choosing(lambda sheet, row: sheet.open_ports(row))
        ),
        Key("draft_undo", ("u",), "undo", "undo", "draft"): _on(lambda bench: bench.undo()),
        Key("draft_save", ("s",), "save the policy", "save", "draft"): _on(
            lambda bench: bench.save()
        ),
        Key("draft_save_as", ("S",), "save it as another file", "", "draft"): (
            lambda desk: desk.edit(":", "save ")
        ),
        Key(
            "draft_copy",
            ("c",),
            "copy the kubectl command by which the API server tries what was saved",
            "kubectl",
            "draft",
        ): _on(lambda bench: bench.copy_command()),
        Key(
            "draft_compare",
            ("f",),
            "what changes against the policies in force, or the policy again",
            "",
            "draft",
        ): _on(lambda bench: bench.compare()),
        Key("draft_hand", ("E",), "edit the policy by hand, in $EDITOR", "edit", "draft"): _on(
            lambda bench: bench.edit_by_hand()
        ),
        Key("draft_across", ("h", "l", "left", "right"), "to the other side", "", "draft"): _on(
            lambda bench: bench.across()
        ),
        Key("draft_next", ("n",), "the next workload", "", "draft"): _on(
            lambda bench: bench.next_sheet()
        ),
        Key("draft_down", ("J", "shift+down"), "scroll the policy down", "", "draft"): _on(
            lambda bench: bench.move(lambda page: 1, panel=True)
        ),
        Key("draft_up", ("K", "shift+up"), "scroll the policy up", "", "draft"): _on(
            lambda bench: bench.move(lambda page: -1, panel=True)
        ),
    },
    help=(
        "The draft is made of what the server still has, or of the files, read anew when it is opened. "
        "What was let through is checked; what was dropped isn't, until you need it.",
    ),
)
