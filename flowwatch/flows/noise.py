"""What every link has, and no policy decides: neighbours looking for each other, addresses being settled.

Dropped, it looks like an outage, and is none: cilium#47645 and #38212 are of people who were misled.
One definition for all: rows and their shares, the export, the audit.

    >>> noise(132, "ICMPv6", 143, "fe80::1", "ff02::16")
    'multicast'
    >>> noise(133, "UDP", 5353, "10.0.0.7", "224.0.0.251")  # a policy dropped it
    ''
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from flowwatch.flows.reasons import L7_DENIED, POLICY_REASONS

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

NEIGHBOURS = "neighbour discovery"
MULTICAST = "multicast"
LINK_LOCAL = "link-local"
UNSETTLED = "address not settled"
KINDS: dict[str, str] = {
    NEIGHBOURS: "ICMPv6 between neighbours and routers",
    MULTICAST: "to a group or to everybody, and who is in which group",
    LINK_LOCAL: "with an address that means something on one link alone (`fe80::`)",
    UNSETTLED: "`INVALID_SOURCE_IP` from what a pod has before its address (`::`, `fe80::`, `0.0.0.0`)",
}
"""What noise is of, with what that is."""

_INVALID_SOURCE_IP = 132
_DECIDED = POLICY_REASONS | {L7_DENIED}
_ICMPV6 = {
    **dict.fromkeys((130, 131, 132, 143), MULTICAST),  # listeners: RFC 2710, 3810
    **dict.fromkeys((133, 134, 135, 136, 137), NEIGHBOURS),  # RFC 4861
}
_BROADCAST = "255.255.255.255"
_ADDRESSES = 4096


def noise(reason: int, protocol: str, port: int, source: str, destination: str) -> str:
    """The kind of noise that a dropped packet was, of :data:`KINDS`; "" if it was none.

    ``reason`` is Hubble's number, ``port`` for ICMP the type; ``source`` and ``destination`` are addresses,
    or whatever stands for an end whose address isn't known.
    """
    if reason in _DECIDED:
        return ""
    kind = _ICMPV6.get(port, "") if protocol == "ICMPv6" else ""
    if kind or (kind := _of_address(destination)):
        return kind
    if reason == _INVALID_SOURCE_IP and _unsettled(source):
        return UNSETTLED
    return _of_address(source)


@lru_cache(_ADDRESSES)
def _of_address(text: str) -> str:
    address = _address(text)
    if address is None:
        return ""
    if address.is_multicast or text == _BROADCAST:
        return MULTICAST
    # 169.254.169.254 answers in every cloud: only IPv6 has link-local addresses that are noise.
    return LINK_LOCAL if address.version == 6 and address.is_link_local else ""


@lru_cache(_ADDRESSES)
def _unsettled(text: str) -> bool:
    address = _address(text)
    return address is not None and (address.is_link_local or address.is_unspecified)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    # A millisecond to load, and few files hold a drop that no policy decided.
    from ipaddress import ip_address

    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None
