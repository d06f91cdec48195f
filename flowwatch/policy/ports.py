"""Ports, protocols and ICMP types in policies.

From Cilium 1.20, pkg/policy/api: l4.go, icmp.go, rule_validation.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from flowwatch.gotext import whole_number
from flowwatch.goyaml.nodes import Value
from flowwatch.policy.l7 import Layer7Rules, read_rules

Matching = bool | str
"""Whether something matches; a string says why that can't be told."""

ICMP4, ICMP6 = "ICMP", "ICMPv6"
_PORTED = ("TCP", "UDP", "SCTP")
OTHER = ("VRRP", "IGMP", "GRE", "IPIP", "IPV6", "ESP", "AH")
_PROTOCOLS = frozenset({*_PORTED, *OTHER, "ANY"})
_MAX_ITEMS = 40
_MAX_PORT = 65535

_SERVICE_NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9]+(-[A-Za-z0-9]+)*\Z")
_MAX_SERVICE_NAME = 15
_OCTAL = re.compile(r"[0-7]+\Z")
_NUMBER = re.compile(r"[0-9]+(_[0-9]+)*\Z")


_ICMP_TYPES: dict[str, dict[str, int]] = {
    ICMP4: {
        "EchoReply": 0, "DestinationUnreachable": 3, "Redirect": 5, "Echo": 8, "EchoRequest": 8,
        "RouterAdvertisement": 9, "RouterSelection": 10, "TimeExceeded": 11, "ParameterProblem": 12,
        "Timestamp": 13, "TimestampReply": 14, "Photuris": 40, "ExtendedEchoRequest": 42,
        "ExtendedEchoReply": 43,
    },
    ICMP6: {
        "DestinationUnreachable": 1, "PacketTooBig": 2, "TimeExceeded": 3, "ParameterProblem": 4,
        "EchoRequest": 128, "EchoReply": 129, "MulticastListenerQuery": 130,
        "MulticastListenerReport": 131, "MulticastListenerDone": 132, "RouterSolicitation": 133,
        "RouterAdvertisement": 134, "NeighborSolicitation": 135, "NeighborAdvertisement": 136,
        "RedirectMessage": 137, "RouterRenumbering": 138, "ICMPNodeInformationQuery": 139,
        "ICMPNodeInformationResponse": 140, "InverseNeighborDiscoverySolicitation": 141,
        "InverseNeighborDiscoveryAdvertisement": 142, "HomeAgentAddressDiscoveryRequest": 144,
        "HomeAgentAddressDiscoveryReply": 145, "MobilePrefixSolicitation": 146,
        "MobilePrefixAdvertisement": 147, "DuplicateAddressRequestCodeSuffix": 157,
        "DuplicateAddressConfirmationCodeSuffix": 158, "ExtendedEchoRequest": 160,
        "ExtendedEchoReply": 161,
    },
}  # fmt: skip


UNNAMED = "flows do not carry the name of a port"
"""How a doubt about a port's name begins."""


@dataclass(frozen=True, slots=True)
class PortRule:
    """One port, range, name or ICMP type that a rule allows or denies."""

    protocol: str
    """``TCP`` …, ``ICMP``, ``ICMPv6``, or ``ANY``: TCP, UDP and SCTP."""
    low: int = 0
    high: int = _MAX_PORT
    name: str = ""
    """A container port's name instead of numbers."""
    end: int = 0
    """With a name: a range from the port of that name to this one. Cilium ignores it in egress."""
    l7: Layer7Rules | None = None
    line: int = 0

    def matches(self, protocol: str, port: int, named: Mapping[str, int] | None) -> Matching:
        """Whether it covers ``port``; for ICMP the port is the message type.

        Args:
            named: the ports' names of the pod that listens; None when nobody knows them.
        """
        if self.protocol == "ANY":
            if protocol not in _PORTED:
                return False
        elif self.protocol != protocol:
            return False
        if not self.name:
            return self.low <= port <= self.high
        if named is None:
            return f'{UNNAMED}, so "{self.name}" can\'t be compared'
        low = named.get(self.name)
        return low is not None and low <= port <= max(low, self.end)

    def __str__(self) -> str:
        if self.protocol in (ICMP4, ICMP6):
            return f"{self.protocol} {'any type' if self.low != self.high else f'type {self.low}'}"
        if self.name:
            number = self.name
        elif (self.low, self.high) == (0, _MAX_PORT):
            number = "any port"
        else:
            number = str(self.low) if self.low == self.high else f"{self.low}-{self.high}"
        return number if self.protocol == "ANY" else f"{number}/{self.protocol}"


def read_to_ports(
    value: Value, *, deny: bool, ingress: bool, host: bool
) -> tuple[PortRule, ...] | None:
    """``toPorts`` of a rule; None when it is as good as absent.

    Raises:
        DocumentError: as Cilium refuses it.
    """
    items = value.items()
    if not items:
        return None
    rules: list[PortRule] = []
    for item in items:
        fields = item.given()
        ports = fields["ports"].items() if "ports" in fields else []
        if len(ports) > _MAX_ITEMS:
            raise fields["ports"].fault(f"too many ports, the max is {_MAX_ITEMS}")
        if deny:
            rules.extend(_read_port(port, None, dns=False, ingress=ingress)[0] for port in ports)
        else:
            rules.extend(_read_item(item, fields, ports, ingress=ingress, host=host))
    return tuple(rules)


