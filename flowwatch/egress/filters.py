"""The language of filters: one for the dashboard's ``/``, and for ``--filter``.

    read_filter("ns:shop|ci !to:*.example.com port:443 timeout")

Words stand for what a row shows; ``key:value`` for one thing of it. ``!`` before one: it must not hold;
``|`` between values: one of them; ``*``: anything; ``=`` before a value: all of it, not a part; quotes
keep spaces together. All that is typed must hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache

import msgspec

from flowwatch.egress.table import PROTOCOLS
from flowwatch.errors import UsageError
from flowwatch.text import safe

KEYS: Mapping[str, str] = {
    "ns": "namespace of the pod",
    "pod": "the pod, or its workload: `weather-app`, `weather/weather-app`",
    "to": "the other end: name, service, pod, entity or address; with its port, too: `api.github.com:443`",
    "port": "`443`, `53/udp`, `8000-8100`",
    "why": "what stands in REASON: Hubble's drop reasons, what an L7 rule refused, `no rule`, `late` …",
    "policy": "a policy that allowed or denied, as far as it is named",
    "label": "a label of the pod: `app=weather`",
    "staged": "what staged policies would do, or which: `deny`, `admit`, `no change`, `can't tell`",
    "verdict": "what became of attempts: forwarded, dropped, audited, errors, unknown",
}
"""What stands before the colon, with what the value is."""

ALIASES: Mapping[str, str] = {
    "namespace": "ns", "workload": "pod", "from": "pod", "peer": "to", "destination": "to",
    "reason": "why", "cause": "why", "labels": "label",
}  # fmt: skip

VERDICTS = ("forwarded", "dropped", "audited", "errors", "unknown")
"""Values of ``verdict:``, in the order of flowwatch.egress.table.COUNTS."""

_PORT = re.compile(r"(?P<low>[0-9]{1,5})(?:-(?P<high>[0-9]{1,5}))?(?:/(?P<protocol>[a-z0-9]*))?")
_PARTS = re.compile(r'"[^"]*"?|[^\s"]+')
_KEYED = re.compile(r"(?P<key>[a-z]+):(?!//)(?P<value>.*)", re.DOTALL)
_HOST_PORT = re.compile(r"(?P<host>.+):(?P<port>[0-9]{1,5}(?:/[a-z0-9]*)?)")


class BadFilter(UsageError):
    """What was typed is no filter: the message says which word, and what was probably meant."""

    def __init__(self, message: str, hint: str, at: int, length: int) -> None:
        super().__init__(message, hint)
        self.at, self.length = at, length
        """Where the word stands, in characters."""


class Value:
    """What is compared with texts; in lower case, as everything is compared."""

    def __init__(self, text: str) -> None:
        self.exact = text.startswith("=")
        self.text = text.removeprefix("=")
        pattern = ".*".join(re.escape(part) for part in re.split(r"[*…]", self.text))
        self._glob = (
            re.compile(pattern, re.DOTALL) if "*" in self.text or "…" in self.text else None
        )

    def of(self, text: str) -> bool:
        """Whether ``text`` (any case) is meant."""
        folded = text.casefold()
        if self._glob is not None:
            return self._glob.fullmatch(folded) is not None
        return folded == self.text if self.exact else self.text in folded


class Ports(msgspec.Struct, frozen=True):
    """A range of ports, of some protocols."""

    low: int
    high: int
    protocol: str = ""
    """The beginning of its name; empty: any that has ports."""

    def protocols(self) -> list[bool]:
        """By the number of a protocol (flowwatch.egress.table.PROTOCOLS): whether it is meant."""
        return [
            not name.startswith("ICMP") and name.casefold().startswith(self.protocol)
            for name in PROTOCOLS
        ]


class Atom(msgspec.Struct, frozen=True):
    """One value that may hold."""

    key: str
    """Of KEYS; empty for a word."""
    text: str
    """In lower case; of a word as it is searched."""
    value: Value
    ports: Ports | None = None
    """Of ``port:``, and of ``to:`` with a port."""


class Term(msgspec.Struct, frozen=True):
    """What must hold, or must not: one of its atoms."""

    wanted: bool
    atoms: tuple[Atom, ...]


def read_filter(text: str) -> tuple[Term, ...]:
    """The terms, all of which must hold. Raises BadFilter."""
    return tuple([_term(part, at) for part, at in words(text)])


@lru_cache(maxsize=256)
def lenient_filter(text: str) -> tuple[Term, ...]:
    """The same, while it is typed: what is no filter yet stands for the word that it is."""
    terms = []
    for part, at in words(text):
        try:
            terms.append(_term(part, at))
        except BadFilter:
            terms.append(Term(True, (_word(part),)))
    return tuple(terms)


def words(text: str) -> Iterator[tuple[str, int]]:
    """What stands between spaces outside of quotes, and where it begins."""
    part, began = "", 0
    for found in _PARTS.finditer(text):
        if part and text[found.start() - 1].isspace():
            yield part, began
            part = ""
        if not part:
            began = found.start()
        part += found[0]
    if part:
        yield part, began


def quoted(text: str) -> str:
    """``text`` as a value that is read as it is."""
    clean = text.replace('"', "*")
    return f'"{clean}"' if re.search(r"[\s|!]", clean) else clean


def _term(part: str, at: int) -> Term:
    wanted = not part.startswith("!")
    typed = part.removeprefix("!").casefold()
    atoms: list[Atom] = []
    key = ""
    for one in _alternatives(typed):
        found = _KEYED.fullmatch(one)
        value = one
        if found is not None and (known := _key(found["key"], found["value"], part, at)):
            key, value = known, found["value"]
        atoms.append(_atom(key, value.replace('"', ""), part, at))
    return Term(wanted, tuple(atoms))


def _alternatives(typed: str) -> list[str]:
    """What stands between ``|`` outside of quotes; what is empty isn't typed yet."""
    pieces = re.findall(r'(?:"[^"]*"?|[^|"])+', typed)
    return pieces or [""]


