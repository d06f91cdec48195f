"""What the options of the cluster's agents mean for an audit, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from flowwatch.audits.ends import several_clusters
from flowwatch.audits.evidence import Observation
from flowwatch.policy.agent_options import AgentOptions
from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.party import Party

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


class Elsewhere:
    """The same policies where ``policy-cidr-match-mode`` lets blocks mean nodes and pods.

    Asked where nobody said the options: what contradicts policies by Cilium's defaults may be right by it.
    """

    def __init__(self, policies: PolicySet) -> None:
        self._known = policies.options.known
        self._policies = policies
        self._there: PolicySet | None = None
        self._peers: dict[tuple[Party, str], Party] = {}

    def unless(self, seen: Observation, decision: Decision) -> str:
        """Which mode would decide otherwise, and by what; "" where none would, or the mode is known."""
        if self._known or seen.peer.outside:
            return ""
        if self._there is None:
            self._there = self._policies.by(_ELSEWHERE)
        other = self._there.ask(
            seen.direction, seen.subject, self._peer(seen), seen.protocol, seen.asked_port
        )
        if other.decision == decision.decision:
            return ""
        what = "nodes" if seen.peer.node else "pods"
        by = ", ".join(map(str, other.entries)) or "a block of addresses"
        does = _MAY[other.decision]
        return (
            f"where policy-cidr-match-mode has {what}, {by} {does} it (--cilium-config FILE says)"
        )

    def _peer(self, seen: Observation) -> Party:
        key = seen.peer, seen.peer_ip
        if key not in self._peers:
            if len(self._peers) >= _MOST:
                self._peers.clear()
            self._peers[key] = replace(seen.peer, ip=seen.peer_ip)
        return self._peers[key]


_ELSEWHERE = AgentOptions(cidr_match_mode=("nodes", "pods"), origin="a cluster set up otherwise")
_MAY = {"allowed": "allows", "denied": "denies", "cant_tell": "may allow or deny"}
_MOST = 10_000
