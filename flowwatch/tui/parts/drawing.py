"""How a draft is drawn: what comes in, the workload, where it goes; and its policy, coloured by row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from flowwatch.report.human import width
from flowwatch.text import plural, safe
from flowwatch.tui.format import Line, Piece, cut, fit
from flowwatch.tui.named import KeyNames
from flowwatch.tui.theme import CURSOR, Look

if TYPE_CHECKING:
    from flowwatch.drafts.editing import Choice, Row, Sheet
    from flowwatch.drafts.rules import Port, Rule, Target

_MIDDLE = 22
"""Columns of the workload, at most."""
_PORTS = 3
"""Ports of a row that are written out."""


def port_words(ports: Sequence[Port]) -> str:
    """Ports as a row has them: ``443 53/udp ping``."""
    words = [
        f"{one.number}" if one.protocol == "TCP" else f"{one.number}/{one.protocol.lower()}"
        for one in ports[:_PORTS]
    ]
    more = len(ports) - _PORTS
    return " ".join([*words, f"+{more}"] if more > 0 else words)


def board(sheet: Sheet, cursor: int, columns: int, height: int, look: Look) -> list[Line]:
    """Left what comes in, right where it goes, each peer a row; the workload between them."""
    both = ("ingress", "egress")
    ways = [[at for at, row in enumerate(sheet.rows) if row.direction == way] for way in both]
    middle = _workload(sheet, look)
    wide = max(width(text) for text in middle)
    room = columns - wide - 6
    narrow = min(10, room // 4)
    left = narrow if not ways[0] else room - narrow if not ways[1] else room * 2 // 5
    right = room - left
    lines: list[Line] = [
        (
            (fit(" COMES IN", left), "head"),
            (" " * (wide + 6), "text"),
            (fit(" GOES TO", right), "head"),
        )
    ]
    windows = [_window(of, cursor, height - 1) for of in ways]
    at_middle = max((min(height - 1, max(len(windows[0]), len(windows[1]))) - len(middle)) // 2, 0)
    for y in range(height - 1):
        mid = middle[y - at_middle] if 0 <= y - at_middle < len(middle) else " " * wide
        arrows = [f" {look.signs.to} " if y < len(of) else "   " for of in windows]
        cells = [
            _cell(sheet, windows[side], y, cursor, (left, right)[side], look) for side in (0, 1)
        ]
        if y == 0 and not ways[0]:
            cells[0] = (fit(" nothing", left), "dim")
        if y == 0 and not ways[1]:
            cells[1] = (fit(" nothing", right), "dim")
        lines.append(
            (cells[0], (arrows[0], "dim"), (fit(mid, wide), "strong"), (arrows[1], "dim"), cells[1])
        )
    return [cut(line, columns) for line in lines]


def _workload(sheet: Sheet, look: Look) -> list[str]:
    owner = sheet.plan.owner
    pods = plural(len(sheet.plan.owned.pods), "pod")
    inside = [safe(owner.name or "all pods"), safe(owner.namespace), pods]
    wide = min(max(width(text) for text in inside), _MIDDLE)
    edge, rule = look.signs.edge, look.signs.rule
    bar = f"+{rule * (wide + 2)}+"
    return [bar, *(f"{edge} {fit(text, wide)} {edge}" for text in inside), bar]


def _window(of: list[int], cursor: int, height: int) -> list[int]:
    """Those of a column that are on the screen: the cursor's is."""
    place = of.index(cursor) if cursor in of else 0
    top = min(max(place - height // 2, 0), max(len(of) - height, 0))
    return of[top : top + height]


def _cell(sheet: Sheet, of: list[int], y: int, cursor: int, columns: int, look: Look) -> Piece:
    if y >= len(of):
        return (" " * columns, "text")
    row, choice = sheet.rows[of[y]], sheet.choice(of[y])
    ports = "any port" if choice.any_port else port_words(row.ports)
    told = f" {ports} {row.attempts:,}×"
    sign = look.signs.cursor if of[y] == cursor else " "
    name = safe(row.named(choice).text)
    head = f"{sign}[{'x' if choice.on else ' '}] "
    room = columns - width(head) - width(told)
    if room < 8:
        told, room = "", columns - width(head)
    role = role_of(row, choice)
    return (
        fit(f"{head}{fit(name, room)}{told}", columns),
        f"{CURSOR}{role}" if of[y] == cursor else role,
    )


def role_of(row: Row, choice: Choice) -> str:
    """In which role a row is written: let through, taken in though dropped, dropped, left out."""
    if choice.on:
        return "warn" if row.dropped else "ok"
    return "drop" if row.dropped else "dim"


def about(sheet: Sheet, cursor: int, columns: int, keys: KeyNames) -> list[Line]:
    """The row under the cursor: its evidence, and what can be chosen."""
    row, choice = sheet.rows[cursor], sheet.choice(cursor)
    state = "dropped by a policy" if row.dropped else "let through"
    names = " | ".join(
        f"[{safe(target.text)}]"
        if naming == choice.naming and len(row.ways) > 1
        else safe(target.text)
        for naming, target in row.ways
    )
    ports = port_words(row.ports)
    any_port = f"{ports} | [any]" if choice.any_port else f"[{ports}] | any"
    need = "[needed] | left out" if choice.on else "needed | [left out]"
    return [
        cut(((f" {state}: {safe(row.words)}", "text"),), columns),
        cut(
            (
                (f" {keys['draft_take']} ", "accent"), (need, "text"),
                (f"  {keys['draft_ports']} ", "accent"), (any_port, "text"),
                (f"  {keys['draft_name']} ", "accent"), (names, "text"),
            ),
            columns,
        ),
    ]  # fmt: skip


def proof(sheet: Sheet, columns: int, look: Look) -> Line:
    """What the policy decides about all that was seen."""
    proof = sheet.proof
    if not sheet.text:
        return cut(((" nothing is chosen: no policy", "warn"),), columns)
    bad = bool(proof.failing) or proof.allowed < proof.needed
    sign, role = (look.signs.dropped, "drop") if bad else (look.signs.forwarded, "ok")
    hand = " (edited by hand)" if sheet.state.hand else ""
    took = "; Cilium takes it" if not sheet.policies.documents.rejected else "; Cilium refuses it"
    return cut(((f" {sign} ", role), (f"{safe(proof.words)}{took}{hand}", "text")), columns)


# The policy ------------------------------------------------------------------------------------


def policy(sheet: Sheet, cursor: int, columns: int, look: Look) -> tuple[list[Line], int]:
    """The policy's lines, coloured by row; and the first that is of the row under the cursor, or -1."""
    lines: list[Line] = []
    first = -1
    text = sheet.text.splitlines()
    rules: Sequence[Rule | None] = (
        [None] * len(text) if sheet.state.hand else list(_rules(sheet, text))
    )
    rows = {id(rule): list(sheet.rows_of(rule)) for rule in rules if rule is not None}
    for number, (line, rule) in enumerate(zip(text, rules, strict=True)):
        of = rows[id(rule)] if rule is not None else []
        own = [at for at in of if _names(line, sheet.rows[at].named(sheet.choice(at)))] or of
        here = cursor in own and (len(own) < len(of) or len(of) == 1)
        if here and first < 0:
            first = number
        told = own and any(sheet.rows[at].dropped for at in own)
        role = (
            "dim" if line.lstrip().startswith("#") else "warn" if told else "ok" if own else "text"
        )
        sign = look.signs.cursor if here else " "
        lines.append(cut(((sign, "strong"), (safe(line), "strong" if here else role)), columns))
    return lines, first


def _names(line: str, target: Target) -> bool:
    """Whether a line is about one target alone."""
    return target.text in line or any(
        line.endswith(f" {value}") for _, value in target.selected.labels
    )


def _rules(sheet: Sheet, text: Sequence[str]) -> Iterator[Rule | None]:
    """For each line the rule that it is of."""
    rules: Iterator[Rule] = iter(())
    rule: Rule | None = None
    inside = comment = False
    for line in text:
        if line.startswith(("  egress:", "  ingress:")):
            way = line.strip().partition(":")[0]
            rules = iter([one for one in sheet.written_rules if one.direction == way])
            inside, rule, comment = True, None, False
        elif not line.startswith("    "):
            inside, rule = False, None
        elif inside:
            is_comment = line.startswith("    #")
            if (is_comment and not comment) or (line.startswith("    - ") and not comment):
                rule = next(rules, None)
            comment = is_comment
        yield rule
