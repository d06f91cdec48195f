"""From columns to what a view is given: rows chosen, ordered and spelt out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice

from msgspec.structs import replace

from flowwatch.egress import groups
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.folding import PLAIN, By
from flowwatch.egress.groups import Groups, Subjects
from flowwatch.egress.query import Query
from flowwatch.egress.rates import Rate, Rates
from flowwatch.egress.row_times import ROWS
from flowwatch.egress.rows import SECOND, Fold, Recent, Row, Snapshot, Totals
from flowwatch.egress.select import many, select
from flowwatch.egress.spelt import fold_of, row_of, sums
from flowwatch.egress.table import Columns, Rare
from flowwatch.egress.timeline import together as timelines_together
from flowwatch.egress.window import windowed
from flowwatch.flows.cause import Cause
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.coverage import other_way_words
from flowwatch.flows.kinds import kind, tcp_flags
from flowwatch.flows.meaning import verdict_name
from flowwatch.flows.model import Direction, Flow
from flowwatch.flows.peers import PeerNames, subject
from flowwatch.flows.reasons import reason
from flowwatch.text import plural

_DIRECTIONS = {
    "egress": (int(Direction.EGRESS),),
    "ingress": (int(Direction.INGRESS),),
    "both": (int(Direction.EGRESS), int(Direction.INGRESS)),
}
_NOTHING_RARE = Rare()
_NO_CAUSE = Cause("", "")


def snapshot(
    aggregate: Aggregate,
    query: Query,
    *,
    recent: int = 0,
    live: bool = False,
    rates: Rates | None = None,
) -> Snapshot:
    """The state of ``aggregate`` as ``query`` asks for it, with the last ``recent`` records.

    ``live`` says that flow time is now: rates of rows then fade by the wall clock as well. ``rates``:
    the looks that were taken at the aggregate.
    """
    directions = _DIRECTIONS[query.direction]
    now = moment(aggregate, live=live)
    aggregate, window, too_many, only = windowed(aggregate, query, now)
    columns = aggregate.columns
    folding = query.by != PLAIN
    asked = replace(query, drops_only=False) if folding else query
    hidden = columns.only_noise(drops_only=query.drops_only) if not query.noise else set[int]()
    # Folds are put in an order of their own: of a great many rows only those of folds that are seen need one.
    scattered = folding and query.limit is not None and many(len(columns))
    first = None if folding or query.limit is None else query.limit + len(hidden)
    if scattered:
        first = 0
    matching = select(columns, asked, directions, now, aggregate.ends, first=first, only=only)
    if folding and hidden:
        # Whether a fold has drops is asked of all its rows together.
        hidden = columns.only_noise()
    chosen: Sequence[int] = matching
    if hidden:
        chosen = [row for row in matching if row not in hidden]
    if scattered and not many(len(chosen)):
        chosen, scattered = _ordered(columns, query, chosen, now), False
    lines = _Lines(aggregate, query, chosen, now, scattered)
    left_out = 0
    if query.drops_only and folding:
        left_out = len(chosen)
        chosen = lines.groups.all()
        left_out -= len(chosen)
    labels = _clusters(columns)
    coverage = aggregate.join.coverage()
    totals = _totals(aggregate, directions)
    # What is folded as noise is in no figure, so nothing of it is left out.
    narrowed = chosen if len(matching) - left_out < totals.rows else None
    if not query.noise:
        folded = sum(columns.direction[row] in directions for row in columns.only_noise())
        totals = replace(totals, rows=totals.rows - folded)
    timeline = of_them = None
    if narrowed is not None and aggregate.row_times is not None:
        timeline = of_them = aggregate.row_times.timeline(narrowed)
    if timeline is None:
        timeline = timelines_together([aggregate.timelines[one] for one in directions])
    rate = rates.of(directions, narrowed) if rates is not None else Rate()
    elsewhere = _totals(aggregate, tuple(aggregate.totals)).attempts - totals.attempts
    shown = totals if narrowed is None else _of_rows(columns, narrowed, matching)
    if window[1]:
        seconds = (window[1] - window[0]) / SECOND
        rate = rate._replace(
            dropped=shown.dropped / seconds, forwarded=(shown.attempts - shown.dropped) / seconds
        )
    return Snapshot(
        rows=tuple(lines.rows(labels)),
        matched=len(lines),
        folds=lines.folds,
        within=lines.within,
        totals=totals,
        shown=shown,
        window=window,
        all_of_time=too_many,
        elsewhere=elsewhere,
        staged=aggregate.stager.given if aggregate.stager is not None else (),
        timeline=timeline,
        of_all=narrowed is not None and of_them is None,
        lost_rate=rate.lost,
        record_rate=rate.records,
        dropped_rate=rate.dropped,
        forwarded_rate=rate.forwarded,
        recent=tuple(records(aggregate, recent)),
        coverage=replace(
            coverage,
            clusters=tuple(sorted({label for label in labels.values() if label})),
            folded_rows=aggregate.folded_rows,
            warnings=(
                *coverage.warnings,
                *_warnings(aggregate),
                *_window_words(window, too_many),
                *other_way_words(query.direction, totals.attempts, elsewhere),
            ),
        ),
    )


def _warnings(aggregate: Aggregate) -> Iterator[str]:
    """What rows don't say, beside what was not seen: a line each."""
    if aggregate.folded_rows:
        yield (
            f"{aggregate.folded_rows:,} least recently seen rows were folded into 'other' "
            f"(limit {aggregate.max_rows:,}; --max-rows raises it)"
        )
    if aggregate.stager is not None:
        yield from aggregate.stager.notes
    if aggregate.join.closed_early:
        yield (
            "too many attempts at once to wait 75 s for each one's retries: "
            "some retries may be counted as attempts of their own"
        )
    if aggregate.join.unattributed and not len(aggregate.columns):
        yield (
            f"{plural(aggregate.join.unattributed, 'record names', 'records name')} no direction and no pod: "
            "nothing could be counted"
        )


