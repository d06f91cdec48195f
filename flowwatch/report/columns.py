"""Columns: what each exported table has, declared once for CSV, JSON lines, Parquet and the docs.

Three tables: attempts (:data:`ATTEMPT`), rows (:data:`ROW`) and records
(:data:`flowwatch.report.records.RECORD`). A column has a name, a kind, a meaning, and a function
that takes its value from the item. The kinds, and what becomes of them:

=========  =======================  ==============================  =========================
kind       value                    CSV                             JSON lines
=========  =======================  ==============================  =========================
text       str                      escaped, formula-safe           string
int        int                      number                          number
float      float                    number, three decimals          number
bool       bool or None             ``true``, ``false``, empty      true, false, null
time       int, ns since 1970       ``2026-01-31T10:20:30.12…Z``    the same, null if unknown
texts      tuple of str             joined by ``; ``                array of strings
counts     dict of str to int       ``NAME=2; OTHER=1``             object
policies   tuple of Policy          ``deny KIND NS/NAME; …``        array of objects
=========  =======================  ==============================  =========================
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar

from flowwatch.egress.rows import SCHEMA_VERSION, Row
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.model import PolicyRef
from flowwatch.flows.reasons import reason
from flowwatch.report.goformat import TimeFormat
from flowwatch.text import cell

Item = TypeVar("Item")
Kind = Literal["text", "int", "float", "bool", "time", "texts", "counts", "policies"]

Policies = tuple[tuple[str, PolicyRef], ...]
"""(``allow`` or ``deny``, policy) in that order of effect: deny first."""


@dataclass(frozen=True, slots=True)
class Column(Generic[Item]):
    """One column of an exported table."""

    name: str
    kind: Kind
    meaning: str
    """One phrase for the documentation."""
    value: Callable[[Item], Any]


def policies(allowed: tuple[PolicyRef, ...], denied: tuple[PolicyRef, ...]) -> Policies:
    """Both lists in one, denying policies first."""
    if not allowed and not denied:
        return ()
    return (*[("deny", p) for p in denied], *[("allow", p) for p in allowed])


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

_VERSION: Column[Any] = Column(
    "schema_version",
    "int",
    f"{SCHEMA_VERSION}; raised when a column changes its meaning or goes",
    lambda _: SCHEMA_VERSION,
)


def versioned(*columns: Column[Item]) -> tuple[Column[Item], ...]:
    """``columns`` with the version of the schema before them."""
    return (_VERSION, *columns)


ATTEMPT: tuple[Column[Attempt], ...] = versioned(
    Column(
        "first_seen",
        "time",
        "time of the attempt's first record, by the clock of `node`",
        lambda a: a.first_seen,
    ),
    Column(
        "last_seen",
        "time",
        "time of its last record (retries included), by the same",
        lambda a: a.last_seen,
    ),
    Column("direction", "text", "`egress` or `ingress`, of the pod", lambda a: a.direction),
    Column(
        "outcome",
        "text",
        "`forwarded`, `dropped`, `audited`, `error` or `unknown`",
        lambda a: a.outcome,
    ),
    Column("namespace", "text", "the pod's namespace", lambda a: a.namespace),
    Column(
        "pod",
        "text",
        "the pod; for what isn't one its entity (`host`) or address",
        lambda a: a.pod,
    ),
    Column("workload", "text", "the pod's workload, if Hubble knew it", lambda a: a.workload),
    Column("pod_address", "text", "the pod's IP address", lambda a: a.pod_address),
    Column("source_port", "int", "the client's port, 0 if none", lambda a: a.source_port),
    Column(
        "peer",
        "text",
        "the other end: DNS name, service, pod, entity or address",
        lambda a: a.peer,
    ),
    Column(
        "peer_kind",
        "text",
        "`dns`, `service`, `pod`, `entity`, `address` or `unknown`",
        lambda a: a.peer_kind,
    ),
    Column("peer_address", "text", "the other end's IP address", lambda a: a.peer_address),
    Column("port", "int", "the server's port, 0 if none; for ICMP the type", lambda a: a.port),
    Column("protocol", "text", "`TCP`, `UDP`, `SCTP`, `ICMPv4` …", lambda a: a.protocol),
    Column(
        "drop_reason",
        "text",
        "Hubble's name; `L7_DENIED` if the proxy refused; empty if not dropped, nor late",
        lambda a: a.drop_reason,
    ),
    Column(
        "drop_reason_number",
        "int",
        "Hubble's number, 0 if not dropped; negative: -7007 `L7_DENIED`, else a newer name's",
        lambda a: a.drop_reason_number,
    ),
    Column(
        "explanation",
        "text",
        "what happened, in one plain sentence; empty if forwarded",
        lambda a: explanation(a.outcome, a.drop_reason_number),
    ),
    Column(
        "detail",
        "text",
        "what the proxy refused: `GET http://…`, `DNS example.com`; where an answer was dropped",
        lambda a: a.detail,
    ),
    Column(
        "policies",
        "policies",
        "policies that denied or allowed it, as far as Hubble names them",
        lambda a: policies(a.allowed_by, a.denied_by),
    ),
    Column("records", "int", "Hubble's records of this attempt", lambda a: a.records),
    Column("node", "text", "the node whose record came first", lambda a: a.node),
    Column("cluster", "text", "the pod's cluster, as Hubble names it", lambda a: a.cluster),
    Column(
        "server",
        "text",
        "the server it was seen through; empty if there was but one",
        lambda a: a.server,
    ),
    Column(
        "answer",
        "text",
        "what came back: `answered`, `refused` (reset), `unreachable` (ICMP), `dropped` on its way, "
        "`none`; empty if nothing was let through, or answers aren't recorded",
        lambda a: a.answer,
    ),
    Column(
        "waited",
        "float",
        "seconds until a retry was let through, where the first was denied; else 0",
        lambda a: round(a.waited, 3),
    ),
    Column("retries", "int", "SYNs sent again, as far as seen", lambda a: a.retries),
)
"""``export``: one line per attempt."""

ATTRIBUTED: tuple[Column[Attempt], ...] = (
    *ATTEMPT,
    Column(
        "attribution",
        "text",
        "what blocked it by the policies given, or why that can't be told; empty if not blocked",
        lambda a: a.attribution,
    ),
)
"""``export --policies``: the same, with one column more."""

ROW: tuple[Column[Row], ...] = versioned(
    Column("direction", "text", "`egress` or `ingress`, of the pod", lambda r: r.direction),
    Column("namespace", "text", "the pod's namespace", lambda r: r.namespace),
    Column(
        "pod",
        "text",
        "the pod; for what isn't one its entity (`host`) or address",
        lambda r: r.pod,
    ),
    Column("workload", "text", "the pod's workload, if Hubble knew it", lambda r: r.workload),
    Column(
        "peer",
        "text",
        "the other end: DNS name, service, pod, entity or address",
        lambda r: r.peer,
    ),
    Column(
        "peer_kind",
        "text",
        "`dns`, `service`, `pod`, `entity`, `address`, `other` (folded rows) or `unknown`",
        lambda r: r.peer_kind,
    ),
    Column("port", "int", "the server's port, 0 if none; for ICMP the type", lambda r: r.port),
    Column("protocol", "text", "`TCP`, `UDP`, `SCTP`, `ICMPv4` …", lambda r: r.protocol),
    Column("forwarded", "int", "attempts that were let through", lambda r: r.forwarded),
    Column("dropped", "int", "attempts that were dropped or refused", lambda r: r.dropped),
    Column("audited", "int", "attempts let through that would be denied", lambda r: r.audited),
    Column("errors", "int", "attempts that failed in Cilium's proxy", lambda r: r.errors),
    Column("unknown", "int", "attempts without a final record", lambda r: r.unknown),
    Column("records", "int", "Hubble's records of all these attempts", lambda r: r.records),
    Column(
        "drop_reasons",
        "counts",
        "dropped attempts by Hubble's reason (`L7_DENIED`: the proxy refused)",
        lambda r: r.drop_reasons,
    ),
    Column(
        "policies",
        "policies",
        "policies that denied or allowed them, as far as Hubble names them",
        lambda r: policies(r.allowed_by, r.denied_by),
    ),
    Column("first_seen", "time", "time of the first record", lambda r: r.first_seen),
    Column("last_seen", "time", "time of the last record", lambda r: r.last_seen),
    Column(
        "rate",
        "float",
        "attempts per second of late (weighted over 30 s)",
        lambda r: round(r.rate, 3),
    ),
    Column(
        "peer_addresses",
        "texts",
        "addresses behind the peer, the latest first, at most four",
        lambda r: r.peer_addresses,
    ),
    Column("cluster", "text", "the pod's cluster, as Hubble names it", lambda r: r.cluster),
    Column(
        "server",
        "text",
        "the server it was seen through; empty if there was but one",
        lambda r: r.server,
    ),
    Column("answered", "int", "attempts that something came back for", lambda r: r.answered),
    Column("refused", "int", "attempts that a reset came back for", lambda r: r.refused),
    Column(
        "unreachable", "int", "attempts that an ICMP error came back for", lambda r: r.unreachable
    ),
    Column(
        "answers_dropped",
        "int",
        "attempts whose answer was dropped on its way",
        lambda r: r.answers_dropped,
    ),
    Column("late", "int", "attempts denied at first, let through on a retry", lambda r: r.late),
    Column("waited", "float", "seconds, the longest of their waits", lambda r: round(r.waited, 3)),
)
"""``summary`` and ``export --grouped``: one line per pod and destination."""


def _policy_text(effect: str, policy: PolicyRef) -> str:
    owner = f"{policy.namespace}/{policy.name}" if policy.namespace else policy.name
    return " ".join(part for part in (effect, policy.kind, owner) if part)


def _texts(values: tuple[str, ...]) -> str:
    return cell("; ".join(values))


def _counts(values: dict[str, int]) -> str:
    return cell("; ".join([f"{name}={count}" for name, count in values.items()]))


def _policies(values: Policies) -> str:
    return cell("; ".join([_policy_text(effect, policy) for effect, policy in values]))


def _policies_json(values: Policies) -> list[dict[str, str]]:
    return [
        {"effect": effect, "kind": p.kind, "namespace": p.namespace, "name": p.name}
        for effect, p in values
    ]


def _time(times: TimeFormat, value: int) -> str | None:
    return times.nanoseconds(value) if value else None


def _same(value: Any) -> Any:
    return value


_BOOLS = {True: "true", False: "false", None: ""}
_CSV: dict[Kind, Callable[[Any], Any]] = {
    "text": cell,
    "int": _same,
    "float": _same,
    "bool": _BOOLS.__getitem__,
    "texts": _texts,
    "counts": _counts,
    "policies": _policies,
}
_JSON: dict[Kind, Callable[[Any], Any]] = {"policies": _policies_json, "texts": list}


def csv_cells(columns: tuple[Column[Item], ...]) -> Callable[[Item], list[Any]]:
    """A function from an item to the cells of its CSV line. Keep it: it remembers the last second."""
    getters = [(c.value, _CSV.get(c.kind) or _times()) for c in columns]
    return lambda item: [shown(value(item)) for value, shown in getters]


def json_object(columns: tuple[Column[Item], ...]) -> Callable[[Item], dict[str, Any]]:
    """A function from an item to its JSON object. Keep it, as with :func:`csv_cells`."""
    getters = [
        (c.name, c.value, _times() if c.kind == "time" else _JSON.get(c.kind, _same))
        for c in columns
    ]
    return lambda item: {name: shown(value(item)) for name, value, shown in getters}


def _times() -> Callable[[int], str | None]:
    return partial(_time, TimeFormat.iso())


def markdown_reference(columns: tuple[Column[Any], ...]) -> str:
    """The columns as a Markdown table, as docs/formats.md has it."""
    lines = ["| column | kind | meaning |", "|---|---|---|"]
    lines += [f"| `{c.name}` | {c.kind} | {c.meaning} |" for c in columns]
    return "\n".join(lines) + "\n"
