"""Who asks: what a user of a kubeconfig comes to as headers, a certificate and its key.

Facts: client-go 0.36, tools/clientcmd/client_config.go and transport/round_trippers.go.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from flowwatch import redact, userfile
from flowwatch.goyaml.nodes import DocumentError
from flowwatch.hubble.kube import plugin
from flowwatch.hubble.kube.fields import ClusterFields, Fields, User, decoded
from flowwatch.hubble.kube.urls import Url
from flowwatch.text import safe

# What may stand in a header's name (RFC 9110, token); the rest is escaped, as client-go does.
_TOKEN = "!#$&'*+^`|"


@dataclass(frozen=True, slots=True)
class Who:
    """What is sent."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


def of(
    user: User,
    name: str,
    file: Path,
    cluster: ClusterFields,
    server: Url,
    ca: bytes,
    environ: Mapping[str, str],
) -> Who:
    """What the user ``name`` of the kubeconfig ``file`` sends to ``server``. Runs its exec plugin.

    Nothing but a user part of the URL goes to a server without TLS, as with kubectl. Raises
    DocumentError, and Refused for a plugin.
    """
    _remember(user)
    impersonated = _impersonation(user)
    if server.scheme != "https":
        return Who(_checked(user, name, _basic(server.user, server.password)))
    certificate = pem(user, "client-certificate", user.certificate_data, user.certificate, file)
    key = pem(user, "client-key", user.key_data, user.key, file)
    token = _token(user, file)
    if token and user.username:
        raise user.wrong(
            "token", f"user {safe(name)} has a token and a username: only one is allowed"
        )
    if user.exec is not None:
        plugin.check(user.exec)
        if not (token or certificate or user.username):
            given = plugin.ask(user.exec, file, cluster, ca, environ)
            token, certificate, key = given.token, given.certificate, given.key
    if user.auth_provider is not None and not (token or certificate or user.username):
        token = dict(user.auth_provider.config).get("id-token", "")
        if not token:
            raise user.wrong(
                "auth-provider",
                f"user {safe(name)} logs in by auth-provider {safe(user.auth_provider.name)}, "
                "which kubectl has given up: use exec",
            )
    if bool(certificate) != bool(key):
        there = "client-certificate" if certificate else "client-key"
        raise user.wrong(there, f"user {safe(name)} has a certificate or a key, but not both")
    redact.remember(token)
    headers = _basic(server.user, server.password)
    if not headers and token:
        headers = (("Authorization", f"Bearer {token}"),)
    elif not headers:
        headers = _basic(user.username, user.password)
    return Who(_checked(user, name, headers + impersonated), certificate, key)


def pem(fields: Fields, name: str, data: str, path: str, file: Path) -> bytes:
    """What ``name-data`` holds in base64, else the file ``name``, relative to the kubeconfig.

    Raises DocumentError.
    """
    if data:
        return decoded(fields, f"{name}-data", data)
    return _read(fields, name, path, file) if path else b""


def _read(fields: Fields, name: str, path: str, file: Path) -> bytes:
    whole = file.parent / path
    try:
        return userfile.read(whole)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise fields.wrong(name, f"{safe(str(whole))}: {safe(why)}") from None


def _token(user: User, file: Path) -> str:
    """The file's counts, where it can be read."""
    token = user.token
    if user.token_file:
        try:
            token = _read(user, "tokenFile", user.token_file, file).decode().strip()
        except UnicodeDecodeError:
            raise user.wrong("tokenFile", "it holds no text in UTF-8") from None
        except DocumentError:
            if not token:
                raise
    return token


def _remember(user: User) -> None:
    basic = dict(_basic(user.username, user.password)).get("Authorization", "")
    redact.remember(user.token, user.password, basic.rpartition(" ")[2])
    if user.auth_provider is not None:
        redact.remember(*(value for _, value in user.auth_provider.config))


def _basic(name: str, password: str) -> tuple[tuple[str, str], ...]:
    if not name:
        return ()
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return (("Authorization", f"Basic {pair}"),)


def _impersonation(user: User) -> tuple[tuple[str, str], ...]:
    headers = [("Impersonate-User", user.as_user), ("Impersonate-Uid", user.as_uid)]
    headers += [("Impersonate-Group", group) for group in user.as_groups]
    for key, values in user.as_extra:
        field_name = f"Impersonate-Extra-{quote(key.lower(), safe=_TOKEN)}"
        headers += [(field_name, value) for value in values]
    found = tuple((name, value) for name, value in headers if value)
    if found and not user.as_user:
        raise user.wrong("as", "as-uid, as-groups and as-user-extra want as beside them")
    return found


def _checked(
    user: User, name: str, headers: tuple[tuple[str, str], ...]
) -> tuple[tuple[str, str], ...]:
    """Those headers. Raises DocumentError where HTTP can't carry one."""
    for _, value in headers:
        if not (value.isascii() and value.isprintable()):
            at = user.at.path
            raise user.at.fault(
                f"{at}: the credentials of user {safe(name)} hold characters that none may"
            )
    return headers
