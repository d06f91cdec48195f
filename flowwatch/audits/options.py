"""What the options of the cluster's agents mean for an audit, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flowwatch.audits.ends import several_clusters
from flowwatch.audits.findings import Kind
from flowwatch.policy.agent_options import AgentOptions

_TOLD = 5
NEVER = (
    "enable-policy is never in this cluster: nothing is enforced, and what policies would do shows nowhere "
    "(flowwatch whatif, flowwatch explain without --cilium-config tell)"
)
AUDIT_MODE = (
    "policy-audit-mode is on in this cluster: what policies deny passes, and its AUDIT records (policy "
    "verdicts) are all that shows it; flowwatch doctor tells whether they come"
)
DENY_RESPONSE = (
    "policy-deny-response is icmp in this cluster: who is denied on egress gets an ICMP answer at once, "
    "unless policies keep it from the pod, and of such a denial only a policy verdict is recorded, no drop"
)


def care_of_options(options: AgentOptions, clusters: Iterable[str]) -> Iterator[str]:
    """What to bear in mind of a cluster that is set up so; ``clusters`` are those of the pods seen."""
    if options.enforcement == "never":
        yield NEVER
    if options.audit_mode:
        yield AUDIT_MODE
    if options.deny_response == "icmp":
        yield DENY_RESPONSE
    if not options.known:
        yield from several_clusters(clusters)
        return
    others = sorted(set(clusters) - {options.cluster})
    if others:
        told = ", ".join(others[:_TOLD]) + (", …" if len(others) > _TOLD else "")
        yield (
            f"pods of other clusters ({told}) are not judged: the policies are those of {options.cluster}, "
            f"by {options.origin}"
        )


def other_cluster(options: AgentOptions, cluster: str) -> str:
    """Why a pod of ``cluster`` isn't judged; "" if it is one of the policies' own, or may be."""
    if not options.known or cluster in ("", options.cluster):
        return ""
    return f"a pod of cluster {cluster}: the policies are those of {options.cluster}"


_LEAK = "check that the policy is applied and enforced{}, and that no wider one allows it"
_ADVICE: dict[Kind, str] = {
    "leak": _LEAK.format(
        " (enable-policy and policy-audit-mode of cilium-config: --cilium-config)"
    ),
    "overblock": "look for another policy that denies it, an older revision, or changed labels",
    "unexplained": "the policies given can't be all: documents are missing (kubectl get cnp,ccnp,netpol -A "
    "-o yaml has them), something else applied one, or enable-policy is always: cilium-config says "
    "(--cilium-config)",
    "difference": "give all policies of the cluster: kubectl get cnp,ccnp,netpol -A -o yaml",
}
_KNOWN: dict[Kind, str] = {
    "leak": _LEAK.format(""),
    "unexplained": "the policies given can't be all: documents are missing (kubectl get cnp,ccnp,netpol -A "
    "-o yaml has them), or something else applied one",
}


def advice(kind: Kind, options: AgentOptions) -> str:
    """What to look at next; "" when there is nothing to do."""
    known = _KNOWN.get(kind, "") if options.known else ""
    return known or _ADVICE.get(kind, "")
