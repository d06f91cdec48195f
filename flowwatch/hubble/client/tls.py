"""TLS for a connection: hubble's flags turned into what either reader takes.

Facts: Cilium 1.20.2, hubble/cmd/common/conn/tls.go and hubble/cmd/common/validate; the errors carry
hubble's words. Unlike Go's, Python's gRPC can't skip verification, so ``--tls-allow-insecure`` fetches
the server's certificate first and then trusts just that one, under a name that it bears.
"""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field

from flowwatch import userfile
from flowwatch.errors import UsageError
from flowwatch.hubble.client import faults, probe
from flowwatch.hubble.client.address import Address
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.kube.material import load_pair, pem_text
from flowwatch.hubble.kube.urls import check_name
from flowwatch.text import safe


@dataclass(frozen=True, slots=True)
class Security:
    """Whom a TLS connection trusts, and what it shows of itself; none of it is ever shown to people."""

    roots: bytes | None = field(default=None, repr=False)
    """CAs in PEM; None where this system has no list: gRPC carries one."""
    key: bytes | None = field(default=None, repr=False)
    chain: bytes | None = field(default=None, repr=False)
    """The client's certificate and those above it, in PEM."""
    name: str = ""
    """That the server's certificate must bear, "" for the address's own; also what is asked for."""
    authorization: str = field(default="", repr=False)
    """The value of the header of that name."""


def check(settings: Settings) -> None:
    """Raise UsageError for combinations that hubble refuses before it connects."""
    certificate, key = settings.tls_client_cert_file, settings.tls_client_key_file
    if bool(certificate) != bool(key):
        missing = "--tls-client-key-file" if certificate else "--tls-client-cert-file"
        raise UsageError(
            "invalid flag(s): certificate and private key are both required, "
            "but only one was provided",
            f"give {missing} too",
        )
    if certificate and not settings.encrypted:
        raise UsageError(
            "invalid flag(s): transport layer security required",
            "a client certificate needs --tls, or tls:// before the server's address",
        )
    username, password = settings.basic_auth_username, settings.basic_auth_password
    if bool(username) != bool(password):
        raise UsageError(
            "invalid flag(s): must specify both basic-auth-username and basic-auth-password"
        )
    if settings.encrypted and settings.tls_server_name:
        try:
            check_name(settings.tls_server_name)
        except ValueError:
            raise UsageError(
                f"invalid --tls-server-name {safe(settings.tls_server_name)}",
                "give a name in the server's certificate, as instance.hubble-relay.cilium.io",
            ) from None
    if username and not settings.encrypted:
        raise UsageError(
            "basic authentication requires transport level security",
            "the password would be readable on the way: use --tls, or tls:// before the address",
        )


def secure(settings: Settings, address: Address) -> Security | None:
    """Read the files and choose the names; None for plain text.

    Raises UsageError for what doesn't go together and for files that don't do. With
    ``tls_allow_insecure`` it connects to the server, and raises Unreachable when that fails.
    """
    check(settings)
    if not settings.encrypted:
        return None
    material = settings.tls_material
    key, chain = client_pair(settings.tls_client_cert_file, settings.tls_client_key_file)
    if material is not None and not chain and material.certificate:
        key, chain = material.key, material.certificate
    name = settings.tls_server_name
    if settings.tls_allow_insecure:
        try:
            shown = probe.certificate(address, name, settings.connect_timeout)
        except OSError as error:
            raise faults.no_connection(settings, address, error) from None
        # Without TLS there, gRPC's own attempt will fail and be explained.
        roots = shown.pem.encode() if shown else None
        name = _covered(shown.names) if shown and shown.names else name
    elif material is not None and not settings.tls_ca_cert_files:
        roots = material.ca
    else:
        roots = authorities(settings.tls_ca_cert_files)
    # Go takes "localhost" as the name of a unix socket's server.
    name = name or ("localhost" if address.path else "")
    return Security(roots, key, chain, name, _authorization(settings))


def _authorization(settings: Settings) -> str:
    if not settings.basic_auth_username:
        return ""
    import base64

    pair = f"{settings.basic_auth_username}:{settings.basic_auth_password}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def _covered(names: tuple[str, ...]) -> str:
    """A name that a certificate for ``names`` bears; one under the wildcard if need be."""
    plain = [name for name in names if "*" not in name]
    return plain[0] if plain else names[0].replace("*", "instance", 1)


def authorities(paths: tuple[str, ...]) -> bytes | None:
    """The CA files' contents; the system's when none is named; None leaves it to gRPC's own list."""
    if not paths:
        # SSL_CERT_FILE counts here as it does for Go.
        system = ssl.get_default_verify_paths().cafile
        return _system(system) if system and os.path.isfile(system) else None
    pems = []
    for path in paths:
        try:
            pem = userfile.read(path)
        except OSError as error:
            raise UsageError(
                f"cannot load cert '{safe(path)}': {_words(path, error)}", "see --tls-ca-cert-files"
            ) from None
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem_text(pem))
        except (ssl.SSLError, ValueError):
            raise UsageError(
                f"cannot process cert '{safe(path)}': must be a PEM encoded certificate",
                "see --tls-ca-cert-files",
            ) from None
        pems.append(pem)
    return b"\n".join(pems)


def client_pair(certificate: str, key: str) -> tuple[bytes | None, bytes | None]:
    """Contents of key and certificate chain, or Nones. The key itself never enters a message."""
    if not certificate:
        return None, None
    contents = []
    for path, flag in ((key, "--tls-client-key-file"), (certificate, "--tls-client-cert-file")):
        try:
            contents.append(userfile.read(path))
        except OSError as error:
            raise UsageError(f"{_words(path, error)} ({flag} {safe(path)})") from None
    try:
        # A password can't be asked for here; grpc couldn't use one either.
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), contents[1], contents[0])
    except ssl.SSLError as error:
        why = _PAIR_FAULTS.get(error.reason or "", "they are not a PEM certificate and its key")
        raise UsageError(
            f"tls: client certificate {safe(certificate)} and key {safe(key)} can't be used: {why}"
        ) from None
    except (ValueError, OSError):
        raise UsageError(
            f"tls: client certificate {safe(certificate)} and key {safe(key)} can't be used: "
            "the key is protected by a password"
        ) from None
    return contents[0], contents[1]


_PAIR_FAULTS = {
    "KEY_VALUES_MISMATCH": "private key does not match public key",
    "KEY_TYPE_MISMATCH": "private key type does not match public key type",
    "NO_START_LINE": "no PEM data in one of them",
}


def _system(path: str) -> bytes:
    try:
        return userfile.read(path)
    except OSError as error:
        raise UsageError(
            f"cannot load this system's CAs: {_words(path, error)}",
            "see SSL_CERT_FILE, or give --tls-ca-cert-files",
        ) from None


def _words(path: str, error: OSError) -> str:
    return f"open {safe(path)}: {(error.strerror or str(error)).lower()}"
