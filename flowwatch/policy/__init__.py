"""Network policies, a library of its own: documents, and the decision as Cilium makes it.

Pure functions over texts and questions: nothing here knows a flow, or opens a file or a connection.
"""

from collections.abc import Iterable

from flowwatch.policy.documents import Documents, read_documents
from flowwatch.policy.engine import Decision, PolicySet, Question
from flowwatch.policy.party import Party
from flowwatch.policy.rules import Entry, Policy, Rejected, Rule

__all__ = [
    "Decision",
    "Documents",
    "Entry",
    "Party",
    "Policy",
    "PolicySet",
    "Question",
    "Rejected",
    "Rule",
    "load",
    "read_documents",
]


def load(texts: Iterable[tuple[str, str]], *, cluster: str = "default") -> PolicySet:
    """Policies, compiled, from the names and texts of their files.

    What Cilium couldn't read is left out. It is listed in ``documents.rejected``, with what only the API
    server would refuse (``by_server``), which decides as if it were in force.
    """
    return PolicySet(read_documents(texts, cluster=cluster), cluster=cluster)
