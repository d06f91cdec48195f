"""What attempts asked of policies, each question once with how often: what ``unused`` judges by.

    DIR/made/asked/questions.json.gz

Policies are asked about labels, names, addresses and ports, and no answer of ``unused`` depends on single
times. So equal questions are counted while attempts are made, whatever the policies will be. Whoever counts
stands above (:mod:`flowwatch.marks.keeping`): here is what the file has, plain data, checked as it is read.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from flowwatch.flows.coverage import Coverage

FOLDER = "asked"
PATH = f"{FOLDER}/questions.json.gz"
"""Below ``made``."""
_MOST = 1 << 29
"""Bytes unpacked, ten times what the most questions have: a file that claims more isn't ours."""
_Count = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]
_Time = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class KeptEnd(msgspec.Struct, frozen=True, array_like=True):
    """One end of an attempt, as policies see it."""

    labels: tuple[str, ...]
    ip: str
    """Where it decides, else ""."""
    names: tuple[str, ...] | None
    """DNS names of the address; null where these can't be known."""
    outside: bool
    """Whether it surely has no ports by name: an address outside."""
    also: tuple[str, ...] | None
    """Further addresses; null where nobody knows."""


class KeptQuestion(msgspec.Struct, frozen=True, array_like=True):
    """What so many attempts asked in one direction."""

    attempts: _Count
    direction: Literal["egress", "ingress"]
    subject: _Number
    """Whose policies are asked: its number among the ends."""
    subject_name: str
    cluster: str
    peer: _Number
    protocol: str
    asked_port: Annotated[int, msgspec.Meta(ge=-(1 << 31), le=(1 << 31) - 1)]
    unknown: str
    """Why nobody can ask the policies, in words; else ""."""
    judged: bool
    """Whether policies had a say."""
    denied: bool
    """Whether a policy denied it, or would have, but for audit mode."""
    noise: bool
    waits_for_auth: bool
    verdict: bool
    """Whether a record shows a policy's verdict."""
    labelled: bool
    """Whether the subject's labels are recorded."""


class Asked(msgspec.Struct, frozen=True):
    """The whole file."""

    why_not: str = ""
    """Why no questions are kept, a safe phrase: then all else is empty."""
    ends: tuple[KeptEnd, ...] = ()
    questions: tuple[KeptQuestion, ...] = ()
    """In the order in which they were first asked."""
    clusters: tuple[str, ...] = ()
    """Those of the pods seen."""
    changed: dict[str, _Time] = {}
    """By policy, as ``namespace/name (kind)``, when verdicts show it came or changed last; ns since 1970."""
    coverage: Coverage = Coverage()


def packed(asked: Asked) -> bytes:
    """The content of the file."""
    # Level 1: others take longer than the counting.
    return gzip.compress(msgspec.json.encode(asked), 1, mtime=0)


def read_asked(path: Path) -> Asked | None:
    """What a file has; None where it isn't there, is damaged, or was never written by :func:`packed`."""
    try:
        unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
        content = unpacking.decompress(path.read_bytes(), _MOST)
        if not unpacking.eof or unpacking.unused_data:
            return None
        asked = msgspec.json.decode(content, type=Asked)
    except (OSError, zlib.error, msgspec.DecodeError, RecursionError):
        return None
    most = len(asked.ends)
    sound = all(one.subject < most and one.peer < most for one in asked.questions)
    return asked if sound else None


def sound(path: Path) -> bool:
    """Whether the file can be read."""
    return read_asked(path) is not None
