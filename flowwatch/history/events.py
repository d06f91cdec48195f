"""What a batch tells beside its flows, as rows and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flowwatch.flows.model import Batch, Gap, LostEvents, NodeStatus, Unread
from flowwatch.history.arrow import Arrow, array, schema
from flowwatch.history.columns import EVENTS
from flowwatch.text import plural

LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Event:
    """One row of :data:`EVENTS`, which has the meanings."""

    recorded: int
    run: str
    sequence: int
    server: str
    what: str
    name: str = ""
    nodes: tuple[str, ...] = ()
    text: str = ""
    count: int = 0
    since: int = 0
    until: int = 0
    at: int = 0


@dataclass(slots=True)
class Place:
    """Where in a run a batch stands."""

    recorded: int
    run: str
    sequence: int
    server: str = ""
    made: list[Event] = field(default_factory=list)

    def tell(self, what: str, **values: Any) -> None:
        """Add an event."""
        self.made.append(Event(self.recorded, self.run, self.sequence, self.server, what, **values))


_COUNTED = {
    "skipped": "skipped",
    "odd": "odd",
    "unwrapped": "unwrapped",
    "not_recorded": "not_recorded",
}
"""Events that count something by its name, and where a batch has it."""


def events_of(batch: Batch, place: Place) -> list[Event]:
    """What ``batch`` tells beside its flows; nodes' lateness apart, which comes ten times a second."""
    for lost in batch.lost:
        place.tell(
            "lost",
            name=lost.source,
            nodes=(lost.node,),
            count=min(lost.count, LARGEST),
            since=lost.first,
            until=lost.last,
            at=lost.time,
        )
    for one in batch.nodes:
        place.tell("node", name=one.state, nodes=one.nodes, text=one.message, at=one.since)
    for gap in batch.gaps:
        place.tell(
            "gap", nodes=gap.nodes, name=gap.origin, text=gap.why, since=gap.start, until=gap.end
        )
    for what, attribute in _COUNTED.items():
        for name, count in getattr(batch, attribute).items():
            place.tell(what, name=name, count=count)
    for unread in batch.unread:
        place.tell("unread", name=unread.why, count=unread.number)
    if batch.more:
        place.tell("split", count=batch.more)
    for note in batch.notes:
        place.tell("note", text=note)
    _by_node(place, "aside", batch.set_aside)
    if batch.failed:
        place.tell("failed", text=batch.failed)
    return place.made


def late(found: Mapping[str, int], place: Place) -> list[Event]:
    """How late nodes' records come, all that is known by now."""
    _by_node(place, "late", found)
    return place.made


def _by_node(place: Place, what: str, found: Mapping[str, int] | None) -> None:
    if found is None:
        return
    for node, count in found.items():
        place.tell(what, nodes=(node,), count=count)
    if not found:
        place.tell(what)


def add_to(batch: Batch, events: Iterable[Event]) -> None:
    """Tell in ``batch`` what these events say."""
    for one in events:
        match one.what:
            case "lost":
                node = one.nodes[0] if one.nodes else ""
                batch.lost.append(
                    LostEvents(one.name, one.count, node, one.at, one.since, one.until)
                )
            case "node":
                batch.nodes.append(NodeStatus(one.name, one.nodes, one.text, one.at))
            case "gap":
                batch.gaps.append(Gap(one.since, one.until, one.text, one.nodes, one.name))
            case "skipped" | "odd" | "unwrapped" | "not_recorded":
                counted = getattr(batch, _COUNTED[one.what])
                counted[one.name] = counted.get(one.name, 0) + one.count
            case "unread":
                batch.unread.append(Unread(one.count, one.name, b""))
            case "split":
                batch.more += one.count
            case "note":
                batch.notes.append(one.text)
            case "failed":
                batch.failed = one.text
            case "aside":
                batch.set_aside = {**(batch.set_aside or {}), **_counts(one)}
            case "deleted" if one.name == "forgotten":
                batch.notes.append(forgotten(one))
            case "late":
                batch.late = {**(batch.late or {}), **_counts(one)}
            case _:
                # How the run went: told by `flowwatch history info`.
                pass


def forgotten(one: Event) -> str:
    """That records were deleted, which ``one`` tells."""
    were = "was" if one.count == 1 else "were"
    return f"{plural(one.count, 'record')} {one.text} {were} deleted from the history"


def _counts(one: Event) -> dict[str, int]:
    return dict.fromkeys(one.nodes, one.count)


def events_table(pa: Arrow, events: list[Event]) -> Arrow:
    """``events`` as a table of :data:`EVENTS`."""
    made = {}
    for column in EVENTS:
        values = [getattr(one, column.name) for one in events]
        if column.kind == "time":
            values = [value or None for value in values]
        made[column.name] = array(pa, values, column.kind)
    return pa.table(made, schema=schema(pa, EVENTS))


def read_events(table: Arrow) -> Iterator[Event]:
    """The events of a table."""
    columns = []
    for column in EVENTS:
        found = table.column(column.name)
        values = (found.cast("int64") if column.kind == "time" else found).to_pylist()
        if column.kind == "time":
            values = [value or 0 for value in values]
        columns.append(values)
    for row in zip(*columns, strict=True):
        values = dict(zip([one.name for one in EVENTS], row, strict=True))
        values["nodes"] = tuple(values["nodes"])
        yield Event(**values)
