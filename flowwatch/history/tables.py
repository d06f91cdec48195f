"""Flows to columns and back: the two directions of one format, side by side.

Of a row group there are some hundred kinds of records and some thousand pairs of ends: each is spelt out
once, and rows take them by number, in either direction. Reading gives the flows as they were, to the last
field.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from copy import copy
from operator import attrgetter
from typing import Any

from flowwatch.flows.kinds import kind as kind_word
from flowwatch.flows.known import make_kind
from flowwatch.flows.model import (
    Endpoint,
    Ends,
    Extras,
    Flow,
    Kind,
    Layer7,
    PolicyRef,
    Standing,
    Tunnel,
)
from flowwatch.flows.reasons import L7_DENIED
from flowwatch.flows.shared_values import make_endpoint
from flowwatch.history.arrow import Arrow, array, schema, types
from flowwatch.history.columns import FLOWS, Part
from flowwatch.hubble.wire.enum_names import is_newer, newer_number


class Held:
    """Flows that wait to be written, with when they came. One thread."""

    def __init__(self, run: str, sequence: int) -> None:
        self.run, self.first = run, sequence
        self.flows: list[Flow] = []
        self.recorded: list[int] = []
        self.servers: list[str] = []
        self.raw: list[bytes] | None = None
        self.parts: dict[Part, _Groups] = {
            "kind": _Groups(),
            "ends": _Groups(),
            "layer7": _Groups(),
            "extras": _Groups(),
        }

    def add(self, flows: list[Flow], recorded: int, server: str) -> None:
        """Take in flows that came at ``recorded`` (ns since 1970) through ``server``."""
        kinds, ends = self.parts["kind"], self.parts["ends"]
        layers, extras = self.parts["layer7"], self.parts["extras"]
        kind_of, kind_numbers = kinds.known.get, kinds.numbers.append
        ends_of, ends_numbers = ends.known.get, ends.numbers.append
        layer_numbers, extra_numbers = layers.numbers.append, extras.numbers.append
        # Each look-up is written out: at 20,000 flows a second a call for each takes 2% of a core.
        for flow in flows:
            l7, more = flow.l7, flow.extras
            # The word for a kind of records depends on what the proxy saw.
            key: Hashable = id(flow.kind) if l7 is None else (id(flow.kind), kind_word(flow))
            number = kind_of(key)
            kind_numbers(kinds.new(key, flow) if number is None else number)
            number = ends_of(id(flow.ends))
            ends_numbers(ends.new(id(flow.ends), flow) if number is None else number)
            layer_numbers(None if l7 is None else layers.of(id(l7), flow))
            extra_numbers(None if more is None else extras.of(id(more), flow))
        self.flows += flows
        self.recorded += [recorded] * len(flows)
        self.servers += [server] * len(flows)

    def table(self, pa: Arrow, rows: list[int] | None = None) -> Arrow:
        """All of them, or those with these numbers, as a table of :data:`FLOWS`."""
        flows = self.flows
        made: dict[str, Arrow] = {}
        # Once a part, not once a column: that was 1.8 to 2.4 of the 5.7 µs a flow that a table takes.
        numbers: dict[str, Arrow] = {
            part: pa.array(one.numbers, pa.int32()) for part, one in self.parts.items()
        }
        samples: dict[str, list[Flow]] = {part: one.samples for part, one in self.parts.items()}
        # Of thousands of pairs some hundred ends are distinct: 4.4 µs a flow instead of 5.6, in turns.
        for side in _SIDES:
            distinct_ends = _Groups()
            of_pairs = [distinct_ends.of(id(getattr(pair, side)), pair) for pair in samples["ends"]]
            samples[side] = distinct_ends.samples
            numbers[side] = pa.array(of_pairs, pa.int32()).take(numbers["ends"])
        for one in FLOWS:
            if one.part == "flow":
                continue
            part = _SIDE_OF.get(one.name, one.part)
            distinct = [one.value(sample) for sample in samples[part]]
            if one.kind in _SPELT:
                distinct = [_SPELT[one.kind](value) for value in distinct]
            made[one.name] = array(pa, distinct, one.kind).take(numbers[part])
        last = self.first + len(flows)
        made["recorded"] = pa.array(self.recorded, pa.int64()).cast(types(pa)["time"])
        made["run"] = pa.DictionaryArray.from_arrays(
            pa.array([0] * len(flows), pa.int32()), pa.array([self.run])
        ).cast(pa.string())
        made["sequence"] = pa.array(range(self.first, last), pa.int64())
        made["server"] = array(pa, self.servers, "text")
        times = pa.array([flow.time or None for flow in flows], pa.int64())
        made["time"] = times.cast(types(pa)["time"])
        for name, attribute in _VARIES.items():
            kind = "int" if name.endswith("port") else "text"
            made[name] = array(pa, list(map(attrgetter(attribute), flows)), kind)
        made["uuid"], made["uuid_text"] = _uuids(pa, [flow.uuid for flow in flows])
        made["raw"] = pa.array([flow.raw or None for flow in flows], pa.binary())
        made["kind_group"] = numbers["kind"].cast(pa.int64())
        made["ends_group"] = numbers["ends"].cast(pa.int64())
        table = pa.table({one.name: made[one.name] for one in FLOWS}, schema=schema(pa, FLOWS))
        return table if rows is None else table.take(pa.array(rows, pa.int64()))


_VARIES = {
    "source_address": "source_ip",
    "source_port": "source_port",
    "destination_address": "destination_ip",
    "destination_port": "destination_port",
}


_SIDES = ("source", "destination")
_SIDE_OF = {
    f"{side}_{what}": side
    for side in _SIDES
    for what in ("namespace", "pod", "workload", "entity", "identity", "cluster", "labels")
}
"""Columns of ``ends`` that depend on one of the two alone."""


class _Groups:
    """Which values there are, in the order of their first flows, and which of them each flow has."""

    def __init__(self) -> None:
        self.samples: list[Flow] = []
        self.numbers: list[int | None] = []
        """Of each flow its value's; None: it has none."""
        self.known: dict[Hashable, int] = {}

    def of(self, key: Hashable, flow: Flow) -> int:
        """The number of the value of ``flow``, which is known by ``key``."""
        number = self.known.get(key)
        return self.new(key, flow) if number is None else number

    def new(self, key: Hashable, flow: Flow) -> int:
        """Number a value that wasn't there."""
        number = self.known[key] = len(self.samples)
        # Of its own: the join may take a dropped record for an answer, and say so in its kind.
        self.samples.append(copy(flow))
        return number


