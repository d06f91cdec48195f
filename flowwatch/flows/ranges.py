"""Which values can be: decided here, once, for both decoders, before anything is counted.

The contract's types are wider than what they hold: a port is a uint32, a time reaches from year 1 to
9999, an enum is any int32. Whoever comes after the decoders relies on what stands here.

=================  ========================  ============================  =========================
field              can be                    why                           else
=================  ========================  ============================  =========================
a time             1970 to April 2262; live  what a Linux clock can show   0, unknown
                   not 30 days from now      (64 bits of nanoseconds)
its nanoseconds    0 to 999,999,999          google.protobuf.Timestamp     0, unknown
a port             0 to 65535                16 bits of TCP, UDP, SCTP     0, unknown
a message type     0 to 255                  8 bits of ICMP, IGMP, VRRP    no protocol: for ICMP,
                                                                           0 is an echo reply
a drop reason      0 to 2^31-1               an enum; Hubble's are         0, unknown
                                             positive (drop.go)
the verdict        one of Hubble's           what became of a packet       kept, and counted
the direction      unknown, ingress, egress  whom an attempt counts for    unknown; its name is kept
=================  ========================  ============================  =========================

Numbers of newer enum values are read as such, wherever nothing but a name hangs on them. Those below 0
that stand for newer names in JSON (:mod:`flowwatch.hubble.wire.enum_names`) are such numbers.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowwatch.flows.model import Direction
from flowwatch.hubble.wire.enum_names import is_newer, newer_name

TIME_BITS, PORT_BITS = 63, 16
"""A time, or a port, can be if nothing is left after a shift by so many bits: one step, and a hot one."""
LATEST: int = 2**TIME_BITS - 1
"""Of a time, in nanoseconds since 1970: 2262-04-11T23:47:16.854775807Z."""
SECOND = 1_000_000_000
LAST_PORT = 2**PORT_BITS - 1
LAST_TYPE = 255
LAST_REASON = 2**31 - 1
WITH_PORTS = ("TCP", "UDP", "SCTP")
"""Arms of Layer4 that have ports."""
WITH_TYPES = ("ICMPv4", "ICMPv6", "VRRP", "IGMP")
"""Those that have a message type instead."""
WAYS = frozenset(int(way) for way in Direction)
"""Directions that a Flow may have."""

TIME = "a time that no clock shows (before 1970, after 2262)"
AHEAD = "a time far ahead of this machine's clock"
PORT = "a port above 65535"
TYPE = "a message type above 255"
REASON = "a drop reason that is no drop reason"

DIFFERENT = 50
"""Kinds of odd values told apart: a hostile server may think of many directions."""
MORE = "yet another value"


class OutOfRange(ValueError):
    """A record holds a value that can't be: it has to be read the careful way."""


def moment(seconds: int, nanos: int) -> int | None:
    """Nanoseconds since 1970; None when no clock shows that time."""
    time = seconds * SECOND + nanos
    return time if 0 <= nanos < SECOND and 0 <= time <= LATEST else None


def is_reason(number: int) -> bool:
    """Whether ``number`` is, or may become, a drop reason of Hubble's."""
    return 0 <= number <= LAST_REASON or is_newer(number)


def check_reason(number: int) -> None:
    """Raise OutOfRange when ``number`` is no drop reason."""
    if not is_reason(number):
        raise OutOfRange


def direction_name(number: int) -> str:
    """What Hubble wrote for a direction that is neither unknown, nor ingress, nor egress."""
    return newer_name(number) or str(number)


def count_odd(odd: dict[str, int], found: Iterable[str], records: int = 1) -> None:
    """Count ``records`` that have what is ``found``; bounded by DIFFERENT."""
    for what in found:
        key = what if what in odd or len(odd) < DIFFERENT else MORE
        odd[key] = odd.get(key, 0) + records


def known_times(odd: dict[str, int], *times: int | None) -> list[int]:
    """``times`` (ns) of one record, 0 for those that can't be, which are counted."""
    known = [time if time is not None and 0 <= time <= LATEST else 0 for time in times]
    if any(now != before for now, before in zip(known, times, strict=True)):
        count_odd(odd, [TIME])
    return known


def newer_direction(name: str) -> str:
    """The words under which a direction called ``name`` is counted."""
    return f"the traffic direction {name}, newer than this version"


def newer_verdict(name: str) -> str:
    """The words under which a verdict called ``name`` is counted."""
    return f"the verdict {name}, newer than this version"
