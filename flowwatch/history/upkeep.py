"""Looking after a history: merging small files, checking all of them, deleting what shall not be kept.

Whatever changes files is done by one at a time (a lock), beside recorders and readers: a new file that says
which ones it stands for appears before these go.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from itertools import groupby
from pathlib import Path

from flowwatch.errors import InputError, OutputError
from flowwatch.flows.clocks import date_and_time
from flowwatch.history import store
from flowwatch.history.arrow import Arrow, load
from flowwatch.history.attempts.checking import verify_made
from flowwatch.history.attempts.listeners import LISTENERS, Listeners, sound_of
from flowwatch.history.attempts.made import read_made
from flowwatch.history.attempts.making import make, unmake
from flowwatch.history.columns import EVENTS, FLOWS, Kept
from flowwatch.history.events import Event, events_table
from flowwatch.history.place import Place
from flowwatch.history.places import Where, place_of
from flowwatch.history.store import HOUR, Listing, Piece, hour_of, listing
from flowwatch.text import plural, safe

LARGE = 500_000
"""Rows of a file that is left as it is, and that files are merged up to: some 20 MB, read in 2 s."""
_ORDER = [("recorded", "ascending"), ("run", "ascending"), ("sequence", "ascending")]


@dataclass(slots=True)
class Done:
    """What became of files."""

    files: int = 0
    """That were there, of those that changed."""
    made: int = 0
    """That stand for them."""
    before: int = 0
    """Bytes."""
    after: int = 0
    rows: int = 0
    """Rows that were deleted; of :func:`verify`, that are sound."""
    attempts: int | None = None
    """Attempts that were made of the records, or are sound; None where none were."""
    how: str = ""
    """From where on records were read for them, or why all were; a safe line, else empty."""
    merged_by: str = ""
    """Who merges instead; a safe line."""
    problems: list[str] = field(default_factory=list)
    """A safe line for each file that can't be read."""
    made_wrong: list[str] = field(default_factory=list)
    """The same of what was made of the records, and can be made anew."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A history that is being changed."""

    place: Place
    found: Listing
    still: Callable[[], None]
    """Called before each change; OutputError where another took over."""


@contextlib.contextmanager
def _alone(where: Where) -> Iterator[_Work]:
    """The listing, while nobody else changes files. UsageError when somebody does."""
    place = place_of(where)
    # Before the lock: nothing is written to what is no history.
    listing(place)
    with place.alone() as still:
        # And behind it: what another has merged meanwhile is no longer there.
        work = _Work(place, listing(place), still)
        # What a merge that was interrupted has left is nobody's.
        for path in work.found.replaced:
            _delete(work, path)
        yield work


def _delete(work: _Work, path: str) -> None:
    try:
        work.place.delete(path)
    except OSError as error:
        raise OutputError(f"can't delete {safe(work.place.url(path))}: {error.strerror}") from None


