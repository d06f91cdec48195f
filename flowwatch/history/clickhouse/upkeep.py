"""Looking after a history in a database: what lies in it, whether it is sound, and what shall go.

The server merges by itself what inserts have brought, keeps checksums of it, and deletes what is too old.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from flowwatch.errors import OutputError
from flowwatch.history.arrow import load
from flowwatch.history.clickhouse import attempts, minutes
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.records import TableRecords, pages
from flowwatch.history.clickhouse.tables import (
    EVENTS_TABLE,
    FLOWS_TABLE,
    TABLES,
    Table,
    check,
    number_of,
    quoted,
    unreadable,
)
from flowwatch.history.events import Event, events_table
from flowwatch.history.info import Info, tell_events
from flowwatch.history.retention import Deleted, Limits
from flowwatch.history.store import HOUR
from flowwatch.history.upkeep import Done, Unwanted
from flowwatch.text import safe

SECOND = 1_000_000_000
"""Nanoseconds."""
DAY = 24 * HOUR
LONGEST = 30 * 365 * 86_400
"""Seconds that a TTL lasts at most: it ends in a time of 32 bits, which begins anew in 2106."""
DELETING = 0.2
"""Seconds between looks at whether the server is done."""


def info(database: Database) -> Info:
    """What lies there. InputError for what is no history."""
    check(database)
    told = Info(unit="part")
    with _reading(database):
        for table in TABLES:
            told.files += _parts(database, table.name)
            told.bytes += sum(size for _, size in _days(database, table))
        last = database.flavour.number("time")
        for node, records, first, newest in database.rows(
            f"SELECT node, count(), minIf({last}, {last} > 0), max({last}) "
            f"FROM {FLOWS_TABLE.name} GROUP BY node"
        ):
            told.records += records
            told.nodes[node] = records, newest
            told.last = max(told.last, newest)
            if newest:
                told.first = min(told.first or first, first)
        runs, _ = attempts.there(database)
        _tell_attempts(database, told)
    events = [event for _, some in TableRecords(database).events() for event in some]
    tell_events(told, events, runs)
    return told


def _tell_attempts(database: Database, told: Info) -> None:
    made = attempts.read_made(database, told.left_out)
    if made is None:
        return
    told.attempts = attempts.rows_of(database, "attempts", made)
    told.attempts_until, told.not_made = made.until, attempts.newer(database, made)
    for name, _ in attempts.tables(database):
        told.files += _parts(database, name)
        told.bytes += _size(database, name)


def compact(database: Database) -> Done:
    """Make attempts of the records, if these are others than last time. InputError, OutputError."""
    check(database)
    done = Done(merged_by="ClickHouse does that by itself")
    with _changing(database):
        if not attempts.knows(database):
            done.merged_by += f"; {attempts.too_old(database)}"
            return done
        made = attempts.make(database)
    if made is not None:
        done.attempts = made.attempts
    return done


def verify(database: Database) -> Done:
    """Have the server check all that it has against its checksums. InputError for what is no history."""
    check(database)
    done = Done()
    with _reading(database):
        for table in TABLES:
            done.files += _parts(database, table.name)
            done.before += sum(size for _, size in _days(database, table))
            done.problems += _damaged(database, table)
        for name, _ in attempts.tables(database):
            done.files += _parts(database, name)
            done.before += _size(database, name)
            done.problems += _checked(database, name)
        made = attempts.read_made(database, done.problems)
        if made is not None:
            done.attempts = attempts.rows_of(database, "attempts", made)
        done.rows = number_of(database, FLOWS_TABLE)
    return done


def _damaged(database: Database, table: Table) -> Iterator[str]:
    if not database.flavour.arrow:
        # Such servers check what is read, and only then.
        for _ in pages(database, table, []):
            pass
        return
    yield from _checked(database, table.name)


def _checked(database: Database, table: str) -> Iterator[str]:
    for part, passed, why in database.lines(
        f"CHECK TABLE {table} SETTINGS check_query_single_value_result = 0"
    ):
        if passed not in ("1", "true"):
            yield f"{table}, part {safe(part)} is damaged ({safe(why)})"


def forget(
    database: Database, unwanted: Unwanted, *, now: Callable[[], int] = time.time_ns
) -> Done:
    """Delete the records that are ``unwanted``, and keep that this was done. InputError, OutputError."""
    check(database)
    done = Done()
    where = " OR ".join(_conditions(database, unwanted))
    with _reading(database):
        found = database.rows(f"SELECT count() FROM {FLOWS_TABLE.name} WHERE {where}")
        done.rows = int(found[0][0])
        # Attempts may name what is to be forgotten, also where its records went before.
        anew = bool(attempts.tables(database)) and not _is_of_these(database)
    if not (done.rows or anew):
        return done
    with _changing(database):
        made = attempts.unmake(database)
        _delete(database, FLOWS_TABLE.name, where)
        # A minute that is cut goes whole: of what shall go nothing stays.
        ends = list(_conditions(database, replace(unwanted, before=0)))
        counted = [minutes.before(unwanted.before)] if unwanted.before else []
        _delete(database, minutes.TABLE, " OR ".join([*counted, *ends]))
        if done.rows:
            _tell(database, unwanted, done, now())
        # What another has made of the records meanwhile has some that are gone.
        if attempts.unmake(database) or made:
            attempts.make(database)
    return done


def _is_of_these(database: Database) -> bool:
    """Whether no attempt is there that isn't of the records."""
    made = attempts.read_made(database, [])
    return made is not None and made.of_just(*attempts.there(database))


