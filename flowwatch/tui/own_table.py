"""The columns of the table as the user has them, and its order: ``~/.config/flowwatch/table``.

columns = dropped, pod, destination, reason
order = rate
destinations = from reversed

Of a list it has the order, by the view's name, once one was chosen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from flowwatch.egress.query import ORDERS
from flowwatch.errors import UsageError
from flowwatch.text import safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.own import Entry, entries, meant, short
from flowwatch.tui.parts.columns import COLUMNS
from flowwatch.tui.parts.sorting import Orders, Sorted, read_order

NAMES = {column.title.lower().partition("/")[0]: column.name for column in COLUMNS}
"""What columns are called, by their headings; the fields that they show."""

DEFAULT = "default"
_REVERSED = " reversed"
_OF_ROWS = ("columns", "order")


class Arranged(NamedTuple):
    """What is remembered."""

    columns: tuple[str, ...] = ()
    """Fields; none: those that fit."""
    order: str = "drops"
    reverse: bool = False
    lists: Orders = MappingProxyType({})


Lists = Mapping[str, Sequence[str]]
"""By the name of a view that is a list, what its headings are called that can order it."""
_NO_LISTS: Lists = MappingProxyType({})


def read_arranged(path: Path, lists: Lists = _NO_LISTS) -> Arranged:
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
        elif entry.name in lists:
            order_of = read_order(entry.value)
            if order_of.by not in lists[entry.name]:
                hint = meant(order_of.by, lists[entry.name])
                raise entry.wrong(f"no heading '{safe(order_of.by)}' in {entry.name}", hint)
            found = found._replace(lists={**found.lists, entry.name: order_of})
        else:
            known = (*_OF_ROWS, *lists)
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


def sort_list(desk: Desk, name: str, order: Sorted | None) -> None:
    """Have the list of this view in this order (None: its own), in the sessions to come as well."""
    if order is None:
        desk.chosen.sorted.pop(name, None)
        desk.say("in the list's own order", seconds=2.0)
    else:
        desk.chosen.sorted[name] = order
        desk.say(f"sorted by {order}", seconds=2.0)
    path = desk.options.arranged_file
    desk.repaint()
    if path is None:
        return
    try:
        # The columns and the order of rows stay as they were remembered.
        there = {one.name: (read_order(one.value).by,) for one in _of_lists(path)}
        _write(desk, path, known(path, there)._replace(lists=desk.chosen.sorted))
    except UsageError as error:
        desk.say(f"can't remember it: {short(error)}", "warn", 8.0)


def _of_lists(path: Path) -> list[Entry]:
    """The lines of lists in the file, whichever there are."""
    return [one for one in entries(path) if one.name not in _OF_ROWS] if path.exists() else []


def _remember(desk: Desk) -> None:
    query, path = desk.chosen.query, desk.options.arranged_file
    if path is None:
        return
    now = Arranged(desk.chosen.columns, query.order, query.reverse, desk.chosen.sorted)
    if _write(desk, path, now):
        order = Sorted(query.order, query.reverse)
        desk.say(
            f"remembered, with the order by {order} (:columns default takes all back)", seconds=4.0
        )


def _write(desk: Desk, path: Path, now: Arranged) -> bool:
    """Whether it could be remembered; else why not is said."""
    said = [f"columns = {headings(now.columns)}"] if now.columns else []
    said.append(f"order = {Sorted(now.order, now.reverse)}")
    said += [f"{name} = {order}" for name, order in now.lists.items()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.new")
        beside.write_text("".join(f"{line}\n" for line in said), "utf-8")
        beside.replace(path)
    except OSError as error:
        desk.say(f"can't remember them: {safe(str(error))}", "warn", 8.0)
        return False
    return True


def known(path: Path, lists: Lists = _NO_LISTS) -> Arranged:
    """What is remembered; nothing where there is no file. Raises UsageError."""
    return read_arranged(path, lists) if path.exists() else Arranged()
