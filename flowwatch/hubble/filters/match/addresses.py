"""IP addresses and prefixes as Go's net/netip reads and compares them.

Python's ipaddress takes what Go doesn't (``10.0.0.0/255.0.0.0``) and says other words; here an
address is its number of bits, its value and its zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from flowwatch.gotext import quote
from flowwatch.hubble.filters.match.base import Build, FilterError, Match
from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter

_REMEMBERED = 50_000


class FilterAddress(NamedTuple):
    """An address: 32 or 128 bits, its value, its zone ("" for none)."""

    bits: int
    value: int
    zone: str = ""


class Prefix(NamedTuple):
    """A prefix: of how many bits its addresses are, how many of the last don't count, the rest."""

    bits: int
    free: int
    value: int

    def holds(self, address: FilterAddress) -> bool:
        """Whether ``address`` is in it; one with a zone never is."""
        return (
            address.bits == self.bits
            and not address.zone
            and address.value >> self.free == self.value
        )


class _AddressError(ValueError):
    def __init__(self, text: str, problem: str, at: str = "") -> None:
        where = f" (at {quote(at)})" if at else ""
        super().__init__(f"ParseAddr({quote(text)}): {problem}{where}")


def parse_address(text: str) -> FilterAddress:
    """An address of either version. ValueError in netip's words."""
    found = re.search(r"[.:%]", text)
    if found is None:
        raise _AddressError(text, "unable to parse IP")
    if found[0] == ".":
        return FilterAddress(32, _ipv4(text, text))
    if found[0] == "%":
        raise _AddressError(text, "missing IPv6 address")
    return _ipv6(text)


def parse_prefix(text: str) -> Prefix:
    """``address/length``. ValueError in netip's words."""
    head, slash, length = text.rpartition("/")
    start = f"netip.ParsePrefix({quote(text)}): "
    if not slash:
        raise ValueError(f"{start}no '/'")
    try:
        address = parse_address(head)
    except ValueError as error:
        raise ValueError(f"{start}{error}") from None
    if address.zone:
        raise ValueError(f"{start}IPv6 zones cannot be present in a prefix")
    if not re.fullmatch(r"[0-9]|[1-9][0-9]{1,18}", length):
        raise ValueError(f"{start}bad bits after slash: {quote(length)}")
    if int(length) > address.bits:
        raise ValueError(f"{start}prefix length out of range")
    free = address.bits - int(length)
    return Prefix(address.bits, free, address.value >> free)


def _ipv4(part: str, whole: str) -> int:
    fields: list[int] = []
    value = digits = 0
    for at, char in enumerate(part):
        if "0" <= char <= "9":
            if digits == 1 and value == 0:
                raise _AddressError(whole, "IPv4 field has octet with leading zero")
            value, digits = value * 10 + int(char), digits + 1
            if value > 255:
                raise _AddressError(whole, "IPv4 field has value >255")
        elif char != ".":
            raise _AddressError(whole, "unexpected character", part[at:])
        elif at in (0, len(part) - 1) or part[at - 1] == ".":
            raise _AddressError(whole, "IPv4 field must have at least one digit", part[at:])
        elif len(fields) == 3:
            raise _AddressError(whole, "IPv4 address too long")
        else:
            fields.append(value)
            value = digits = 0
    if len(fields) < 3:
        raise _AddressError(whole, "IPv4 address too short")
    return int.from_bytes(bytes([*fields, value]))


_HEX = re.compile("[0-9a-fA-F]*")


def _ipv6(text: str) -> FilterAddress:
    rest, percent, zone = text.partition("%")
    if percent and not zone:
        raise _AddressError(text, "zone must be a non-empty string")
    groups: list[int] = []
    gap = -1
    if rest.startswith("::"):
        gap, rest = 0, rest[2:]
    while rest and len(groups) < 8:
        digits = _HEX.match(rest)[0]  # type: ignore[index]
        if len(digits) > 4:
            raise _AddressError(text, "each group must have 4 or less digits", rest)
        if not digits:
            raise _AddressError(
                text, "each colon-separated field must have at least one digit", rest
            )
        if rest[len(digits) : len(digits) + 1] == ".":
            groups += _embedded(text, rest, groups, gap)
            rest = ""
            break
        groups.append(int(digits, 16))
        rest = rest[len(digits) :]
        if not rest:
            break
        if rest[0] != ":":
            raise _AddressError(text, "unexpected character, want colon", rest)
        if len(rest) == 1:
            raise _AddressError(text, "colon must be followed by more characters", rest)
        rest = rest[1:]
        if rest[0] == ":":
            if gap >= 0:
                raise _AddressError(text, "multiple :: in address", rest)
            gap, rest = len(groups), rest[1:]
    if not groups and gap < 0:
        raise _AddressError(text, "each colon-separated field must have at least one digit", rest)
    if rest:
        raise _AddressError(text, "trailing garbage after address", rest)
    if len(groups) < 8:
        if gap < 0:
            raise _AddressError(text, "address string too short")
        groups[gap:gap] = [0] * (8 - len(groups))
    elif gap >= 0:
        raise _AddressError(text, "the :: must expand to at least one field of zeros")
    value = 0
    for group in groups:
        value = value << 16 | group
    return FilterAddress(128, value, zone)


def _embedded(text: str, rest: str, groups: list[int], gap: int) -> tuple[int, int]:
    if gap < 0 and len(groups) != 6:
        problem = "embedded IPv4 address must replace the final 2 fields of the address"
        raise _AddressError(text, problem, rest)
    if len(groups) > 6:
        problem = "too many hex fields to fit an embedded IPv4 at the end of the address"
        raise _AddressError(text, problem, rest)
    value = _ipv4(rest, text)
    return value >> 16, value & 0xFFFF


def ip(get: Callable[[Flow], str]) -> Build:
    """An address is the same text, or in a prefix."""

    def build(values: Iterable[str], _: FlowFilter) -> Match:
        exact: set[str] = set()
        prefixes: list[Prefix] = []
        for text in values:
            what = "prefix" if "/" in text else "address"
            try:
                if "/" in text:
                    prefixes.append(parse_prefix(text))
                else:
                    parse_address(text)
                    exact.add(text)
            except ValueError as error:
                raise FilterError(f"invalid IP {what} {quote(text)} in filter: {error}") from None
        if not prefixes:
            return lambda flow: get(flow) in exact
        # Addresses repeat from flow to flow.
        known: dict[str, bool] = {"": False}

        def test(flow: Flow) -> bool:
            text = get(flow)
            answer = known.get(text)
            if answer is None:
                if len(known) >= _REMEMBERED:
                    known.clear()
                answer = known[text] = text in exact or _in_one(text, prefixes)
            return answer

        return test

    return build


def _in_one(text: str, prefixes: list[Prefix]) -> bool:
    try:
        address = parse_address(text)
    except ValueError:
        return False
    return any(prefix.holds(address) for prefix in prefixes)
