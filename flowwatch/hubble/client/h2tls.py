"""TLS under :mod:`flowwatch.hubble.client.h2`: Python's own ssl, held to what grpcio checks.

That is the chain, the dates, the name (RFC 6125; a wildcard is one label), TLS 1.2 or newer, and that
the server agrees to speak HTTP/2 (ALPN ``h2``; grpc, doc/PROTOCOL-HTTP2.md).

An ``SSLSocket`` reads one TLS record a call, for two system calls: 12 flows. Here a ``recv`` takes what
there is, and all records of it are deciphered into one buffer: a piece of memory for each, and one more
for all of them together, took three times as long.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from flowwatch.hubble.client.address import Address
from flowwatch.hubble.client.tls import Security
from flowwatch.hubble.kube.material import load_pair, pem_text

_RECORD = 16_384
"""Bytes in a record at most (RFC 8446, 5.1)."""


class TlsSocket:
    """A connected socket under TLS, as far as a reader needs one. All but ``shutdown`` in one thread."""

    def __init__(self, sock: socket.socket, security: Security, address: Address) -> None:
        """Nothing is sent before ``handshake``. Raises OSError for a host that can't be one's name."""
        self._sock = sock
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._got = memoryview(b"")
        self._plain = memoryview(b"")
        self._over = False
        """It said good-bye, or is gone."""
        self._failed: ssl.SSLError | None = None
        """What came behind all that was given."""
        try:
            self._tls = _context(security).wrap_bio(
                self._in,
                self._out,
                server_hostname=security.name or address.host.removesuffix("."),
            )
        except ValueError:
            raise OSError(0, "this can't be a host's name") from None

    def handshake(self, seconds: float) -> None:
        """Raises OSError, and TimeoutError after ``seconds``."""
        until = time.monotonic() + seconds
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLError:
                # The other side is told why.
                with contextlib.suppress(OSError):
                    self._flush()
                raise
            if (left := until - time.monotonic()) <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
            self._take(self._sock.recv(_RECORD))
        self._flush()
        self._sock.settimeout(seconds)
        if self._tls.selected_alpn_protocol() != "h2":
            raise OSError(0, "it agrees to no HTTP/2")

    def recv(self, size: int) -> bytes:
        """What ``size`` bytes of the network hold at most; b"" at the end. Raises OSError."""
        if len(self._got) < size:
            self._got = memoryview(bytearray(size))
            # And the rest of a record that had begun before.
            self._plain = memoryview(bytearray(size + _RECORD))
        while not (filled := self._decipher()) and not self._over:
            number = self._sock.recv_into(self._got, size)
            self._take(self._got[:number])
        return bytes(self._plain[:filled])

    def _decipher(self) -> int:
        """How much of the buffer is filled with what has come."""
        if self._failed is not None:
            raise self._failed
        coming, tls, plain, filled = self._in, self._tls, self._plain, 0
        try:
            # Asked in vain it raises, which takes as long as four records: so there must be something.
            while coming.pending or coming.eof or tls.pending():
                # Into a buffer it is their number, which typeshed doesn't know.
                more: int = tls.read(_RECORD, plain[filled:])  # type: ignore[assignment]
                filled += more
                if not more:
                    self._over = filled < len(plain)
                    break
        except ssl.SSLWantReadError:
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            self._over = True
        except ssl.SSLError as error:
            if not filled:
                raise
            self._failed = error
        # What has come is taken in first: the next recv finds the end.
        with contextlib.suppress(OSError):
            self._flush()
        return filled

    def sendall(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def settimeout(self, seconds: float | None) -> None:
        self._sock.settimeout(seconds)

    def shutdown(self, how: int) -> None:
        """Of the connection, at once: TLS says no good-bye. From any thread."""
        self._sock.shutdown(how)

    def close(self) -> None:
        self._sock.close()

    def _take(self, data: bytes | memoryview) -> None:
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def _flush(self) -> None:
        if self._out.pending:
            self._sock.sendall(self._out.read())


def _context(security: Security) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # One certificate that is named may be trusted without the one above it, as with gRPC.
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=pem_text(security.roots or b""))
    if security.chain and security.key:
        load_pair(context, security.chain, security.key)
    return context
