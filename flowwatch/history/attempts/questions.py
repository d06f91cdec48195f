"""What can be asked of a history's attempts, each question declared once for every engine.

A question is an expression over one table, written with Ibis, which knows how each engine spells it. Its
rows have a whole order, its numbers are whole, and no value is missing, so that engines can't differ; how
many different ones there are is counted by grouping twice, as Ibis' ``nunique`` is a guess on ClickHouse.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

Expression = Any
"""Anything of Ibis': it is not installed with flowwatch."""

OUTCOMES = ("forwarded", "dropped", "audited", "error", "unknown")
SOURCE = ("namespace", "workload")
DESTINATION = ("peer", "peer_kind", "port", "protocol")
_SUMMED = ("attempts", "tries", "records")


class Asked(NamedTuple):
    """What a question is built of."""

    ibis: Any
    table: Expression
    """Attempts, or their counts by the minute, of the window and of what was asked for."""
    moment: Expression
    """What ``--since`` says, of questions with a ``moment``."""


class Inquiry(NamedTuple):
    """One of them."""

    name: str
    asks: str
    build: Callable[[Asked], Expression]
    table: Literal["minutes", "attempts"] = "minutes"
    """Of what it can be answered; of minutes, of attempts too."""
    moment: bool = False
    """Whether ``--since`` is a moment that is looked at from both sides."""
    peer: bool = False
    """Whether it is about a ``--peer``."""


def _where(asked: Asked, **values: str) -> Asked:
    table = asked.table
    return asked._replace(
        table=table.filter([table[name] == value for name, value in values.items()])
    )


def _blocked(asked: Asked) -> Asked:
    """Without what no policy was asked about."""
    return _where(asked, outcome="dropped", noise="")


def _sums(asked: Asked, *names: str) -> dict[str, Expression]:
    return {name: asked.table[name].sum() for name in names}


def _fates(asked: Asked, outcomes: tuple[str, ...] = OUTCOMES) -> dict[str, Expression]:
    """Attempts by what became of them. Not by ``sum(where=…)``, which is null on some where there is none."""
    table = asked.table
    return {
        outcome: (table.outcome == outcome).ifelse(table.attempts, 0).sum() for outcome in outcomes
    }


def _span(asked: Asked) -> dict[str, Expression]:
    return {"first_seen": asked.table.first_seen.min(), "last_seen": asked.table.last_seen.max()}


def _ordered(asked: Asked, made: Expression, most: str, keys: tuple[str, ...]) -> Expression:
    """The most first, and those that are alike by their names."""
    return made.order_by([asked.ibis.desc(most), *keys])


def _top(asked: Asked, keys: tuple[str, ...], *, span: bool = True) -> Expression:
    made = asked.table.group_by(keys).agg(
        **_sums(asked, *_SUMMED), **(_span(asked) if span else {})
    )
    return _ordered(asked, made, "attempts", keys)


def _by(
    keys: tuple[str, ...], *, span: bool = True, **values: str
) -> Callable[[Asked], Expression]:
    """The most attempts by these columns, of those with such values."""
    return lambda asked: _top(_where(asked, **values) if values else asked, keys, span=span)


def _blocked_by(keys: tuple[str, ...]) -> Callable[[Asked], Expression]:
    return lambda asked: _top(_blocked(asked), keys)


def _fates_by(keys: tuple[str, ...], most: str = "dropped") -> Callable[[Asked], Expression]:
    """What became of attempts, by these columns."""
    return lambda asked: _ordered(
        asked, asked.table.group_by(keys).agg(**_fates(asked), **_span(asked)), most, keys
    )


def _over_time(unit: str, *keys: str) -> Callable[[Asked], Expression]:
    """Blocked attempts by time and ``keys``, or what became of all of them."""

    def build(asked: Asked) -> Expression:
        asked = _blocked(asked) if keys else asked
        table = asked.table.mutate(at=asked.table.minute.truncate(unit))
        asked = asked._replace(table=table)
        told = _sums(asked, "attempts", "tries") if keys else _fates(asked)
        return table.group_by(["at", *keys]).agg(**told).order_by(["at", *keys])

    return build


def _sides(asked: Asked, keys: tuple[str, ...]) -> Expression:
    """By ``keys``, when attempts were seen, and how many from the moment on."""
    table = asked.table
    since = (table.minute >= asked.moment).ifelse(table.attempts, 0).sum()
    return table.group_by(keys).agg(
        attempts_before=table.attempts.sum() - since,
        attempts_since=since,
        dropped=_fates(asked)["dropped"],
        **_span(asked),
    )


