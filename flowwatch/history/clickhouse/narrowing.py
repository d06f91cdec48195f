"""Filters as conditions in SQL, so that rows which surely no filter lets through stay at the server.

Who decides is :mod:`flowwatch.history.matching`, of each row that comes. A condition therefore only has to
hold for every row that passes; a field without one asks nothing of the server. Of a deny list the
contrary counts: only what surely refuses may be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from flowwatch.flows.model import DIRECTION_WORDS
from flowwatch.gotext import parse_uint
from flowwatch.history.clickhouse.tables import quoted
from flowwatch.hubble.filters.flags import Filters
from flowwatch.hubble.filters.match.names import elements_of, name_of, spelt
from flowwatch.hubble.filters.match.packets import L4, PORTED
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.flow.flow_pb2 import FlowFilter


@dataclass(frozen=True, slots=True)
class Condition:
    """What is asked of the server for one field of a filter."""

    may: str
    """Holds for every row that the field lets through, perhaps for others; never NULL."""
    surely: str = ""
    """Holds for such rows alone, perhaps not for all; "" where there is no such condition."""


def exactly(sql: str) -> Condition:
    """One that holds for those rows that the field lets through, and no others."""
    return Condition(sql, sql)


def narrowed(filters: Filters) -> str:
    """What holds for every row that passes ``filters``, in SQL; "" where nothing can be asked.

    Rows that have the whole record beside them (``record --raw``) are judged by that, and all come.
    """
    asked = []
    allowed = [_all_of([one.may for one in _conditions(each) if one]) for each in filters.allow]
    if allowed and all(allowed):
        asked.append(_any_of(allowed))
    for each in filters.deny:
        known = _conditions(each)
        if known and all(one is not None and one.surely for one in known):
            asked.append(f"NOT {_all_of([one.surely for one in known if one])}")
    return f"(isNotNull(raw) OR {_all_of(asked)})" if asked else ""


def _conditions(one: FlowFilter) -> list[Condition | None]:
    """By field that is given, None for one that the server isn't asked about."""
    return [
        _FIELDS[field.name](value) if field.name in _FIELDS else None
        for field, value in one.ListFields()
    ]


def _all_of(every: Sequence[str]) -> str:
    return f"({' AND '.join(every)})" if every else ""


def _any_of(every: Sequence[str]) -> str:
    return f"({' OR '.join(every)})"


# One function a kind of field: from its values to a condition ----------------------------------------

Ask = Callable[[Any], Condition | None]


def _among(values: Iterable[int | str]) -> str:
    each = dict.fromkeys(values)
    return ", ".join(quoted(one) if isinstance(one, str) else str(int(one)) for one in each)


def _in(column: str) -> Ask:
    return lambda values: exactly(f"{column} IN ({_among(values)})")


def _numbers(column: str) -> Ask:
    def ask(values: Sequence[int]) -> Condition | None:
        # A name newer than we are has a negative number, which means it in this process only.
        return None if min(values) < 0 else _in(column)(values)

    return ask


def _named(end: str) -> Ask:
    def ask(values: Iterable[str]) -> Condition:
        return exactly(_any_of([_one(*name_of(text)) for text in values]))

    def _one(namespace: str, prefix: str) -> str:
        asked = [f"{end}_namespace = {quoted(namespace)}"] if namespace else []
        if prefix:
            asked.append(f"startsWith({end}_pod, {quoted(prefix)})")
        # Any name, but some name.
        return _all_of(asked) or f"({end}_namespace != '' OR {end}_pod != '')"

    return ask


def _service(column: str) -> Ask:
    def ask(values: Iterable[str]) -> Condition:
        names = [name_of(text) for text in values]
        # It stands there as namespace/name, or as a name alone.
        starts = [f"{namespace}/{prefix}" if namespace else "" for namespace, prefix in names]
        return Condition(_any_of([f"startsWith({column}, {quoted(start)})" for start in starts]))

    return ask


def _like(pattern: str) -> str:
    return quoted(pattern.replace("_", "\\_").replace("*", "%"))


