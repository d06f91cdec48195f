"""Network policies, a library of its own: documents, and the decision as Cilium makes it.

Pure functions over texts and questions: nothing here knows a flow, or opens a file or a connection.
"""

from collections.abc import Iterable

from flowwatch.policy.agent_options import UNKNOWN, AgentOptions, OptionsError, read_agent_options
from flowwatch.policy.documents import Documents, read_documents
from flowwatch.policy.engine import Decision, PolicyQuestion, PolicySet
from flowwatch.policy.groups import CidrGroups
from flowwatch.policy.party import Party
from flowwatch.policy.reach import NO_REACH
from flowwatch.policy.rules import Entry, Policy, Rejected, Rule

__all__ = [
    "AgentOptions",
    "Decision",
    "Documents",
    "Entry",
    "OptionsError",
    "Party",
    "Policy",
    "PolicyQuestion",
    "PolicySet",
    "Rejected",
    "Rule",
    "load",
    "read_agent_options",
    "read_documents",
]


def load(
    texts: Iterable[tuple[str, str]],
    *,
    cluster: str = "default",
    options: AgentOptions = UNKNOWN,
    groups: CidrGroups | None = None,
) -> PolicySet:
    """Policies, compiled, from the names and texts of their files.

    ``options``: what the cluster's agents decide by (:func:`read_agent_options`); else Cilium's defaults.
    ``groups``: CIDR groups that are there beside those of the texts.

    What Cilium couldn't read is left out. It is listed in ``documents.rejected``, with what only the API
    server would refuse (``by_server``), which decides as if it were in force.
    """
    documents = read_documents(texts, cluster=cluster, groups=groups)
    if options.reach != NO_REACH:
        documents.rules = [rule.reaching(options.reach) for rule in documents.rules]
    return PolicySet(documents, cluster=cluster, options=options)
