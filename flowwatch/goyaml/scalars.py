"""What a bare word of YAML is: a string, a number, a boolean, null.

As ``sigs.k8s.io/yaml`` reads it, with which kubectl makes JSON of YAML (go.yaml.in/yaml v2.4, resolve.go).
That is YAML 1.1 with deviations of its own: ``y`` and ``off`` are booleans, ``0o17`` and ``017`` are 15,
``1e3`` is 1000, ``1_0`` is 10, and ``08`` is 8; a date is a string, and so is ``1:30``.
"""

from __future__ import annotations

import base64
import math
import re
import struct

STR = "tag:yaml.org,2002:str"
NULL = "tag:yaml.org,2002:null"
BOOL = "tag:yaml.org,2002:bool"
INT = "tag:yaml.org,2002:int"
FLOAT = "tag:yaml.org,2002:float"
MERGE = "tag:yaml.org,2002:merge"
_BINARY = "tag:yaml.org,2002:binary"
_TIMESTAMP = "tag:yaml.org,2002:timestamp"

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), NULL),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), BOOL),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), BOOL),
    **dict.fromkeys((".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF"), FLOAT),
    **dict.fromkeys(("+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF"), FLOAT),
    "<<": MERGE,
}  # fmt: skip
_TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_NUMERIC = frozenset("0123456789+-.")
"""What a number begins with."""
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_POINT = re.compile(r"\.[0-9]+([eE][-+]?[0-9]+)?\Z")
_BASES = (
    (re.compile(r"[-+]?[1-9][0-9]*\Z"), 10, 0),
    (re.compile(r"[-+]?0[0-7]*\Z"), 8, 0),
    (re.compile(r"[-+]?0[xX][0-9a-fA-F]+\Z"), 16, 2),
    (re.compile(r"[-+]?0[oO][0-7]+\Z"), 8, 2),
    (re.compile(r"[-+]?0[bB][01]+\Z"), 2, 2),
    (re.compile(r"0b[-+][01]+\Z"), 2, 2),  # the sign behind the prefix
)
"""Whole numbers: how they are written, their base, the length of the base's prefix."""
_INT64, _UINT64 = 1 << 63, 1 << 64
_LONGEST = 20
"""Digits and sign of the longest 64-bit number; Python refuses to read thousands of digits."""
_WHOLE = 1e21
"""From here on Go's JSON writes a float with an exponent, and it is no whole number any more."""


_EXPONENT_FROM = 6
"""The power of ten from which Go's ``%g`` writes an exponent."""
_SPECIAL = {
    ".nan": math.nan, ".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf,
}  # fmt: skip


class ScalarError(ValueError):
    """A word that its tag forbids; the message says why, and doesn't repeat it: it may be a secret."""


def resolve(word: str) -> str:
    """The tag of a bare word. A float that is whole is an INT: Go's JSON has ``1000`` for ``1e3``."""
    tag = _WORDS.get(word)
    if tag is not None:
        return tag
    value = number(word)
    if value is None:
        return STR
    return INT if isinstance(value, int) else FLOAT


def resolve_tagged(tag: str, word: str) -> tuple[str, str]:
    """The tag and the text of a word that has a tag.

    Raises:
        ScalarError: Go can't decode the word as what the tag says.
    """
    if tag in (NULL, BOOL, INT, FLOAT):
        value = _parsed(word)
        if tag == FLOAT and isinstance(value, int) and value < _INT64:
            word = repr(value := float(value))
        found = resolve(word)
        if (INT if isinstance(value, int) else FLOAT if value is not None else found) != tag:
            raise ScalarError(f"a word that is not what its tag says, {tag}")
        return found, word
    if tag == _TIMESTAMP:
        raise ScalarError("a date needs no tag: leave it out")
    if tag == _BINARY:
        try:
            data = base64.b64decode(word.replace("\n", "").replace("\r", ""), validate=True)
            return STR, data.decode()
        except ValueError:
            raise ScalarError("!!binary holds no text in base64") from None
    # A tag of its own, Go takes for a string: some tool should have put something in its place.
    return (STR if tag == MERGE and word != "<<" else tag), word


def truth(word: str) -> bool:
    """The value of a BOOL."""
    return word in _TRUE


def number(word: str) -> int | float | None:
    """The value of a number as JSON has it, a whole one as int; None for a word that is none."""
    value = _parsed(word)
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        return int(value)
    return value


def key_text(word: str) -> str:
    """What a number is called as the key of a mapping: ``16`` for ``0x10``, ``1.5`` for ``1.50``.

    Raises:
        ScalarError: Go's JSON has no such key.
    """
    value = _parsed(word)
    if isinstance(value, int):
        if value >= _INT64:
            raise ScalarError("too large a number for a key: quote it")
        return str(value)
    return _shortest(0.0 if value is None else value)


def _parsed(word: str) -> int | float | None:
    """As Go's yaml reads it, whole or not; infinite and NaN only where they are written as words."""
    if word in _WORDS:
        return _SPECIAL.get(word.lower())
    if word[0] not in _NUMERIC:
        return None
    if word[0] == ".":
        return _finite(word) if _POINT.match(word) else None
    plain = word.replace("_", "")
    for pattern, base, prefix in _BASES:
        if pattern.match(plain):
            if base == 10 and len(plain) > _LONGEST:
                break
            digits = plain.replace(plain.lstrip("+-")[:prefix], "", 1) if prefix else plain
            value = int(digits, base)
            if -_INT64 <= value < (_INT64 if digits[0] in "+-" else _UINT64):
                return value
            break
    return _finite(plain) if _FLOAT.match(plain) else None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _shortest(value: float) -> str:
    """strconv.FormatFloat(value, 'g', -1, 32): the fewest digits that make the same float32."""
    try:
        packed = struct.pack("f", value)
    except OverflowError:
        packed = struct.pack("f", math.copysign(math.inf, value))
    (narrow,) = struct.unpack("f", packed)
    if not math.isfinite(narrow):
        return ".nan" if math.isnan(narrow) else ".inf" if narrow > 0 else "-.inf"
    text = next(
        text for digits in range(9)
        if struct.pack("f", float(text := f"{narrow:.{digits}e}")) == packed
    )  # fmt: skip
    mantissa, _, exponent = text.partition("e")
    power = int(exponent)
    if -4 <= power < _EXPONENT_FROM:
        return f"{float(text):.{max(0, len(mantissa.lstrip('-').replace('.', '')) - 1 - power)}f}"
    return f"{mantissa}e{power:+03d}"
