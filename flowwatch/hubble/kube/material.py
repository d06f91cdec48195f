"""Certificates and keys in PEM that are in memory: of a cluster's secrets, a kubeconfig, a pipe."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, slots=True)
class Material:
    """Certificates in PEM that come from no file (``--tls-from-secret``); never shown."""

    ca: bytes = field(repr=False)
    certificate: bytes = field(default=b"", repr=False)
    """A client's; empty if there is none."""
    key: bytes = field(default=b"", repr=False)


def pem_text(raw: bytes) -> str:
    """PEM for Python's ssl, which takes ASCII alone; between the certificates a file may say more."""
    return raw.decode("ascii", "replace").replace("\ufffd", "?")


def load_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Give ``context`` a client certificate. Raises ssl.SSLError, ValueError for a locked key.

    Python's ssl reads them from files only: on Linux it gets some in memory that have no name,
    elsewhere some that only their owner may read and that are gone when this returns.
    """

    def locked() -> str:
        raise ValueError("the key is protected by a password")

    with _file(certificate) as certificate_path, _file(key) as key_path:
        context.load_cert_chain(certificate_path, key_path, password=locked)


@contextlib.contextmanager
def _file(content: bytes) -> Iterator[str]:
    if sys.platform == "linux":
        number = os.memfd_create("certificate")
        try:
            with open(number, "wb", closefd=False) as stream:
                stream.write(content)
            yield f"/proc/self/fd/{number}"
        finally:
            os.close(number)
        return
    import tempfile

    number, path = tempfile.mkstemp()
    try:
        with open(number, "wb") as stream:
            stream.write(content)
        yield path
    finally:
        os.unlink(path)
