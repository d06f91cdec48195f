"""The kubeconfig: where the Kubernetes API is, and who asks. Read as kubectl reads it.

Facts: kubernetes.io/docs/reference/config-api (kubeconfig.v1) and client-go 0.36 (tools/clientcmd),
to which a test holds it. Read here and not by a library, because those that do write keys into
temporary files, let a plugin read from the terminal, and end in tracebacks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from flowwatch import redact, userfile
from flowwatch.errors import UsageError
from flowwatch.hubble.kube.access import Access
from flowwatch.hubble.kube.material import pem_text
from flowwatch.text import safe

__all__ = ["ACCOUNT", "Access", "at_hand", "load", "paths"]

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its own token."""

_NONE = "give --kubeconfig, or --server if relay can be reached without"


def paths(kubeconfig: str, environ: Mapping[str, str] = os.environ) -> list[Path]:
    """The files that kubectl would merge: the one named, else ``KUBECONFIG``, else the user's own."""
    if kubeconfig:
        return [Path(kubeconfig)]
    several = [part for part in environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if several:
        return [Path(part) for part in dict.fromkeys(several)]
    home = environ.get("HOME") or environ.get("USERPROFILE", "")
    return [Path(home, ".kube", "config")] if home else []


def at_hand(kubeconfig: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is a kubeconfig at all, be it one that can't be used."""
    return any(userfile.exists(path) for path in paths(kubeconfig, environ))


def load(kubeconfig: str, context: str = "", environ: Mapping[str, str] = os.environ) -> Access:
    """The access that ``context`` ("": the current one) gives; runs its exec plugin, if it has one.

    Raises UsageError for a file that can't be used, with line, key and what was expected; Refused for
    a plugin that gives no credentials.
    """
    tried = paths(kubeconfig, environ)
    found = [path for path in tried if userfile.exists(path)]
    if found:
        from flowwatch.hubble.kube import documents

        return documents.access(found, context, environ)
    if not kubeconfig and environ.get("KUBERNETES_SERVICE_HOST") and ACCOUNT.is_dir():
        return _in_cluster(environ)
    names = ", ".join(safe(str(path)) for path in tried) or "~/.kube/config"
    raise UsageError(f"no kubeconfig: {names} is not there", _NONE)


def _in_cluster(environ: Mapping[str, str]) -> Access:
    from flowwatch.hubble.kube import urls

    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    try:
        urls.parse(server, ("https",))
    except ValueError as why:
        names = "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT"
        raise UsageError(f"no kubeconfig, and {names} make no address: {why}", _NONE) from None
    try:
        token = userfile.read(ACCOUNT / "token").decode("ascii").strip()
        ca = pem_text(userfile.read(ACCOUNT / "ca.crt"))
    except OSError as error:
        raise _no_account(error.strerror or str(error)) from None
    except UnicodeDecodeError:
        raise _no_account("its token is not ASCII") from None
    if not token.isprintable():
        raise _no_account("its token holds characters that none may")
    redact.remember(token)
    return Access(
        server=server,
        user="the pod's service account",
        ca=ca,
        headers=(("Authorization", f"Bearer {token}"),),
    )


def _no_account(why: str) -> UsageError:
    return UsageError(f"no kubeconfig, and the pod's own account can't be read: {safe(why)}", _NONE)
