"""Reading policy files: what ``-f``, ``--current`` and ``--policies`` name.

Files, folders, standard input; YAML or JSON, several documents, Lists as kubectl prints them. What is
not read is told, one line each: nothing is left out in silence.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from flowwatch.cli.reading import say
from flowwatch.errors import UsageError
from flowwatch.policy import load
from flowwatch.policy.engine import PolicySet
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed

MAX_BYTES = 32 * 1024 * 1024
"""Of one file. A megabyte of policies takes about a second and 50 MB of memory: 10,000 policies have 5."""
_SUFFIXES = (".yaml", ".yml", ".json")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),  # what a redirection in Windows PowerShell writes
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TOLD = 20
"""Refused documents spelt out; the others are counted."""


def read_text(path: str) -> str:
    """The text of a file, or of standard input for ``-``. Raises UsageError."""
    shown = _shown(path)
    try:
        if path == "-":
            data = _at_most(sys.stdin.buffer)
        else:
            with Path(path).open("rb") as file:
                data = _at_most(file)
    except OSError as error:
        raise UsageError(f"cannot read {shown}: {safe(error.strerror or str(error))}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(
            f"{shown} is larger than {MAX_BYTES >> 20} MB: too large for policies",
            "give fewer objects at a time (kubectl get cnp,ccnp,netpol, one namespace each)",
        )
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{shown}:{line}: not UTF-8: {safe(error.reason)}") from None


def _at_most(file: BinaryIO) -> bytes:
    # One byte more than may be: what never ends (a device) is refused too.
    return file.read(MAX_BYTES + 1)


def _shown(path: str) -> str:
    return "standard input" if path == "-" else safe(path)


def policy_files(paths: Sequence[str]) -> list[str]:
    """The files that ``paths`` mean: folders stand for the YAML and JSON in them, at any depth."""
    files = []
    for path in paths:
        if path != "-" and Path(path).is_dir():
            found = sorted(str(one) for one in Path(path).rglob("*") if one.suffix in _SUFFIXES)
            if not found:
                raise UsageError(f"no {', '.join(_SUFFIXES)} file in {safe(path)}")
            files += found
        else:
            files.append(path)
    if files.count("-") > 1:
        raise UsageError("standard input was given twice")
    return list(dict.fromkeys(files))


def read_policies(paths: Sequence[str], *, keep_going: bool = False) -> PolicySet:
    """The policies of files, folders and standard input, compiled.

    What the cluster would refuse is told, a line each, and then ends the verb; with ``keep_going``
    it takes no part, and ``rejected`` of the result has it. Raises UsageError.
    """
    policies = load([(path, read_text(path)) for path in policy_files(paths)])
    documents = policies.documents
    for rejected in documents.rejected[:_TOLD]:
        say(safe(str(rejected)))
    more = len(documents.rejected) - _TOLD
    if more > 0:
        say(f"and {more:,} more")
    if documents.rejected and not keep_going:
        count = len(documents.rejected)
        raise UsageError(
            f"{count:,} document{'s' if count > 1 else ''} would be refused by the cluster",
            "mend or leave out what is named above",
        )
    if documents.skipped:
        kinds = ", ".join(f"{safe(kind)} ({n})" for kind, n in documents.skipped.most_common(5))
        say(f"{documents.skipped.total():,} objects that are no policies were skipped: {kinds}")
    if not documents.policies and not documents.rejected:
        raise UsageError(f"no policy in {', '.join(map(_shown, paths))}")
    return policies


def given(parsed: Parsed) -> PolicySet | None:
    """The policies that ``--policies`` names; None without it."""
    paths = parsed.list("policies")
    return read_policies(paths) if paths else None
