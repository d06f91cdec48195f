"""What a kubeconfig comes to: where one API server is, and who asks."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowwatch.text import safe


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server. Secrets are left out of ``repr``."""

    server: str
    """``https://host:port``, maybe with a path; without a user part."""
    context: str = ""
    """The kubeconfig's name for it, "" inside a cluster."""
    user: str = ""
    file: str = ""
    """The kubeconfig, for messages."""
    ca: str = field(default="", repr=False)
    """PEM; "" leaves it to the system's."""
    insecure: bool = False
    server_name: str = ""
    """What the server's certificate must be for, where that isn't its host."""
    proxy: str = field(default="", repr=False)
    """A URL, maybe with a password; "" leaves it to the environment."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """``Authorization`` and impersonation."""
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)

    @property
    def through(self) -> str:
        """The proxy for messages: without who asks it."""
        scheme, slashes, rest = self.proxy.partition("://")
        return safe(scheme + slashes + rest.rpartition("@")[2])
