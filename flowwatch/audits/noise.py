"""What was lost before any policy was asked, for the audit: see :mod:`flowwatch.flows.noise`."""

from __future__ import annotations

from flowwatch.audits.evidence import Observation
from flowwatch.flows.reasons import reason as drop_reason


def lost(seen: Observation) -> str:
    """Why a packet was lost that no policy dropped, in words."""
    if not seen.reason:
        return "dropped, and the record doesn't say why: the reason isn't recorded"
    name = drop_reason(seen.reason).name
    beside = " (noise of the link: neighbours, multicast)" if seen.noise else ""
    return f"dropped for a reason that is no policy's: {name}{beside}"
