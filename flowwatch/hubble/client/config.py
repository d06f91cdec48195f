"""How to connect: flag, else ``HUBBLE_…`` in the environment, else hubble's config file, else default.

Names, defaults and locations are hubble's own (Cilium 1.20.2, hubble/cmd/common/config/flags.go and
hubble/pkg/defaults), so that who uses hubble has nothing to set. Two habits of hubble are not
kept: a config file that can't be read, and a value that makes no sense, are ignored there in
silence. Here they are ignored too, and one warning says so.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import structs

from flowwatch import redact, userfile
from flowwatch.errors import UsageError
from flowwatch.gotext import parse_duration
from flowwatch.hubble.client.address import DEFAULT_SERVER, Address, parse
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.goyaml.tree import Node
    from flowwatch.hubble.kube.material import Material

Value = str | bool | int | float | tuple[str, ...]
"""Of a setting: durations are floats, in seconds."""

# A config file has some twenty lines; anything larger is another file.
_MAX_FILE = 1 << 20


class Flags(Protocol):
    """The parsed command line. Names are without dashes: ``tls-server-name``."""

    def get(self, name: str) -> object: ...

    def was_set(self, name: str) -> bool: ...


class Origin(msgspec.Struct, frozen=True):
    """Where a value came from."""

    kind: str
    """``flag``, ``environment``, ``file`` or ``default``."""
    where: str = ""
    """``--server``, ``HUBBLE_SERVER``, the file's path, or nothing."""

    def __str__(self) -> str:
        return self.where or self.kind


DEFAULT = Origin("default")

_HIDDEN = ("basic_auth_password", "tls_material", "origins")
"""Fields of Settings that are secret, or long."""


class Settings(msgspec.Struct, frozen=True):
    """Everything that decides how a connection is made. Field names are hubble's, with ``_``."""

    server: str = DEFAULT_SERVER
    tls: bool = False
    """``--tls``; ``tls://`` before the address asks for it too: see :attr:`encrypted`."""
    tls_allow_insecure: bool = False
    tls_ca_cert_files: tuple[str, ...] = ()
    """Paths of PEM files; none means the system's."""
    tls_client_cert_file: str = ""
    tls_client_key_file: str = ""
    tls_server_name: str = ""
    basic_auth_username: str = ""
    basic_auth_password: str = ""
    timeout: float = 5.0
    """Seconds to get connected. hubble 1.20.2 has no use for it, so only a value that was set
    counts: see :attr:`connect_timeout`."""
    request_timeout: float = 12.0
    """Seconds for a call that isn't a stream, connecting included."""
    port_forward: bool = False
    port_forward_port: int = 4245
    kubeconfig: str = ""
    kube_context: str = ""
    kube_namespace: str = "kube-system"
    no_port_forward: bool = False
    """Never forward by itself either; a flag of ours, as the next."""
    tls_from_secret: bool = False
    """Take relay's CA, and a client certificate, from the secrets of the cluster."""
    tls_material: Material | None = None
    """What those secrets hold; where a file is named too, that counts."""
    forwarded: bool = False
    """``server`` is the local end of a port-forward to relay."""
    by_itself: bool = False
    """The port-forward was not asked for: see flowwatch.hubble.client.forward.decide."""
    debug: bool = False
    allowlist: tuple[str, ...] = ()
    """FlowFilters as JSON, as they were written."""
    denylist: tuple[str, ...] = ()
    config_file: str = ""
    """The file that was read, or "" when there was none."""
    warnings: tuple[str, ...] = ()
    """What the user must know: what was ignored, and why; what isn't verified. One safe line each."""
    origins: Mapping[str, Origin] = msgspec.field(default_factory=dict)
    """By hubble's name (``tls-server-name``); a name that is absent has its default."""

    def __post_init__(self) -> None:
        redact.remember(self.basic_auth_password, *redact.user_part(self.server))
        if self.warnings:
            hidden = tuple(redact.redact(line) for line in self.warnings)
            structs.force_setattr(self, "warnings", hidden)

    def __repr__(self) -> str:
        shown = [name for name in self.__struct_fields__ if name not in _HIDDEN]
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    def origin(self, name: str) -> Origin:
        """Where the value of hubble's setting ``name`` came from."""
        return self.origins.get(name, DEFAULT)

    @property
    def address(self) -> Address:
        """:attr:`server`, taken apart. Raises UsageError."""
        found = parse(self.server)
        if not self.forwarded:
            return found
        return structs.replace(found, text=f"relay (port-forward on {found.text})")

    @property
    def encrypted(self) -> bool:
        """Whether TLS is asked for. A client certificate doesn't, as with hubble."""
        return self.tls or self.server.startswith("tls://")

    @property
    def connect_timeout(self) -> float:
        """Seconds until a server that doesn't answer is given up."""
        if self.origin("timeout") == DEFAULT:
            return self.request_timeout
        return min(self.timeout, self.request_timeout)


