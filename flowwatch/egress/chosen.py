"""The traffic of the rows that a filter finds, for verbs that look at attempts and not at rows.

    join = ChosenJoin("ns:shop verdict:dropped", frozenset({"egress"}))
    audit = Audit(policies, join=join)
    join.read(join.chosen(batches))

What became of a row is known once all was read, so all is read twice: first to know the rows, then to tell
those who listen of their attempts alone. Names are learnt from all of it, and coverage is of all of it.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from msgspec.structs import replace

from flowwatch.egress.aggregate import MAX_ROWS, Aggregate
from flowwatch.egress.ends import RowEnds
from flowwatch.egress.matching import asks_for
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Snapshot
from flowwatch.egress.select import select
from flowwatch.egress.view import moment
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.cause import Teller
from flowwatch.flows.coverage import Coverage
from flowwatch.flows.join import Join, Joined
from flowwatch.flows.model import DIRECTION_WORDS, Batch, Direction
from flowwatch.flows.open_attempt import News, OpenAttempt
from flowwatch.text import plural, safe

_NOWHERE = -1
_UNKNOWN, _OUT, _IN = range(3)
_INGRESS = int(Direction.INGRESS)


def told_chosen(seen: Coverage, text: str, **found: tuple[int, int]) -> Coverage:
    """``seen``, of an answer that is only about what the filter ``text`` finds.

    ``found``: by what is counted (``row``, ``attempt``), how many it found, and how many there are.
    """
    counts = [f"{some:,} of {plural(every, what)}" for what, (some, every) in found.items()]
    words = f"only what --filter '{safe(text)}' finds: {', '.join(counts)}"
    return replace(seen, filter=text, warnings=(words, *seen.warnings))


def saying_filter(taken: Snapshot, text: str) -> Snapshot:
    """``taken``, whose coverage tells what chose its rows; the same without a filter."""
    if not text:
        return taken
    every, shown = taken.totals, taken.shown
    seen = told_chosen(
        taken.coverage,
        text,
        row=(taken.matched, every.rows),
        attempt=(shown.attempts, every.attempts),
    )
    return replace(taken, coverage=seen)


class _Placing(Aggregate):
    """An aggregate that remembers in which rows each attempt was counted: 16 bytes an attempt."""

    def __init__(self, join: Join, max_rows: int, teller: Teller | None) -> None:
        super().__init__(max_rows, keep_recent=False, join=join, teller=teller)
        self._place = array("q")
        """By the number of an open attempt, the how-manieth of all it is."""
        self.rows = (array("q"), array("q"))
        """By the how-manieth: its row in egress and in ingress, by their keys."""
        join.listen(_Forgetting(self._place))

    def _attach(self, attempt: OpenAttempt, news: News, origin: str) -> int:
        row = super()._attach(attempt, news, origin)
        number = attempt.number
        while number >= len(self._place):
            self._place.append(_NOWHERE)
        if self._place[number] == _NOWHERE:
            self._place[number] = len(self.rows[0])
            for rows in self.rows:
                rows.append(_NOWHERE)
        ingress = self.columns.direction[row] == _INGRESS
        self.rows[ingress][self._place[number]] = self.columns.ident[row]
        return row


class _Forgetting:
    """Leaves the place of an attempt that is over to another (flowwatch.flows.join.Listener)."""

    def __init__(self, places: array[int]) -> None:
        self._places = places

    def take(self, joined: Joined) -> None:
        for attempt in joined.closed:
            self._places[attempt.number] = _NOWHERE


class ChosenJoin(Join):
    """A join that tells of the attempts of some rows alone: whole, at both of their ends.

    Args:
        text: the filter, in the language of :mod:`flowwatch.egress.filters`. Raises BadFilter.
        directions: of which rows, ``egress``, ``ingress`` or both.
        max_rows: rows kept while they are looked for; the least recent are folded, and not found.
        teller: gives what tells a join's rows what blocked them, where policies were given.
    """

    def __init__(
        self,
        text: str,
        directions: frozenset[str],
        *,
        max_rows: int = MAX_ROWS,
        teller: Callable[[Join], Teller | None] | None = None,
    ) -> None:
        super().__init__()
        self._labels = asks_for(text, "label")
        self._text, self._max_rows, self._teller = text, max_rows, teller
        self._ways = tuple([way for way, word in DIRECTION_WORDS.items() if word in directions])
        self._chosen = bytearray()
        """By the how-manieth attempt: whether one of its rows was found."""
        self._known = bytearray()
        """By the number of an open attempt."""
        self._seen = 0
        self._rows, self._every, self._folded = (0, 0), 0, 0

    def chosen(
        self, batches: Iterable[Batch], again: Callable[[], Iterable[Batch]] | None = None
    ) -> Iterator[Batch]:
        """``batches``, once they were read to their end to know which rows are meant; for :meth:`add`.

        ``again``: reads the same once more. Without it all of them are held in memory.
        """
        rows = self._placing()
        held: deque[Batch] = deque()
        count = 0
        for batch in batches:
            rows.join.add(batch)
            count += 1
            if again is None:
                held.append(batch)
        self._choose(rows)
        del rows
        while held:
            yield held.popleft()
        if again is not None:
            yield from islice(again(), count)

    def _placing(self) -> _Placing:
        join = Join()
        teller = self._teller(join) if self._teller is not None else None
        rows = _Placing(join, self._max_rows, teller)
        if self._labels:
            rows.ends = RowEnds()
        return rows

    def _choose(self, placed: _Placing) -> None:
        placed.learn()
        columns = placed.columns
        query, now = Query(text=self._text), moment(placed, live=False)
        found = select(columns, query, self._ways, now, placed.ends)
        meant = {columns.ident[row] for row in found}
        sides = [placed.rows[way == _INGRESS] for way in self._ways]
        self._chosen = bytearray([not meant.isdisjoint(rows) for rows in zip(*sides, strict=True)])
        # An attempt that was seen at the other end alone has no such row.
        self._every = sum(any(row >= 0 for row in rows) for rows in zip(*sides, strict=True))
        self._rows = len(found), sum(columns.rows_of[way] for way in self._ways)
        self._folded = placed.folded_rows

    def _told(self, joined: Joined) -> Joined:
        """What is of the rows that were found."""
        self._know(joined.news)
        known = self._known
        both = [
            (flow, attempt)
            for flow, attempt in zip(joined.batch.flows, joined.attempts, strict=True)
            if attempt is not None and known[attempt.number] == _IN
        ]
        told = Joined(
            replace(joined.batch, flows=[flow for flow, _ in both]),
            [attempt for _, attempt in both],
            [one for one in joined.news if known[one[0].number] == _IN],
            [one for one in joined.closed if known[one.number] == _IN],
            joined.scope,
            joined.extras,
            [one for one in joined.changed if known[one.number] == _IN],
        )
        for attempt in joined.closed:
            known[attempt.number] = _UNKNOWN
        return told

    def _know(self, news: Iterable[tuple[OpenAttempt, News]]) -> None:
        """Which of the attempts that begin are meant: they come in the order in which they came before."""
        known, chosen = self._known, self._chosen
        known.extend(bytes(max(self.numbers.size - len(known), 0)))
        for attempt, _ in news:
            if known[attempt.number] == _UNKNOWN:
                meant = self._seen < len(chosen) and chosen[self._seen]
                known[attempt.number] = _IN if meant else _OUT
                self._seen += 1

    def open_attempts(self) -> Iterator[tuple[str, Attempts, OpenAttempt]]:
        """Those of the rows that were found."""
        for one in super().open_attempts():
            if self._known[one[2].number] == _IN:
                yield one

    def coverage(self) -> Coverage:
        """Of all that was read, and what was chosen of it."""
        seen = super().coverage()
        if self._folded:
            folded = (
                f"{plural(self._folded, 'row')} beyond {self._max_rows:,} were folded into 'other': "
                "--filter didn't look at each of them"
            )
            seen = replace(seen, warnings=(folded, *seen.warnings))
        chosen = sum(self._chosen), self._every
        return told_chosen(seen, self._text, row=self._rows, attempt=chosen)
