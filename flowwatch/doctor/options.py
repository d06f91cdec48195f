"""The options of the cluster's agents: what is set, what it means for audits, and whether records show it.

From Cilium 1.20: an AUDIT verdict stands in policy-verdict records alone (pkg/hubble/parser/threefour), and
of a denial that ICMP answers no drop is recorded (bpf/bpf_lxc.c, tail_policy_denied_ipv4).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flowwatch.doctor.judge import Evidence
from flowwatch.doctor.steps import State, Step
from flowwatch.flows.clocks import span
from flowwatch.flows.model import Flow
from flowwatch.hubble.kube.access import Access
from flowwatch.policy.agent_options import (
    CIDR_MODE,
    NAME,
    VERDICT_RECORDS,
    AgentOptions,
    OptionsError,
    read_agent_options,
)

if TYPE_CHECKING:
    from flowwatch.hubble.client.config import Settings

_SECOND = 1_000_000_000
_BLOCK = "cidr:"
_RESTART = "agents read it when they start: kubectl -n kube-system rollout restart daemonset/cilium"
_VERDICTS = f"set bpf.events.policyVerdict.enabled=true in Cilium (the default); {_RESTART}"
_AUDIT = "flowwatch audit --policies-from-cluster judges by them (--cilium-config FILE elsewhere)"
NOT_ASKED = (
    "not known: the server is reached without the Kubernetes API (--cilium-config FILE gives them, or "
    "--port-forward)"
)


def find(settings: Settings, access: Access | None) -> AgentOptions | str:
    """The options, as the cluster has them; else why they aren't known. Raises ServerError."""
    if access is None:
        return NOT_ASKED
    # Only here: importing httpx and asyncio takes 0.1 s.
    from flowwatch.hubble.kube.cluster_policies import read_config

    found = read_config(access, timeout=settings.request_timeout, namespace=settings.kube_namespace)
    if not found.config:
        return found.missing[0]
    where = f"context {access.context}" if access.context else "this cluster"
    try:
        return read_agent_options(found.config, f"{NAME} of {where}")
    except OptionsError as error:
        return f"{NAME} of {where}: {error}"


def options(evidence: Evidence) -> Step:
    """What is set, what that means for audits, and whether records bear it out."""
    found = evidence.options
    if isinstance(found, str):
        if evidence.audits.flows:
            newest = _newest(evidence, evidence.audits.flows)
            return Step(
                "options", State.WARN, f"AUDIT records come, the newest {newest}: audit mode is on; {found}",
                "what is denied passes there: flowwatch audit tells what enforcing would block",
            )  # fmt: skip
        return Step("options", State.SKIPPED, found)
    set_ = f"{found.origin}: {found.words}"
    told = [*_odd(found, evidence)]
    if told:
        what = "; ".join(one for one, _ in told)
        hints = "; ".join(dict.fromkeys(hint for _, hint in told if hint))
        return Step("options", State.WARN, f"{set_}; {what}", hints)
    means = "; ".join(_meaning(found))
    return Step("options", State.OK, f"{set_}; {means}" if means else set_, _AUDIT if means else "")


def _meaning(found: AgentOptions) -> Iterator[str]:
    """What is no fault, but has to be judged by."""
    if found.cidr_match_mode:
        yield f"blocks of addresses (toCIDR, ipBlock) mean {' and '.join(found.cidr_match_mode)}, too"
    if found.enforcement == "always":
        yield "pods that no policy selects are closed as well"
    if found.deny_response == "icmp":
        yield "of a denial on egress there is a policy verdict, and no drop"


def _odd(found: AgentOptions, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """What keeps an audit from proving anything, and where records and options disagree; with what to do."""
    if found.enforcement == "never":
        yield (
            "no policy is enforced, so that an audit can prove nothing",
            "set enable-policy to default",
        )
    if found.deny_response == "icmp" and not found.verdict_records:
        yield "nothing is recorded of what policies deny on egress", _VERDICTS
    if found.audit_mode or evidence.audits.flows:
        yield _audit_mode(found, evidence)
    yield from _other_cluster(found, evidence)
    yield from _blocks(found, evidence)


def _audit_mode(found: AgentOptions, evidence: Evidence) -> tuple[str, str]:
    if evidence.audits.flows:
        newest = _newest(evidence, evidence.audits.flows)
        come = f"AUDIT records come, the newest {newest}"
        if not found.audit_mode:
            return (
                f"{come}, though policy-audit-mode isn't set: it is on for single endpoints, or agents were "
                "not restarted since",
                "cilium-dbg endpoint config ID PolicyAuditMode=Disabled in the node's agent turns it off",
            )
        return (
            f"what policies deny passes; {come}",
            "flowwatch audit tells what enforcing would block; then set policy-audit-mode to false",
        )
    never = "what policies deny passes, and no AUDIT record is in the ring"
    if not found.verdict_records:
        return (
            f"{never}: none ever comes, as they are policy verdicts, and {VERDICT_RECORDS} is false",
            _VERDICTS,
        )
    if evidence.denials.flows:
        newest = _newest(evidence, evidence.denials.flows)
        return (
            f"{never}: policies still drop ({newest}), so agents don't have the mode yet",
            _RESTART,
        )
    if not evidence.verdicts.flows:
        return (
            f"{never}, nor any policy verdict: no policy selects a pod that talks, or they are left out",
            f"see that hubble-monitor-events doesn't leave out policy verdicts; {_RESTART}",
        )
    return (
        f"{never}, though policy verdicts come: nothing was denied of late, or agents don't have the mode",
        f"try something that a policy denies; {_RESTART}",
    )


def _other_cluster(found: AgentOptions, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Records of nodes of other clusters alone: these are not the options of the agents that wrote them."""
    names = {flow.node.partition("/")[0] for flow in evidence.sample.flows if "/" in flow.node}
    if names and found.cluster not in names:
        yield (
            f"the records are of {', '.join(sorted(names))}, and this is {found.cluster}",
            "give the options of the cluster that the server is in",
        )


def _blocks(found: AgentOptions, evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Whether identities carry what the mode gives them."""
    labels = [
        end.labels
        for flow in evidence.sample.flows
        for end in (flow.source, flow.destination)
        if end.pod and end.labels
    ]
    carrying = any(one.startswith(_BLOCK) for each in labels for one in each)
    mode = "pods" in found.cidr_match_mode
    if labels and mode and not carrying:
        yield (
            f"no pod's identity carries {_BLOCK} labels, which {CIDR_MODE}: pods gives them: agents don't "
            "have the mode yet, or are older than 1.20",
            _RESTART,
        )
    elif carrying and not mode:
        yield (
            f"identities of pods carry {_BLOCK} labels, as if {CIDR_MODE} had pods: agents were not "
            "restarted since, or these are not their options",
            _RESTART,
        )


def _newest(evidence: Evidence, flows: list[Flow]) -> str:
    return f"{span((evidence.now - max(flow.time for flow in flows)) / _SECOND)} ago"