def _read_item(
    item: Value, fields: dict[str, Value], ports: list[Value], *, ingress: bool, host: bool
) -> list[PortRule]:
    l7 = read_rules(item, fields, ingress=ingress, host=host, has_ports=bool(ports))
    dns = l7 is not None and l7.kind == "dns" and bool(l7.dns_written)
    rules = []
    zero = False
    for port in ports:
        rule, is_zero = _read_port(port, l7, dns=dns, ingress=ingress)
        zero = zero or is_zero
        if (
            l7 is not None
            and l7.kind in ("http", "dns")
            and l7.written
            and not dns
            and rule.protocol != "TCP"
        ):
            raise port.fault(
                f"L7 rules can only apply to TCP (not {rule.protocol}) except for DNS rules"
            )
        rules.append(rule)
    if zero and l7 is not None and l7.written:
        raise item.fault("L7 rules can not be used when a port is 0")
    return rules


def _read_port(
    value: Value, l7: Layer7Rules | None, *, dns: bool, ingress: bool
) -> tuple[PortRule, bool]:
    fields = value.given()
    text = fields["port"].text() if "port" in fields else ""
    if not text:
        raise value.fault("port must be specified")
    end = fields["endPort"].integer() if "endPort" in fields else 0
    if not 0 <= end <= _MAX_PORT:
        raise fields["endPort"].fault(f"endPort must be 0 to {_MAX_PORT}")
    protocol = read_protocol(fields["protocol"]) if "protocol" in fields else "ANY"
    if is_service_name(text):
        last = end if ingress else 0
        return PortRule(protocol, name=text.lower(), end=last, l7=l7, line=value.line), False
    port = read_number(text, value)
    if port and protocol in OTHER:
        raise value.fault("port must be empty or 0")
    if dns and end > port:
        raise value.fault("DNS rules do not support port ranges")
    if port == 0:
        return PortRule(protocol, l7=l7, line=value.line), True
    return PortRule(protocol, port, max(port, end), l7=l7, line=value.line), False


def is_service_name(text: str) -> bool:
    """Whether ``port`` is a name (IANA's service names: up to 15 letters, digits and single hyphens)."""
    return len(text) <= _MAX_SERVICE_NAME and _SERVICE_NAME.match(text) is not None


def read_number(text: str, value: Value) -> int:
    """A port's number. Raises DocumentError for what is no number from 0 to 65535."""
    number = parse_number(text)
    if number is None:
        what = (
            "octal, as it begins with 0" if _NUMBER.match(text) else "neither a number nor a name"
        )
        raise value.fault(f'unable to parse port: "{text}" is {what}')
    if number > _MAX_PORT:
        raise value.fault(f'unable to parse port: "{text}": value out of range')
    return number


def parse_number(text: str) -> int | None:
    """As strconv.ParseUint with base 0: a leading 0 makes it octal. More than 65535 is told as 65536."""
    if not _NUMBER.match(text):
        return None
    digits = text.replace("_", "").lstrip("0") or "0"
    octal = text[0] == "0"
    if octal and not _OCTAL.match(digits):
        return None
    # Not more digits than are needed: Python refuses to read thousands.
    return min(int(digits[: len(str(_MAX_PORT)) + 2], 8 if octal else 10), _MAX_PORT + 1)


def read_protocol(value: Value) -> str:
    """A protocol's name, in capitals as the API server wants it; ``ANY`` for none."""
    text = value.text()
    if not text:
        return "ANY"
    if text not in _PROTOCOLS:
        known = text.upper() in _PROTOCOLS
        raise value.fault(
            f'invalid protocol "{text}"'
            + (f": in capitals, {text.upper()}" if known else ", must be TCP, UDP, SCTP or ANY")
            + (" (ICMP has its own field, icmps)" if text.upper().startswith("ICMP") else "")
        )
    return text


def read_icmps(value: Value) -> tuple[PortRule, ...] | None:
    """``icmps`` of a rule; None when it is as good as absent."""
    items = value.items()
    if not items:
        return None
    rules: list[PortRule] = []
    for item in items:
        fields = item.given()
        types = fields["fields"].items() if "fields" in fields else []
        if len(types) > _MAX_ITEMS:
            raise item.fault(f"too many types, the max is {_MAX_ITEMS}")
        rules.extend(_read_icmp(one) for one in types)
    return tuple(rules)


def _read_icmp(value: Value) -> PortRule:
    fields = value.given()
    family = fields["family"].text() if "family" in fields else "IPv4"
    if family not in ("IPv4", "IPv6", ""):
        raise value.fault(f"wrong family: {family} (IPv4 or IPv6)")
    protocol = ICMP6 if family == "IPv6" else ICMP4
    if "type" not in fields:
        raise value.fault(f"{value.path}: type must be given")
    kind = fields["type"].number_or_text()
    if isinstance(kind, str):
        if (number := whole_number(kind)) is not None:
            kind = number
        elif kind in _ICMP_TYPES[protocol]:
            kind = _ICMP_TYPES[protocol][kind]
        else:
            raise fields["type"].fault(f"ICMP type {kind} not found in {family}")
    if not 0 <= kind <= 255:
        raise fields["type"].fault(f"ICMP type {kind} is not between 0 and 255")
    # Type 0 is written as port 0, and port 0 means every one.
    return PortRule(protocol, kind, kind or _MAX_PORT, line=value.line)
