"""How inputs are spoilt: bytes, trees of values (JSON, YAML) and protobuf messages. Random, by a seed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

TEXTS: tuple[str, ...] = (
    "", " ", "\0", "a\0b", "é", "ß", "İ", "ﬁ", "\u202e", "\u2028", "\ufeff", "\u00ad", "\u200d", "\ud800",
    "\U000e0041", "\x1b[2J", "\x1b]0;x\x07", "\x9b31m", "\r\n", "\t", "::error::x", "##[add-mask]x", "[red]",
    "<script>", "=1+1", "|", "`", "\\", "%s%n", "{}", "[", "http://[/x", "http://℀/x", "http://[::1%25e]/",
    "http://a:99999/", "http://a:b/", "//", "/", "..", "~", "~nosuchuser", "*", "**", "*a*a*a*a*a*a*b",
    "(a+)+", "a" * 60, "a" * 60 + ".example.org", "/v1" + "a" * 60,
    "[[:alpha:]]+", r"\d", "(?i)x", "((((", "a{1000}{1000}", "10.0.0.0/8", "10.0.0.1", "::ffff:1.2.3.4/120",
    "fe80::1%eth0", "fe80::1%eth0/64", "0.0.0.0/0", "::/0", "999.1.1.1", "1e3", "0o17", "0x1f", "1_000", "-1",
    "65536", "99999999999999999999", "NaN", ".inf", "null", "true", "yes", "2026-01-31",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00Z", "1600-01-01T00:00:00Z", "2262-04-12T00:00:00Z", "k8s:", "k8s:a=b=c",
    "reserved:world",
    "reserved:", ":=", "a" * 64, "a" * 300, "a." * 200, "x" * 70_000, "[" * 2000,
    "EGRESS", "NEWER_NAME", "http",
    "HTTP", "any", "localhost", "127.0.0.1:1",
)  # fmt: skip
NUMBERS: tuple[int | float, ...] = (
    0, 1, -1, 2, 3, 5, 17, 99, 127, 128, 129, 255, 256, 65_535, 65_536, -65_536, 2**31 - 1, 2**31, -(2**31),
    2**32 - 1, 2**32, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64 - 1, 2**64, 10**30, 0.5, -0.0, 1e300,
    253_402_300_799, 253_402_300_800, -62_135_596_801, 9_223_372_037, 999_999_999, 1_000_000_000,
)  # fmt: skip


def _deep() -> Any:
    """A list in a list, eighty times."""
    root: Any = []
    for _ in range(80):
        root = [root]
    return root


def value(random: Random) -> Any:
    """A value of any JSON type."""
    return random.choice(
        (
            random.choice(TEXTS),
            random.choice(TEXTS),
            random.choice(NUMBERS),
            random.choice(NUMBERS),
            None,
            True,
            False,
            [],
            {},
            [random.choice(TEXTS)],
            [None],
            [[]],
            {random.choice(TEXTS): random.choice(TEXTS)},
            {"a": {"b": {}}},
            _deep(),
        )
    )


# Bytes -------------------------------------------------------------------------------------------

BYTES = (
    *(text.encode("utf-8", "surrogatepass") for text in TEXTS),
    b"\xff", b"\xff\xfe", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\x80" * 11,
    b"\xff" * 9 + b"\x01",
    b"\n", b"{", b"}", b'"', b"]", b",", b"---\n", b": ", b"- ", b"&a ", b"*a", b"!!binary ",
    b"<<: ", b"\x1f\x8b",
)  # fmt: skip


def data(random: Random, raw: bytes, times: int | None = None) -> bytes:
    """``raw`` with one to four spots changed: flipped, put in, cut out, repeated, cut off."""
    out = bytearray(raw)
    for _ in range(times or random.randint(1, 4)):
        at = random.randrange(len(out) + 1)
        size = min(1 << random.randrange(8), len(out) - at)
        match random.randrange(7):
            case 0 if at < len(out):
                out[at] ^= 1 << random.randrange(8)
            case 1 if at < len(out):
                out[at] = random.randrange(256)
            case 2:
                out[at:at] = random.choice(BYTES)
            case 3:
                out[at : at + size] = random.choice(BYTES)
            case 4:
                del out[at : at + size]
            case 5:
                out[at:at] = out[at : at + size] * random.randint(1, 3)
            case _ if random.random() < 0.2:
                del out[at:]
    return bytes(out)


# Trees -------------------------------------------------------------------------------------------


def _places(tree: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) of ``tree``."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, child in items:
        found.append((tree, key))
        if isinstance(child, (dict, list)):
            _places(child, found)
    return found


def _rename(random: Random, holder: Any, key: Any) -> None:
    if isinstance(holder, dict):
        other = random.choice((*TEXTS, key + "x", key.upper(), key.capitalize(), *holder))
        holder[other] = holder.pop(key)


def _wrap(_random: Random, holder: Any, key: Any) -> None:
    holder[key] = [holder[key]]


def _copy(random: Random, holder: Any, key: Any) -> None:
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        holder[random.choice((*holder, "x"))] = copy.deepcopy(holder[key])


def _drop(_random: Random, holder: Any, key: Any) -> None:
    del holder[key]


def _replace(random: Random, holder: Any, key: Any) -> None:
    holder[key] = value(random)


def _spoil(random: Random, holder: Any, key: Any) -> None:
    """Change a scalar into another of its own type."""
    old = holder[key]
    if isinstance(old, str):
        at = random.randrange(len(old) + 1)
        other = random.choice(TEXTS)
        holder[key] = random.choice((other, old[:at] + other + old[at:], old[:at], old + other))
    elif isinstance(old, bool):
        holder[key] = not old
    elif isinstance(old, (int, float)):
        holder[key] = random.choice((*NUMBERS, str(old), old + 1, -old))
    else:
        holder[key] = value(random)


def _add(random: Random, holder: Any, key: Any) -> None:
    inner = holder[key]
    if isinstance(inner, dict):
        inner[random.choice((*TEXTS, "name", "port", "spec", "labels"))] = value(random)
    elif isinstance(inner, list):
        inner.append(value(random))
    else:
        _replace(random, holder, key)


_TREE: tuple[Callable[[Random, Any, Any], None], ...] = (
    _rename, _wrap, _copy, _drop, _replace, _spoil, _spoil, _spoil, _add,
)  # fmt: skip


def tree(random: Random, root: Any, times: int | None = None) -> Any:
    """A copy of ``root`` with one to three places changed."""
    box = [copy.deepcopy(root)]
    for _ in range(times or random.randint(1, 3)):
        places = _places(box, [])
        if not places:
            box.append(value(random))
            continue
        holder, key = random.choice(places)
        random.choice(_TREE)(random, holder, key)
    return box[0] if box else value(random)


def mixed(random: Random, items: Sequence[bytes]) -> bytes:
    """Two of ``items``, spliced."""
    one, other = random.choice(items), random.choice(items)
    return one[: random.randrange(len(one) + 1)] + other[random.randrange(len(other) + 1) :]