def _conditions(database: Database, unwanted: Unwanted) -> Iterator[str]:
    if unwanted.before:
        at = database.flavour.at
        yield f"time < {at(unwanted.before)} AND time > {at(0)}"
    for end in ("source", "destination"):
        for namespace in unwanted.namespaces:
            yield f"{end}_namespace = {quoted(namespace)}"
        for namespace, pod in unwanted.pods:
            yield f"{end}_namespace = {quoted(namespace)} AND {end}_pod = {quoted(pod)}"


def _delete(database: Database, table: str, where: str) -> None:
    """Delete rows; they are gone when this returns."""
    database.do(f"ALTER TABLE {table} DELETE WHERE {where}")
    unfinished = (
        f"SELECT count() FROM system.mutations WHERE database = {quoted(database.database)} "
        f"AND table = {quoted(table)} AND NOT is_done"
    )
    while database.rows(unfinished)[0][0]:
        time.sleep(DELETING)


def _tell(database: Database, unwanted: Unwanted, done: Done, now: int) -> None:
    """Keep that records were deleted, and which: every answer says so."""
    pa, _ = load()
    run = f"forget-{os.urandom(4).hex()}"
    text = " or ".join(unwanted.words)
    event = Event(now, run, 0, "", "deleted", name="forgotten", text=text, count=done.rows)
    table = events_table(pa, [event]).append_column("number", pa.array([0], pa.int64()))
    database.insert(EVENTS_TABLE.name, table, EVENTS_TABLE.columns)


def keep(database: Database, limits: Limits) -> None:
    """Have the server delete what grows older than ``limits.age``, if it knows how. OutputError."""
    if not (limits.age and database.flavour.arrow):
        return
    seconds = min(max(1, limits.age // SECOND), LONGEST)
    with _changing(database):
        for table in TABLES:
            # A record without a time is as old as it is here.
            since = (
                "recorded"
                if table.time == "recorded"
                else f"if(toUnixTimestamp64Nano({table.time}) = 0, recorded, {table.time})"
            )
            database.do(
                f"ALTER TABLE {table.name} MODIFY TTL toDateTime({since}) + toIntervalSecond({seconds})"
            )
        for name, since in ((minutes.TABLE, "minute"), *attempts.tables(database)):
            database.do(
                f"ALTER TABLE {name} MODIFY TTL toDateTime({since}) + toIntervalSecond({seconds})"
            )


def trim(database: Database, limits: Limits, now: int) -> Deleted:
    """Delete the days beyond ``limits`` at ``now`` (ns), as far as the server doesn't by itself; today stays.

    That it can't be now is no matter: the next look comes.
    """
    gone = Deleted()
    age = limits.age if not database.flavour.arrow else 0
    if not (age or limits.size):
        return gone
    try:
        for table in TABLES:
            found = _days(database, table)
            total = sum(size for _, size in found)
            for began, size in found:
                too_old = age and began + DAY <= now - age
                too_much = limits.size and total > limits.size
                if began + DAY > now or not (too_old or too_much):
                    continue
                words = time.strftime("%Y-%m-%d", time.gmtime(began // SECOND))
                database.do(f"ALTER TABLE {table.name} DROP PARTITION {quoted(words)}")
                total -= size
                gone.files += 1
                gone.bytes += size
                gone.until = max(gone.until, began + DAY)
        if gone.files:
            database.do(f"ALTER TABLE {minutes.TABLE} DELETE WHERE {minutes.before(gone.until)}")
            for name, since in attempts.tables(database):
                until = database.flavour.at(gone.until)
                database.do(f"ALTER TABLE {name} DELETE WHERE {since} < {until}")
    except OSError:
        pass
    return gone


def _days(database: Database, table: Table) -> list[tuple[int, int]]:
    """By day that rows came, when it began (ns since 1970), and bytes on the server's disk."""
    found = database.rows(
        "SELECT toUInt32(toDateTime(partition, 'UTC')), sum(bytes_on_disk) FROM (SELECT "
        "toDate(partition) AS partition, bytes_on_disk FROM system.parts WHERE active "
        f"AND database = {quoted(database.database)} AND table = {quoted(table.name)}) "
        "GROUP BY partition ORDER BY partition"
    )
    return [(int(began) * SECOND, int(size)) for began, size in found]


def _parts(database: Database, table: str) -> int:
    return _of_parts(database, table, "count()")


def _size(database: Database, table: str) -> int:
    return _of_parts(database, table, "sum(bytes_on_disk)")


def _of_parts(database: Database, table: str, what: str) -> int:
    found = database.rows(
        f"SELECT {what} FROM system.parts WHERE active AND database = {quoted(database.database)} "
        f"AND table = {quoted(table)}"
    )
    return int(found[0][0])


@contextmanager
def _reading(database: Database) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise unreadable(database, error) from None


@contextmanager
def _changing(database: Database) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"can't change {database.name}: {error.strerror}") from None
