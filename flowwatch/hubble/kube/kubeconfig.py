"""The kubeconfig: where the Kubernetes API is, and who asks. Read as kubectl reads it.

Facts: kubernetes.io/docs/reference/config-api (kubeconfig.v1, client-authentication.v1) and client-go
0.36 (tools/clientcmd). Read here and not by a library, because those that do write keys into
temporary files, let a plugin read from the terminal, and end in tracebacks.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowwatch.errors import FlowwatchError, Refused, UsageError
from flowwatch.text import safe

PLUGIN_SECONDS = 60.0
"""What an exec plugin may take: some fetch a token over the network."""
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its own token."""

_MAX_FILE = 4 << 20
_EXEC_API = "client.authentication.k8s.io/"


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach one API server. Secrets are left out of ``repr``."""

    server: str
    """``https://host:port``, maybe with a path."""
    context: str = ""
    """The kubeconfig's name for it, "" inside a cluster."""
    user: str = ""
    file: str = ""
    """The kubeconfig, for messages."""
    ca: str = field(default="", repr=False)
    """PEM; "" leaves it to the system's."""
    insecure: bool = False
    server_name: str = ""
    proxy: str = field(default="", repr=False)
    """A URL, maybe with a password."""
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """``Authorization`` and impersonation."""
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)

    @property
    def through(self) -> str:
        """The proxy for messages: without who asks it."""
        scheme, slashes, rest = self.proxy.partition("://")
        return safe(scheme + slashes + rest.rpartition("@")[2])


