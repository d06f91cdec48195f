"""The editor of a draft: the drawing, the policy beside or below it, the proof under both."""

from __future__ import annotations

import contextlib
import difflib
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Container

from flowwatch.errors import OutputError
from flowwatch.output import open_output
from flowwatch.text import plural, safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.format import Line
from flowwatch.tui.parts.lines import Lines
from flowwatch.tui.parts.panel import Panel
from flowwatch.tui.take_away import copy_text
from flowwatch.tui.view import Body, View

if TYPE_CHECKING:
    from flowwatch.drafts.editing import Sheet

_SIDE = 110
"""Columns from which on the policy stands beside the drawing."""
_FOOT = 3
"""Lines under both: evidence, choices, proof."""


class Bench(Body):
    """The body of the editor."""

    COVERS = True
    FIRST = ("draft_take", "draft_name", "draft_ports", "draft_undo", "draft_save", "draft_copy")
    DEFAULT_CSS = "Bench #upper { height: 1fr; width: 1fr; } Bench #drawing { height: 1fr; }"

    def __init__(self, view: View, desk: Desk) -> None:
        super().__init__(view, desk)
        self.upper = Container(id="upper")
        self.drawing = Panel(id="drawing")
        self.policy = Panel()
        self.foot = Lines()
        self._cursor: dict[int, int] = {}
        row = desk.seen.selected
        self._wanted = (row.namespace, row.workload or row.pod) if row is not None else ("", "")
        """Of the row that was selected where the editor was opened."""
        self._chosen_number: int | None = None
        self._compare = False
        self._saved: dict[int, str] = {}
        """By sheet, the file that it was saved to."""
        self._asked = ""
        """The file that is there already, and was asked about."""

    def compose(self) -> ComposeResult:
        with self.upper:
            yield self.drawing
            yield self.policy
        yield self.foot

    @property
    def parts(self) -> tuple[Lines, ...]:
        return (self.drawing, self.policy, self.foot)

    def on_mount(self) -> None:
        drafting = self.desk.drafting
        if drafting is not None:
            drafting.begin(self._all_read)

    def _all_read(self) -> None:
        """Called in the reader's thread; the dashboard may be gone by then."""
        with contextlib.suppress(RuntimeError):
            self.desk.from_beside(self.desk.refresh_view)

    @property
    def _number(self) -> int:
        """Which of the policies is seen: at first that of the selected row, else the busiest."""
        drafting = self.desk.drafting
        editing = drafting.editing if drafting is not None else None
        if self._chosen_number is None and editing is not None and editing.sheets:
            self._chosen_number = editing.first(*self._wanted)
        return self._chosen_number or 0

    @property
    def sheet(self) -> Sheet | None:
        """The policy that is edited; None while all is still read, or where there is nothing."""
        drafting = self.desk.drafting
        editing = drafting.editing if drafting is not None else None
        if editing is None or not editing.sheets:
            return None
        return editing.sheets[self._number]

    @property
    def cursor(self) -> int:
        """The row that choices are about."""
        return self._cursor.get(self._number, self._first())

    def _first(self) -> int:
        """Where it goes to is what most policies are about."""
        rows = self.sheet.rows if self.sheet is not None else ()
        return next((at for at, row in enumerate(rows) if row.direction == "egress"), 0)

    def lay_out(self, columns: int, lines: int, banner: bool) -> None:
        side = columns >= _SIDE
        self.upper.styles.layout = "horizontal" if side else "vertical"
        self.policy.side = side
        self.policy.styles.width = columns * 2 // 5 if side else "1fr"
        rows = len(self.sheet.rows) if self.sheet is not None else 6
        self.drawing.styles.height = "1fr" if side else min(max(rows + 2, 7), (lines - _FOOT) // 2)
        self.policy.styles.height = "1fr"
        self.foot.styles.height = _FOOT

    def on_resize(self, event: events.Resize) -> None:
        self.repaint()

    def repaint(self) -> None:
        columns, height = self.drawing.size
        sheet = self.sheet
        keys = self.desk.look.keys
        if columns <= 0 or height <= 1:
            return
        if sheet is None:
            self.drawing.fill_with("Draft", keys.told("{back} closes"), self._waiting())
            self.policy.fill_with("policy", "", [])
            return
        from flowwatch.tui.parts import drawing

        look, cursor = self.desk.look, self.cursor
        note = (
            f"{self._number + 1} of {self._sheets}  {keys['draft_next']}: next"
            if self._sheets > 1
            else keys.told("{back} closes")
        )
        body = drawing.board(sheet, cursor, columns, height - 1, look)
        self.drawing.fill_with(f"Draft for {safe(str(sheet.plan.owner))}", note, body)
        if self._compare:
            self.policy.fill_with(
                "against what is in force",
                keys.told("{draft_compare}: policy"),
                self._changes(sheet),
            )
        else:
            wide = max(self.policy.size.width - int(self.policy.side), 1)
            lines, first = drawing.policy(sheet, cursor, wide, look)
            name = os.path.basename(self._path(sheet))
            self.policy.fill_with(f"policy {safe(name)}", "", lines)
            if first >= 0:
                self.policy.bring(first)
        wide = self.foot.size.width
        self.foot.show(
            [*drawing.about(sheet, cursor, wide, keys), drawing.proof(sheet, wide, look)]
        )

    def _waiting(self) -> list[Line]:
        drafting = self.desk.drafting
        if drafting is not None and drafting.failure is not None:
            return [((f" {drafting.failure}", "warn"),)]
        if drafting is not None and drafting.done:
            return [((" no evidence: nothing that was seen teaches what is needed", "warn"),)]
        return [((" reading what was seen ...", "dim"),)]

    @property
    def _sheets(self) -> int:
        drafting = self.desk.drafting
        return len(drafting.editing.sheets) if drafting is not None and drafting.editing else 0

    # What keys do -----------------------------------------------------------------------------

    def move(self, step: Callable[[int], int], *, panel: bool = False) -> None:
        if self.sheet is None:
            return
        if panel:
            self.policy.scroll_lines(step(self.policy.page))
            return
        last = len(self.sheet.rows) - 1
        self._cursor[self._number] = max(0, min(self.cursor + step(self.drawing.page), last))
        self.repaint()

    def move_to_end(self, *, first: bool) -> None:
        if self.sheet is not None:
            self._cursor[self._number] = 0 if first else len(self.sheet.rows) - 1
            self.repaint()

    def across(self) -> None:
        """To the other side of the drawing: what comes in, or where it goes."""
        if self.sheet is not None:
            rows = self.sheet.rows
            here = rows[self.cursor].direction
            self._cursor[self._number] = next(
                (at for at, row in enumerate(rows) if row.direction != here), self.cursor
            )
            self.repaint()

    def next_sheet(self) -> None:
        """The next workload."""
        if self._sheets:
            self._chosen_number = (self._number + 1) % self._sheets
            self.desk.refresh_view()

    def choose(self, how: Callable[[Sheet, int], None]) -> None:
        """Choose something about the row under the cursor."""
        if self.sheet is None:
            return
        by_hand = bool(self.sheet.state.hand)
        how(self.sheet, self.cursor)
        if by_hand:
            self.desk.say("made of the rows again: u brings back what was edited by hand", "warn")
        self.repaint()

    def undo(self) -> None:
        """Take back the last choice."""
        if self.sheet is not None and not self.sheet.undo():
            self.desk.say("nothing to undo", "warn", 2.0)
        self.repaint()

    def compare(self) -> None:
        """Show what would change against the policies in force, or the policy again."""
        if self.sheet is None:
            return
        if self.desk.drafting is None or self.desk.drafting.in_force is None:
            self.desk.say("no policies were given: start with flowwatch --policies FILE", "warn")
            return
        self._compare = not self._compare
        self.repaint()

    def _changes(self, sheet: Sheet) -> list[Line]:
        from flowwatch.drafts.editing import allows

        drafting = self.desk.drafting
        if drafting is None or drafting.in_force is None:
            return []
        lines: list[Line] = []
        for row, choice in zip(sheet.rows, sheet.state.choices, strict=True):
            before, after = allows(drafting.in_force, row), allows(sheet.policies, row)
            name = safe(row.named(choice).text)
            if before != after:
                sign, role = ("+", "ok") if after else ("-", "drop")
                was = "denied now, let through" if after else "let through now, denied"
                lines.append(((f" {sign} {name}: {was} by this", role),))
        return lines or [((" decides all that was seen as what is in force does", "dim"),)]

    # Where it goes ----------------------------------------------------------------------------

    def _path(self, sheet: Sheet) -> str:
        drafting = self.desk.drafting
        wanted = drafting.path if drafting is not None and self._sheets == 1 else ""
        return (
            self._saved.get(self._number)
            or wanted
            or str(self.desk.options.export_dir / sheet.file)
        )

    def save(self, path: str = "") -> bool:
        sheet = self.sheet
        if sheet is None or not sheet.text:
            self.desk.say("nothing is chosen: no policy to save", "warn")
            return True
        target = (
            str(self.desk.options.export_dir / os.path.expanduser(path))
            if path
            else self._path(sheet)
        )
        known = target in (self._saved.get(self._number), self._asked)
        if os.path.exists(target) and not known:
            self._asked = target
            self.desk.say(f"{safe(target)} is there: once more writes over it", "warn")
            return True
        try:
            with open_output(target, "yaml") as out:
                out.write(sheet.text)
        except OutputError as error:
            self.desk.say(str(error), "drop", 10.0)
            return True
        self._saved[self._number] = target
        self.desk.say(
            f"saved to {safe(target)}; {self.desk.look.keys['draft_copy']} copies the kubectl command"
        )
        self.repaint()
        return True

    def copy_command(self) -> None:
        """Copy the command by which the API server says what it thinks of the policy."""
        sheet = self.sheet
        if sheet is None:
            return
        if self._number not in self._saved:
            self.desk.say("save it first: s", "warn")
            return
        words = ("kubectl", "apply", "--dry-run=server", "-f", self._saved[self._number])
        copy_text(self.desk, shlex.join(words), "command")

    def edit_by_hand(self) -> None:
        """The policy in $EDITOR; the rows follow."""
        sheet = self.sheet
        if sheet is None:
            return
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        with tempfile.TemporaryDirectory(prefix="flowwatch-") as folder:
            path = Path(folder) / sheet.file
            path.write_text(sheet.text, encoding="utf-8")
            try:
                with self.desk.away():
                    code = subprocess.run([*shlex.split(editor), str(path)], check=False).returncode
                text = path.read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                self.desk.say(f"can't edit with {safe(editor)}: {safe(str(error))}", "drop", 10.0)
                return
        changed = sum(
            line[:1] in "+-"
            for line in list(difflib.ndiff(sheet.text.splitlines(), text.splitlines()))
        )
        if code:
            self.desk.say(f"{safe(editor)} ended with {code}: left as it was", "warn")
        elif why := sheet.edit_by_hand(text):
            self.desk.say(f"left as it was: {safe(why)}", "drop", 10.0)
        else:
            self.desk.say(f"{plural(changed, 'line')} changed by hand; u undoes")
        self.repaint()
