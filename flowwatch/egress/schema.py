"""What a row, an attempt and a record consist of, declared once.

    column("late", "int", "attempts denied at first, let through on a retry", unit="attempts")

is all that a field needs: the pandas frame, CSV, JSON, Parquet and the tables of docs/formats.md are made of
these declarations (``make docs`` writes the last), and the headings that people see come from here.
Records have a file of their own, :mod:`flowwatch.egress.record_schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from operator import attrgetter
from typing import Any, Generic, Literal, TypeVar

import msgspec

from flowwatch.egress.rows import Row
from flowwatch.egress.waiting import MANNERS, manner
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.model import PolicyRef
from flowwatch.flows.open_attempt import WITH_PORTS
from flowwatch.flows.reasons import reason
from flowwatch.flows.staged import Staged

SCHEMA_VERSION = 2
"""Of all that is declared here; raised when a field changes its meaning or goes."""

Item = TypeVar("Item")
Kind = Literal["text", "int", "uint", "float", "bool", "time", "texts", "counts", "policies"]
"""Types of values: str, int (of 63 bits, of 64 without a sign), float, bool or None, int (ns since 1970, 0
for unknown), tuple of str, dict of str to int, :data:`Policies`. What becomes of each in a file:
docs/formats.md, "Values"."""
Format = Literal["frame", "csv", "json", "parquet"]
EVERYWHERE: frozenset[Format] = frozenset({"frame", "csv", "json", "parquet"})

Policies = tuple[tuple[str, PolicyRef], ...]
"""(Effect, policy), what is against it first: ``deny``, ``selects`` (a default deny, which no rule of the
policy made), ``allow``."""


class Column(msgspec.Struct, Generic[Item], frozen=True):
    """One field of an item, by the name that it has in every format."""

    name: str
    kind: Kind
    meaning: str
    """One phrase for the documentation."""
    value: Callable[[Item], Any]
    """Takes it from the item, as it is: formats round and spell out."""
    unit: str
    """What is counted or measured, "" where that goes without saying."""
    title: str
    """Its heading where people read it."""
    formats: frozenset[Format]
    """Those that carry it."""


def column(
    name: str,
    kind: Kind,
    meaning: str,
    value: Callable[[Item], Any] | None = None,
    *,
    unit: str = "",
    title: str = "",
    formats: frozenset[Format] = EVERYWHERE,
) -> Column[Item]:
    """Declare a field: its value is the attribute of that name, and its title the name, if not given."""
    title = title or name.replace("_", " ").upper()
    return Column(name, kind, meaning, value or attrgetter(name), unit, title, formats)


def carried(columns: tuple[Column[Item], ...], by: Format) -> tuple[Column[Item], ...]:
    """Those of ``columns`` that a format has."""
    return tuple([one for one in columns if by in one.formats])


def policies(allowed: tuple[PolicyRef, ...], denied: tuple[PolicyRef, ...]) -> Policies:
    """Both lists in one, denying policies first."""
    if not allowed and not denied:
        return ()
    against = [("selects" if one.selects else "deny", one) for one in denied]
    return (*against, *[("allow", one) for one in allowed])


_NO_REASON = reason(0).name


def _reasons(one: Row | Attempt) -> Collection[str]:
    return one.drop_reasons if isinstance(one, Row) else (one.drop_reason,)


def _folded(one: Row | Attempt) -> bool:
    """Whether it is of several pods, so that it names none."""
    return isinstance(one, Row) and one.pods > 1


_MISSING: tuple[tuple[str, Callable[[Row | Attempt], bool]], ...] = (
    ("pod", lambda one: bool(one.namespace and not one.pod and not _folded(one))),
    (
        "peer",
        lambda one: (
            one.peer_kind in ("unknown", "workload")
            or (one.peer_kind, one.peer[-2:]) == ("pod", "/?")
        ),
    ),
    ("port", lambda one: not one.port and (not one.protocol or one.protocol in WITH_PORTS)),
    ("protocol", lambda one: not one.protocol),
    ("drop_reason", lambda one: _NO_REASON in _reasons(one)),
    ("is_reply", lambda one: bool(one.unsure)),
)
"""What may be missing in what says which row or attempt it is, and when it is."""

_WHOLE = frozenset({"dns", "service", "entity", "address"})
"""Kinds of peers of which nothing is."""


def not_recorded(one: Row | Attempt) -> tuple[str, ...]:
    """What its records don't tell, as an exporter's mask or key left it out: ``("pod", "port")``."""
    whole = one.pod and one.port and one.protocol
    if one.peer_kind == "other" or (whole and one.peer_kind in _WHOLE):
        return ()
    return tuple([name for name, missing in _MISSING if missing(one)])


def explanation(outcome: str, number: int) -> str:
    """A plain English sentence for what happened to an attempt, empty if it simply got through."""
    if outcome == "dropped":
        return reason(number).plain
    return _OUTCOMES.get(outcome, "")


_OUTCOMES = {
    "audited": "A policy would deny this connection, but audit mode let it through.",
    "error": "Cilium's proxy failed to handle this request.",
    "unknown": "No record says what became of this attempt.",
}

VERSION: Column[Any] = column(
    "schema_version",
    "int",
    f"{SCHEMA_VERSION}; raised when a column changes its meaning or goes",
    lambda _: SCHEMA_VERSION,
    formats=EVERYWHERE - {"frame"},
)

NOT_RECORDED = (
    "what records don't tell, as an exporter left it out: `pod`, `peer` (its pod), `port`, `protocol`, "
    "`drop_reason`, `is_reply` (attempts may be answers)"
)

ATTEMPT: tuple[Column[Attempt], ...] = (
    VERSION,
    column("first_seen", "time", "time of the attempt's first record, by the clock of `node`"),
    column("last_seen", "time", "time of its last record (retries included), by the same"),
    column("direction", "text", "`egress` or `ingress`, of the pod"),
    column("outcome", "text", "`forwarded`, `dropped`, `audited`, `error` or `unknown`"),
    column("namespace", "text", "the pod's namespace"),
    column("pod", "text", "the pod; for what isn't one its entity (`host`) or address"),
    column("workload", "text", "the pod's workload, if Hubble knew it"),
    column("pod_address", "text", "the pod's IP address"),
    column("source_port", "int", "the client's port, 0 if none"),
    column("peer", "text", "the other end: DNS name, service, pod, entity or address"),
    column(
        "peer_kind",
        "text",
        "`dns`, `service`, `pod`, `workload` (its pods aren't recorded), `entity`, `address` or `unknown`",
    ),
    column("peer_address", "text", "the other end's IP address"),
    column("port", "int", "the server's port, 0 if none; for ICMP the type"),
    column("protocol", "text", "`TCP`, `UDP`, `SCTP`, `ICMPv4` …"),
    column(
        "drop_reason",
        "text",
        "Hubble's name; `L7_DENIED` if the proxy refused; empty if not dropped, nor late",
    ),
    column(
        "drop_reason_number",
        "int",
        "Hubble's number, 0 if not dropped; negative: -7007 `L7_DENIED`, else a newer name's",
    ),
    column(
        "explanation",
        "text",
        "what happened, in one plain sentence; empty if forwarded",
        lambda a: explanation(a.outcome, a.drop_reason_number),
    ),
    column(
        "detail",
        "text",
        "what the proxy refused: `GET http://…`, `DNS example.com`; where an answer was dropped",
    ),
    column(
        "policies",
        "policies",
        "policies that denied or allowed it, as far as Hubble names them",
        lambda a: policies(a.allowed_by, a.denied_by),
    ),
    column("records", "int", "Hubble's records of this attempt", unit="records"),
    column("node", "text", "the node whose record came first"),
    column("cluster", "text", "the pod's cluster, as Hubble names it"),
    column("server", "text", "the server it was seen through; empty if there was but one"),
    column(
        "answer",
        "text",
        "what came back: `answered`, `refused` (reset), `unreachable` (ICMP), `dropped` on its way, "
        "`none`; empty if nothing was let through, or answers aren't recorded",
    ),
    column(
        "waited",
        "float",
        "seconds until a retry was let through, where the first was denied; else 0",
        unit="s",
    ),
    column("retries", "int", "SYNs sent again, as far as seen", unit="SYNs"),
    column(
        "noise",
        "text",
        "what no policy was asked about: `neighbour discovery`, `multicast`, `link-local`, "
        "`address not settled`; empty for all else",
    ),
    column(
        "uncounted",
        "bool",
        "whether it stands for at least one attempt, and nobody knows for how many: aggregated lines, or "
        "records without the client's port",
    ),
    column("not_recorded", "texts", NOT_RECORDED, not_recorded),
    column("encrypted", "bool", "whether an encrypted packet of it was seen (IPsec, WireGuard)"),
    column("policy_log", "texts", "`log: value` of the policies that decided, at most eight"),
)
"""``export``: one line per attempt."""

ATTRIBUTED: tuple[Column[Attempt], ...] = (
    *ATTEMPT,
    column(
        "attribution",
        "text",
        "what blocked it by the policies given, or why that can't be told; empty if not blocked",
    ),
)
"""``export --policies``: the same, with one column more."""

ROW: tuple[Column[Row], ...] = (
    VERSION,
    column("direction", "text", "`egress` or `ingress`, of the pod"),
    column("namespace", "text", "the pod's namespace"),
    column("pod", "text", "the pod; for what isn't one its entity (`host`) or address"),
    column("workload", "text", "the pod's workload, if Hubble knew it"),
    column(
        "peer",
        "text",
        "the other end: DNS name, service, pod, entity or address",
        title="DESTINATION",
    ),
    column(
        "peer_kind",
        "text",
        "`dns`, `service`, `pod`, `workload` (its pods aren't recorded), `entity`, `address`, `other` "
        "(folded rows) or `unknown`",
    ),
    column("port", "int", "the server's port, 0 if none; for ICMP the type"),
    column("protocol", "text", "`TCP`, `UDP`, `SCTP`, `ICMPv4` …"),
    column(
        "forwarded",
        "int",
        "attempts that were let through",
        unit="attempts",
    ),
    column("dropped", "int", "attempts that were dropped or refused", unit="attempts"),
    column(
        "audited",
        "int",
        "attempts let through that would be denied",
        unit="attempts",
    ),
    column(
        "errors",
        "int",
        "attempts that failed in Cilium's proxy",
        unit="attempts",
    ),
    column("unknown", "int", "attempts without a final record", unit="attempts"),
    column("records", "int", "Hubble's records of all these attempts", unit="records"),
    column(
        "drop_reasons",
        "counts",
        "dropped attempts by Hubble's reason (`L7_DENIED`: the proxy refused)",
        unit="attempts",
        title="REASON",
    ),
    column(
        "policies",
        "policies",
        "policies that denied or allowed them, as far as Hubble names them",
        lambda r: policies(r.allowed_by, r.denied_by),
        title="POLICY",
    ),
    column("first_seen", "time", "time of the first record"),
    column("last_seen", "time", "time of the last record", title="LAST"),
    column(
        "rate",
        "float",
        "attempts per second of late (weighted over 30 s)",
        unit="attempts/s",
        title="RATE/s",
    ),
    column("peer_addresses", "texts", "addresses behind the peer, the latest first, at most four"),
    column("cluster", "text", "the pod's cluster, as Hubble names it"),
    column("server", "text", "the server it was seen through; empty if there was but one"),
    column("answered", "int", "attempts that something came back for", unit="attempts"),
    column("refused", "int", "attempts that a reset came back for", unit="attempts"),
    column("unreachable", "int", "attempts that an ICMP error came back for", unit="attempts"),
    column(
        "answers_dropped", "int", "attempts whose answer was dropped on its way", unit="attempts"
    ),
    column("late", "int", "attempts denied at first, let through on a retry", unit="attempts"),
    column("waited", "float", "seconds, the longest of their waits", unit="s"),
    column(
        "proxy_refused",
        "texts",
        "what the proxy refused (`GET http://api/x`, `DNS example.com`), the latest first, at most four",
    ),
    column(
        "noise",
        "counts",
        "of `dropped`, what no policy was asked about, by kind; totals and shares are without",
        unit="attempts",
    ),
    column(
        "uncounted",
        "int",
        "attempts of which each stands for at least one, and nobody knows for how many: aggregated lines, or "
        "records without the client's port",
        unit="attempts",
    ),
    column("not_recorded", "texts", NOT_RECORDED, not_recorded),
    column(
        "encrypted",
        "text",
        "whether encrypted packets were seen (IPsec, WireGuard) of the attempts that were let through: "
        "`all`, `none`, `mixed`; empty if none was",
    ),
    column("policy_log", "texts", "`log: value` of the policies that decided, at most eight"),
    column(
        "state",
        "text",
        "what became of the latest attempts: `forwarded`, `dropped`, `audited`, `error`, `unknown`; `mixed` "
        "where that changed more than three times",
    ),
    column(
        "since",
        "time",
        "when the first attempt of this state was decided, after the last of another; empty if `mixed`",
    ),
    column(
        "state_before",
        "text",
        "the state before: `forwarded` where a policy has cut off what worked; empty if there was none",
    ),
    column("until", "time", "when the last attempt of that was decided; empty if there was none"),
    column("pods", "int", "pods that it is of: more than one where rows are folded (`--by`)"),
    column(
        "waiting",
        "float",
        "at least so long dropped attempts were tried again, from the drop to the last retry that was seen, "
        "all of them together",
        unit="s",
    ),
)
"""``summary`` and ``export --grouped``: one line per pod and destination."""

CAUSED: tuple[Column[Row], ...] = (
    *ROW,
    column(
        "cause",
        "text",
        "what blocked the latest of its attempts that was blocked, by the policies given, in few words: "
        "`default deny · weather-egress`; empty if none was, or no policy had a say",
    ),
    column("attribution", "text", "the same in a sentence, or why it can't be told"),
)
"""The same with ``--policies``."""

WAITING: tuple[Column[Row], ...] = (
    *ROW,
    column("manner", "text", f"how that feels to the application: {MANNERS}", manner),
    column("blocked_pods", "int", "of `pods`, those that are blocked now"),
)
"""``summary --waiting``: the workloads that are blocked now, each with a destination."""

_NOBODY = Staged()
"""Of a row that wasn't judged yet."""

