"""Who is waiting now: the workloads that are blocked at this moment, the most harmed first.

    waiting(snapshot.rows, snapshot.coverage.last_seen)

*Now* is the time of the last record that was read. A pod is blocked now on its way to a destination when the
latest attempt whose fate is known was dropped, and a record of it came within the last 75 s: so long an
attempt waits for its retries, whose pauses double up to 32 s before they are a minute.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flowwatch.egress.folding import BY_WORKLOAD, subject, together
from flowwatch.egress.rows import Row
from flowwatch.flows.tries import GAP

MANNERS = (
    "`hangs` (dropped in silence, tried again until a timeout), `no answer` (the same where nothing "
    "connects: UDP, ICMP), `refused` (an error at once: a reset, an ICMP error, HTTP 403), `lookup refused` "
    "(a DNS name that no rule allows), `lookup hangs` (the DNS server isn't reached)"
)
"""What :func:`manner` says, for documentation."""

_DNS = 53
_CONNECTS = frozenset({"TCP", "SCTP"})
"""Protocols whose sender tries again and waits, where nothing comes back."""


def blocked_now(row: Row, now: int) -> bool:
    """Whether attempts of a row (not folded) are blocked at ``now`` (ns since 1970)."""
    if not row.blocked or not row.runs or row.runs[-1].state != "dropped":
        return False
    return now - max(row.last_seen, row.runs[-1].until) <= GAP


def waiting(rows: Iterable[Row], now: int) -> list[Row]:
    """Of plain ``rows`` those blocked at ``now``, by workload and destination, the most harmed first.

    Each has the pods of its workload that go there, with how many of them are blocked (``blocked_pods``),
    and the sums of all. First come those whose attempts waited longest in all (``waiting``), then those of
    which more pods are blocked, then the most dropped.
    """
    groups: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        name = subject(BY_WORKLOAD, row.namespace, row.pod, row.workload, ())
        key: tuple[object, ...] = (
            row.direction,
            row.cluster,
            row.server,
            name,
            row.peer,
            row.peer_kind,
            row.port,
            row.protocol,
        )
        groups.setdefault(key, []).append(row)
    found = []
    for key, group in groups.items():
        blocked = {(row.namespace, row.pod) for row in group if blocked_now(row, now)}
        if blocked:
            one = together(group, BY_WORKLOAD, str(key[3]))
            found.append(msgspec.structs.replace(one, blocked_pods=len(blocked)))
    return sorted(
        found,
        key=lambda row: (
            -row.waiting, -row.blocked_pods, -row.blocked,
            row.namespace, row.workload, row.pod, row.peer, row.port,
        ),
    )  # fmt: skip


def manner(row: Row) -> str:
    """How being blocked feels to the application, of most attempts of a row; empty where none was.

    ``hangs``: dropped in silence, and tried again until its timeout; ``no answer``: the same where nothing
    connects (UDP, ICMP); ``refused``: an error at once, a reset, an ICMP message or HTTP 403; ``lookup
    refused``: a DNS name that a rule doesn't allow; ``lookup hangs``: the DNS server isn't reached.
    """
    if not row.blocked:
        return ""
    by_rule = row.drop_reasons.get("L7_DENIED", 0)
    if 2 * by_rule >= row.blocked:
        asked = row.proxy_refused[0] if row.proxy_refused else ""
        lookup = row.port == _DNS or asked.startswith("DNS ")
        return "lookup refused" if lookup else "refused"
    if not row.forwarded and row.refused + row.unreachable >= row.blocked:
        return "refused"
    if row.port == _DNS:
        return "lookup hangs"
    return "hangs" if row.protocol in _CONNECTS else "no answer"
