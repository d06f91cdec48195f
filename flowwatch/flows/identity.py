"""What a record is known by, when it may come twice."""

from __future__ import annotations

from hashlib import blake2b

from flowwatch.flows.model import Flow


def identity(flow: Flow) -> int:
    """The number that a record is known by in this process; two share one once in many billions.

    Its uuid; records of older servers, which have none, are known by their time in nanoseconds, their
    ends and their kind.
    """
    if flow.uuid:
        return hash(flow.uuid)
    return hash(_said(flow))


def lasting_identity(flow: Flow) -> int:
    """The same in every process: of 64 bits, and 1 us dearer."""
    text = flow.uuid or repr(_said(flow))
    return int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest())


def _said(flow: Flow) -> tuple[int | str, ...]:
    return (
        flow.time,
        flow.node,
        flow.event_type,
        flow.sub_type,
        flow.verdict,
        flow.source_ip,
        flow.destination_ip,
        flow.source_port,
        flow.destination_port,
        flow.tcp_flags,
    )
