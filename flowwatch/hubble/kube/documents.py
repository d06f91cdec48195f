"""Kubeconfig files, one or several: read, merged, and the access that one context of them gives."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flowwatch import redact, userfile
from flowwatch.errors import UsageError
from flowwatch.goyaml.nodes import DocumentError
from flowwatch.hubble.kube import credentials, fields, urls
from flowwatch.hubble.kube.access import Access
from flowwatch.hubble.kube.material import pem_text
from flowwatch.text import safe

_SHOWN = 10
"""Names of contexts in a message."""


def access(paths: Sequence[Path], context: str, environ: Mapping[str, str]) -> Access:
    """As kubeconfig.load, of files that are there."""
    files = _Files([_Document(path) for path in paths])
    name = context or files.current
    if not name:
        raise UsageError(
            f"kubeconfig {files.names} has no current context",
            f"give --kube-context (it has: {files.contexts})",
        )
    chosen, at_context = files.context(name)
    where = f"context {safe(name)}"
    cluster, at_cluster = files.cluster(chosen.cluster, where)
    user, at_user = fields.User(at=chosen.at), at_context
    if chosen.user:
        user, at_user = files.user(chosen.user, where)
    with at_cluster.faults():
        server = _url(cluster, "server", cluster.server, ("https", "http"))
        ca = _authority(cluster, at_cluster.path)
        proxy = cluster.proxy_url
        if proxy:
            asked = _url(cluster, "proxy-url", proxy, ("http", "https", "socks5"))
            redact.remember(asked.password, *redact.user_part(proxy))
        if cluster.tls_server_name:
            try:
                urls.check_name(cluster.tls_server_name)
            except ValueError:
                raise cluster.wrong("tls-server-name", "the name of a host is wanted") from None
    with at_user.faults():
        who = credentials.of(user, chosen.user, at_user.path, cluster, server, ca, environ)
    return Access(
        server=server.bare.rstrip("/"),
        context=name,
        user=chosen.user,
        file=str(at_context.path),
        ca=pem_text(ca),
        insecure=cluster.insecure,
        server_name=cluster.tls_server_name,
        proxy=proxy,
        headers=who.headers,
        certificate=who.certificate,
        key=who.key,
    )


def _url(cluster: fields.ClusterFields, name: str, text: str, schemes: tuple[str, ...]) -> urls.Url:
    if not text:
        raise cluster.wrong(name, "the cluster has no server: https://host:port is wanted")
    try:
        return urls.parse(text, schemes)
    except ValueError as why:
        raise cluster.wrong(name, str(why)) from None


def _authority(cluster: fields.ClusterFields, file: Path) -> bytes:
    name = "certificate-authority"
    return credentials.pem(cluster, name, cluster.ca_data, cluster.ca, file)


class _Document:
    """One kubeconfig file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with self.faults():
                self.root = fields.config(_decoded(userfile.read(path)))
        except OSError as error:
            raise self.wrong((error.strerror or str(error)).lower()) from None
        except UnicodeDecodeError:
            raise self.wrong("it is not text in UTF-8") from None

    def wrong(self, why: str) -> UsageError:
        return UsageError(
            f"kubeconfig {safe(str(self.path))} can't be used: {why}",
            "mend it, or give another with --kubeconfig",
        )

    @contextlib.contextmanager
    def faults(self) -> Iterator[None]:
        """What is wrong at a place of the file, told with its line and without a word of the file."""
        try:
            yield
        except DocumentError as error:
            reason = redact.unquoted(safe(error.reason))
            if reason.startswith("not YAML"):
                reason = f"it is {reason}"
            raise self.wrong(f"line {error.line}: {reason}") from None


def _decoded(raw: bytes) -> str:
    """Text with or without a byte order mark; PowerShell writes UTF-16, and kubectl reads it."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16")
    return raw.decode("utf-8-sig")


class _Files:
    """Several files as one: for each name the first file that has it counts, as for kubectl."""

    def __init__(self, documents: list[_Document]) -> None:
        self._documents = documents

    @property
    def names(self) -> str:
        return ", ".join(safe(str(document.path)) for document in self._documents)

    @property
    def current(self) -> str:
        """The current context, "" if there is none."""
        values = (document.root.current_context for document in self._documents)
        return next((value for value in values if value), "")

    @property
    def contexts(self) -> str:
        """The names of those that there are, for a message."""
        names = list(dict.fromkeys(one.name for d in self._documents for one in d.root.contexts))
        more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
        return ", ".join([safe(name) for name in names[:_SHOWN]] + more) or "none"

    def context(self, name: str) -> tuple[fields.Context, _Document]:
        for document in self._documents:
            for one in document.root.contexts:
                if one.name == name:
                    return one.body or fields.Context(at=one.at), document
        raise UsageError(
            f'context "{safe(name)}" is not in kubeconfig {self.names}',
            f"it has: {self.contexts}",
        )

    def cluster(self, name: str, where: str) -> tuple[fields.ClusterFields, _Document]:
        for document in self._documents:
            for one in document.root.clusters:
                if name and one.name == name:
                    return one.body or fields.ClusterFields(at=one.at), document
        raise self._lacks(where, "cluster", name)

    def user(self, name: str, where: str) -> tuple[fields.User, _Document]:
        for document in self._documents:
            for one in document.root.users:
                if one.name == name:
                    return one.body or fields.User(at=one.at), document
        raise self._lacks(where, "user", name)

    def _lacks(self, where: str, kind: str, name: str) -> UsageError:
        hint = "mend it, or choose another context with --kube-context"
        if not name:
            return UsageError(f"{where} of kubeconfig {self.names} names no {kind}", hint)
        lacks = f'names the {kind} "{safe(name)}", which kubeconfig {self.names} lacks'
        return UsageError(f"{where} {lacks}", hint)