def seconds(text: str) -> float:
    """A Go duration (``1h30m``, ``250ms``, ``-1.5s``, ``0``). ValueError with Go's own words."""
    return parse_duration(text) / 1e9


def _as_timeout(text: str) -> float:
    found = seconds(text)
    if found <= 0:
        # hubble takes it, and then gives up before it has asked.
        raise ValueError("not longer than nothing")
    return found


_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


def _as_text(text: str) -> str:
    return text


def _as_bool(text: str) -> bool:
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError("not true or false")


def _as_port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text[:6]) < 1 << 16:
        return int(text)
    raise ValueError("not a port from 0 to 65535")


def _as_list(text: str) -> tuple[str, ...]:
    # viper's way with one string where a list is due (spf13/cast, ToStringSliceE).
    return tuple(text.split())


_Reader = Callable[[str], Value]
_READERS: dict[str, _Reader] = {
    "server": _as_text,
    "tls": _as_bool,
    "tls-allow-insecure": _as_bool,
    "tls-ca-cert-files": _as_list,
    "tls-client-cert-file": _as_text,
    "tls-client-key-file": _as_text,
    "tls-server-name": _as_text,
    "basic-auth-username": _as_text,
    "basic-auth-password": _as_text,
    "timeout": _as_timeout,
    "request-timeout": _as_timeout,
    "port-forward": _as_bool,
    "port-forward-port": _as_port,
    "kubeconfig": _as_text,
    "kube-context": _as_text,
    "kube-namespace": _as_text,
    "debug": _as_bool,
    "allowlist": _as_list,
    "denylist": _as_list,
}
NAMES = tuple(_READERS)
"""Hubble's names of all settings that flag, environment and file can give."""


class _Neither(msgspec.Struct, frozen=True):
    """What a file holds where a value is due, and why it is none."""

    why: str


# What a file holds for a name: one text, or several.
_Written = str | tuple[str, ...] | _Neither


