"""What the secrets of a cluster hold for TLS with relay."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Material:
    """Certificates in PEM that come from no file (``--tls-from-secret``); never shown."""

    ca: bytes = field(repr=False)
    certificate: bytes = field(default=b"", repr=False)
    """A client's; empty if there is none."""
    key: bytes = field(default=b"", repr=False)
