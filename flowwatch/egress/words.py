"""A word of the filter, and where it is found: in what a row shows, and in nothing that it hides.

Both ways of choosing rows (:mod:`flowwatch.egress.select`, :mod:`flowwatch.egress.select_large`) ask it
about each distinct text once, however many rows share that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from flowwatch.egress.table import PROTOCOLS, Columns, PodName, PolicyPair
from flowwatch.flows.model import Direction
from flowwatch.flows.reasons import by_name

NO_RULE = "no rule allows it"
"""Shown in place of a policy where default deny dropped, for which Hubble names none."""
WOULD_DENY = "would deny"
"""Shown in place of a drop reason where audit mode let through what a policy denies."""
PROXY_ERROR = "proxy error"
"""The same where the proxy failed."""
PROXY_REFUSED = "L7 refused:"
"""Before what an L7 rule refused."""

_NO_RULE_ALLOWS = by_name("POLICY_DENIED")
DEFAULT_DENY = _NO_RULE_ALLOWS.number if _NO_RULE_ALLOWS is not None else 0
"""Hubble's number for it."""

_WITH_PORT = re.compile(r"(?:(?P<host>.*):)?(?P<port>[0-9]{1,5})(?:/(?P<protocol>[a-z0-9]*))?")
"""``:8080``, ``api.github.com:443``, ``[2001:db8::1]:443``, ``53/udp``, or the number alone."""

_PORTLESS = tuple([name.startswith("ICMP") for name in PROTOCOLS])
"""Of which protocols a port is a message's type, which rows don't show; by their number."""


ICMP_TYPES: Mapping[tuple[str, int], str] = {
    ("ICMPv4", 3): "unreachable", ("ICMPv4", 5): "redirect", ("ICMPv4", 8): "",
    ("ICMPv4", 11): "time exceeded", ("ICMPv6", 1): "unreachable", ("ICMPv6", 2): "too big",
    ("ICMPv6", 3): "time exceeded", ("ICMPv6", 128): "", ("ICMPv6", 129): "echo reply",
    ("ICMPv6", 133): "router solicitation", ("ICMPv6", 134): "router advertisement",
    ("ICMPv6", 135): "neighbour solicitation", ("ICMPv6", 136): "neighbour advertisement",
    ("ICMPv6", 137): "redirect",
}  # fmt: skip
"""Messages by their type (RFC 792, 4443, 4861), in place of a port. An echo goes without saying."""


def message(protocol: str, port: int) -> str:
    """``ICMPv4 redirect``, ``ICMPv4 type 13``; the protocol alone of an echo, or without a type."""
    if not port or not protocol.startswith("ICMP"):
        return protocol
    return f"{protocol} {ICMP_TYPES.get((protocol, port), f'type {port}')}".rstrip()


INGRESS = int(Direction.INGRESS)


class Word:
    """What was typed, in lower case and without its ``!``."""

    def __init__(self, text: str) -> None:
        # As texts that were too long are shown: whatever the sign stands for.
        self._parts = text.split("…")
        found = _WITH_PORT.fullmatch(text)
        self.port = int(found["port"]) if found else None
        """The port that it names; None when it names none."""
        self._protocol = (found["protocol"] or "") if found else ""
        host = (found["host"] or "") if found else ""
        self._host = host.strip("[]").split("…") if host else []

    @property
    def has_host(self) -> bool:
        """Whether a name or an address stands before the port."""
        return bool(self._host)

    def within(self, text: str) -> bool:
        """Whether ``text`` has it."""
        return _has(self._parts, text.casefold())

    def host_within(self, text: str) -> bool:
        """Whether ``text`` has what stands before the port."""
        return self.has_host and _has(self._host, text.casefold())

    def protocols(self) -> list[bool]:
        """By the number of a protocol: whether rows of it have the port that is meant."""
        return [
            not portless and name.casefold().startswith(self._protocol)
            for name, portless in zip(PROTOCOLS, _PORTLESS, strict=True)
        ]

    def in_policies(self, sides: PolicyPair) -> bool:
        """Whether it is among the policies of a row: their names with their effect, or a whole kind."""
        return any(
            self.within(f"{effect} {one.namespace}/{one.name}" if one.namespace else f"{effect} {one.name}")
            or self._parts == [one.kind.casefold()]
            for effect, side in zip(("allow", "deny"), sides, strict=True)
            for one in side
        )  # fmt: skip

    def in_refused(self, texts: tuple[str, ...]) -> bool:
        """Whether it is in what the proxy refused."""
        return self.within(PROXY_REFUSED) or any(self.within(text) for text in texts)


def pod_texts(columns: Columns) -> list[str]:
    """By the number of a pod, what rows show of it; clusters and servers where there are several."""
    several = len(columns.places) > 1
    return [
        _pod_text(pod, workload, several)
        for pod, workload in zip(columns.pods.things, columns.workloads, strict=True)
    ]


def _pod_text(pod: PodName, workload: str, several: bool) -> str:
    namespace, name, cluster, server = pod
    text = f"{namespace}/{name} {workload}" if namespace else f"{name} {workload}"
    if (short := short_pod(name, workload)) != name:
        text = f"{text} {short}"
    return f"{text} {cluster} {server}" if several else text


def short_pod(pod: str, workload: str, joint: str = "·") -> str:
    """``weather-app·pk4k7``: what tells a pod from its workload's others; the name where it says no workload.

    Of a Deployment's ``weather-app-7d9f8-pk4k7`` the hash in the middle is the least useful part.
    """
    if not workload or not pod.startswith(f"{workload}-"):
        return pod
    return f"{workload}{joint}{pod.rpartition('-')[2]}"


def _has(parts: list[str], text: str) -> bool:
    """Whether the parts are in ``text``, one after the other."""
    if len(parts) == 1:
        return parts[0] in text
    place = 0
    for part in parts:
        place = text.find(part, place)
        if place < 0:
            return False
        place += len(part)
    return True
