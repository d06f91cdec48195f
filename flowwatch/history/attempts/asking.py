"""Asks a history's attempts a question, and tells with the answer what it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from flowwatch.errors import InputError, UsageError
from flowwatch.flows.model import Gap
from flowwatch.history.attempts.columns import ATTEMPTS, MINUTE, MINUTES
from flowwatch.history.attempts.engines import ENGINES, Engine, Reply, answer, load_ibis
from flowwatch.history.attempts.made import (
    Made,
    Table,
    events_of,
    files_of,
    newer_records,
    read_made,
)
from flowwatch.history.attempts.questions import QUESTIONS, Asked, Expression, Inquiry
from flowwatch.history.events import Event, forgotten
from flowwatch.history.store import LOOKS, Listing, listing
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
        near = get_close_matches(name, BY_NAME, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"no question is called {safe(name)}", f"{meant}flowwatch history ask --list tells all"
        )
    return BY_NAME[name]


class Posed(NamedTuple):
    """A question as a place is asked it."""

    ibis: Any
    question: Inquiry
    limits: Limits
    table: Table

    @property
    def window(self) -> tuple[int | None, int | None]:
        """The earliest and the latest first record that it is about, ns since 1970; None: any."""
        limits = self.limits
        return None if self.question.moment else limits.since, limits.until

    @property
    def columns(self) -> list[str]:
        """Of the answer."""
        return list(_expression(*self).columns)

    def sql(self, dialect: str, name: str = "", making: str = "") -> str:
        """In an engine's SQL, of the table of that name, there of the rows of a ``making``."""
        return str(self.ibis.to_sql(_expression(*self, name, making), dialect=dialect))


class Askable(Protocol):
    """Where attempts lie, and who answers."""

    @property
    def name(self) -> str:
        """As the user wrote it, without secrets, safe to print."""

    @property
    def engine(self) -> str:
        """Who answers."""

    def made(self, problems: list[str]) -> Made | None:
        """What was made of the records; None, and a line why, for none. InputError for what is no history."""

    def answer(self, wanted: Posed, made: Made, lacks: list[str]) -> Reply:
        """The answer; ``lacks`` gets a safe line for what isn't in it. InputError."""

    def newer(self, made: Made) -> int:
        """Records that ``made`` doesn't know, or that went since: about so many, 0 if none."""

    def events(self, problems: list[str]) -> list[Event]:
        """What was told between the records; ``problems`` gets a safe line for what can't be read."""


class InFiles:
    """Those of a folder, asked by an engine. See :class:`Askable`."""

    def __init__(self, folder: Path, engine: Engine = ENGINES["duckdb"]) -> None:
        self._folder, self._engine = folder, engine
        self.name, self.engine = safe(str(folder)), engine.name

    @cached_property
    def _found(self) -> Listing:
        return listing(self._folder)

    def made(self, problems: list[str]) -> Made | None:
        """By the marker."""
        _ = self._found
        return read_made(self._folder, problems)

    def answer(self, wanted: Posed, made: Made, lacks: list[str]) -> Reply:
        """By the files of hours that overlap the window."""
        since, until = wanted.window
        files = files_of(self._folder, made, wanted.table, since=since, until=until)
        lacks += [f"left out: {line}" for line in files.left_out]
        if files.gone:
            # Of records that are all there no hour has grown old.
            lost = made.of(self._found)
            why = (
                "flowwatch history compact makes them anew"
                if lost
                else "their hours have grown old"
            )
            lacks.append(f"{plural(len(files.gone), 'file')} of attempts went: {why}")
        if not files.paths:
            return Reply(wanted.columns, [])
        return answer(self._engine, wanted.sql(self._engine.dialect), wanted.table, files.paths)

    def newer(self, made: Made) -> int:
        """By what the files' footers say."""
        return newer_records(made, self._found)

    def events(self, problems: list[str]) -> list[Event]:
        """Of their files."""
        told = list(events_of(self._found, problems))
        problems += self._found.left_out
        return told


def ask(
    folder: Path, question: Inquiry, limits: Limits, engine: Engine = ENGINES["duckdb"]
) -> Told:
    """The answer of a folder: see :func:`ask_of`."""
    return ask_of(InFiles(folder, engine), question, limits)


def ask_of(attempts: Askable, question: Inquiry, limits: Limits) -> Told:
    """The answer. InputError where nothing was made of the records; UsageError for what is missing."""
    _check(question, limits)
    wanted = Posed(load_ibis(), question, limits, table_of(question, limits))
    for _ in range(LOOKS):
        lacks: list[str] = []
        made = _made(attempts)
        found = attempts.answer(wanted, made, lacks)
        if attempts.made([]) == made:
            # Nobody has made them anew meanwhile, and taken these away.
            break
    told = Told(question, limits, attempts.engine, wanted.table, made.until, *found)
    if limits.rows and len(told.rows) > limits.rows:
        told.more = True
        del told.rows[limits.rows :]
    problems: list[str] = []
    events = attempts.events(problems)
    told.gaps = [gap for gap in _gaps(events) if _touches(gap, *wanted.window)]
    told.notes += [*lacks, *(f"left out: {line}" for line in problems)]
    told.notes += _notes(attempts.newer(made), events, *wanted.window)
    return told


def _made(attempts: Askable) -> Made:
    problems: list[str] = []
    made = attempts.made(problems)
    if made is None:
        raise InputError(
            f"{attempts.name}: no attempts were made of its records"
            + "".join(f" ({line})" for line in problems),
            f"flowwatch history compact {attempts.name} makes them",
        )
    return made


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
    return Posed(ibis, question, limits, table).sql(dialect)


def _expression(
    ibis: Any, question: Inquiry, limits: Limits, table: Table, name: str = "", making: str = ""
) -> Expression:
    columns = ATTEMPTS if table == "attempts" else MINUTES
    types = {one.name: _TYPES[one.kind] for one in columns}
    if making:
        rows = ibis.table({**types, "making": _TYPES["text"]}, name=name)
        rows = rows.filter(rows.making == making).drop("making")
    else:
        rows = ibis.table(types, name=table)
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


def _notes(newer: int, events: list[Event], since: int | None, until: int | None) -> list[str]:
    notes = []
    if newer:
        notes.append(
            f"{plural(newer, 'record')} came, or went, since attempts were made: flowwatch history compact"
        )
    lost = sum(
        one.count
        for one in events
        if one.what == "lost"
        and (since is None or one.at >= since)
        and (until is None or one.at < until)
    )
    if lost:
        notes.append(
            f"{plural(lost, 'event was', 'events were')} lost before they were recorded: counts are at least"
        )
    notes += [forgotten(one) for one in events if one.what == "deleted" and one.name == "forgotten"]
    return notes
