"""Reading policy files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowwatch.cli.reading import say
from flowwatch.errors import UsageError
from flowwatch.policy import load
from flowwatch.policy.engine import PolicySet
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed


def read_text(path: str) -> str:
    """The text of a file, or of standard input for ``-``."""
    try:
        return sys.stdin.read() if path == "-" else Path(path).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {safe(path)}: {safe(str(error))}") from None


def read_policies(paths: Sequence[str]) -> PolicySet:
    """The policies of some files."""
    policies = load([(path, read_text(path)) for path in paths])
    for rejected in policies.documents.rejected:
        say(safe(str(rejected)))
    if policies.documents.rejected:
        raise UsageError("a policy was refused", "mend it first")
    return policies


def given(parsed: Parsed) -> PolicySet | None:
    """The policies that ``--policies`` names; None without it."""
    paths = parsed.list("policies")
    return read_policies(paths) if paths else None