def moment(aggregate: Aggregate, *, live: bool) -> float:
    """What is now for who looks at it: the last record's time, and ``live`` the wall clock's; seconds."""
    tally = aggregate.tally
    now = tally.last_seen / 1e9
    return max(now, time.time() - tally.late / 1e9) if live else now


_HOUR = 3_600 * SECOND


def hours(aggregate: Aggregate, direction: str) -> list[int]:
    """The hours since 1970 in which attempts of ``direction`` began, in order.

    As far as the timeline tells them apart: past 600 buckets of an hour those beside a busy one count too.
    """
    line = timelines_together([aggregate.timelines[one] for one in _DIRECTIONS[direction]])
    found: set[int] = set()
    for bucket in line.buckets:
        first, last = bucket * line.width, (bucket + 1) * line.width - 1
        found.update(range(first // _HOUR, last // _HOUR + 1))
    return sorted(found)


def _window_words(window: tuple[int, int], too_many: bool) -> Iterator[str]:
    if too_many:
        yield (
            f"more than {ROWS:,} rows: no window, the numbers are of all that was read (a filter of the "
            "command line leaves fewer)"
        )
    elif window[1]:
        yield (
            f"attempts and rates are of {time_of_day(window[0])} to {time_of_day(window[1])} UTC; "
            "answers, records, reasons and times of all that was read"
        )


def _clusters(columns: Columns) -> dict[tuple[str, str], str]:
    """What each cluster is called, by its name and the server it was seen through.

    Clusters that aren't meshed may all be called "default": the server tells them apart.
    """
    names = [name for name, _ in columns.places]
    return {
        (name, server): (f"{name} ({server})" if names.count(name) > 1 else name)
        if name and server
        else name or server
        for name, server in columns.places
    }


def _totals(aggregate: Aggregate, directions: tuple[int, ...]) -> Totals:
    kept, dropped, audited, errors, unknown = (
        sum(counts) for counts in zip(*(aggregate.totals[d] for d in directions), strict=True)
    )
    rows = sum(aggregate.columns.rows_of[direction] for direction in directions)
    noise = sums([aggregate.columns.noise_of[direction] for direction in directions])
    quiet = min(sum(noise.values()), dropped)
    return Totals(kept, dropped - quiet, audited, errors, unknown, rows, noise)


def _of_rows(columns: Columns, rows: Sequence[int], matching: Sequence[int]) -> Totals:
    """The totals of some rows, with the noise of all that match, be it folded."""
    if many(len(rows)):
        from flowwatch.egress import select_large

        counted = select_large.summed(columns, rows)
    else:
        counted = [sum([one[row] for row in rows]) for one in columns.counts]
    forwarded, dropped, audited, errors, unknown = counted
    noise: dict[str, int] = {}
    if columns.noise:
        dropped -= sum([columns.quiet(row) for row in rows if row in columns.noise])
        noise = sums([columns.noise[row] for row in matching if row in columns.noise])
    return Totals(forwarded, dropped, audited, errors, unknown, len(rows), noise)


class _Lines:
    """What a table shows of the chosen rows: each of them, or folds, those that are open with their rows."""

    def __init__(
        self,
        aggregate: Aggregate,
        query: Query,
        chosen: Sequence[int],
        now: float,
        scattered: bool = False,
    ) -> None:
        """``scattered``: the rows are in no order yet."""
        self._scattered = scattered
        self._aggregate, self._query, self._now = aggregate, query, now
        self.folds: dict[int, Fold] = {}
        self.within: dict[int, int] = {}
        self._more = 0
        """Rows of open folds."""
        if query.by == PLAIN:
            self.groups = Groups([[row] for row in chosen[: query.limit]])
            self._all = len(chosen)
        else:
            self._subjects = subjects_of(aggregate, query.by)
            self.groups = _put_together(aggregate.columns, chosen, self._subjects, query, now)
            self._all = len(self.groups)

    def __len__(self) -> int:
        return self._all + self._more

    def rows(self, labels: Mapping[tuple[str, str], str]) -> list[Row]:
        """The lines, up to the query's limit."""
        limit = self._query.limit
        made: list[Row] = []
        for numbers in self._seen():
            if limit is not None and len(made) >= limit:
                break
            if self._query.by == PLAIN:
                made += [row_of(self._aggregate, i, self._now, labels) for i in numbers]
            else:
                made += self._folded(numbers, labels)
        return made if limit is None else made[:limit]

    def _seen(self) -> Iterator[Sequence[int]]:
        """The rows of each fold, in the order asked for, as far as the limit may reach."""
        found = (self.groups.rows(place) for place in range(len(self.groups)))
        if not self._scattered:
            yield from found
            return
        folds = list(islice(found, self._query.limit))
        rows = [row for numbers in folds for row in numbers]
        columns = self._aggregate.columns
        places = {row: at for at, row in enumerate(_ordered(columns, self._query, rows, self._now))}
        yield from (sorted(numbers, key=places.__getitem__) for numbers in folds)

    def _folded(self, numbers: Sequence[int], labels: Mapping[tuple[str, str], str]) -> list[Row]:
        fold = self._subjects.fold(self._aggregate.columns, numbers[0])
        self.folds[fold.key] = fold
        one = fold_of(self._aggregate, numbers, self._query.by, fold, self._now, labels)
        if fold.key not in self._query.unfolded or len(numbers) < 2:
            return [one]
        each = [row_of(self._aggregate, i, self._now, labels) for i in numbers]
        self._more += len(each)
        self.within.update((row.key, fold.key) for row in each)
        # As they were chosen: in the order asked for.
        return [one, *each]


def _ordered(columns: Columns, query: Query, rows: Sequence[int], now: float) -> list[int]:
    """Some of a great many rows in the order asked for."""
    from flowwatch.egress import select_large

    return select_large.ordered(columns, query, rows, now)


def _put_together(
    columns: Columns, chosen: Sequence[int], subjects: Subjects, query: Query, now: float
) -> Groups:
    if many(len(chosen)):
        from flowwatch.egress import groups_large

        return groups_large.put_together(columns, chosen, subjects, query, now)
    return groups.put_together(columns, chosen, subjects, query, now)


def subjects_of(aggregate: Aggregate, by: By) -> Subjects:
    """Under whom rows are folded by ``by``."""
    if by.label:
        return Subjects(aggregate.columns, by, pod_labels(aggregate))
    return Subjects.known(aggregate.columns, by)


def pod_labels(aggregate: Aggregate) -> list[tuple[str, ...]]:
    """The labels of each pod by its number, as far as they were seen; of an aggregate that keeps the ends."""
    columns, known = aggregate.columns, aggregate.ends
    labels: list[tuple[str, ...]] = [()] * len(columns.pods)
    if known is None:
        return labels
    for row, pod in enumerate(columns.pod):
        if not labels[pod]:
            labels[pod] = known.of(row)[0].labels
    return labels


def labels_of(aggregate: Aggregate) -> Callable[[Row], tuple[str, ...]]:
    """The labels of a row's pod, by the row."""
    labels = pod_labels(aggregate)
    pods = dict(zip(aggregate.columns.ident, aggregate.columns.pod, strict=True))

    def of(row: Row) -> tuple[str, ...]:
        pod = pods.get(row.key)
        return labels[pod] if pod is not None else ()

    return of


def records(aggregate: Aggregate, count: int, keys: Collection[int] | None = None) -> list[Recent]:
    """The last ``count`` records, of the rows with these keys alone if they are given; the newest last."""
    found: list[Recent] = []
    if count <= 0:
        return found
    number = aggregate.tally.records_read + 1
    for row, flow, reply, names in reversed(aggregate.recent):
        number -= 1
        if keys is not None and row not in keys:
            continue
        found.append(_recent(row, number, flow, reply, names))
        if len(found) == count:
            break
    found.reverse()
    return found


def _recent(row: int, number: int, flow: Flow, reply: bool, names: PeerNames) -> Recent:
    """The record told from the side of the pod that it is counted for."""
    ingress = flow.direction == Direction.INGRESS
    client, client_ip, server, server_ip = (
        (flow.destination, flow.destination_ip, flow.source, flow.source_ip)
        if reply
        else (flow.source, flow.source_ip, flow.destination, flow.destination_ip)
    )
    service = flow.source_service if reply else flow.destination_service
    if ingress:
        namespace, pod, _ = subject(server, server_ip)
        peer = names.peer(server, client, client_ip, "")
    else:
        namespace, pod, _ = subject(client, client_ip)
        peer = names.peer(client, server, server_ip, service)
    what = reason(flow.drop_reason).name if flow.drop_reason else ""
    if flow.l7 is not None:
        l7 = flow.l7
        what = l7.dns_query or f"{l7.http_method} {l7.http_url}".strip()
        if l7.http_code:
            what = f"{l7.http_code} {what}"
    return Recent(
        key=row,
        number=number,
        time=flow.time,
        namespace=namespace,
        pod=pod,
        peer=peer.name,
        port=flow.source_port if reply else flow.destination_port,
        protocol=flow.protocol,
        direction="ingress" if ingress else "egress",
        kind=kind(flow),
        verdict=verdict_name(flow.verdict),
        reason=what,
        flags=", ".join(tcp_flags(flow)),
        node=flow.node,
        flow=flow,
    )