def _key(name: str, value: str, part: str, at: int) -> str:
    """The key that was meant; empty where the colon belongs to a word, as in ``name:443``."""
    known = ALIASES.get(name, name)
    if known in KEYS:
        return known
    if value[:1].isdigit() or not value:
        return ""
    near = get_close_matches(name, [*KEYS, *ALIASES], 1, 0.6)
    if not near:
        return ""
    raise BadFilter(
        f"no key '{safe(name)}:' in a filter: did you mean {near[0]}:?",
        f"there are {', '.join(KEYS)}",
        at,
        len(part),
    )


def _word(text: str) -> Atom:
    typed = text.removeprefix("!").casefold().replace('"', "").replace("*", "…")
    return Atom("", typed, Value(typed))


def _atom(key: str, text: str, part: str, at: int) -> Atom:
    if not key:
        return _word(text)
    ports = None
    if key == "port" and text:
        ports = _ports(text.removeprefix("="))
        if ports is None:
            raise BadFilter(f"'{safe(text)}' is no port", "443, 53/udp or 8000-8100", at, len(part))
    if key == "to" and (found := _HOST_PORT.fullmatch(text)) and "]" not in found["port"]:
        host = found["host"]
        if ":" not in host or host.endswith("]"):
            text, ports = host.strip("[]"), _ports(found["port"])
    if key == "verdict" and text:
        text = _verdict(text.removeprefix("="), part, at)
    return Atom(key, text, Value(text), ports)


def _ports(text: str) -> Ports | None:
    found = _PORT.fullmatch(text)
    if found is None:
        return None
    low = int(found["low"])
    high = int(found["high"]) if found["high"] else low
    return Ports(low, high, found["protocol"] or "") if low <= high <= 65535 else None


def _verdict(text: str, part: str, at: int) -> str:
    fits = [one for one in VERDICTS if one.startswith(text)]
    if fits:
        return fits[0]
    near = get_close_matches(text, VERDICTS, 1, 0.4)
    meant = f": did you mean {near[0]}?" if near else ""
    raise BadFilter(
        f"no verdict '{safe(text)}'{meant}", f"there are {', '.join(VERDICTS)}", at, len(part)
    )
