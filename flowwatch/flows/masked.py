"""What exporters leave out of records, by a field mask or the key of an aggregate: not recorded, not absent.

Hubble writes these fields in every record that has them at all, and an event type in every one (Cilium
1.20, pkg/hubble/parser). A record without an event type is an exporter's, with a mask, or an aggregated line:
what else it hasn't, nobody knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowwatch.flows.json_structs import NONE, JsonFlow, JsonLine

_DROPPED = ("DROPPED", 2)


def _no_labels(m: JsonFlow) -> bool:
    return any(end is NONE or b'"labels"' not in bytes(end) for end in (m.source, m.destination))


MASKED: Mapping[str, Callable[[JsonFlow], bool]] = {
    "verdict": lambda m: not m.verdict,
    "traffic_direction": lambda m: not m.traffic_direction and m.aggregate is NONE,
    # A drop never says it.
    "is_reply": lambda m: m.is_reply is None and not m.reply and m.verdict not in _DROPPED,
    "labels": _no_labels,
    "IP": lambda m: m.IP is None,
    "l4": lambda m: m.l4 is None,
    "drop_reason_desc": lambda m: (
        m.verdict in _DROPPED and not m.drop_reason_desc and not m.drop_reason and m.l7 is NONE
    ),
}
"""Hubble's names of what is told, and whether a record is without it."""


def count_masked(lines: list[JsonLine], into: dict[str, int]) -> None:
    """Count, by field, the records among ``lines`` that an exporter left it out of.

    A mask is that of a whole file: where the first and the last line have an event type, all do.
    """
    if not lines or all((one.flow or one).event_type is not None for one in (lines[0], lines[-1])):
        return
    for line in lines:
        m = line.flow or line
        if m.event_type is not None or (line.flow is None and not m.verdict and m.IP is None):
            continue
        for name, missing in MASKED.items():
            if missing(m):
                into[name] = into.get(name, 0) + 1
