"""From what a user wrote for a history to the place where it lies."""

from __future__ import annotations

from pathlib import Path

from flowwatch.errors import UsageError
from flowwatch.history.folder import Folder
from flowwatch.history.place import Place
from flowwatch.text import safe

Where = str | Path | Place
"""A folder, ``s3://BUCKET/PREFIX``, or what :func:`place_of` made of one."""


def place_of(where: Where) -> Place:
    """The place. UsageError for a URL of another kind, or without a bucket; nothing is asked yet."""
    if isinstance(where, Path):
        return Folder(where)
    if not isinstance(where, str):
        return where
    scheme, separator, _ = where.partition("://")
    if not separator:
        return Folder(Path(where))
    if scheme == "clickhouse":
        raise UsageError(
            f"{safe(where)} holds rows, and files are asked for",
            "record to a folder, or to s3://BUCKET/PREFIX",
        )
    if scheme != "s3":
        raise UsageError(
            f"no history lies at {safe(where)}",
            "name a folder, s3://BUCKET/PREFIX or clickhouse://HOST/DATABASE",
        )
    # Only for who has one: it loads what speaks to a server.
    from flowwatch.history.bucket import Bucket

    return Bucket(where)
