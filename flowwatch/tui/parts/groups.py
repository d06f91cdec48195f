"""What the views of groups have in common: names, numbers, filters that lead to the rows behind."""

from __future__ import annotations

from flowwatch.egress.filters import quoted
from flowwatch.egress.folding import ALL
from flowwatch.egress.rows import MIXED, Row
from flowwatch.flows.clocks import time_of_day
from flowwatch.tui.format import SECOND


def name_of(row: Row) -> str:
    """``weather/weather-app``: the workload, or the pod where it has none; for what is no pod its name."""
    name = row.workload or row.pod
    return f"{row.namespace}/{name}" if row.namespace else name


def number(count: int) -> str:
    """A count for a column; nothing is a dash."""
    return f"{count:,}" if count else "-"


def filter_of(key: str, value: str) -> str:
    """What is typed to find all of ``value``, and nothing that only has it in its name."""
    return f"{key}:{quoted('=' + value)}"


def filter_for(row: Row) -> str:
    """What is typed to find this row alone, or all rows that are folded into it."""
    name = row.pod if row.pods == 1 and row.pod else row.workload
    words = []
    if name and not (row.pods > 1 and "=" in name):
        words.append(filter_of("pod", f"{row.namespace}/{name}" if row.namespace else name))
    elif row.namespace:
        words.append(filter_of("ns", row.namespace))
    elif "=" in name:
        words.append(filter_of("label", name))
    if row.peer not in (ALL, ""):
        words.append(filter_of("to", row.peer))
    if row.port and not row.protocol.startswith("ICMP"):
        words.append(f"port:{row.port}/{row.protocol.lower()}")
    return " ".join(words)


def state_text(row: Row) -> str:
    """``dropped since 11:17:43``, ``mixed``: what became of the latest attempts."""
    if row.state == MIXED or not row.runs or row.since < SECOND:
        return row.state
    if row.always:
        return f"{row.state} always"
    return f"{row.state} since {time_of_day(row.since)}"
