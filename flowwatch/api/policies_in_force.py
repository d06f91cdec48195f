"""The policies that are in force: those of the cluster, asked for by the kubeconfig."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowwatch.policy.agent_options import (
    NAME,
    UNKNOWN,
    AgentOptions,
    OptionsError,
    read_agent_options,
)
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.api.policy_files import Tell
    from flowwatch.hubble.kube.cluster_policies import InForce
    from flowwatch.policy.engine import PolicySet
    from flowwatch.sources.request import RequestOptions

_TOLD = 5


def read_cluster(options: RequestOptions, tell: Tell, agents: AgentOptions = UNKNOWN) -> PolicySet:
    """The cluster's policies; ``tell`` is given what is missing or odd, and how many they are.

    ``agents``: the options to judge by, where a file says them; else the cluster is asked for those, too.
    Where the user may not list all namespaces, those that ``options`` filter by are asked for.
    Raises UsageError (kubeconfig) and ServerError.
    """
    from flowwatch.hubble.client import config
    from flowwatch.hubble.kube import kubeconfig

    settings = config.load(options)
    access = kubeconfig.load(settings.kubeconfig, settings.kube_context)
    # Only here: importing httpx and asyncio takes 0.1 s.
    from flowwatch.hubble.kube import cluster_policies
    from flowwatch.policy import load

    names = ("namespace", "from-namespace", "to-namespace")
    namespaces = dict.fromkeys(value for name, value in options.filters if name in names)
    found = cluster_policies.read(
        access,
        timeout=settings.request_timeout,
        namespaces=list(namespaces),
        agents_in="" if agents.known else settings.kube_namespace,
    )
    where = f"context {safe(access.context)}" if access.context else "this cluster"
    policies = load(found.texts, options=agents if agents.known else _options(found, where))
    documents = policies.documents
    # Cilium takes no notice of what it can't read either: it says so in the object's status.
    documents.missing += found.missing
    documents.missing += [
        # Some API server has taken them all.
        f"refused, as Cilium would: {safe(str(one))}"
        for one in documents.unread
    ]
    for line in documents.missing[:_TOLD]:
        tell(line)
    if len(documents.missing) > _TOLD:
        tell(f"and {len(documents.missing) - _TOLD:,} more of this kind")
    count = len(documents.policies)
    tell(f"{count:,} {'policy' if count == 1 else 'policies'} read from {where}")
    return policies


def _options(found: InForce, where: str) -> AgentOptions:
    """The options of the cluster's agents; what is wrong with them is a part of what is missing."""
    if not found.config:
        return UNKNOWN
    try:
        return read_agent_options(found.config, f"{NAME} of {where}")
    except OptionsError as error:
        found.missing.append(f"{NAME} of {where}: {safe(str(error))}: Cilium's defaults count")
        return UNKNOWN