def _new(asked: Asked) -> Expression:
    keys = (*SOURCE, *DESTINATION)
    made = _sides(asked, keys)
    return _ordered(asked, made.filter(made.attempts_before == 0), "attempts_since", keys).drop(
        "attempts_before"
    )


def _quiet(asked: Asked) -> Expression:
    keys = (*SOURCE, *DESTINATION)
    made = _sides(asked, keys)
    return _ordered(asked, made.filter(made.attempts_since == 0), "attempts_before", keys).drop(
        "attempts_since"
    )


def _never(asked: Asked) -> Expression:
    keys = (*SOURCE, *DESTINATION)
    asked = _where(asked, noise="")
    made = asked.table.group_by(keys).agg(
        **_fates(asked, ("forwarded", "audited", "dropped")), **_span(asked)
    )
    shut = made.filter([made.forwarded + made.audited == 0, made.dropped > 0])
    return _ordered(asked, shut.drop("forwarded", "audited"), "dropped", keys)


def _cut(asked: Asked) -> Expression:
    """What worked, and of which the latest is a drop that nothing let through came after."""
    keys = (*SOURCE, *DESTINATION)
    table = _where(asked, noise="").table
    early = asked.ibis.timestamp("1970-01-01T00:00:00+00:00")
    made = table.group_by(keys).agg(
        **_fates(asked._replace(table=table), ("forwarded", "dropped")),
        last_forwarded=(table.outcome == "forwarded").ifelse(table.last_seen, early).max(),
        last_dropped=(table.outcome == "dropped").ifelse(table.last_seen, early).max(),
    )
    cut = made.filter(
        [made.forwarded > 0, made.dropped > 0, made.last_dropped > made.last_forwarded]
    )
    return _ordered(asked, cut, "dropped", keys)


def _spread(keys: tuple[str, ...], of: tuple[str, ...], name: str) -> Callable[[Asked], Expression]:
    """By ``keys`` how many different ``of`` there are, and how many attempts to them."""

    def build(asked: Asked) -> Expression:
        each = asked.table.group_by([*keys, *of]).agg(each=asked.table.attempts.sum())
        made = each.group_by(keys).agg(**{name: each.count(), "attempts": each.each.sum()})
        return _ordered(asked, made, name, keys)

    return build


def _policies(column: str) -> Callable[[Asked], Expression]:
    def build(asked: Asked) -> Expression:
        table = asked.table
        each = table.select(*SOURCE, "outcome", "attempts", "tries", "records", "first_seen", "last_seen",
                            policy=table[column].unnest())  # fmt: skip
        return _top(asked._replace(table=each), ("policy", "outcome", *SOURCE))

    return build


def _late(asked: Asked) -> Expression:
    table = asked.table.filter(asked.table.waited_us > 0)
    keys = (*SOURCE, *DESTINATION)
    made = table.group_by(keys).agg(
        attempts=table.attempts.sum(), longest_wait_us=table.waited_us.max(),
        **_span(asked._replace(table=table)),
    )  # fmt: skip
    return _ordered(asked, made, "attempts", keys)


def _tried(asked: Asked) -> Expression:
    table = asked.table.filter(asked.table.tries > 1)
    keys = (*SOURCE, "pod", *DESTINATION, "outcome")
    made = table.group_by(keys).agg(
        **_sums(asked._replace(table=table), "attempts", "tries"), most=table.tries.max()
    )
    return _ordered(asked, made, "tries", keys)


def _refused(asked: Asked) -> Expression:
    table = asked.table
    return _top(
        asked._replace(
            table=table.filter(table.answer.isin(["refused", "unreachable", "dropped"]))
        ),
        (*SOURCE, *DESTINATION, "answer"),
    )


def _across(asked: Asked) -> Expression:
    """Pods' peers are named ``namespace/name``."""
    table = asked.table.filter(asked.table.peer_kind.isin(["pod", "workload", "service"]))
    table = table.mutate(to_namespace=table.peer.split("/")[0])
    table = table.filter([table.namespace != "", table.namespace != table.to_namespace])
    asked = asked._replace(table=table)
    keys = ("namespace", "to_namespace")
    return _ordered(
        asked, table.group_by(keys).agg(**_fates(asked), **_span(asked)), "forwarded", keys
    )


def _outside(asked: Asked) -> Expression:
    table = asked.table.filter(asked.table.peer_kind.isin(["dns", "address"]))
    asked = asked._replace(table=table)
    keys = ("namespace", "workload", "peer", "port")
    return _ordered(
        asked, table.group_by(keys).agg(**_fates(asked), **_span(asked)), "forwarded", keys
    )


