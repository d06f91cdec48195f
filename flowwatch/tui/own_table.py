"""The columns of the table as the user has them, and its order: ``~/.config/flowwatch/table``.

columns = dropped, pod, destination, reason
order = rate
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from flowwatch.egress.query import ORDERS
from flowwatch.text import safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.own import entries, meant
from flowwatch.tui.parts.columns import COLUMNS

NAMES = {column.title.lower().partition("/")[0]: column.name for column in COLUMNS}
"""What columns are called, by their headings; the fields that they show."""

DEFAULT = "default"
_REVERSED = " reversed"


class Arranged(NamedTuple):
    """What is remembered."""

    columns: tuple[str, ...] = ()
    """Fields; none: those that fit."""
    order: str = "drops"
    reverse: bool = False


def read_arranged(path: Path) -> Arranged:
    """What the file says. Raises UsageError, with the line."""
    found = Arranged()
    for entry in entries(path):
        if entry.name == "columns":
            try:
                found = found._replace(columns=fields(entry.value))
            except ValueError as error:
                raise entry.wrong(str(error)) from None
        elif entry.name == "order":
            order = entry.value.removesuffix(_REVERSED)
            if order not in ORDERS:
                raise entry.wrong(f"no order '{safe(order)}'", meant(order, ORDERS))
            found = found._replace(order=order, reverse=entry.value.endswith(_REVERSED))
        else:
            known = ("columns", "order")
            raise entry.wrong(f"nothing is called '{safe(entry.name)}'", meant(entry.name, known))
    return found


def fields(text: str) -> tuple[str, ...]:
    """The fields of columns by their headings: ``dropped, pod, reason``. Raises ValueError in a safe line."""
    found = []
    for word in re.split(r"[,\s]+", text.strip().lower()):
        name = NAMES.get(word)
        if name is None:
            raise ValueError(f"no column '{safe(word)}': {meant(word, NAMES)}")
        if name not in found:
            found.append(name)
    return tuple(found)


def headings(columns: Sequence[str]) -> str:
    """Fields by their headings, as they are typed."""
    by_field = {field: name for name, field in NAMES.items()}
    return ", ".join([by_field[column] for column in columns])


def arrange(desk: Desk, text: str) -> None:
    """Show these columns from now on, and in the sessions to come; none: say which there are."""
    if not text:
        shown = headings(desk.chosen.columns) or "those that fit"
        desk.say(f"columns: {shown}; there are {', '.join(NAMES)}", seconds=10.0)
        return
    try:
        desk.chosen.columns = () if text == DEFAULT else fields(text)
    except ValueError as error:
        desk.say(str(error), "warn", 8.0)
        return
    desk.repaint()
    _remember(desk)


def _remember(desk: Desk) -> None:
    query, path = desk.chosen.query, desk.options.arranged_file
    order = query.order + (_REVERSED if query.reverse else "")
    if path is None:
        return
    said = [f"columns = {headings(desk.chosen.columns)}"] if desk.chosen.columns else []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.new")
        beside.write_text("".join(f"{line}\n" for line in [*said, f"order = {order}"]), "utf-8")
        beside.replace(path)
    except OSError as error:
        desk.say(f"can't remember them: {safe(str(error))}", "warn", 8.0)
        return
    desk.say(
        f"remembered, with the order by {order} (:columns default takes all back)", seconds=4.0
    )


def known(path: Path) -> Arranged:
    """What is remembered; nothing where there is no file. Raises UsageError."""
    return read_arranged(path) if path.exists() else Arranged()
