"""A kubeconfig's exec plugin: run without a terminal, within bounds, and its answer read.

Facts: client-authentication.v1 and v1beta1 (k8s.io/client-go 0.36, plugin/pkg/client/auth/exec).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from flowwatch import redact
from flowwatch.errors import Refused
from flowwatch.hubble.kube.fields import ClusterFields, Exec
from flowwatch.text import safe

PLUGIN_SECONDS = 60.0
"""What an exec plugin may take: some fetch a token over the network."""
MOST_SAID = 1 << 20
"""Bytes of an answer: a certificate and a token take 10 KB."""

_VERSIONS = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))
_MODES = ("", "Never", "IfAvailable", "Always")
_KEPT = 1 << 14
"""Bytes of what it says on standard error, the last ones."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a plugin gave."""

    token: str = field(default="", repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


def check(plugin: Exec) -> None:
    """Raise DocumentError for what can't be run as it is written."""
    if not plugin.command:
        raise plugin.wrong("command", "the name of a program is wanted")
    if plugin.api_version not in _VERSIONS:
        raise plugin.wrong("apiVersion", f"{' or '.join(_VERSIONS)} is wanted")
    if plugin.interactive_mode not in _MODES:
        raise plugin.wrong("interactiveMode", f"one of {', '.join(_MODES[1:])} is wanted")
    for each in plugin.env:
        if not each.name or "=" in each.name:
            raise each.wrong("name", "the name of a variable is wanted")


def ask(
    plugin: Exec, file: Path, cluster: ClusterFields, ca: bytes, environ: Mapping[str, str]
) -> Credential:
    """What the plugin of the kubeconfig ``file`` gives. ``plugin`` has passed :func:`check`.

    Raises Refused, in one line that names the plugin.
    """
    shown = f"exec plugin {safe(plugin.command)} of kubeconfig {safe(str(file))}"
    if plugin.interactive_mode == "Always":
        raise Refused(f"{shown} asks at a terminal", "log in with kubectl first, or use a token")
    program = plugin.command
    if os.sep in program and not os.path.isabs(program):
        program = str(file.parent / program)
    env = dict(environ) | {each.name: each.value for each in plugin.env}
    env["KUBERNETES_EXEC_INFO"] = json.dumps(_info(plugin, cluster, ca))
    _remember(plugin)
    try:
        code, output, errors = _run([program, *plugin.args], env)
    except FileNotFoundError:
        if os.path.exists(program):
            raise Refused(f"{shown} can't be run: what its first line names is not there") from None
        hint = plugin.install_hint.strip().splitlines()
        raise Refused(f"{shown} is not installed", safe(hint[0][:200]) if hint else "") from None
    except TimeoutError:
        raise Refused(
            f"{shown} gave no credentials within {PLUGIN_SECONDS:g} s",
            "it may wait for an answer: log in with kubectl first",
        ) from None
    except OSError as error:
        raise Refused(f"{shown} can't be run: {safe(error.strerror or str(error))}") from None
    if code != 0:
        raise Refused(
            f"{shown} failed with {_code(code)}{_last_words(errors)}",
            "log in with kubectl first: here it can't ask anything",
        )
    try:
        return _credential(output, plugin.api_version)
    except ValueError as why:
        raise Refused(
            f"{shown} gave no credentials that can be read: {why}",
            "run it by hand: it must print an ExecCredential as JSON, and nothing else",
        ) from None


def _code(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return f"signal {signal.Signals(-code).name}"
    return f"signal {-code}"


def _info(plugin: Exec, cluster: ClusterFields, ca: bytes) -> dict[str, Any]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.provide_cluster_info:
        told: dict[str, Any] = {
            "server": cluster.server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure,
            "certificate-authority-data": base64.b64encode(ca).decode(),
            "proxy-url": cluster.proxy_url,
        }
        # Null, as Go writes it: the configuration of the plugin's own is in an extension.
        spec["cluster"] = {**{k: v for k, v in told.items() if v}, "config": None}
    return {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}


def _remember(plugin: Exec) -> None:
    """Secrets that stand in the kubeconfig itself: a plugin may repeat them when it fails."""
    for each in plugin.env:
        if redact.is_secret_name(each.name):
            redact.remember(each.value)
    for before, word in zip(("", *plugin.args), plugin.args, strict=False):
        name, equals, value = word.partition("=")
        if equals and redact.is_secret_name(name):
            redact.remember(value)
        elif before.startswith("-") and "=" not in before and redact.is_secret_name(before):
            redact.remember(word)


def _last_words(errors: bytes) -> str:
    lines = errors.decode("utf-8", "replace").strip().splitlines()
    # What asks ends in a colon; ours follows.
    last = redact.said(safe(lines[-1][:200])).rstrip(": ") if lines else ""
    return f": {last}" if last else ""


def _credential(output: bytes, version: str) -> Credential:
    """Taken from an ExecCredential. ValueError says what is wrong with it, without a word of it."""
    import msgspec

    try:
        whole = msgspec.json.decode(output)
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(whole, dict):
        raise ValueError("it is no JSON object")
    for name, wanted in (("kind", "ExecCredential"), ("apiVersion", version)):
        if whole.get(name) not in (None, "", wanted):
            raise ValueError(f"its {name} is not {wanted}")
    status = whole.get("status")
    if not isinstance(status, dict):
        raise ValueError("it has no status")
    names = ("token", "clientCertificateData", "clientKeyData", "expirationTimestamp")
    values = {name: status.get(name) or "" for name in names}
    for name, value in values.items():
        if not isinstance(value, str):
            raise ValueError(f"status.{name} is no text")
    token, certificate, key, expires = values.values()
    _check_time(expires)
    token = token.strip()
    redact.remember(token)
    if bool(certificate) != bool(key):
        raise ValueError("status has a certificate or a key, but not both")
    if not token and not certificate:
        raise ValueError("status has neither a token nor a certificate and its key")
    return Credential(token, certificate.encode(), key.encode())


def _check_time(text: str) -> None:
    try:
        if text:
            datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("status.expirationTimestamp is no time") from None


# The process -----------------------------------------------------------------------------------


def _run(command: Sequence[str], env: Mapping[str, str]) -> tuple[int, bytes, bytes]:
    """Exit code, output and the end of the errors.

    Raises OSError when it can't be run, or says too much, and TimeoutError: then it has been ended.
    """
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        # A session of its own: without a terminal it can't ask there behind our back.
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + PLUGIN_SECONDS
        try:
            output, errors = _listen(process, deadline)
            process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            _end(process)
            raise TimeoutError from None
        except BaseException:
            _end(process)
            raise
    return process.returncode, output, errors


def _end(process: subprocess.Popen[bytes]) -> None:
    # With what it started: many plugins are a script around the one that waits.
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _listen(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """All of its output and the last of its errors, until it has closed both."""
    assert process.stdout is not None
    assert process.stderr is not None
    said: dict[IO[bytes], bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream in said:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            left = deadline - time.monotonic()
            ready = selector.select(left) if left > 0 else []
            if not ready:
                raise TimeoutError
            for chosen, _ in ready:
                stream = process.stdout if chosen.fileobj is process.stdout else process.stderr
                piece = os.read(stream.fileno(), 1 << 16)
                if not piece:
                    selector.unregister(stream)
                said[stream] += piece
            if len(said[process.stdout]) > MOST_SAID:
                raise OSError(f"its answer is larger than {MOST_SAID >> 20} MiB")
            del said[process.stderr][:-_KEPT]
    return bytes(said[process.stdout]), bytes(said[process.stderr])
