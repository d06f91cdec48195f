"""What can be told of a record at a glance: when, of which node, and what it is known by."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from flowwatch.hubble.captures.unwrapping import unwrap
from flowwatch.hubble.wire.jsonwire import BadTime, nanoseconds


class Line(NamedTuple):
    """One record."""

    record: bytes
    """As it is read, unwrapped; empty where there is none."""
    time: int = 0
    """Ns since 1970; 0 where it has none."""
    node: str = ""
    """Its node's name; empty where it has none."""
    key: int = 0
    """Equal for a record and its copy: of its uuid, else of all its bytes."""
    hubble: bool = False
    """Whether it is one of Hubble's."""


class _Flow(msgspec.Struct, gc=False):
    time: Any = None
    uuid: Any = None
    node_name: Any = None
    verdict: Any = None
    aggregate: Any = None


class _Record(_Flow, gc=False):
    nodeName: Any = None  # noqa: N815 - proto3's JSON
    flow: _Flow | None = None
    lost_events: Any = None
    lostEvents: Any = None  # noqa: N815
    node_status: Any = None
    nodeStatus: Any = None  # noqa: N815
    agent_event: Any = None
    agentEvent: Any = None  # noqa: N815
    debug_event: Any = None
    debugEvent: Any = None  # noqa: N815

    @property
    def told(self) -> bool:
        """Whether it is anything of Hubble's but a flow."""
        return any(getattr(self, name) is not None for name in _TOLD)


_TOLD = (
    "lost_events",
    "lostEvents",
    "node_status",
    "nodeStatus",
    "agent_event",
    "agentEvent",
    "debug_event",
    "debugEvent",
)
_decode = msgspec.json.Decoder(_Record).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


def lines_of(record: bytes) -> list[Line]:
    """``record``, one JSON object, or the records that stand inside of it."""
    found = _line(record)
    if found.hubble:
        return [found]
    return [_line(inner) for _, inner in unwrap(record)] or [found]


def _line(record: bytes) -> Line:
    try:
        said = _decode(record)
    except _UNREADABLE:
        return Line(record, key=hash(record))
    flow = said.flow or said
    bare = said.flow is None
    key = flow.uuid if isinstance(flow.uuid, str) and flow.uuid else record
    node = said.node_name or said.nodeName or flow.node_name
    return Line(
        record,
        _time(said.time) or _time(flow.time),
        node if isinstance(node, str) else "",
        hash(key),
        not bare or said.verdict is not None or said.told,
    )


def _time(text: object) -> int:
    try:
        return nanoseconds(text)  # type: ignore[arg-type]
    except BadTime:
        return 0
