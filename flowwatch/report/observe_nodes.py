"""Relay's words about nodes, and lost events, as ``hubble observe`` prints them."""

from __future__ import annotations

from collections.abc import Iterable

from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.hubble.wire.pb.relay import relay_pb2
from flowwatch.report.goformat import TimeFormat, quote
from flowwatch.report.observe_words import enum_name
from flowwatch.text import safe

_CUT_OFF = 50  # bytes of node names, after which "and N more" stands for the rest


def is_trouble(status: relay_pb2.NodeStatusEvent) -> bool:
    """Whether it is printed without ``--debug``: nodes failed or are unavailable."""
    return status.state_change in (relay_pb2.NODE_ERROR, relay_pb2.NODE_UNAVAILABLE)


def node_names(names: Iterable[str]) -> str:
    """Names by comma: at least one, and of the others what fits into 50 bytes."""
    all_names = [safe(name) for name in names]
    length = 0
    for index, name in enumerate(all_names):
        length += len(name.encode()) + len(", ")
        if length > _CUT_OFF and index:
            return f"{', '.join(all_names[:index])} (and {len(all_names) - index} more)"
    return ", ".join(all_names)


def status_line(response: observer_pb2.GetFlowsResponse, times: TimeFormat) -> str:
    """One line about nodes, for compact and table output."""
    status = response.node_status
    count, names = len(status.node_names), node_names(status.node_names)
    time = times.message(response.time if response.HasField("time") else None)
    prefix = f"{time} [{safe(response.node_name)}]"
    match status.state_change:
        case relay_pb2.NODE_CONNECTED:
            return f"{prefix}: Receiving flows from {count} nodes: {names}"
        case relay_pb2.NODE_UNAVAILABLE:
            return f"{prefix}: {count} nodes are unavailable: {names}"
        case relay_pb2.NODE_GONE:
            return f"{prefix}: {count} nodes removed from cluster: {names}"
        case relay_pb2.NODE_ERROR:
            return f"{prefix}: Error {safe(quote(status.message))} on {count} nodes: {names}"
    state = enum_name(relay_pb2.NodeState, status.state_change)
    return f"{prefix}: unknown node status event: {state} {names} {safe(quote(status.message))}"


def status_pairs(
    response: observer_pb2.GetFlowsResponse, times: TimeFormat
) -> list[tuple[str, str]]:
    """The same for dict output."""
    status = response.node_status
    return [
        ("TIMESTAMP", times.message(response.time if response.HasField("time") else None)),
        ("STATE", enum_name(relay_pb2.NodeState, status.state_change)),
        ("NODES", node_names(status.node_names)),
        ("MESSAGE", safe(quote(status.message)) if status.message else "N/A"),
    ]


def lost_words(
    response: observer_pb2.GetFlowsResponse, times: TimeFormat, dash: str = ""
) -> tuple[str, str]:
    """Source and summary of lost events: ``HUBBLE_RING_BUFFER``, ``CPU(0) 12 (first: …, last: …)``.

    ``dash`` stands before the number; table and dict have ``"- "`` there.
    """
    lost = response.lost_events
    text = f"CPU({lost.cpu.value}) {dash}{lost.num_events_lost}"
    if lost.HasField("first") and lost.HasField("last"):
        text += f" (first: {times.message(lost.first)}, last: {times.message(lost.last)})"
    return enum_name(flow_pb2.LostEventSource, lost.source), text
