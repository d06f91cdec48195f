"""What the table says when it has no rows: why, and what to look at."""

from __future__ import annotations

from collections.abc import Sequence

from flowwatch.egress.query import Query
from flowwatch.egress.rows import Snapshot
from flowwatch.flows.source import SourceState
from flowwatch.report.came_back import noise_words
from flowwatch.text import plural, safe
from flowwatch.tui.format import Line, cut, wrap
from flowwatch.tui.named import NAMES, KeyNames


def empty_lines(
    snapshot: Snapshot,
    state: SourceState,
    query: Query,
    filter_words: str,
    columns: int,
    near: Sequence[str] = (),
    keys: KeyNames = NAMES,
) -> list[Line]:
    """A heading and advice, for a table without rows; ``near``: which word of the filter finds nothing."""
    title, advice = _words(snapshot, state, query, filter_words, keys)
    if query.text and snapshot.totals.rows:
        advice = [*near, *advice]
    return advice_lines(title, advice, columns)


RELAY = (
    "through relay: kubectl -n kube-system port-forward svc/hubble-relay 4245:80",
    "or let flowwatch do that: flowwatch -P",
)
"""How one gets to a server that isn't there."""

LEAST = (32, 2)
"""Columns and lines of a table that tells anything."""


def small_lines(columns: int, lines: int) -> list[Line]:
    """What stands where there is no room for a table; nothing where there is."""
    if columns >= LEAST[0] and lines >= LEAST[1]:
        return []
    words = wrap("too small: make it larger, or use --plain", max(columns - 1, 1))
    return [cut(((f" {part}", "warn"),), columns) for part in words[:lines]]


def advice_lines(title: str, advice: Sequence[str], columns: int) -> list[Line]:
    """A heading, and what to do; safe texts."""
    lines: list[Line] = [()]
    lines += [((f"  {part}", "strong"),) for part in wrap(title, columns - 4)]
    lines.append(())
    for text in advice:
        first, *rest = wrap(text, columns - 6)
        lines.append(((f"  - {first}", "text"),))
        lines += [((f"    {part}", "text"),) for part in rest]
    return lines


def _words(
    snapshot: Snapshot, state: SourceState, query: Query, filter_words: str, keys: KeyNames
) -> tuple[str, list[str]]:
    where = safe(state.where)
    rows = snapshot.totals.rows
    if query.text and rows:
        return f"None of {plural(rows, 'row')} matches /{safe(query.text)}", [
            keys.told("{back} clears the filter"),
            "all words must occur in what a row shows: pod, name, address, :port, 53/udp, reason, "
            "policy; !word: must not; ns: pod: to: port: why: policy: label: verdict: ask for one of them",
        ]
    if query.drops_only and rows:
        return f"No drops: nothing was dropped or audited in {plural(rows, 'row')}", [
            keys.told("{drops} shows the forwarded ones")
        ]
    if not query.noise and (noise := noise_words(snapshot.totals.noise)):
        return f"Nothing but noise: {noise}", [
            keys.told("{noise} lists the rows; no policy is to be mended for them")
        ]
    if state.phase == "connecting":
        return f"Connecting to {where}", [
            *RELAY,
            "no cluster at hand? flowwatch demo",
        ]
    if state.phase == "lost" and not snapshot.coverage.records_read:
        return f"No connection yet: {safe(state.message) or where}", [
            keys.told("it is tried again by itself; {retry} tries now"),
            *RELAY,
            "--server names another address; flowwatch status tells what answers there",
        ]
    if state.phase == "failed":
        why = safe(state.message) or "no reason given"
        # Most causes name the place themselves.
        title = f"Failed: {why}" if where and where in why else f"Reading {where} failed: {why}"
        # A server that fails was never had; the doctor is for servers.
        doctor = "" if state.had else "; flowwatch doctor looks where it fails"
        return title, [keys.told(f"{{quit}} ends this, and says it once more{doctor}")]
    if snapshot.coverage.records_read:
        return _none_counted(snapshot, query, keys)
    if state.phase in ("reading", "ended"):
        skipped = sum(snapshot.coverage.records_skipped.values())
        advice = (
            [f"{plural(skipped, 'record')} could not be read: {keys['warnings']} says why"]
            if skipped
            else []
        )
        advice += snapshot.coverage.notes
        if filter_words:
            advice.append(f"the filters: {safe(filter_words)}")
        advice.append("--since, --last or another --input-file may show more")
        if not filter_words and not skipped:
            advice.append("hubble observe --all -o json > FILE writes one that can be read")
        ended = "has no flow" if state.phase == "ended" else "has shown no flow yet"
        which = " that these filters match" if filter_words else ""
        return f"{where} {ended}{which}", advice
    return _nothing_yet(state, where, filter_words)


def _none_counted(snapshot: Snapshot, query: Query, keys: KeyNames) -> tuple[str, list[str]]:
    seen = snapshot.coverage
    read = plural(seen.records_read, "record")
    which = {"both": "attempt"}.get(query.direction, f"{query.direction} attempt")
    there = snapshot.elsewhere
    other = {"egress": "ingress", "ingress": "egress"}.get(query.direction, "")
    seen_there = f"{plural(there, f'{other} attempt')} {'was' if there == 1 else 'were'} seen: "
    return f"{read} read, and no {which} in them", [
        f"{seen_there if there else ''}{keys['direction']} shows ingress, or both directions",
        f"{seen.replies:,} were replies, {seen.unattributed:,} had no direction",
        keys.told("{tail} shows the records themselves"),
    ]


def _nothing_yet(state: SourceState, where: str, filter_words: str) -> tuple[str, list[str]]:
    advice = []
    if filter_words:
        advice.append(f"the filters: {safe(filter_words)}")
    if state.unavailable:
        advice.append(f"nodes that relay can't reach: {safe(', '.join(state.unavailable))}")
    advice.append("is anything sending? Rows appear with the first record")
    older = "pods older than Cilium on their node, or on the host's network, leave no records"
    if not filter_words:
        return f"Connected to {where}; no flow has come yet", [*advice, older]
    advice += [
        "a namespace and a pod's name must be written as in Kubernetes, a pod as namespace/name: "
        "flowwatch list namespaces tells which the server has seen",
        older,
        "see everything: flowwatch without filters",
    ]
    return f"Connected to {where}; no flow matches these filters yet", advice
