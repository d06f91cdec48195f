"""Asks a history's attempts a question, and tells with the answer what it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flowwatch.errors import InputError, UsageError
from flowwatch.flows.model import Gap
from flowwatch.history.attempts.columns import ATTEMPTS, MINUTE, MINUTES
from flowwatch.history.attempts.engines import ENGINES, Engine, answer, load_ibis
from flowwatch.history.attempts.made import (
    Files,
    Table,
    events_of,
    files_of,
    newer_records,
    read_made,
)
from flowwatch.history.attempts.questions import QUESTIONS, Asked, Expression, Inquiry
from flowwatch.history.events import Event
from flowwatch.history.store import listing
from flowwatch.text import plural, safe

BY_NAME = {one.name: one for one in QUESTIONS}
NANOS = MINUTE * 1000
"""Nanoseconds of a minute."""
_TYPES = {
    "text": "!string", "int": "!int64", "bool": "!boolean",
    "time": "!timestamp('UTC', 6)", "texts": "!array<!string>",
}  # fmt: skip
"""What Ibis calls the kinds of columns."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Which attempts are asked about."""

    since: int | None = None
    """First records from then on, ns since 1970; of questions about a moment, that moment."""
    until: int | None = None
    """First records before then."""
    direction: str = "egress"
    """``egress``, ``ingress`` or ``both``."""
    namespaces: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    peer: str = ""
    """A peer's name; a ``*`` at its beginning or end stands for anything."""
    rows: int = 100
    """At most so many are told; 0: all."""


@dataclass(slots=True)
class Told:
    """What came of it. Times in ns since 1970."""

    question: Inquiry
    limits: Limits
    engine: str
    table: Table
    """What it was answered of."""
    until: int = 0
    """When the last record came that is in it."""
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    more: bool = False
    """Whether there are more rows than were asked for."""
    gaps: list[Gap] = field(default_factory=list)
    """When nothing was recorded, within the window."""
    notes: list[str] = field(default_factory=list)
    """What makes it less than the whole truth: safe lines."""


def question_of(name: str) -> Inquiry:
    """The question of that name. UsageError."""
    if name not in BY_NAME:
        raise UsageError(f"no question is called {safe(name)}", "flowwatch history ask --list")
    return BY_NAME[name]


def ask(
    folder: Path, question: Inquiry, limits: Limits, engine: Engine = ENGINES["duckdb"]
) -> Told:
    """The answer. InputError where nothing was made of the records; UsageError for what is missing."""
    _check(question, limits)
    ibis = load_ibis()
    problems: list[str] = []
    found = listing(folder)
    made = read_made(folder, problems)
    if made is None:
        raise InputError(
            f"{safe(str(folder))}: no attempts were made of its records"
            + "".join(f" ({line})" for line in problems),
            f"flowwatch history compact {safe(str(folder))} makes them",
        )
    told = Told(question, limits, engine.name, table_of(question, limits), made.until)
    window = (None, limits.until) if question.moment else (limits.since, limits.until)
    files = files_of(folder, made, told.table, since=window[0], until=window[1])
    if files.paths:
        sql = sql_of(ibis, question, limits, told.table, engine.dialect)
        told.columns, told.rows = answer(engine, sql, told.table, files.paths)
    else:
        told.columns = list(_expression(ibis, question, limits, told.table).columns)
    if limits.rows and len(told.rows) > limits.rows:
        told.more = True
        del told.rows[limits.rows :]
    events = list(events_of(found, problems))
    told.gaps = [gap for gap in _gaps(events) if _touches(gap, *window)]
    told.notes += _notes(files, newer_records(made, found), [*problems, *found.left_out], events)
    return told


def _check(question: Inquiry, limits: Limits) -> None:
    if question.moment and limits.since is None:
        raise UsageError(f"{question.name} asks about a moment", "--since 24h, or a time")
    if question.peer and not limits.peer:
        raise UsageError(f"{question.name} asks about a peer", "--peer NAME, as *.example.com")
    if "*" in limits.peer.strip("*"):
        raise UsageError(f"invalid peer: {safe(limits.peer)}", "a * may begin or end it")


def table_of(question: Inquiry, limits: Limits) -> Table:
    """Minutes, unless the question asks for more, or its window cuts one."""
    whole = all(time is None or time % NANOS == 0 for time in (limits.since, limits.until))
    return question.table if whole else "attempts"


def sql_of(ibis: Any, question: Inquiry, limits: Limits, table: Table, dialect: str) -> str:
    """The question in an engine's SQL."""
    return str(ibis.to_sql(_expression(ibis, question, limits, table), dialect=dialect))


def _expression(ibis: Any, question: Inquiry, limits: Limits, table: Table) -> Expression:
    columns = ATTEMPTS if table == "attempts" else MINUTES
    rows = ibis.table({one.name: _TYPES[one.kind] for one in columns}, name=table)
    time = rows.first_seen if table == "attempts" else rows.minute
    moment = ibis.null()
    wanted = []
    if question.moment:
        moment = _time(ibis, limits.since or 0)
    elif limits.since is not None:
        wanted.append(time >= _time(ibis, limits.since))
    if limits.until is not None:
        wanted.append(time < _time(ibis, limits.until))
    if limits.direction != "both":
        wanted.append(rows.direction == limits.direction)
    if limits.namespaces:
        wanted.append(rows.namespace.isin(limits.namespaces))
    if limits.workloads:
        wanted.append(rows.workload.isin(limits.workloads))
    if limits.peer:
        wanted.append(_named(rows.peer, limits.peer))
    if wanted:
        rows = rows.filter(wanted)
    if table == "attempts":
        rows = rows.mutate(
            attempts=ibis.literal(1, "int64"),
            # To the moment where it is asked about, as minutes may have it between them.
            minute=rows.first_seen if question.moment else rows.first_seen.truncate("m"),
        )
    made = question.build(Asked(ibis, rows, moment))
    return made.limit(limits.rows + 1) if limits.rows else made


def _named(peer: Expression, name: str) -> Expression:
    text = name.strip("*")
    match name[:1] == "*", name[-1:] == "*":
        case True, True:
            return peer.contains(text)
        case True, False:
            return peer.endswith(text)
        case False, True:
            return peer.startswith(text)
    return peer == name


def _time(ibis: Any, time: int) -> Expression:
    moment = datetime.fromtimestamp(time // 10**9, UTC).replace(microsecond=time % 10**9 // 1000)
    return ibis.literal(moment, "timestamp('UTC', 6)")


def _gaps(events: Iterable[Event]) -> list[Gap]:
    return [
        Gap(one.since, one.until, one.text, one.nodes, one.name)
        for one in events
        if one.what == "gap"
    ]


def _touches(gap: Gap, since: int | None, until: int | None) -> bool:
    return (since is None or gap.end >= since) and (until is None or gap.start < until)


def _notes(files: Files, newer: int, left_out: list[str], events: list[Event]) -> list[str]:
    notes = [f"left out: {line}" for line in (*files.left_out, *left_out)]
    if newer:
        notes.append(
            f"{plural(newer, 'record')} came, or went, since attempts were made: flowwatch history compact"
        )
    if files.gone:
        notes.append(
            f"{plural(files.gone, 'file')} of attempts are gone: their hours have grown old"
        )
    lost = sum(one.count for one in events if one.what == "lost")
    if lost:
        notes.append(
            f"{plural(lost, 'event')} were lost before they were recorded: counts are at least"
        )
    notes += [
        f"{plural(one.count, 'record')} {one.text} were deleted from the history"
        for one in events
        if one.what == "deleted" and one.name == "forgotten"
    ]
    return notes
