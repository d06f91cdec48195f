"""What is kept beside attempts, packed: gzip, of bounded size, in bytes that are the same each time."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path


def pack(content: bytes) -> bytes:
    """``content`` as a file's bytes."""
    # Level 1: others take longer than the counting.
    return gzip.compress(content, 1, mtime=0)


def unpack(path: Path, most: int) -> bytes:
    """What a file of :func:`pack` has. OSError; ValueError where it is none, or has over ``most`` bytes."""
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 16)
    try:
        content = unpacking.decompress(path.read_bytes(), most)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("it is cut off, too large, or has more behind it")
    return content
