"""Destinations: who talks to this, and who would like to."""

from __future__ import annotations

from flowwatch.egress.folding import EVERYONE, By, fold
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.report.summary_table import peer_text, worst
from flowwatch.text import safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.parts.grouped import GroupedAnswer, grouped
from flowwatch.tui.parts.groups import filter_of, name_of, number
from flowwatch.tui.parts.listing import Item, Listed, ListView, head, table, titles_of

COLUMNS = (
    head("DROPPED", 7, number=True, role="drop", words="attempts that were dropped or refused"),
    head("FORWARDED", 9, 1, number=True, role="ok", words="attempts that were let through"),
    head("FROM", 4, 3, number=True, words="workloads that talk to it, or try"),
    head("DESTINATION", 20, good=26, most=60, words="the other end, with its port"),
    head("KIND", 7, 4, role="dim", words="what it is: dns, service, pod, entity, address"),
    head(
        "WHO TALKS TO IT", 24, 1, good=28, words="the workloads, the most dropped first; `✗` before those of "
        "which something was dropped",
    ),
)  # fmt: skip

_Reached = tuple[str, str, str, int, str]


def _key(row: Row) -> _Reached:
    return (row.direction, row.peer_kind, row.peer, row.port, row.protocol)


def _made(snapshot: Snapshot) -> list[tuple[Row, list[Row]]]:
    """Each destination's rows as one, and those of the workloads that talk to it."""
    clients: dict[_Reached, list[Row]] = {}
    for row in fold(snapshot.rows, By("workload", "", True, True)):
        clients.setdefault(_key(row), []).append(row)
    return [(row, clients.get(_key(row), [])) for row in fold(snapshot.rows, EVERYONE)]


def _listed(desk: Desk, value: GroupedAnswer, columns: int) -> Listed:
    signs = desk.look.signs
    items = []
    for row, clients in value.made:
        names = [f"{signs.dropped if one.blocked else ''}{safe(name_of(one))}" for one in clients]
        narrow = filter_of("to", row.peer)
        if row.port and not row.protocol.startswith("ICMP"):
            narrow += f" port:{row.port}/{row.protocol.lower()}"
        items.append(
            Item(
                " ".join(map(str, (*_key(row), row.cluster))),
                (
                    number(row.blocked),
                    number(row.forwarded),
                    number(len(clients)),
                    peer_text(row),
                    row.peer_kind,
                    ", ".join(names),
                ),
                worst(row),
                narrow,
            )
        )
    return table(COLUMNS, items, value.snapshot, columns, signs)


DESTINATIONS = ListView(
    name="destinations",
    words="who talks to each destination, or would like to",
    number=3,
    tab="Destinations",
    tab_short="Dest",
    question=grouped(_made),
    listed=_listed,
    sorts=titles_of(COLUMNS),
    headings={"WHO TALKS TO IT": COLUMNS[-1].words},
)
