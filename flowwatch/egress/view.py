"""From columns to what a view is given: rows chosen, ordered and spelt out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import exp

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rates import Rate, Rates
from flowwatch.egress.rows import Recent, Row, Snapshot, Totals
from flowwatch.egress.select import FEW, select
from flowwatch.egress.table import ANY_POD, PROTOCOLS, RATE_SECONDS, Columns, Rare
from flowwatch.egress.timeline import together
from flowwatch.flows.cause import Cause
from flowwatch.flows.coverage import other_way_words
from flowwatch.flows.kinds import kind, tcp_flags
from flowwatch.flows.meaning import verdict_name
from flowwatch.flows.model import DIRECTION_WORDS, Direction, Endpoint, Flow
from flowwatch.flows.open_attempt import ANSWER_DROPPED, REFUSED, UNREACHABLE
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
    tally = aggregate.tally
    directions = _DIRECTIONS[query.direction]
    columns = aggregate.columns
    now = tally.last_seen / 1e9
    if live:
        now = max(now, time.time() - tally.late / 1e9)
    matching = select(columns, query, directions, now)
    hidden = columns.only_noise(drops_only=query.drops_only) if not query.noise else ()
    chosen = [row for row in matching if row not in hidden] if hidden else matching
    labels = _clusters(columns)
    coverage = aggregate.join.coverage()
    totals = _totals(aggregate, directions)
    # What is folded as noise is in no figure, so nothing of it is left out.
    narrowed = chosen if len(matching) < totals.rows else None
    if not query.noise:
        folded = sum(columns.direction[row] in directions for row in columns.only_noise())
        totals = replace(totals, rows=totals.rows - folded)
    timeline = of_them = None
    if narrowed is not None and aggregate.row_times is not None:
        timeline = of_them = aggregate.row_times.timeline(narrowed)
    if timeline is None:
        timeline = together([aggregate.timelines[one] for one in directions])
    rate = rates.of(directions, narrowed) if rates is not None else Rate()
    elsewhere = _totals(aggregate, tuple(aggregate.totals)).attempts - totals.attempts
    return Snapshot(
        rows=tuple([_row(aggregate, row, now, labels) for row in chosen[: query.limit]]),
        matched=len(chosen),
        totals=totals,
        shown=totals if narrowed is None else _of_rows(columns, narrowed, matching),
        elsewhere=elsewhere,
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


def _row(aggregate: Aggregate, i: int, now: float, labels: dict[tuple[str, str], str]) -> Row:
    columns = aggregate.columns
    number = columns.pod[i]
    namespace, pod, cluster, server = columns.pods.things[number]
    kind, peer = columns.peer_of(i)
    allowed, denied = columns.policy_sets.things[columns.policies[i]]
    rare = columns.rare.get(i, _NOTHING_RARE)
    cause = columns.causes.get(i, _NO_CAUSE)
    fade = exp(min(columns.rated[i] - now, 0.0) / RATE_SECONDS)
    return Row(
        direction=DIRECTION_WORDS[columns.direction[i]],
        namespace=namespace,
        pod="" if pod.startswith(ANY_POD) else pod,
        workload=columns.workloads[number],
        peer=peer,
        peer_kind=kind,
        port=columns.port[i],
        protocol=PROTOCOLS[columns.protocol[i]],
        forwarded=columns.counts[0][i],
        dropped=columns.counts[1][i],
        audited=columns.counts[2][i],
        errors=columns.counts[3][i],
        unknown=columns.counts[4][i],
        records=columns.records[i],
        drop_reasons={reason(n).name: count for n, count in columns.reasons(i).items()},
        allowed_by=allowed,
        denied_by=denied,
        first_seen=columns.first[i],
        last_seen=columns.last[i],
        rate=columns.rate[i] * fade,
        peer_addresses=(peer,) if kind == "address" else columns.addresses.get(i, ()),
        cluster=labels[cluster, server],
        server=server,
        answered=columns.answered[i],
        refused=rare.answers[REFUSED],
        unreachable=rare.answers[UNREACHABLE],
        answers_dropped=rare.answers[ANSWER_DROPPED],
        late=rare.late,
        waited=rare.waited,
        retries=rare.retries,
        proxy_refused=columns.proxy_refused.get(i, ()),
        uncounted=rare.uncounted,
        unsure=rare.unsure,
        encrypted=_encrypted(columns.counts[0][i] + columns.counts[2][i], rare.encrypted),
        policy_log=tuple(rare.policy_log),
        key=columns.ident[i],
        noise=_together([columns.noise[i]]) if i in columns.noise else {},
        runs=aggregate.turns.of(i),
        cause=cause.words,
        attribution=cause.attribution,
    )


def _encrypted(passed: int, encrypted: int) -> str:
    """How many of the attempts that were let through were seen encrypted, in a word."""
    if not passed:
        return ""
    if not encrypted:
        return "none"
    return "all" if encrypted >= passed else "mixed"


def _totals(aggregate: Aggregate, directions: tuple[int, ...]) -> Totals:
    kept, dropped, audited, errors, unknown = (
        sum(counts) for counts in zip(*(aggregate.totals[d] for d in directions), strict=True)
    )
    rows = sum(aggregate.columns.rows_of[direction] for direction in directions)
    noise = _together([aggregate.columns.noise_of[direction] for direction in directions])
    quiet = min(sum(noise.values()), dropped)
    return Totals(kept, dropped - quiet, audited, errors, unknown, rows, noise)


def _together(counted: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by name, the most first."""
    sums: dict[str, int] = {}
    for counts in counted:
        for name, count in counts.items():
            sums[name] = sums.get(name, 0) + count
    return dict(
        sorted(((k, n) for k, n in sums.items() if n > 0), key=lambda one: (-one[1], one[0]))
    )


def _of_rows(columns: Columns, rows: list[int], matching: list[int]) -> Totals:
    """The totals of some rows, with the noise of all that match, be it folded."""
    if len(rows) > FEW:
        from flowwatch.egress import select_large

        counted = select_large.summed(columns, rows)
    else:
        counted = [sum([one[row] for row in rows]) for one in columns.counts]
    forwarded, dropped, audited, errors, unknown = counted
    noise: dict[str, int] = {}
    if columns.noise:
        dropped -= sum([columns.quiet(row) for row in rows if row in columns.noise])
        noise = _together([columns.noise[row] for row in matching if row in columns.noise])
    return Totals(forwarded, dropped, audited, errors, unknown, len(rows), noise)


def ends(aggregate: Aggregate, key: int) -> tuple[Endpoint, Endpoint] | None:
    """Who the two ends of the row ``key`` are, the pod first; None when it isn't known."""
    if aggregate.ends is None or key not in aggregate.columns.ident:
        return None
    return aggregate.ends.of(aggregate.columns.ident.index(key))


def labels_of(aggregate: Aggregate) -> Callable[[Row], tuple[str, ...]]:
    """The labels of a row's pod, by the row; of an aggregate that keeps who the ends are."""
    numbers = {key: row for row, key in enumerate(aggregate.columns.ident)}
    known = aggregate.ends

    def labels(row: Row) -> tuple[str, ...]:
        number = numbers.get(row.key)
        return known.of(number)[0].labels if known is not None and number is not None else ()

    return labels


def records(aggregate: Aggregate, count: int, key: int = 0) -> list[Recent]:
    """The last ``count`` records, of the row ``key`` if it isn't 0; the newest last."""
    found: list[Recent] = []
    if count <= 0:
        return found
    number = aggregate.tally.records_read + 1
    for row, flow, reply, names in reversed(aggregate.recent):
        number -= 1
        if key and row != key:
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
    )
