"""Where a verb is to listen, as a flag says it."""

from __future__ import annotations

from flowwatch.errors import UsageError
from flowwatch.text import safe


def host_and_port(text: str, flag: str, example: str) -> tuple[str, int]:
    """``127.0.0.1:8245``, ``[::1]:8245`` or ``:8245`` (all addresses). Raises UsageError."""
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if "[" in host else host
    number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else -1
    if not colon or not 0 <= number < 1 << 16 or (":" in host and "[" not in text):
        raise UsageError(f"invalid {flag}: {safe(text)}", f"ADDRESS:PORT, as {example}")
    return host or "0.0.0.0", number