def _policies(found: Any) -> list[dict[str, str]]:
    return [
        {"effect": effect, "kind": one.kind, "namespace": one.namespace, "name": one.name}
        for effect, one in found
    ]


def _pairs(found: Any) -> list[dict[str, str]] | None:
    return None if found is None else [{"name": name, "value": value} for name, value in found]


_SPELT: dict[str, Callable[[Any], Any]] = {"policies": _policies, "pairs": _pairs}
"""How a value is written that is no text, number, or list of texts."""


def _uuids(pa: Arrow, texts: list[str]) -> tuple[Arrow, Arrow]:
    """The columns ``uuid`` and ``uuid_text``: packed, and as it was where it can't be."""
    packed = _all_packed(texts)
    if packed is not None:
        buffers = [None, pa.py_buffer(packed)]
        made = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(texts), buffers)
        return made, pa.nulls(len(texts), pa.string())
    each = [packed_uuid(text) for text in texts]
    others = [text if one is None and text else None for text, one in zip(texts, each, strict=True)]
    return pa.array(each, pa.binary(16)), array(pa, others, "text")


def _all_packed(texts: list[str]) -> bytes | None:
    """All of them at once, in an eighth of the time; None where :func:`packed_uuid` takes not each."""
    if {*map(len, texts)} != {36}:
        return None
    joined, count = "".join(texts), len(texts)
    plain = joined.replace("-", "")
    if len(plain) != 32 * count or any(joined[at::36] != "-" * count for at in (8, 13, 18, 23)):
        return None
    try:
        packed = bytes.fromhex(plain)
    except ValueError:
        return None
    return packed if packed.hex() == plain else None


def packed_uuid(text: str) -> bytes | None:
    """The 16 bytes of a UUID as Hubble writes it; None for any other text."""
    plain = text.replace("-", "")
    if len(text) != 36 or len(plain) != 32:
        return None
    try:
        packed = bytes.fromhex(plain)
    except ValueError:
        return None
    # Written otherwise (in capitals, with dashes elsewhere) it is kept as text, as it was.
    return packed if packed.hex() == plain and text[8:24:5] == "----" else None


def uuid_of(packed: bytes) -> str:
    """As Hubble writes it."""
    text = packed.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


# Back ---------------------------------------------------------------------------------------------


