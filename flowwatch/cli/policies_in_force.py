"""The policies that are in force: ``--policies`` names files, ``--policies-from-cluster`` asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.cli.policies import read_policies
from flowwatch.errors import UsageError
from flowwatch.output import say
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.policy.engine import PolicySet

_TOLD = 5


def from_cluster(parsed: Parsed) -> bool:
    """Whether the cluster is to be asked. A verb without the flag doesn't ask."""
    return "policies-from-cluster" in parsed.flags and parsed.switch("policies-from-cluster")


def given(parsed: Parsed) -> PolicySet | None:
    """The policies; None when the command line gives none. Raises UsageError, ServerError."""
    paths = parsed.list("policies")
    if from_cluster(parsed):
        if paths:
            raise UsageError("cannot set both --policies and --policies-from-cluster")
        return read_cluster(parsed)
    return read_policies(paths) if paths else None


def read_cluster(parsed: Parsed) -> PolicySet:
    """The cluster's policies, by the kubeconfig; what is missing or odd is told in a line each.

    Where the user may not list all namespaces, those of ``--namespace`` are asked for.
    """
    from flowwatch.hubble.client import config
    from flowwatch.hubble.kube import kubeconfig

    settings = config.load(parsed)
    access = kubeconfig.load(settings.kubeconfig, settings.kube_context)
    # Only here: importing httpx and asyncio takes 0.1 s.
    from flowwatch.hubble.kube import cluster_policies
    from flowwatch.policy import load

    names = ("namespace", "from-namespace", "to-namespace")
    namespaces = dict.fromkeys(value for name, value in parsed.filters if name in names)
    found = cluster_policies.read(
        access, timeout=settings.request_timeout, namespaces=list(namespaces)
    )
    policies = load(found.texts)
    documents = policies.documents
    # Cilium takes no notice of what it can't read either: it says so in the object's status.
    documents.missing += found.missing
    documents.missing += [
        # Some API server has taken them all.
        f"refused, as Cilium would: {safe(str(one))}"
        for one in documents.unread
    ]
    for line in documents.missing[:_TOLD]:
        say(line)
    if len(documents.missing) > _TOLD:
        say(f"and {len(documents.missing) - _TOLD:,} more of this kind")
    where = f"context {safe(access.context)}" if access.context else "this cluster"
    count = len(documents.policies)
    say(f"{count:,} {'policy' if count == 1 else 'policies'} read from {where}")
    return policies