def compact(where: Where, listeners: Listeners = LISTENERS) -> Done:
    """Merge the small files of each hour, and make attempts of the records if these have changed.

    ``listeners`` count more meanwhile. InputError, OutputError; the history is whole at any moment.
    """
    done = Done()
    with _alone(where) as work:
        found = work.found
        done.problems = list(found.left_out)
        for pieces, columns in ((found.flows, FLOWS), (found.events, EVENTS)):
            for _, of_hour in groupby(pieces, key=lambda piece: _parent(piece.path)):
                for together in _small(list(of_hour)):
                    _merge(work, together, columns, done)
        local = work.place.local
        # By now: what was merged has other files.
        made = make(local, listing(work.place), listeners) if local is not None else None
        if made is not None:
            done.attempts, done.how = made.attempts, made.how
    return done


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _small(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Files to be merged with one another: neighbours in time, up to LARGE rows."""
    held: list[Piece] = []
    for piece in sorted(pieces, key=lambda one: one.groups[0].recorded[0] if one.groups else 0):
        if held and sum(one.rows for one in held) + piece.rows > LARGE:
            if len(held) > 1:
                yield held
            held = []
        held.append(piece)
    if len(held) > 1:
        yield held


def _merge(work: _Work, pieces: list[Piece], columns: tuple[Kept, ...], done: Done) -> None:
    pa, _ = load()
    tables = []
    good = []
    for piece in pieces:
        table = _whole(piece, columns, done)
        if table is not None:
            good.append(piece)
            tables.append(table)
    if len(good) < 2:
        return
    table = pa.concat_tables(_apart(tables)).sort_by(_ORDER)
    _replace(work, good, table, done)


def _apart(tables: list[Arrow]) -> list[Arrow]:
    """``tables`` with numbers of groups that tell those of one from those of another."""
    compute = import_module("pyarrow.compute")
    first = {"kind_group": 0, "ends_group": 0}
    made = []
    for table in tables:
        moved = table
        for name, offset in first.items():
            if name not in moved.column_names:
                continue
            column = compute.add(moved.column(name), offset)
            at = moved.column_names.index(name)
            moved = moved.set_column(at, moved.schema.field(name), column)
            first[name] = (compute.max(column).as_py() or 0) + 1
        made.append(moved)
    return made


def _replace(work: _Work, pieces: list[Piece], table: Arrow, done: Done) -> None:
    """Let a file with the rows of ``table`` stand for ``pieces``; none where there are no rows."""
    work.still()
    names = [piece.path for piece in pieces]
    done.files += len(pieces)
    done.before += sum(piece.size for piece in pieces)
    if table.num_rows:
        parent = _parent(pieces[0].path)
        now = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        path = f"{parent}/{now}-{os.urandom(4).hex()}{store.MERGED}"
        done.after += store.write(work.place, path, table, store.spans(pieces), names)
        done.made += 1
    for piece in pieces:
        _delete(work, piece.path)


def _whole(piece: Piece, columns: tuple[Kept, ...], done: Done) -> Arrow | None:
    """All rows of a file, its checksums checked; None, and a line in ``done``, where it can't be read."""
    try:
        return store.rows(piece, columns)
    except store.Unreadable as error:
        # One that is gone: its hour grew old just now.
        if not error.gone:
            done.problems.append(str(error))
        return None


def verify(where: Where) -> Done:
    """Read everything, and check it against its checksums. InputError for what is no history."""
    place = place_of(where)
    known: dict[str, str] = {}
    for _ in range(store.LOOKS):
        found = listing(place)
        if not _verify(found, known):
            break
    done = Done(problems=list(found.left_out))
    for pieces in (found.flows, found.events):
        for piece in pieces:
            wrong = known.get(piece.path)
            if wrong:
                done.problems.append(wrong)
            elif wrong is not None:
                done.files += 1
                done.before += piece.size
                done.rows += piece.rows if pieces is found.flows else 0
    if place.local is not None:
        made = verify_made(place.local, done.made_wrong)
        done.attempts = made.attempts
        done.files, done.before = done.files + made.files, done.before + made.bytes
    return done


def _verify(found: Listing, known: dict[str, str]) -> bool:
    """Read what isn't ``known`` yet, which gets what is wrong by path, or ""; whether any went meanwhile."""
    gone = False
    for pieces, columns in ((found.flows, FLOWS), (found.events, EVENTS)):
        for piece in pieces:
            if piece.path in known:
                continue
            try:
                rows = store.rows(piece, columns).num_rows
            except store.Unreadable as error:
                gone = gone or error.gone
                if not error.gone:
                    known[piece.path] = str(error)
            else:
                wrong = rows != piece.rows
                known[piece.path] = f"{safe(piece.path)} has lost rows" if wrong else ""
    return gone


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Which records shall go: those of either of these."""

    before: int = 0
    """Before this time, ns since 1970; 0: none for their time."""
    namespaces: tuple[str, ...] = ()
    """Of which one end is in one of them."""
    pods: tuple[tuple[str, str], ...] = ()
    """Of which one end is one of them: namespace and name."""

    @property
    def words(self) -> list[str]:
        """What they are, a safe phrase each."""
        said = [f"before {date_and_time(self.before)}"] * bool(self.before)
        said += [f"of namespace {safe(name)}" for name in self.namespaces]
        return said + [f"of pod {safe(namespace)}/{safe(name)}" for namespace, name in self.pods]


def forget(
    where: Where,
    unwanted: Unwanted,
    listeners: Listeners = LISTENERS,
    *,
    now: Callable[[], int] = time.time_ns,
) -> Done:
    """Delete the records that are ``unwanted``, and keep that this was done; attempts are made anew.

    InputError when a file can't be read: it may hold some, and is named; all others are done by then.
    """
    done = Done()
    with _alone(where) as work:
        found, local = work.found, work.place.local
        done.problems = list(found.left_out)
        # Attempts may name what is to be forgotten, also where its records went before.
        made = local is not None and _may_name(local, found, unwanted) and unmake(local)
        for piece in found.flows:
            if _passes(piece, unwanted):
                _forget(work, piece, unwanted, done)
        if done.rows:
            _tell(work.place, unwanted, done, now())
        if made and local is not None:
            make(local, listing(local), listeners)
    if done.problems:
        raise InputError(
            f"{plural(done.rows, 'record')} deleted, but what can't be read may hold more: "
            + "; ".join(done.problems[:3]),
            "delete these files by hand",
        )
    return done


def _may_name(folder: Path, found: Listing, unwanted: Unwanted) -> bool:
    """Whether attempts may name what is unwanted."""
    made = read_made(folder, [])
    hours = (
        [hour_of(name) for name in made.files if sound_of(name) is None]
        if made is not None
        else [None]
    )
    return any(_passes(piece, unwanted) for piece in found.flows) or any(
        hour is None or hour < unwanted.before for hour in hours
    )


def _passes(piece: Piece, unwanted: Unwanted) -> bool:
    """Whether a file may hold unwanted records."""
    if unwanted.namespaces or unwanted.pods:
        return True
    return any(0 < group.times[0] < unwanted.before for group in piece.groups)


def _forget(work: _Work, piece: Piece, unwanted: Unwanted, done: Done) -> None:
    hour = hour_of(piece.path)
    by_time = not (unwanted.namespaces or unwanted.pods)
    if by_time and hour is not None and hour + HOUR <= unwanted.before:
        done.files, done.before = done.files + 1, done.before + piece.size
        done.rows += piece.rows
        work.still()
        _delete(work, piece.path)
        return
    table = _whole(piece, FLOWS, done)
    if table is None:
        return
    pa, _ = load()
    kept = table.filter(import_module("pyarrow.compute").invert(_unwanted(pa, table, unwanted)))
    if kept.num_rows < table.num_rows:
        done.rows += table.num_rows - kept.num_rows
        _replace(work, [piece], kept, done)


def _unwanted(pa: Arrow, table: Arrow, unwanted: Unwanted) -> Arrow:
    """For each row whether it shall go."""
    compute = import_module("pyarrow.compute")
    found = pa.array([False] * table.num_rows)
    if unwanted.before:
        early = compute.less(table.column("time").cast(pa.int64()), unwanted.before)
        found = compute.or_(found, compute.fill_null(early, False))
    for end in ("source", "destination"):
        namespace, pod = table.column(f"{end}_namespace"), table.column(f"{end}_pod")
        for name in unwanted.namespaces:
            found = compute.or_(found, compute.equal(namespace, name))
        for of, name in unwanted.pods:
            both = compute.and_(compute.equal(namespace, of), compute.equal(pod, name))
            found = compute.or_(found, both)
    return found


def _tell(place: Place, unwanted: Unwanted, done: Done, now: int) -> None:
    """Keep that records were deleted, and which: every answer says so."""
    pa, _ = load()
    run = f"forget-{os.urandom(4).hex()}"
    text = " or ".join(unwanted.words)
    event = Event(now, run, 0, "", "deleted", name="forgotten", text=text, count=done.rows)
    path = f"{store.event_partition(now)}/{run}.parquet"
    store.write(place, path, events_table(pa, [event]), {run: (now, now)})
