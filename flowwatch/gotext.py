"""Small pieces of Go's standard library that decide what hubble takes for a value, and its words.

``strconv.Quote``, ``strconv.ParseUint``, ``time.ParseDuration`` and pflag's comma lists. Facts from
Go 1.26 and pflag 1.0, held against the real CLI in tests/interop. Imports next to nothing, so that
the command line starts fast.
"""

from __future__ import annotations

import re

_LOOPBACK_NAME = re.compile(r"(?:.+\.)?localhost\.?", re.IGNORECASE)
_SHORT = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    '"': r"\"",
    "\\": r"\\",
}
_BASES = {"b": 2, "o": 8, "x": 16}
_UNITS = {
    "ns": 1,
    "us": 1_000,
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}


def quote(text: str) -> str:
    """``text`` in double quotes as Go's ``%q``: what can't be printed is escaped, so it is safe."""
    return '"' + "".join(_quoted(char) for char in text) + '"'


def quote_rune(char: str) -> str:
    """One character in single quotes, as Go's ``%q`` of a rune."""
    if char == "'":
        return r"'\''"
    return "'" + ('"' if char == '"' else _quoted(char)) + "'"


def _quoted(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that wasn't UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable():
        return char
    if code < 0x20 or code == 0x7F:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def parse_uint(text: str, bits: int, base: int = 10) -> int:
    """strconv.ParseUint; ValueError carries its words. Base 0 reads 0x, 0o, 0b, 010 and ``1_000``."""
    number = _digits(text, base)
    if number is None:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    if number >> bits:
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: value out of range")
    return number


def _digits(text: str, base: int) -> int | None:
    digits = text.lower()
    if base == 0:
        base = 10
        if len(digits) > 1 and digits[0] == "0":
            base = _BASES.get(digits[1], 8)
            # An underscore may stand between digits, and between a prefix and them.
            digits = digits[2 if digits[1] in _BASES else 1 :].removeprefix("_")
        if "__" in digits or digits[-1:] == "_" or digits[:1] == "_":
            return None
        digits = digits.replace("_", "")
    # int() alone would take signs, spaces and the digits of other scripts.
    known = "0123456789abcdef"[:base]
    if not digits or any(digit not in known for digit in digits):
        return None
    # 80 digits of any base are out of range, however they go on.
    return int(digits.lstrip("0")[:80] or "0", base)


def whole_number(text: str) -> int | None:
    """What plain digits say, None for anything else: ``²`` and 5000 digits, too, where int() raises.

    Of a number of more than 80 digits only the first ones count.
    """
    return _digits(text, 10) if "_" not in text else None


# A number, then everything that is neither digit nor point is its unit.
_PART = re.compile(r"(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")


def parse_duration(text: str) -> int:
    """time.ParseDuration (``1h30m``, ``250ms``, ``-1.5s``, ``0``), in nanoseconds.

    ValueError carries Go's words.
    """
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    invalid = f"time: invalid duration {quote(text)}"
    total = at = 0
    while at < len(rest) or not rest:
        found = _PART.match(rest, at)
        if found is None:
            raise ValueError(invalid)
        whole, fraction, unit = found[1], found[2] or "", found[3]
        if len(whole.lstrip("0")) > 19:
            raise ValueError(invalid)
        if not unit:
            raise ValueError(f"time: missing unit in duration {quote(text)}")
        if unit not in _UNITS:
            raise ValueError(f"time: unknown unit {quote(unit)} in duration {quote(text)}")
        size = _UNITS[unit]
        total += int(whole or 0) * size
        # Past the 18th digit a fraction of an hour is less than a nanosecond.
        total += int(fraction[:18].ljust(18, "0") or 0) * size // 10**18
        at = found.end()
    if total > 1 << 63 or (total == 1 << 63 and text[0] != "-"):
        raise ValueError(invalid)
    return -total if text[0] == "-" else total


def comma_list(text: str) -> list[str]:
    """The values of a comma list (pflag's StringSlice): CSV, so quotes keep a comma in a value.

    ValueError when the quotes don't fit.
    """
    if not text:
        return []
    if '"' not in text and "\n" not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(str(error)) from None


def is_address(text: str) -> bool:
    """Whether ``text`` is an IP address, of either family."""
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this one: ``localhost``, a name below it, 127.0.0.0/8 or ``::1``.

    golang.org/x/net/http/httpproxy asks no proxy for those, whatever the environment says.
    """
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return _LOOPBACK_NAME.fullmatch(host) is not None
