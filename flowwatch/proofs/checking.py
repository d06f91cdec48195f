"""Whether an archive is what it says: its entries by its manifest, and both by what is made anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

import msgspec

from flowwatch.errors import InputError
from flowwatch.proofs.archive import FLOWS, MANIFEST, Content, digest_of
from flowwatch.proofs.making import (
    AGENTS,
    DIGESTS,
    EXPECTED,
    FILES,
    MADE,
    POLICIES,
    VERSION,
    Asked,
    Judged,
    manifest,
)
from flowwatch.text import plural, safe

_SHOWN = 10
"""Hours that differ and are told one by one."""
_WIDEST = 160


class _Version(msgspec.Struct):
    flowwatch_proof: int


class ProofOptions(msgspec.Struct, forbid_unknown_fields=True):
    """How it was judged; times in ns since 1970."""

    filters: str = ""
    """As they were typed."""
    allow: list[str] = []
    """They, as JSON FlowFilters: one of these must match, if there are any."""
    deny: list[str] = []
    """None of these may."""
    since: int | None = None
    until: int | None = None
    first: bool = False
    """Whether ``number`` counts from the oldest."""
    number: int = 0
    """Flows at most; 0: all."""
    applied_at: int | None = None
    """From when the policies count; null: from when verdicts show it."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What an archive says of itself."""

    flowwatch_proof: int
    made_by: dict[str, str | int]
    options: ProofOptions
    result: str
    window: dict[str, Any]
    records: int
    entries: dict[str, _Entry]

    @property
    def asked_options(self) -> dict[str, Any]:
        """The options as the manifest has them."""
        made: dict[str, Any] = msgspec.to_builtins(self.options)
        return made


def read_manifest(text: bytes, name: str) -> Manifest:
    """The manifest of the archive ``name``. InputError, also where a newer flowwatch made it."""
    try:
        version = msgspec.json.decode(text, type=_Version).flowwatch_proof
        if version > VERSION:
            raise InputError(
                f"{safe(name)} was made by a newer flowwatch (format {version}, this one knows {VERSION})",
                "update flowwatch",
            )
        return msgspec.json.decode(text, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = safe(str(error).partition("\n")[0])
        raise InputError(f"{safe(name)} is no proof: its {MANIFEST} can't be read: {why}") from None


def unlike(said: Manifest, entries: Mapping[str, Content]) -> list[str]:
    """What the entries are that the manifest doesn't say they are: a safe line each. Raises OSError."""
    found = []
    for name in sorted({*said.entries, *entries} - {MANIFEST}):
        if name not in entries:
            found.append(f"{safe(name)} is missing")
        elif name not in said.entries:
            found.append(f"{safe(name)} was added: the {MANIFEST} doesn't name it")
        elif digest_of(entries[name]) != (said.entries[name].bytes, said.entries[name].sha256):
            found.append(f"{safe(name)} was changed: the {MANIFEST} has another digest of it")
    return found


def asked_of(said: Manifest, entries: Mapping[str, Content], name: str) -> Asked:
    """What a replay judges, and how. InputError where entries are none that a proof has, or no text."""
    known = {MANIFEST, FILES, AGENTS, EXPECTED, *MADE}
    texts: dict[str, str] = {}
    for one, content in entries.items():
        if one.startswith(FLOWS):
            continue
        if one not in known and not one.startswith(POLICIES):
            raise InputError(f"{safe(name)} is no proof: {safe(one)} is none of its entries")
        try:
            texts[one] = bytes(content).decode() if isinstance(content, bytes) else ""
        except UnicodeDecodeError:
            raise InputError(f"{safe(name)} is no proof: {safe(one)} is no text") from None
    if missing := {FILES, *MADE} - {*entries}:
        raise InputError(f"{safe(name)} is no proof: it has no {sorted(missing)[0]}")
    documents = {one: text for one, text in sorted(texts.items()) if one.startswith(POLICIES)}
    return Asked(documents, texts.get(AGENTS, ""), texts.get(EXPECTED, ""), said.asked_options)


def differences(
    said: Manifest, asked: Asked, entries: Mapping[str, Content], judged: Judged
) -> list[str]:
    """What a replay has made otherwise: a safe line for each entry. Raises OSError."""
    found = []
    for name in MADE:
        was, now = entries[name], judged.entries[name]
        if was != now:
            assert isinstance(was, bytes)
            assert isinstance(now, bytes)
            found += _hours(was, now) if name == DIGESTS else [_first(name, was, now)]
    again = {name: content for name, content in entries.items() if name != MANIFEST}
    now = manifest(asked, judged, again | judged.entries, said.made_by)
    if not found and now != entries[MANIFEST]:
        was = entries[MANIFEST]
        assert isinstance(was, bytes)
        found.append(_first(MANIFEST, was, now))
    return found


def _first(name: str, was: bytes, now: bytes) -> str:
    """Where two texts begin to differ."""
    lines = (text.decode("utf-8", "replace").split("\n") for text in (was, now))
    for number, (old, new) in enumerate(zip_longest(*lines, fillvalue=""), 1):
        if old != new:
            return (
                f"{name} differs from line {number} on: it has {_line(old)}, "
                f"the replay {_line(new)}"
            )
    return f"{name} differs in what is no text"


def _line(text: str) -> str:
    shown = safe(text.strip())[:_WIDEST]
    return f"[{shown}]" if shown else "nothing there"


def _hours(was: bytes, now: bytes) -> list[str]:
    """By the hour what differs."""
    try:
        old, new = (
            {one["hour"]: one for one in msgspec.json.decode(text)["hours"]} for text in (was, now)
        )
        lines = list(_unlike_hours(old, new))
    except (msgspec.MsgspecError, KeyError, TypeError, RecursionError):
        lines = []
    if not lines:
        return [_first(DIGESTS, was, now)]
    more = [f"{DIGESTS}: {len(lines) - _SHOWN:,} more hours differ"] if len(lines) > _SHOWN else []
    return [f"{DIGESTS}: {line}" for line in lines[:_SHOWN]] + more


def _unlike_hours(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    for hour in sorted({*old, *new}):
        was, now = old.get(hour), new.get(hour)
        if was == now:
            continue
        counts = [one["records"] if one else 0 for one in (was, now)]
        if counts[0] == counts[1]:
            yield f"hour {safe(hour)}: other records, of the same number ({counts[0]:,})"
        else:
            known = plural(counts[0], "record")
            yield f"hour {safe(hour)}: {known}, the replay has {counts[1]:,}"