def paths(kubeconfig: str, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The files that kubectl would merge: the one named, else ``KUBECONFIG``, else the user's own."""
    if kubeconfig:
        return [Path(kubeconfig)]
    several = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if several:
        return [Path(part) for part in several]
    home = environ.get("HOME") or environ.get("USERPROFILE", "")
    return [Path(home, ".kube", "config")] if home else []


def at_hand(kubeconfig: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a kubeconfig at all."""
    return any(path.is_file() for path in paths(kubeconfig, environ))


def load(kubeconfig: str, context: str = "", environ: Mapping[str, str] = os.environ) -> Access:
    """The access that ``context`` ("": the current one) gives; runs its exec plugin, if it has one.

    Raises UsageError for a file that can't be used, Refused for a plugin that gives no credentials.
    """
    tried = paths(kubeconfig, environ)
    found = [path for path in tried if path.is_file() or (kubeconfig and path.exists())]
    if not found:
        if not kubeconfig and environ.get("KUBERNETES_SERVICE_HOST") and ACCOUNT.is_dir():
            return _in_cluster(environ)
        names = ", ".join(safe(str(path)) for path in tried) or "~/.kube/config"
        raise UsageError(
            f"no kubeconfig: {names} is not there",
            "give --kubeconfig, or --server if relay can be reached without",
        )
    merged = _Merged([_Document(path) for path in found])
    name = context or merged.current
    if not name:
        raise UsageError(
            f"kubeconfig {safe(str(found[0]))} has no current context",
            f"give --kube-context (it has: {merged.known('contexts')})",
        )
    chosen, origin = merged.entry("contexts", "context", name)
    cluster, at_cluster = merged.entry(
        "clusters", "cluster", _text(chosen, "cluster", origin), f"context {safe(name)}"
    )
    user_name = _text(chosen, "user", origin)
    user: dict[str, Any] = {}
    at_user = origin
    if user_name:
        user, at_user = merged.entry("users", "user", user_name, f"context {safe(name)}")
    server = _text(cluster, "server", at_cluster)
    if not server.startswith(("https://", "http://")):
        raise at_cluster.wrong(f'cluster of context {safe(name)} has no server (as "https://…")')
    headers, certificate, key = _who(user, at_user, user_name, environ)
    return Access(
        server=server.rstrip("/"),
        context=name,
        user=user_name,
        file=str(found[0]),
        ca=_pem(cluster, "certificate-authority", at_cluster).decode("ascii", "replace"),
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        server_name=_text(cluster, "tls-server-name", at_cluster),
        proxy=_text(cluster, "proxy-url", at_cluster),
        headers=headers,
        certificate=certificate,
        key=key,
    )


def _in_cluster(environ: Mapping[str, str]) -> Access:
    host = environ["KUBERNETES_SERVICE_HOST"]
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    try:
        token = (ACCOUNT / "token").read_text().strip()
        ca = (ACCOUNT / "ca.crt").read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"no kubeconfig, and the pod's own account can't be read: {safe(str(error))}",
            "give --kubeconfig, or --server if relay can be reached without",
        ) from None
    return Access(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        user="the pod's service account",
        ca=ca,
        headers=(("Authorization", f"Bearer {token}"),),
    )


# Files -----------------------------------------------------------------------------------------


class _Document:
    """One kubeconfig file."""

    def __init__(self, path: Path) -> None:
        import yaml

        self.path = path
        try:
            with path.open("rb") as stream:
                raw = stream.read(_MAX_FILE + 1)
            if len(raw) > _MAX_FILE:
                raise self.wrong("it is larger than 4 MiB")
            root = yaml.safe_load(raw.decode())
        except OSError as error:
            raise self.wrong((error.strerror or str(error)).lower()) from None
        except UnicodeDecodeError:
            raise self.wrong("it is not text in UTF-8") from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line = f"line {mark.line + 1}: " if mark else ""
            raise self.wrong(f"{line}{safe(error.problem or 'not YAML')}") from None
        except (yaml.YAMLError, RecursionError, ValueError):
            raise self.wrong("it is not YAML") from None
        if root is None:
            root = {}
        if not isinstance(root, dict):
            raise self.wrong("it has no clusters, users and contexts")
        self.root: dict[str, Any] = root

    def wrong(self, why: str) -> UsageError:
        return UsageError(
            f"kubeconfig {safe(str(self.path))} can't be used: {why}",
            "mend it, or give another with --kubeconfig",
        )

    def entries(self, group: str, kind: str) -> dict[str, dict[str, Any]]:
        listed = self.root.get(group) or []
        if not isinstance(listed, list):
            raise self.wrong(f"{group} is no list")
        found: dict[str, dict[str, Any]] = {}
        for item in listed:
            if isinstance(item, dict) and isinstance(item.get("name"), str):
                body = item.get(kind)
                found.setdefault(item["name"], body if isinstance(body, dict) else {})
        return found


class _Merged:
    """Several files as one: for each name the first file that has it counts, as for kubectl."""

    def __init__(self, documents: list[_Document]) -> None:
        self._documents = documents

    @property
    def current(self) -> str:
        values = (document.root.get("current-context") for document in self._documents)
        return next((value for value in values if isinstance(value, str) and value), "")

    def known(self, group: str) -> str:
        names = {name: None for d in self._documents for name in d.entries(group, "")}
        shown = [safe(name) for name in list(names)[:10]]
        more = [f"and {len(names) - 10} more"] if len(names) > 10 else []
        return ", ".join(shown + more) or "none"

    def entry(
        self, group: str, kind: str, name: str, where: str = ""
    ) -> tuple[dict[str, Any], _Document]:
        for document in self._documents:
            body = document.entries(group, kind).get(name)
            if body is not None:
                return body, document
        files = ", ".join(safe(str(document.path)) for document in self._documents)
        if group == "contexts":
            raise UsageError(
                f'context "{safe(name)}" is not in kubeconfig {files}',
                f"it has: {self.known(group)}",
            )
        raise UsageError(f'{where} names the {kind} "{safe(name)}", which kubeconfig {files} lacks')


def _text(body: dict[str, Any], name: str, document: _Document) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str | int):
        raise document.wrong(f"{name} is no text")
    return str(value)


def _pem(body: dict[str, Any], name: str, document: _Document) -> bytes:
    """What ``name-data`` holds in base64, else the file ``name``, relative to the kubeconfig."""
    data = _text(body, f"{name}-data", document)
    if data:
        try:
            return base64.b64decode(data, validate=False)
        except (binascii.Error, ValueError):
            raise document.wrong(f"{name}-data is not base64") from None
    path = _text(body, name, document)
    if not path:
        return b""
    return _read(document.path.parent / Path(path).expanduser(), name, document)


def _read(path: Path, name: str, document: _Document) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise document.wrong(f"{name}: {safe(str(path))}: {why}") from None


# Who asks --------------------------------------------------------------------------------------


def _who(
    user: dict[str, Any], document: _Document, name: str, environ: Mapping[str, str]
) -> tuple[tuple[tuple[str, str], ...], bytes, bytes]:
    """Headers, client certificate and its key."""
    certificate = _pem(user, "client-certificate", document)
    key = _pem(user, "client-key", document)
    token = _text(user, "token", document)
    if path := _text(user, "tokenFile", document):
        file = document.path.parent / Path(path).expanduser()
        token = _read(file, "tokenFile", document).decode("utf-8", "replace").strip()
    provider = user.get("auth-provider")
    if isinstance(provider, dict) and not token:
        config = provider.get("config")
        token = str(config.get("id-token") or "") if isinstance(config, dict) else ""
        if not token:
            raise document.wrong(
                f"user {safe(name)} logs in by auth-provider "
                f"{safe(str(provider.get('name', '')))}, which kubectl has given up: use exec"
            )
    plugin = user.get("exec")
    if isinstance(plugin, dict) and not token and not certificate:
        token, more, its_key = _ask_plugin(plugin, document, environ)
        certificate, key = more or certificate, its_key or key
    if bool(certificate) != bool(key):
        raise document.wrong(f"user {safe(name)} has a certificate or a key, but not both")
    headers: list[tuple[str, str]] = []
    if token:
        headers.append(("Authorization", f"Bearer {token}"))
    elif username := _text(user, "username", document):
        pair = f"{username}:{_text(user, 'password', document)}"
        headers.append(("Authorization", "Basic " + base64.b64encode(pair.encode()).decode()))
    if other := _text(user, "as", document):
        headers.append(("Impersonate-User", other))
    groups = user.get("as-groups")
    if isinstance(groups, list):
        headers += [("Impersonate-Group", str(group)) for group in groups]
    if any("\n" in value or "\r" in value or not value.isascii() for _, value in headers):
        raise document.wrong(f"the credentials of user {safe(name)} hold characters that none may")
    return tuple(headers), certificate, key


def _ask_plugin(
    plugin: dict[str, Any], document: _Document, environ: Mapping[str, str]
) -> tuple[str, bytes, bytes]:
    """Token, certificate and key that an exec plugin gives; it has no terminal to ask at."""
    command = _text(plugin, "command", document)
    version = _text(plugin, "apiVersion", document)
    if not command or not version.startswith(_EXEC_API):
        raise document.wrong("exec has no command, or no apiVersion client.authentication.k8s.io/…")
    shown = f"exec plugin {safe(command)} of kubeconfig {safe(str(document.path))}"
    if plugin.get("interactiveMode") == "Always":
        raise Refused(f"{shown} asks at a terminal", "log in with kubectl first, or use a token")
    program = command
    if os.sep in command and not os.path.isabs(command):
        program = str(document.path.parent / command)
    arguments = [str(word) for word in plugin.get("args") or []]
    env = dict(environ)
    for item in plugin.get("env") or []:
        if isinstance(item, dict):
            env[str(item.get("name", ""))] = str(item.get("value", ""))
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
    env["KUBERNETES_EXEC_INFO"] = json.dumps(info)
    try:
        code, output, errors = _run([program, *arguments], env)
    except FileNotFoundError:
        hint = _text(plugin, "installHint", document).strip().splitlines()
        raise Refused(f"{shown} is not installed", safe(hint[0]) if hint else "") from None
    except subprocess.TimeoutExpired:
        raise Refused(
            f"{shown} gave no credentials within {PLUGIN_SECONDS:g} s",
            "it may wait for an answer: log in with kubectl first",
        ) from None
    except OSError as error:
        raise Refused(f"{shown} can't be run: {error.strerror or error}") from None
    if code != 0:
        said = errors.decode("utf-8", "replace").strip().splitlines()
        # What asks ends in a colon; ours follows.
        last = safe(said[-1][:200]).rstrip(": ") if said else ""
        why = f": {last}" if last else ""
        raise Refused(
            f"{shown} failed with exit code {code}{why}",
            "log in with kubectl first: here it can't ask anything",
        )
    return _credential(output, Refused(f"{shown} gave no credentials that can be read"))


def _run(command: list[str], env: Mapping[str, str]) -> tuple[int, bytes, bytes]:
    """Exit code, output and errors of a plugin. Raises OSError, or TimeoutExpired when it is ended."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        # A session of its own: without a terminal it can't ask there behind our back.
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=PLUGIN_SECONDS)
        except BaseException:
            # With what it started: many plugins are a script around the one that waits.
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, output, errors


def _credential(output: bytes, unreadable: FlowwatchError) -> tuple[str, bytes, bytes]:
    """Taken from an ExecCredential."""
    try:
        status = json.loads(output)["status"]
        token = status.get("token") or ""
        certificate = status.get("clientCertificateData") or ""
        key = status.get("clientKeyData") or ""
        if not all(isinstance(value, str) for value in (token, certificate, key)):
            raise TypeError
    except (ValueError, LookupError, TypeError, AttributeError):
        raise unreadable from None
    if not token and not (certificate and key):
        raise unreadable
    return token.strip(), certificate.encode(), key.encode()