def _plain(asked: Asked) -> Expression:
    table = asked.table
    open_ = table.filter([table.outcome == "forwarded", table.peer_kind == "pod", ~table.encrypted])
    return _top(asked._replace(table=open_), (*SOURCE, *DESTINATION))


_WHOLE = (*SOURCE, *DESTINATION)
QUESTIONS: tuple[Inquiry, ...] = (
    Inquiry("blocked", "what is blocked most, by workload and destination?",
             _blocked_by((*_WHOLE, "drop_reason"))),
    Inquiry("blocked-workloads", "which workloads are blocked most, and how much of theirs gets through?",
             _fates_by(SOURCE)),
    Inquiry("blocked-pods", "which pods are blocked most?", _blocked_by(("namespace", "pod", "node"))),
    Inquiry("blocked-peers", "what can't be reached, by how many workloads?",
             lambda asked: _spread(DESTINATION, SOURCE, "workloads")(_blocked(asked))),
    Inquiry("reasons", "why was something dropped, by Hubble's reason?",
             _by(("drop_reason", "drop_reason_number", "noise"), outcome="dropped")),
    Inquiry("reasons-by-minute", "when was something blocked, and why, minute by minute?",
             _over_time("m", "drop_reason")),
    Inquiry("reasons-by-hour", "the same, hour by hour", _over_time("h", "drop_reason")),
    Inquiry("outcomes-by-minute", "what became of attempts, minute by minute?", _over_time("m")),
    Inquiry("outcomes-by-hour", "the same, hour by hour", _over_time("h")),
    Inquiry("outcomes", "what became of all attempts?", _by(("direction", "outcome"))),
    Inquiry("destinations", "who goes where, and what becomes of it?", _fates_by(_WHOLE, "forwarded")),
    Inquiry("who", "who talks to --peer?", _fates_by((*_WHOLE, "pod"), "forwarded"), peer=True),
    Inquiry("new", "which destinations were first tried at --since or later?", _new, moment=True),
    Inquiry("quiet", "which destinations were tried before --since, and not any more?", _quiet, moment=True),
    Inquiry("never", "which destinations were tried, and never let through?", _never),
    Inquiry("cut", "which destinations worked, until a drop that nothing let through came after?", _cut),
    Inquiry("spread", "which workloads go to the most destinations?",
             _spread(SOURCE, DESTINATION, "destinations")),
    Inquiry("outside", "who leaves the cluster, and for where?", _outside),
    Inquiry("across", "which namespaces talk to which others?", _across),
    Inquiry("namespaces", "what becomes of the attempts of each namespace?", _fates_by(("namespace",))),
    Inquiry("ports", "which ports are used, and what becomes of it?",
             _fates_by(("port", "protocol"), "forwarded")),
    Inquiry("nodes", "what becomes of attempts on each node?", _fates_by(("pod_cluster", "node"))),
    Inquiry("denied-by", "which policies denied something by a rule, to whom?", _policies("denied_by"),
             "attempts"),
    Inquiry("default-denied-by", "which policies denied by selecting a pod and allowing nothing else?",
             _policies("default_denied_by"), "attempts"),
    Inquiry("allowed-by", "which policies allowed something, to whom?", _policies("allowed_by"), "attempts"),
    Inquiry("audited", "what would be denied, were audit mode off?", _by(_WHOLE, outcome="audited")),
    Inquiry("unanswered", "what was let through, and nobody answered?",
             _by(_WHOLE, outcome="forwarded", answer="none")),
    Inquiry("refused", "what was let through, and refused, unreachable, or its answer dropped?", _refused),
    Inquiry("late", "what was denied at first, and let through on a retry: after how long?", _late,
             "attempts"),
    Inquiry("retried", "which pods try again and again?", _tried, "attempts"),
    Inquiry("proxy", "what did the proxy refuse?",
             lambda asked: _top(_blocked(asked._replace(
                 table=asked.table.filter(asked.table.drop_reason == "L7_DENIED"))),
                 ("namespace", "workload", "peer", "port", "detail")), "attempts"),
    Inquiry("unencrypted", "what goes from pod to pod in the clear, as far as seen?", _plain, "attempts"),
    Inquiry("noise", "what was dropped that no policy was asked about?",
             lambda asked: _top(asked._replace(table=asked.table.filter(asked.table.noise != "")),
                                ("noise", "namespace", "workload", "drop_reason"))),
)  # fmt: skip
"""All of them; ``history ask --list``."""