class Reader:
    """Makes flows of tables; equal kinds and endpoints are the same object over all of them."""

    def __init__(self, nodes: dict[str, str] | None = None) -> None:
        """``nodes``: texts of nodes that others hold, and that are to be the same objects here."""
        self._nodes = {} if nodes is None else nodes

    def flows(self, table: Arrow) -> list[Flow]:
        """The flows of ``table`` in its order. Its groups' numbers are told apart by who gives it."""
        kinds = self._shared(table, "kind_group", self._kind)
        ends = self._shared(table, "ends_group", _ends)
        layers = _optional(table, "l7_type", _LAYER7, _layer7)
        extras = _optional(table, "policy_log", _EXTRAS, _extras)
        columns = [_list(table, name) for name in ("time", *_VARIES, "uuid", "uuid_text", "raw")]
        return [
            Flow(
                kind, end, time or 0, source, destination, source_port or 0, destination_port or 0,
                text or (uuid_of(uuid) if uuid else ""), l7, more, raw or b"",
            )
            for kind, end, time, source, source_port, destination, destination_port, uuid, text, raw, l7, more
            in zip(kinds, ends, *columns, layers, extras, strict=True)
        ]  # fmt: skip

    def _shared(self, table: Arrow, group: str, make: Callable[[dict[str, Any]], Any]) -> list[Any]:
        numbers = table.column(group).to_pylist()
        first: dict[int, int] = {}
        for row, number in enumerate(numbers):
            first.setdefault(number, row)
        names = _KIND if group == "kind_group" else _ENDS
        rows = table.select(names).take(list(first.values())).to_pylist()
        made = {number: make(row) for number, row in zip(first, rows, strict=True)}
        return [made[number] for number in numbers]

    def _kind(self, row: dict[str, Any]) -> Kind:
        allowed, denied = _both(row["policies"])
        way = _WAYS.get(row["direction"], 0)
        newer = "" if row["direction"] in _WAYS else row["direction"]
        node = self._nodes.setdefault(row["node"], row["node"])
        return make_kind(
            _number(row["verdict_number"], row["verdict"]),
            _reason(row),
            way,
            row["is_reply"],
            row["event_type"],
            row["event_sub_type"],
            row["protocol"],
            row["flags"],
            allowed,
            denied,
            row["match_type_number"],
            row["auth_type"],
            node,
            row["revision"],
            newer,
            row["emitter"],
            has_l7=row["l7_type"] is not None,
        )


_WAYS = {"unknown": 0, "ingress": 1, "egress": 2}
_KIND = [one.name for one in FLOWS if one.part == "kind"] + ["l7_type"]
_ENDS = [one.name for one in FLOWS if one.part == "ends"]
_LAYER7 = [one.name for one in FLOWS if one.part == "layer7"]
_EXTRAS = [one.name for one in FLOWS if one.part == "extras"]


def _list(table: Arrow, name: str) -> list[Any]:
    column = table.column(name)
    return (column.cast("int64") if name == "time" else column).to_pylist()  # type: ignore[no-any-return]


def _optional(
    table: Arrow, told_by: str, names: list[str], make: Callable[[dict[str, Any]], Any]
) -> list[Any]:
    """A value for each row, None where the column ``told_by`` has none."""
    column = table.column(told_by)
    made: list[Any] = [None] * len(column)
    if column.null_count == len(column):
        return made
    there = [row for row, valid in enumerate(column.is_valid().to_pylist()) if valid]
    for row, values in zip(there, table.select(names).take(there).to_pylist(), strict=True):
        made[row] = make(values)
    return made


def _number(number: int, name: str) -> int:
    """A number of Hubble's; of a name newer than we are, the one that stands for it in this process."""
    return newer_number(name) if is_newer(number) else number


def _reason(row: dict[str, Any]) -> int:
    number: int = row["drop_reason_number"]
    # Of what the proxy denied the record has none.
    return 0 if number == L7_DENIED else _number(number, row["drop_reason"])


def _both(policies: list[dict[str, str]]) -> tuple[tuple[PolicyRef, ...], tuple[PolicyRef, ...]]:
    made = [
        (one["effect"], PolicyRef(one["kind"], one["namespace"], one["name"], one["effect"] == "selects"))
        for one in policies
    ]  # fmt: skip
    return (
        tuple([one for effect, one in made if effect == "allow"]),
        tuple([one for effect, one in made if effect != "allow"]),
    )


def _endpoint(row: dict[str, Any], end: str) -> Endpoint:
    return make_endpoint(
        row[f"{end}_identity"],
        row[f"{end}_namespace"],
        row[f"{end}_pod"],
        tuple(row[f"{end}_labels"]),
        row[f"{end}_workload"],
        row[f"{end}_cluster"],
    )


def _ends(row: dict[str, Any]) -> Ends:
    return Ends(
        _endpoint(row, "source"),
        _endpoint(row, "destination"),
        tuple(row["source_names"]),
        tuple(row["destination_names"]),
        row["source_service"],
        row["destination_service"],
    )


def _layer7(row: dict[str, Any]) -> Layer7:
    return Layer7(
        row["l7_type"],
        row["dns_query"],
        tuple(row["dns_addresses"]),
        row["dns_ttl"],
        tuple(row["dns_cnames"]),
        row["http_method"],
        row["http_url"],
        row["http_code"],
        tuple([(one["name"], one["value"]) for one in row["http_headers"]]),
    )


def _extras(row: dict[str, Any]) -> Extras:
    tunnel = standing = None
    if row["tunnel_protocol"] is not None:
        tunnel = Tunnel(
            row["tunnel_protocol"],
            row["tunnel_source"],
            row["tunnel_destination"],
            row["tunnel_network"],
        )
    if row["stands_for_ingress"] is not None:
        standing = Standing(
            row["stands_for_ingress"], row["stands_for_egress"], row["stands_for_unknown"]
        )
    return Extras(tuple(row["policy_log"]), row["encrypted"], row["ip_trace_id"], tunnel, standing)