def load(flags: Flags, environ: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force. Raises UsageError for a flag's value that makes no sense.

    Reads the config file; ``flags`` may be without some of the names (``was_set`` is False then).
    """
    warnings: list[str] = []
    path, in_file = _file(flags, environ, warnings)
    values: dict[str, Value] = {}
    origins: dict[str, Origin] = {}
    for name, reader in _READERS.items():
        variable = "HUBBLE_" + name.upper().replace("-", "_")
        if flags.was_set(name):
            values[name] = _from_flag(name, flags.get(name), reader)
            origins[name] = Origin("flag", f"--{name}")
            continue
        # viper takes an empty variable for one that isn't set.
        written: _Written = environ.get(variable, "")
        origin = Origin("environment", variable)
        if not written and name in in_file:
            written, origin = in_file[name], Origin("file", path)
        elif not written:
            continue
        try:
            values[name] = _read(written, reader)
            origins[name] = origin
        except ValueError as error:
            place = origin.where if origin.kind == "environment" else f"{safe(path)}: {name}"
            warnings.append(f"{place} is ignored: {error}")
    settings = Settings(
        **{name.replace("-", "_"): value for name, value in values.items()},  # type: ignore[arg-type]
        no_port_forward=_ours(flags, "no-port-forward"),
        tls_from_secret=_ours(flags, "tls-from-secret"),
        config_file=path,
        origins=origins,
    )
    # A file is read without a connection.
    if settings.encrypted and settings.tls_allow_insecure and not flags.was_set("input-file"):
        warnings.append(
            f"the certificate of {safe(settings.server)} is not verified "
            f"({origins['tls-allow-insecure']}): whoever is in between can read and change what is shown"
        )
    return structs.replace(settings, warnings=tuple(warnings))


def _ours(flags: Flags, name: str) -> bool:
    """A switch that hubble doesn't have: it has no variable and no place in its file."""
    return flags.was_set(name) and flags.get(name) is True


def _read(written: _Written, reader: _Reader) -> Value:
    if isinstance(written, _Neither):
        raise ValueError(written.why)
    if reader is _as_list:
        return written if isinstance(written, tuple) else _as_list(written)
    if isinstance(written, tuple):
        raise ValueError("a list where one value is due")
    return reader(written)


def _from_flag(name: str, value: object, reader: _Reader) -> Value:
    """A flag's value, typed by its parser already or still the text that was written."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        if reader is _as_list:
            return tuple(value.split(","))
        try:
            return reader(value)
        except ValueError as error:
            text = f'invalid argument "{safe(value)}" for "--{name}" flag: {error}'
            raise UsageError(text) from None
    if isinstance(value, Iterable):
        return tuple(str(item) for item in value)
    raise TypeError(f"--{name} was parsed to {type(value).__name__}")


def default_file(environ: Mapping[str, str] = os.environ) -> str:
    """Where hubble looks for its config file, "" when the environment names no home.

    Go's os.UserConfigDir, and ``~/.hubble`` only when that fails: on Linux when
    ``XDG_CONFIG_HOME`` is not absolute.
    """
    home = environ.get("USERPROFILE" if sys.platform == "win32" else "HOME", "")
    base = ""
    if sys.platform == "win32":
        base = environ.get("AppData", "")
    elif sys.platform == "darwin":
        base = f"{home}/Library/Application Support" if home else ""
    elif xdg := environ.get("XDG_CONFIG_HOME", ""):
        base = xdg if os.path.isabs(xdg) else ""
    elif home:
        base = f"{home}/.config"
    if base:
        return os.path.join(base, "hubble", "config.yaml")
    return os.path.join(home, ".hubble", "config.yaml") if home else ""


def _file(
    flags: Flags, environ: Mapping[str, str], warnings: list[str]
) -> tuple[str, dict[str, _Written]]:
    """The config file that was read ("" if none) and what it says, by lower-case name."""
    named = str(flags.get("config") or "") if flags.was_set("config") else ""
    named = named or environ.get("HUBBLE_CONFIG", "")
    path = named or default_file(environ)
    if not path:
        return "", {}
    try:
        return path, _parse_file(userfile.read(path, _MAX_FILE))
    except FileNotFoundError:
        if named:
            warnings.append(f"config file {safe(path)} is ignored: there is no such file")
    except OSError as error:
        warnings.append(f"config file {safe(path)} is ignored: {error.strerror or error}")
    except ValueError as error:
        warnings.append(f"config file {safe(path)} is ignored: {error}")
    return "", {}


def _parse_file(raw: bytes) -> dict[str, _Written]:
    """The values at the top, by lower-case name. ValueError says what is wrong with the file.

    Scalars stay text, as YAML 1.1's ``yes`` is no boolean for hubble's YAML library either.
    """
    from flowwatch.goyaml.scalars import NULL
    from flowwatch.goyaml.tree import Collection, DocumentError, Scalar, compose

    try:
        root = next(compose(raw.decode("utf-8-sig")), None)
        if root is None or root.tag == NULL:
            return {}
        if not isinstance(root, Collection) or not root.is_map:
            raise ValueError("it has no names and values (as server: localhost:4245)")
        found: dict[str, _Written] = {}
        exact: set[str] = set()
        for key, value in root.pairs():
            if not isinstance(key, Scalar):
                raise DocumentError("a name is wanted", key.line)
            if key.text in exact:
                raise DocumentError(f"{safe(key.text)} is there twice", key.line)
            exact.add(key.text)
            if value.tag != NULL:
                found[key.text.lower()] = _written(value)
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None
    except DocumentError as error:
        # A password may stand in it.
        raise ValueError(f"line {error.line}: {redact.unquoted(safe(error.reason))}") from None
    return found


def _written(value: Node) -> _Written:
    """A scalar, a list of scalars, or why it is neither."""
    from flowwatch.goyaml.tree import Collection, Scalar

    if isinstance(value, Scalar):
        return value.text
    assert isinstance(value, Collection)
    if value.is_map:
        return _Neither("names and values where one value is due")
    items = [item.text for item in value.children if isinstance(item, Scalar)]
    if len(items) < len(value.children):
        return _Neither("a list in which not all are words")
    return tuple(items)
