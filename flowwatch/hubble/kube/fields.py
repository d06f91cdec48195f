"""The fields of a kubeconfig, declared once: name, type, default. Nothing else of the file is read.

As client-go's types (k8s.io/client-go 0.36, tools/clientcmd/api/v1/types.go), and as strict: a number
where a text is due is an error there too, also in an entry that nobody asked for.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_type_hints

from flowwatch.goyaml.nodes import DocumentError, Value
from flowwatch.goyaml.scalars import NULL
from flowwatch.goyaml.tree import Scalar, compose

Kind = TypeVar("Kind", bound="Fields")


@dataclass(frozen=True, slots=True)
class FieldKey:
    """What a field is called in the file, and what reads it. Null counts as absent, as for Go."""

    name: str
    read: Callable[[Value], Any]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Fields:
    """What all of them have: a place for messages. Secrets are in them, so there is no ``repr``."""

    at: Value

    def wrong(self, name: str, why: str) -> DocumentError:
        """An error about the field ``name``; about the whole where it isn't there."""
        at = self.at.fields(twice=True).get(name, self.at)
        path = f"{self.at.path}.{name}" if self.at.path else name
        return at.fault(f"{path}: {why}")


def read(kind: type[Kind], value: Value) -> Kind:
    """A mapping with the fields of ``kind``. Raises DocumentError."""
    found = value.fields(twice=True)
    values = {
        attribute: key.read(found[key.name])
        for attribute, key in _schema(kind)
        if key.name in found and not found[key.name].is_null
    }
    return kind(at=value, **values)


_schemas: dict[type[Fields], list[tuple[str, FieldKey]]] = {}


def _schema(kind: type[Fields]) -> list[tuple[str, FieldKey]]:
    if kind not in _schemas:
        hints = get_type_hints(kind, include_extras=True)
        _schemas[kind] = [
            (attribute, key)
            for attribute, hint in hints.items()
            for key in getattr(hint, "__metadata__", ())
            if isinstance(key, FieldKey)
        ]
    return _schemas[kind]


def text(value: Value) -> str:
    """A text that can be one: in a header, a path, a variable."""
    found = value.text()
    if "\0" in found:
        raise value.fault(f"{value.path}: a text without NUL is wanted")
    try:
        found.encode()
    except UnicodeEncodeError:
        raise value.fault(f"{value.path}: a text in Unicode is wanted") from None
    return found


def _texts(value: Value) -> tuple[str, ...]:
    return tuple(text(each) for each in value.items())


def _map(of: Callable[[Value], Any]) -> Callable[[Value], tuple[tuple[str, Any], ...]]:
    return lambda value: tuple((name, of(each)) for name, each in value.fields(twice=True).items())


def _in(kind: type[Kind]) -> Callable[[Value], Kind]:
    return lambda value: read(kind, value)


def _all(kind: type[Kind]) -> Callable[[Value], tuple[Kind, ...]]:
    return lambda value: tuple(read(kind, each) for each in value.items())


