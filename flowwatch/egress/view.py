"""From columns to what a view is given: rows chosen, ordered and spelt out."""

from __future__ import annotations

import time
from dataclasses import replace
from math import exp

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rows import LostTotal, NodeAway, Recent, Row, Snapshot, Totals
from flowwatch.egress.select import select
from flowwatch.egress.table import PROTOCOLS, RATE_SECONDS, Columns, Rare
from flowwatch.egress.timeline import together
from flowwatch.flows.coverage import Tally
from flowwatch.flows.kinds import kind, tcp_flags
from flowwatch.flows.losses import cause
from flowwatch.flows.meaning import verdict_name
from flowwatch.flows.model import Direction, Flow
from flowwatch.flows.open_attempt import ANSWER_DROPPED, REFUSED, UNREACHABLE
from flowwatch.flows.peers import PeerNames, subject
from flowwatch.flows.reasons import reason

_DIRECTIONS = {
    "egress": (int(Direction.EGRESS),),
    "ingress": (int(Direction.INGRESS),),
    "both": (int(Direction.EGRESS), int(Direction.INGRESS)),
}
_NOTHING_RARE = Rare()
_NAME = {int(Direction.EGRESS): "egress", int(Direction.INGRESS): "ingress"}


def snapshot(
    aggregate: Aggregate, query: Query, *, recent: int = 0, live: bool = False
) -> Snapshot:
    """The state of ``aggregate`` as ``query`` asks for it, with the last ``recent`` records.

    ``live`` says that flow time is now: rates then fade by the wall clock as well.
    """
    tally = aggregate.tally
    directions = _DIRECTIONS[query.direction]
    columns = aggregate.columns
    now = tally.last_seen / 1e9
    if live:
        now = max(now, time.time() - tally.late / 1e9)
    chosen = select(columns, query, directions, now)
    matched = len(chosen)
    labels = _clusters(columns)
    if query.limit is not None:
        chosen = chosen[: query.limit]
    return replace(
        told(tally),
        rows=tuple([_row(columns, row, now, labels) for row in chosen]),
        matched=matched,
        totals=_totals(aggregate, directions),
        timeline=together([aggregate.timelines[one] for one in directions]),
        recent=tuple(records(aggregate, recent)),
        replies=aggregate.join.replies,
        unattributed=aggregate.join.unattributed,
        clusters=tuple(sorted({label for label in labels.values() if label})),
        folded_rows=aggregate.folded_rows,
        warnings=warnings(aggregate),
    )


def told(tally: Tally) -> Snapshot:
    """What was read and what wasn't, without rows: for listings that have lines of their own."""
    return Snapshot(
        first_seen=tally.first_seen,
        last_seen=tally.last_seen,
        records_read=tally.records_read,
        records_skipped=dict(tally.skipped),
        values_unknown=dict(tally.odd),
        lost=_lost(tally),
        nodes=tuple(sorted(node for node in tally.nodes if node)),
        nodes_unavailable=tuple(sorted(tally.unavailable)),
        nodes_away=tuple(
            NodeAway(name, tally.away_since.get(name, 0), why)
            for name, why in sorted(tally.unavailable.items())
        ),
        nodes_known=tally.known_nodes,
        servers_failed=tuple(tally.failed),
        gaps=tuple(sorted(tally.gaps, key=lambda gap: gap.start)),
        clock_skews=tally.skews(),
        clock_late=tally.late,
        warnings=tuple(tally.warnings()),
    )


def _lost(tally: Tally) -> tuple[LostTotal, ...]:
    seconds = max((tally.last_seen - tally.first_seen) / 1e9, 1.0)
    return tuple(
        LostTotal(
            item.node, item.source, item.count, item.time, cause(item.source), item.count / seconds
        )
        for item in tally.lost.values()
    )


def warnings(aggregate: Aggregate) -> tuple[str, ...]:
    """What makes the numbers less than the whole truth, a line each."""
    found = aggregate.tally.warnings()
    if aggregate.folded_rows:
        found.append(
            f"{aggregate.folded_rows:,} least recently seen rows were folded into 'other' "
            f"(limit {aggregate.max_rows:,}; --max-rows raises it)"
        )
    if aggregate.join.closed_early:
        found.append(
            "too many attempts at once to wait 75 s for each one's retries: "
            "some retries may be counted as attempts of their own"
        )
    if aggregate.join.unattributed and not len(aggregate.columns):
        found.append(
            f"{aggregate.join.unattributed:,} records name no direction and no pod: "
            "nothing could be counted from them"
        )
    return tuple(found)


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


def _row(columns: Columns, i: int, now: float, labels: dict[tuple[str, str], str]) -> Row:
    number = columns.pod[i]
    namespace, pod, cluster, server = columns.pods.things[number]
    kind, peer = columns.peer_of(i)
    allowed, denied = columns.policy_sets.things[columns.policies[i]]
    rare = columns.rare.get(i, _NOTHING_RARE)
    fade = exp(min(columns.rated[i] - now, 0.0) / RATE_SECONDS)
    return Row(
        direction=_NAME[columns.direction[i]],
        namespace=namespace,
        pod=pod,
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
        key=columns.ident[i],
    )


def _totals(aggregate: Aggregate, directions: tuple[int, ...]) -> Totals:
    kept, dropped, audited, errors, unknown = (
        sum(counts) for counts in zip(*(aggregate.totals[d] for d in directions), strict=True)
    )
    rows = sum(aggregate.columns.rows_of[direction] for direction in directions)
    return Totals(kept, dropped, audited, errors, unknown, rows)


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
