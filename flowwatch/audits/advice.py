"""What to look at next, by what happened: one step for what was found."""

from __future__ import annotations

from flowwatch.audits.evidence import Observation
from flowwatch.audits.findings import Kind
from flowwatch.audits.judge import Judge
from flowwatch.flows import meaning
from flowwatch.flows.reasons import by_name, reason
from flowwatch.policy.cilium import BY_CLUSTER
from flowwatch.policy.engine import Decision
from flowwatch.policy.peers import Name
from flowwatch.policy.ports import UNNAMED

_ALL = "kubectl get cnp,ccnp,netpol -A -o yaml"
_LEAK = "check that the policy is applied and enforced{}, and that no wider one allows it"
_ADVICE: dict[Kind, str] = {
    "leak": _LEAK.format(
        " (enable-policy and policy-audit-mode of cilium-config: --cilium-config)"
    ),
    "unexplained": f"the policies given can't be all: documents are missing ({_ALL} has them), something "
    "else applied one, or enable-policy is always: cilium-config says (--cilium-config)",
    "difference": f"give all policies of the cluster: {_ALL}",
}
_KNOWN: dict[Kind, str] = {
    "leak": _LEAK.format(""),
    "unexplained": f"the policies given can't be all: documents are missing ({_ALL} has them), or something "
    "else applied one",
}
_ALLOWED_BY_NAME = f"give the policy that Hubble names, too ({_ALL}): allows add up"
_OWN_NODE = (
    "allow-localhost may be policy in this cluster (cilium-config), or the packet came in from elsewhere by "
    "a service, with the node's address"
)
_DENIED_BY_NAME = f"give the policy that Hubble names, too ({_ALL}): a deny wins over every allow"
_DENIED = (
    f"a deny rule did this, and none of these: give all policies of the cluster ({_ALL}); a deny wins over "
    "every allow"
)
_NOT_APPLIED = (
    "no deny rule did this (Hubble would say POLICY_DENY): the agent went by another version of the rule, or "
    "by other labels, or knew no identity of an end yet; compare what is applied (kubectl get -o yaml) and "
    "the pods' labels with these"
)
_NAME = (
    "ask the agent of the pod's node: cilium-dbg fqdn cache list (which addresses the name has), cilium-dbg "
    "policy selectors (which of them the rule has)"
)
_REFUSED = (
    "the proxy went by other L7 rules: compare what is applied (kubectl get -o yaml) with these"
)
_CLOSED = (
    "a policy that was not given turns default deny on for the pod, by which L7 rules refuse what they don't "
    f"name: give all policies of the cluster ({_ALL})"
)
_SERVICE = (
    "compare the address with the service's: kubectl get endpointslices -l "
    "kubernetes.io/service-name=NAME"
)
_REHEARSED = "look for another policy that denies it, an older revision, or changed labels"
_ENDS_REHEARSAL = (
    "once only what shall be blocked is left here, take audit mode off (policy-audit-mode of cilium-config, "
    "or PolicyAuditMode of the endpoint)"
)
_PORT_NAME = "the pod's spec says which number the name has: kubectl get pod -o yaml, containerPort"
_DENY, _NO_RULE = by_name("POLICY_DENY"), by_name("POLICY_DENIED")


def advice(kind: Kind, judge: Judge, seen: Observation, decision: Decision) -> str:
    """What to look at next; "" when there is nothing to do.

    Drop reasons tell a deny rule (POLICY_DENY) from no rule at all (POLICY_DENIED): Cilium 1.20,
    pkg/monitor/api/drop.go.
    """
    if kind == "leak" and judge.ungiven(seen.named_allowed):
        return _ALLOWED_BY_NAME
    if kind == "overblock":
        return _overblocked(judge, seen, decision)
    if kind == "inconclusive":
        return _unclear(seen, decision)
    known = _KNOWN.get(kind, "") if judge.policies.options.known else ""
    return known or _ADVICE.get(kind, "")


def _overblocked(judge: Judge, seen: Observation, decision: Decision) -> str:
    if any(not ref.selects for ref in judge.ungiven(seen.named_denied)):
        return _DENIED_BY_NAME
    if seen.outcome == meaning.AUDIT:
        return _REHEARSED
    if any(not request.passed for request in seen.requests):
        return _CLOSED if decision.pass_all else _REFUSED
    if _DENY is not None and seen.reason == _DENY.number:
        return _DENIED
    if decision.why == "own node":
        return _OWN_NODE
    if any(isinstance(peer, Name) for entry in decision.entries for peer in entry.peers or ()):
        return _NAME
    return _NOT_APPLIED


def _unclear(seen: Observation, decision: Decision) -> str:
    if seen.outcome == meaning.AUDIT:
        return _ENDS_REHEARSAL
    if seen.outcome == meaning.DROPPED and not seen.by_policy and seen.reason:
        known = reason(seen.reason)
        return f"{known.plain} {known.next}"
    if any(one.startswith(UNNAMED) for one in decision.doubts):
        return _PORT_NAME
    if any(one.endswith(BY_CLUSTER) for one in decision.doubts):
        return _SERVICE
    return ""
