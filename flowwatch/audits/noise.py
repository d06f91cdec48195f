"""What every link has, and no policy decides: neighbours looking for each other, addresses being settled.

Dropped, it looks like an outage, and is none: cilium#47645 and #38212 are of people who were misled.
"""

from __future__ import annotations

from ipaddress import ip_address

from flowwatch.audits.evidence import Observation
from flowwatch.flows import meaning
from flowwatch.flows.reasons import reason as drop_reason

_NEIGHBOURS = frozenset({130, 131, 132, 133, 134, 135, 136, 137, 143})
"""Types of ICMPv6 between neighbours: MLD (RFC 2710, 3810), neighbour discovery (RFC 4861)."""


def noise(seen: Observation) -> bool:
    """Whether it is such, and was lost before any policy was asked."""
    if seen.outcome != meaning.DROPPED or seen.judged:
        return False
    if seen.protocol == "ICMPv6" and seen.port in _NEIGHBOURS:
        return True
    try:
        address = ip_address(seen.peer_ip.partition("%")[0])
    except ValueError:
        return False
    return address.is_multicast or (address.version == 6 and address.is_link_local)


def lost(seen: Observation) -> str:
    """Why a packet was lost that no policy dropped, in words."""
    name = drop_reason(seen.reason).name
    beside = " (noise of the link: neighbours, multicast)" if noise(seen) else ""
    return f"dropped for a reason that is no policy's: {name}{beside}"