STAGED: tuple[Column[Row], ...] = (
    column(
        "would_deny",
        "int",
        "attempts let through that the staged policies would deny",
        lambda r: (r.staged or _NOBODY).deny,
        unit="attempts",
        title="CUT",
    ),
    column(
        "would_admit",
        "int",
        "attempts denied that the staged policies would let through",
        lambda r: (r.staged or _NOBODY).admit,
        unit="attempts",
        title="ADMIT",
    ),
    column(
        "would_cant_tell",
        "int",
        "attempts of which that can't be told",
        lambda r: (r.staged or _NOBODY).cant_tell,
        unit="attempts",
    ),
    column(
        "staged",
        "text",
        "what the staged policies would do to them, and which: `would deny · draft-2`, `would admit`, "
        "`can't tell`, `no change`; with a number where it is so of some attempts alone",
        lambda r: r.staged.words if r.staged else "",
    ),
)
"""More columns, of rows that the dashboard writes where policies are staged (`--staged`)."""


def row_columns(*, attributed: bool = False, staged: bool = False) -> tuple[Column[Row], ...]:
    """The fields of a row where policies were given (``attributed``), or ``staged``."""
    return (*(CAUSED if attributed else ROW), *(STAGED if staged else ()))


OF_ROW = {one.name: one for one in (*ROW, *STAGED)}
"""The fields of a row by name, for tables that people read."""
NUMBERS: frozenset[Kind] = frozenset({"int", "uint", "float", "time"})
"""Kinds that stand at the right of their column there."""
