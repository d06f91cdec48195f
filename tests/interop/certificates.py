"""Certificates for tests with TLS."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.interop.build import build


@dataclass(frozen=True)
class Certificates:
    """PEM files of a CA and of a server and a client that it vouches for; good for a day."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *names: str, valid: tuple[str, str] | None = None) -> Self:
        """Make them in an existing folder; `names` are the server's, such as `*.hubble-relay.cilium.io`.

        `valid`: from when until when the server's holds, as durations from now: `("-48h", "-24h")`.
        """
        dates = [f"-from={valid[0]}", f"-until={valid[1]}"] if valid else []
        subprocess.run([build().certs, *dates, folder, *names], check=True, timeout=30)
        return cls(folder)

    @property
    def ca(self) -> Path:
        """The CA's certificate."""
        return self.folder / "ca.pem"

    @property
    def server(self) -> Path:
        """The server's certificate; its key is `server_key`."""
        return self.folder / "server.pem"

    @property
    def server_key(self) -> Path:
        """The server's key."""
        return self.folder / "server-key.pem"

    @property
    def client(self) -> Path:
        """The client's certificate; its key is `client_key`."""
        return self.folder / "client.pem"

    @property
    def client_key(self) -> Path:
        """The client's key."""
        return self.folder / "client-key.pem"
