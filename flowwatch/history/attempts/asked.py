"""What attempts asked of policies, each question once with how often: what ``unused`` judges by.

    DIR/made/asked/questions.json.gz

Policies are asked about labels, names, addresses and ports, and no answer of ``unused`` depends on single
times. So equal questions are counted while attempts are made, whatever the policies will be. Whoever counts
stands above (:mod:`flowwatch.marks.keeping`): here is what the file has, plain data, checked as it is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

from flowwatch.flows.coverage import Coverage
from flowwatch.history.attempts.packing import pack, unpack

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


End = TypeVar("End")


class AskedQuestion(msgspec.Struct, Generic[End], frozen=True, array_like=True):
    """What so many attempts asked in one direction; an end is itself, or its number among those kept."""

    attempts: _Count
    direction: Literal["egress", "ingress"]
    subject: End
    """Whose policies are asked."""
    subject_name: str
    cluster: str
    peer: End
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


KeptQuestion = AskedQuestion[_Number]


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
    return pack(msgspec.json.encode(asked))


def read_asked(path: Path) -> Asked | None:
    """What a file has; None where it isn't there, is damaged, or was never written by :func:`packed`."""
    try:
        asked = msgspec.json.decode(unpack(path, _MOST), type=Asked)
    except (OSError, ValueError, RecursionError):
        return None
    most = len(asked.ends)
    sound = all(one.subject < most and one.peer < most for one in asked.questions)
    return asked if sound else None


def sound(path: Path) -> bool:
    """Whether the file can be read."""
    return read_asked(path) is not None