def decoded(fields: Fields, name: str, written: str) -> bytes:
    """What a ``…-data`` field holds in base64, line breaks aside. Raises DocumentError."""
    try:
        return base64.b64decode(written.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        raise fields.wrong(name, "base64 is wanted") from None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ClusterFields(Fields):
    server: Annotated[str, FieldKey("server", text)] = ""
    tls_server_name: Annotated[str, FieldKey("tls-server-name", text)] = ""
    insecure: Annotated[bool, FieldKey("insecure-skip-tls-verify", Value.boolean)] = False
    ca: Annotated[str, FieldKey("certificate-authority", text)] = ""
    ca_data: Annotated[str, FieldKey("certificate-authority-data", text)] = ""
    proxy_url: Annotated[str, FieldKey("proxy-url", text)] = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Context(Fields):
    cluster: Annotated[str, FieldKey("cluster", text)] = ""
    user: Annotated[str, FieldKey("user", text)] = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Variable(Fields):
    name: Annotated[str, FieldKey("name", text)] = ""
    value: Annotated[str, FieldKey("value", text)] = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Exec(Fields):
    api_version: Annotated[str, FieldKey("apiVersion", text)] = ""
    command: Annotated[str, FieldKey("command", text)] = ""
    args: Annotated[tuple[str, ...], FieldKey("args", _texts)] = ()
    env: Annotated[tuple[Variable, ...], FieldKey("env", _all(Variable))] = ()
    install_hint: Annotated[str, FieldKey("installHint", text)] = ""
    interactive_mode: Annotated[str, FieldKey("interactiveMode", text)] = ""
    provide_cluster_info: Annotated[bool, FieldKey("provideClusterInfo", Value.boolean)] = False


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AuthProvider(Fields):
    name: Annotated[str, FieldKey("name", text)] = ""
    config: Annotated[tuple[tuple[str, str], ...], FieldKey("config", _map(text))] = ()


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class User(Fields):
    certificate: Annotated[str, FieldKey("client-certificate", text)] = ""
    certificate_data: Annotated[str, FieldKey("client-certificate-data", text)] = ""
    key: Annotated[str, FieldKey("client-key", text)] = ""
    key_data: Annotated[str, FieldKey("client-key-data", text)] = ""
    token: Annotated[str, FieldKey("token", text)] = ""
    token_file: Annotated[str, FieldKey("tokenFile", text)] = ""
    username: Annotated[str, FieldKey("username", text)] = ""
    password: Annotated[str, FieldKey("password", text)] = ""
    as_user: Annotated[str, FieldKey("as", text)] = ""
    as_uid: Annotated[str, FieldKey("as-uid", text)] = ""
    as_groups: Annotated[tuple[str, ...], FieldKey("as-groups", _texts)] = ()
    as_extra: Annotated[
        tuple[tuple[str, tuple[str, ...]], ...], FieldKey("as-user-extra", _map(_texts))
    ] = ()
    auth_provider: Annotated[AuthProvider | None, FieldKey("auth-provider", _in(AuthProvider))] = (
        None
    )
    exec: Annotated[Exec | None, FieldKey("exec", _in(Exec))] = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NamedCluster(Fields):
    name: Annotated[str, FieldKey("name", text)] = ""
    body: Annotated[ClusterFields | None, FieldKey("cluster", _in(ClusterFields))] = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NamedUser(Fields):
    name: Annotated[str, FieldKey("name", text)] = ""
    body: Annotated[User | None, FieldKey("user", _in(User))] = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class NamedContext(Fields):
    name: Annotated[str, FieldKey("name", text)] = ""
    body: Annotated[Context | None, FieldKey("context", _in(Context))] = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Config(Fields):
    api_version: Annotated[str, FieldKey("apiVersion", text)] = ""
    kind: Annotated[str, FieldKey("kind", text)] = ""
    current_context: Annotated[str, FieldKey("current-context", text)] = ""
    clusters: Annotated[tuple[NamedCluster, ...], FieldKey("clusters", _all(NamedCluster))] = ()
    users: Annotated[tuple[NamedUser, ...], FieldKey("users", _all(NamedUser))] = ()
    contexts: Annotated[tuple[NamedContext, ...], FieldKey("contexts", _all(NamedContext))] = ()


def config(raw: str) -> Config:
    """The first document of a kubeconfig's text, as kubectl. Raises DocumentError."""
    value = Value(next(compose(raw), Scalar(NULL, 1, 1, "")))
    if not (value.is_map or value.is_null):
        raise value.fault("it has no clusters, users and contexts")
    found = read(Config, value)
    for name, is_there, wanted in (
        ("apiVersion", found.api_version, "v1"),
        ("kind", found.kind, "Config"),
    ):
        if is_there not in ("", wanted):
            raise found.wrong(name, f"{wanted} is wanted")
    for group in (found.clusters, found.users, found.contexts):
        _named_once(group)
    return found


def _named_once(group: tuple[NamedCluster | NamedUser | NamedContext, ...]) -> None:
    seen: dict[str, int] = {}
    for each in group:
        if each.name in seen:
            raise each.wrong("name", f"the name is there twice, first in line {seen[each.name]}")
        seen[each.name] = each.at.line
