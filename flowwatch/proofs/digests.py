"""What can't be told from other records: a digest over all of them, in their order, by the hour.

A record is five JSON arrays on a line: what a record of its kind says, what its ends are, what a proxy saw,
what is beside, and what varies, each with the columns of a history that depend on it
(:data:`flowwatch.history.columns.FLOWS`, in their order). docs/proof.md says it for who checks it otherwise.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec

from flowwatch.flows.kinds import kind as kind_word
from flowwatch.flows.model import Flow
from flowwatch.flows.reasons import L7_DENIED
from flowwatch.history.columns import FLOWS, Part

_HOUR = 3_600_000_000_000
_KNOWN = 65_536
"""Values that are at hand, of each part."""
_HOURS = 50_000
"""Hours that have a line of their own, nearly six years; the rest, which only spoilt times make, has one."""
_NAMED = frozenset({"verdict_number", "drop_reason_number", "match_type_number"})
"""Numbers that a newer name has in this process alone: the name stands beside it."""

NO_TIME, OTHER = "unknown", "other"
"""Hours of records without a time, and beyond :data:`_HOURS`."""


class Digests:
    """Counts and digests what passes by, batch by batch, before anybody else is given it."""

    def __init__(self) -> None:
        self.records = 0
        self._hours: dict[str, tuple[int, Any]] = {}
        self._parts = [_Part("kind"), _Part("ends"), _Part("layer7"), _Part("extras")]

    def add(self, flows: list[Flow]) -> None:
        """Take in ``flows``, which come next."""
        self.records += len(flows)
        for flow in flows:
            hour = self._hour(flow.time)
            count, digest = self._hours.get(hour) or (0, sha256())
            digest.update(self.line(flow))
            self._hours[hour] = count + 1, digest

    def line(self, flow: Flow) -> bytes:
        """What the digest is made of, of one record."""
        kind, ends, layer7, extras = self._parts
        l7 = flow.l7
        return b"".join(
            (
                kind.of(flow.kind if l7 is None else (flow.kind, kind_word(flow)), flow),
                ends.of(flow.ends, flow),
                b"null" if l7 is None else layer7.of(l7, flow),
                b"null" if flow.extras is None else extras.of(flow.extras, flow),
                _json(
                    [
                        flow.time,
                        flow.source_ip,
                        flow.source_port,
                        flow.destination_ip,
                        flow.destination_port,
                        flow.uuid,
                    ]
                ),
                b"\n",
            )
        )

    def _hour(self, time: int) -> str:
        if not time:
            return NO_TIME
        moment = datetime.fromtimestamp(time // _HOUR * 3600, UTC)
        hour = f"{moment:%Y-%m-%dT%H}"
        return hour if hour in self._hours or len(self._hours) < _HOURS else OTHER

    @property
    def hours(self) -> list[dict[str, Any]]:
        """By the hour (UTC) its records, and their digest."""
        return [
            {"hour": hour, "records": count, "sha256": digest.hexdigest()}
            for hour, (count, digest) in sorted(self._hours.items())
        ]


class _Part:
    """The columns that depend on one part of a record; equal values are spelt once."""

    def __init__(self, part: Part) -> None:
        self._columns: list[tuple[str, Callable[[Flow], Any]]] = [
            (one.name, one.value) for one in FLOWS if one.part == part
        ]
        self._known: dict[int, tuple[Hashable, bytes]] = {}

    def of(self, key: Any, flow: Flow) -> bytes:
        """The bytes of ``flow``, whose part is ``key``."""
        # A pair is made anew for each record: its parts live on.
        number = id(key) if not isinstance(key, tuple) else hash((id(key[0]), key[1]))
        found = self._known.get(number)
        if found is not None:
            return found[1]
        if len(self._known) >= _KNOWN:
            self._known.clear()
        values = [_stable(name, value(flow)) for name, value in self._columns]
        # Held beside it: an id is nobody else's as long as its value lives.
        made = self._known[number] = key, _json(values)
        return made[1]


def _stable(name: str, value: Any) -> Any:
    if name in _NAMED and value < 0 and value != L7_DENIED:
        return None
    if name == "policies":
        return [[effect, one.kind, one.namespace, one.name] for effect, one in value]
    return value


def _json(values: list[Any]) -> bytes:
    try:
        return msgspec.json.encode(values)
    except UnicodeEncodeError:
        # A lone surrogate, which a damaged file may hold and UTF-8 can't.
        return json.dumps(values).encode()
