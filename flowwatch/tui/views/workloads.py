"""Workloads: what each one's attempts came to, whatever they went to."""

from __future__ import annotations

from flowwatch.egress.folding import By, fold
from flowwatch.egress.rows import Row, Snapshot
from flowwatch.report.summary_table import policy_text, reason_text, worst
from flowwatch.text import safe
from flowwatch.tui.desk import Desk
from flowwatch.tui.parts.grouped import GroupedAnswer, grouped
from flowwatch.tui.parts.groups import filter_of, name_of, number, state_text
from flowwatch.tui.parts.listing import Item, Listed, ListView, head, table, titles_of

COLUMNS = (
    head("DROPPED", 7, number=True, role="drop", words="attempts that were dropped or refused"),
    head("FORWARDED", 9, 1, number=True, role="ok", words="attempts that were let through"),
    head("PODS", 4, 3, number=True, words="pods of the workload that were seen"),
    head("TO", 4, 2, number=True, words="destinations (or, in ingress, clients)"),
    head("STATE", 16, 4, role="dim", words="what became of its latest attempts, and since when"),
    head("WORKLOAD", 20, good=24, most=60, words="namespace and workload; else the pod, or what it is"),
    head("WHY", 16, 2, good=20, role="drop", words="what blocked the row with the most drops"),
)  # fmt: skip


def _made(snapshot: Snapshot) -> list[tuple[Row, int, str]]:
    """Each workload's rows as one, with how many destinations it has, and why it is blocked."""
    edges = fold(snapshot.rows, By("workload", "", True, True))
    reached: dict[str, int] = {}
    why: dict[str, str] = {}
    for row in edges:
        name = name_of(row)
        reached[name] = reached.get(name, 0) + 1
        if row.blocked:
            # The most dropped come first.
            why.setdefault(name, policy_text(row) or reason_text(row))
    folded = fold(snapshot.rows, By("workload", "", False, False))
    return [(row, reached.get(name_of(row), 0), why.get(name_of(row), "")) for row in folded]


def _listed(desk: Desk, value: GroupedAnswer, columns: int) -> Listed:
    items = [
        Item(
            f"{row.direction} {row.cluster} {name_of(row)}",
            (
                number(row.blocked),
                number(row.forwarded),
                number(row.pods),
                number(reached),
                state_text(row),
                safe(name_of(row)),
                safe(why),
            ),
            worst(row),
            filter_of("pod", name_of(row)),
        )
        for row, reached, why in value.made
    ]
    return table(COLUMNS, items, value.snapshot, columns, desk.look.signs)


WORKLOADS = ListView(
    name="workloads",
    words="what each workload's attempts came to, the most dropped first",
    number=2,
    tab="Workloads",
    tab_short="Work",
    question=grouped(_made),
    listed=_listed,
    sorts=titles_of(COLUMNS),
    headings={f"{one.title} (Work)": one.words for one in COLUMNS if one.title == "WORKLOAD"},
)
