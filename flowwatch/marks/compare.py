"""Before and after a mark, in equal windows: what was cut, what is new, the same, or gone quiet."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from flowwatch.flows.model import PolicyRef
from flowwatch.flows.reasons import reason
from flowwatch.marks.finding import Mark
from flowwatch.marks.sightings import Edge, How, Pod, Sightings, pairs

Change = Literal["cut", "new", "quiet", "same"]
CHANGES: tuple[Change, ...] = ("cut", "new", "quiet", "same")
"""In the order in which they are told."""


class Window(NamedTuple):
    """From ``start`` until before ``end``; nanoseconds since 1970."""

    start: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1e9


@dataclass(slots=True)
class Side:
    """Attempts of one row on one side of a mark, by outcome."""

    forwarded: int = 0
    dropped: int = 0
    audited: int = 0
    errors: int = 0
    unknown: int = 0
    denied: int = 0
    """Of those dropped: by a policy."""
    answered: int = 0
    """Of those that passed: by the server."""

    @property
    def passed(self) -> int:
        """That no policy kept from passing."""
        return self.forwarded + self.audited

    @property
    def attempts(self) -> int:
        return self.passed + self.dropped + self.errors + self.unknown


_NONE = array("q")
_OUTCOMES = ("forwarded", "dropped", "audited", "errors", "unknown")


@dataclass(slots=True)
class ChangeRow:
    """One workload and destination, before and after one mark."""

    edge: Edge
    mark: int
    """Which one, from 1."""
    before: Side = field(default_factory=Side)
    after: Side = field(default_factory=Side)
    change: Change = "same"
    cause: str = ""
    """Why it is as it is after the mark: the policy that denied or allowed it, or the drop reason."""
    cut_connections: int = 0
    """Connections that worked until they were denied in the middle."""
    lasting: int = 0
    """Connections from before the mark that went on after it."""
    earlier: int = 0
    """Attempts before the first window, since the mark before."""
    later: int = 0
    """Attempts after the second one, until the next mark."""
    selected: bool = False
    """Whether the mark is about policies that select it."""
    pods_cut: int = 0
    """Pods that got through before, and no longer."""
    _reasons: dict[int, int] = field(default_factory=dict)
    _allowed: dict[PolicyRef, None] = field(default_factory=dict)
    _denied: dict[PolicyRef, None] = field(default_factory=dict)
    _told: tuple[int, str] = (0, "")
    _was: Side = field(default_factory=Side)
    _then: Side = field(default_factory=Side)

    @property
    def opened(self) -> bool:
        """Whether it was denied before, and gets through since."""
        return bool(self.change == "new" and self._was.denied)


class Beside(NamedTuple):
    """What lies beside a mark: two windows, equally long, within all there is up to its neighbours."""

    before: Window
    after: Window
    whole: Window

    @classmethod
    def of(cls, marks: Sequence[Mark], first: int, last: int) -> list[Beside]:
        """One for each mark; ``first`` and ``last`` are the times of the first and the last record."""
        edges = [first, *(mark.time for mark in marks), last + 1]
        found = []
        for at, mark in enumerate(marks):
            time, whole = mark.time, Window(edges[at], edges[at + 2])
            length = max(min(time - whole.start, whole.end - time), 0)
            found.append(cls(Window(time - length, time), Window(time, time + length), whole))
        return found


def compare(seen: Sightings, mark: Mark, number: int, beside: Beside) -> list[ChangeRow]:
    """The rows of one mark.

    Counts are of the windows; how a row changed is told by all that there is up to the marks beside:
    what was let through just before the window isn't new.
    """
    rows: dict[Edge, ChangeRow] = {}
    for (pod, edge), hows in seen.times.items():
        moment = mark.pods.get((pod, edge.direction)) or mark.nodes.get(seen.node(pod), mark.time)
        row = rows.get(edge) or ChangeRow(edge, number)
        if _add_pod(row, seen, (pod, edge), hows, moment, beside):
            rows[edge] = row
    for row in rows.values():
        row.selected = (row.edge.direction, row.edge.subject) in mark.selecting
        row.change = _change(row)
        row.cause = _cause(row, mark)
    order = {change: at for at, change in enumerate(CHANGES)}
    return sorted(
        rows.values(),
        key=lambda row: (
            order[row.change],
            not row.selected,
            -max(row.after.dropped, row.cut_connections),
            -row.before.attempts - row.after.attempts,
            row.edge,
        ),
    )


def _add_pod(
    row: ChangeRow,
    seen: Sightings,
    key: tuple[Pod, Edge],
    hows: Mapping[How, array[int]],
    moment: int,
    beside: Beside,
) -> bool:
    """Add what one pod did, whose policies changed at ``moment``; whether it did anything."""
    before, after, whole = beside
    was, then = Side(), Side()
    for how, times in hows.items():
        earlier = _between(times, whole.start, moment)
        later = _between(times, moment, max(whole.end, moment))
        _count(was, how, earlier)
        _count(then, how, later)
        _count(row.before, how, _between(times, before.start, moment))
        _count(row.after, how, _between(times, moment, max(after.end, moment)))
        if later:
            row._reasons[how.reason] = row._reasons.get(how.reason, 0) + later
            named = row._allowed if how.passed else row._denied
            named.update(dict.fromkeys(sorted(how.names or (), key=str)))
    cut = sum(one.first < moment <= one.denied < whole.end for one in seen.cut.get(key, ()))
    lasting = sum(first < moment < last for first, last in pairs(seen.lasting.get(key, _NONE)))
    _add(row._was, was)
    _add(row._then, then)
    row.earlier = row._was.attempts - row.before.attempts
    row.later = row._then.attempts - row.after.attempts
    row._told = max(row._told, seen.told.get(key, row._told))
    row.cut_connections += cut
    row.lasting += lasting
    row.pods_cut += bool(was.passed and not then.passed and (then.denied or cut))
    return bool(was.attempts or then.attempts or cut or lasting)


def _between(times: array[int], start: int, end: int) -> int:
    return sum(start <= time < end for time in times)


def _count(side: Side, how: How, attempts: int) -> None:
    if attempts:
        name = _OUTCOMES[how.outcome]
        setattr(side, name, getattr(side, name) + attempts)
        side.denied += how.denied * attempts
        side.answered += how.answered * attempts


def _add(to: Side, one: Side) -> None:
    for name in (*_OUTCOMES, "denied", "answered"):
        setattr(to, name, getattr(to, name) + getattr(one, name))


def _change(row: ChangeRow) -> Change:
    before, after = row._was, row._then
    if before.passed and (
        row.pods_cut or row.cut_connections or (after.dropped and not after.passed)
    ):
        return "cut"
    if not before.attempts and not row.lasting:
        return "new"
    if before.denied and not before.passed and after.passed:
        return "new"
    if not after.attempts and not row.lasting:
        return "quiet"
    return "same"


def _cause(row: ChangeRow, mark: Mark) -> str:
    """Why it is as it is since: what the policies given say, else what the verdicts name."""
    after = row._then
    if after.denied or row.cut_connections:
        time, told = row._told
        if told and time >= mark.time:
            return told
        if row._denied:
            return f"denied by {_named(row._denied)}"
        here = mark.selecting.get((row.edge.direction, row.edge.subject), ())
        by = "" if row._was.denied else ", ".join(here)
        return f"default deny: {by}" if by else "denied by a policy, no verdict says which"
    if after.dropped:
        number = max(row._reasons.items(), key=lambda one: (one[0] != 0, one[1]))[0]
        return f"dropped: {reason(number).name}"
    if after.passed and row._allowed:
        return f"allowed by {_named(row._allowed)}"
    return "no policy was asked" if row.opened else ""


def _named(policies: dict[PolicyRef, None]) -> str:
    return ", ".join(map(str, policies))