def _fqdn(column: str) -> Ask:
    def ask(values: Iterable[str]) -> Condition:
        each = [f"arrayExists(name -> name LIKE {_like(spelt(text))}, {column})" for text in values]
        return Condition(_any_of(each))

    return ask


def _node(values: Iterable[str]) -> Condition | None:
    each = []
    for text in values:
        _, node = elements_of(text)
        if not node:
            return None
        # Of this name, in any cluster.
        like = spelt(node)
        each += [f"node LIKE {_like(like)}", f"node LIKE {_like(f'*/{like}')}"]
    return Condition(_any_of(each))


def _address(column: str) -> Ask:
    def ask(values: Iterable[str]) -> Condition | None:
        every = list(values)
        # What lies in a prefix is ours to tell.
        return None if any("/" in one for one in every) else _in(column)(every)

    return ask


def _port(column: str) -> Ask:
    def ask(values: Iterable[str]) -> Condition:
        ports = _among(parse_uint(text, 16) for text in values)
        return exactly(f"(protocol IN ({_among(PORTED)}) AND bitAnd({column}, 65535) IN ({ports}))")

    return ask


def _protocol(values: Iterable[str]) -> Condition:
    names = [text.lower() for text in values]
    words = [word for name in names for word in L4.get(name, ())]
    asked = [f"protocol IN ({_among(words)})"] if words else []
    if len(words) and all(name in L4 for name in names):
        return exactly(asked[0])
    return Condition(_any_of([*asked, "isNotNull(l7_type)"]))


def _drop_reason(values: Iterable[int]) -> Condition:
    # Negative: what the proxy denied, which has no reason of its own, and names newer than we are.
    reasons = f"(drop_reason_number IN ({_among(values)}) OR drop_reason_number < 0)"
    return Condition(f"(verdict_number = {flow_pb2.DROPPED:d} AND {reasons})")


def _direction(values: Iterable[int]) -> Condition | None:
    words = [DIRECTION_WORDS.get(value, "") for value in values]
    # Of an unknown one the words are many.
    return _in("direction")(words) if all(words) else None


def _reply(values: Iterable[bool]) -> Condition:
    return Condition(f"(isNull(is_reply) OR is_reply IN ({_among(map(int, values))}))")


def _event_type(values: Sequence[flow_pb2.EventTypeFilter]) -> Condition:
    each = []
    for value in values:
        asked = [f"event_type = {value.type}"] if value.type else []
        if value.match_sub_type:
            asked.append(f"event_sub_type = {value.sub_type}")
        each.append(_all_of(asked) or "1")
    return Condition(_any_of(each))


def _workload(column: str) -> Ask:
    def ask(values: Iterable[flow_pb2.Workload]) -> Condition:
        names = [value.name for value in values]
        if not all(names):
            return Condition(f"{column} != ''")
        return Condition(f"{column} IN ({_among(names)})")

    return ask


_FIELDS: dict[str, Ask] = {
    "verdict": _numbers("verdict_number"),
    "drop_reason_desc": _drop_reason,
    "event_type": _event_type,
    "traffic_direction": _direction,
    "reply": _reply,
    "protocol": _protocol,
    "node_name": _node,
    "source_pod": _named("source"),
    "destination_pod": _named("destination"),
    "source_workload": _workload("source_workload"),
    "destination_workload": _workload("destination_workload"),
    "source_service": _service("source_service"),
    "destination_service": _service("destination_service"),
    "source_fqdn": _fqdn("source_names"),
    "destination_fqdn": _fqdn("destination_names"),
    "source_identity": _in("source_identity"),
    "destination_identity": _in("destination_identity"),
    "source_cluster_name": _in("source_cluster"),
    "destination_cluster_name": _in("destination_cluster"),
    "source_ip": _address("source_address"),
    "destination_ip": _address("destination_address"),
    "source_port": _port("source_port"),
    "destination_port": _port("destination_port"),
}
"""What the server is asked about. Of other fields, labels and what the proxy read among them, it isn't."""
