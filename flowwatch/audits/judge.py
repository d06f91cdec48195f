"""The judge: what one attempt says about the policies, and what the policies say about it.

The audit counts its judgements; the export and the dashboard tell them of each drop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from flowwatch.audits.asking import Asking
from flowwatch.audits.evidence import Observation
from flowwatch.audits.findings import Kind
from flowwatch.audits.noise import lost
from flowwatch.audits.options import Elsewhere, other_cluster
from flowwatch.audits.remembered import Request
from flowwatch.flows import meaning
from flowwatch.flows.model import Layer7, PolicyRef
from flowwatch.policy.engine import Decision, PolicySet
from flowwatch.policy.l7 import missed
from flowwatch.policy.missed_names import missed_lookup
from flowwatch.policy.nearest import closest
from flowwatch.policy.peers import Block, LabelledBlocks, Name
from flowwatch.policy.rules import Direction, Policy

Aside = Literal[
    "", "noise", "another cluster's", "not selected", "nobody's", "others'", "unexplained"
]  # fmt: skip
"""What an attempt is that these policies don't decide; "" for one that they do."""


class Judge:
    """Compares what happened with what a set of policies says.

    Args:
        policies: the set that is said to be in force.
        applied_at: nanoseconds since 1970 from which it counts; None: always.
    """

    def __init__(self, policies: PolicySet, applied_at: int | None = None) -> None:
        self.policies = policies
        self.applied_at = applied_at
        self._elsewhere = Elsewhere(policies)
        self._spaces = {one.namespace for one in policies.policies if one.namespace}
        self._node_labels = any(
            rule.subject.host and rule.subject.selector.requirements for rule in policies.rules
        )
        self._known = {(one.kind, one.namespace, one.name) for one in policies.policies}

    def too_early(self, seen: Observation) -> bool:
        """Whether it came before the policies were applied."""
        return self.applied_at is not None and seen.first < self.applied_at

    def unknown(self, seen: Asking) -> str:
        """Why nobody can ask the policies about an attempt, in words; else ""."""
        return (
            seen.unknown
            or (UNLABELLED_NODE if self.unlabelled_node(seen) else "")
            or unaddressed(self.policies, seen)
        )

    def unlabelled_node(self, seen: Asking) -> bool:
        """Whether a policy for nodes by their labels may select one whose labels aren't recorded."""
        labels = seen.subject.labels
        return (
            self._node_labels
            and "host" in seen.subject.reserved
            and all(one.startswith("reserved:") for one in labels)
        )

    def decide(self, seen: Asking) -> Decision:
        """What the policies say about the question that an attempt asked."""
        if why := self.unknown(seen):
            return Decision("cant_tell", "unknown", selected=False, doubts=(why,))
        return self.policies.ask(
            seen.direction, seen.subject, seen.peer, seen.protocol, seen.asked_port
        )

    def verdict(self, seen: Observation, decision: Decision) -> tuple[Kind, str]:
        """The kind of a judged attempt, and why."""
        aside = self.aside(seen, decision.selected, decision.always)
        if aside == "unexplained":
            if self.too_early(seen):
                return "inconclusive", "before the policy was applied"
            return "unexplained", _not_given(seen)
        if aside:
            return "not covered", self._why_aside(aside, seen, decision)
        if self.too_early(seen):
            return "inconclusive", "before the policy was applied"
        if decision.decision == "cant_tell":
            return "inconclusive", decision.reason.removeprefix("can't tell: ")
        if seen.outcome == meaning.AUDIT:
            return _audited(decision)
        if seen.outcome == meaning.DROPPED and not seen.by_policy:
            if seen.waits_for_auth:
                return "inconclusive", _unauthenticated(decision)
            return "inconclusive", lost(seen)
        if decision.decision == "denied":
            kind, why = self._rehearsed(*_denied(seen, decision))
        else:
            kind, why = _allowed(seen, decision)
        if kind in ("leak", "overblock") and (unless := self._elsewhere.unless(seen, decision)):
            return (
                "inconclusive",
                f"{why}; can't tell, unless the cluster's options are known: {unless}",
            )
        return kind, why

    def aside(self, seen: Asking, selected: bool, always: bool) -> Aside:
        """Why an attempt is none that these policies decide.

        ``selected`` and ``always`` are the decision's.
        """
        if seen.noise:
            return "noise"
        if other_cluster(self.policies.options, seen.cluster):
            return "another cluster's"
        if not selected and not seen.denied:
            return "not selected"
        if always and not seen.denied and self._ungiven(seen):
            return "nobody's"
        if selected:
            return ""
        return "unexplained" if self._about(seen) else "others'"

    def _why_aside(self, aside: Aside, seen: Observation, decision: Decision) -> str:
        """The same in words."""
        if aside == "noise":
            return lost(seen)
        if aside == "another cluster's":
            return other_cluster(self.policies.options, seen.cluster)
        if aside == "nobody's":
            return UNGIVEN
        return _uncovered(seen, decision) if aside == "not selected" else _not_given(seen)

    def _rehearsed(self, kind: Kind, why: str) -> tuple[Kind, str]:
        """In audit mode what is denied passes by design; that no AUDIT record says so is another matter."""
        if kind != "leak" or not self.policies.options.audit_mode:
            return kind, why
        return (
            "inconclusive",
            f"policy-audit-mode is on: it passed, and no AUDIT record was seen; {why}",
        )

    def _ungiven(self, seen: Asking) -> bool:
        """Whether none of the policies is about the pod, which others may open."""
        return not self.policies.selected(seen.subject, seen.direction).ruled and not self._about(
            seen
        )

    def _about(self, seen: Asking) -> bool:
        """Whether the policies are about the pod, or its namespace, at all: who audits one team's
        policies doesn't have the others'."""
        other: Direction = "ingress" if seen.direction == "egress" else "egress"
        return (
            seen.subject.namespace in self._spaces
            or self.policies.selected(seen.subject, other).ruled
        )

    def other_policy(self, seen: Observation, decision: Decision) -> str:
        """Hubble's word on who allowed or denied, where it isn't ours; "" where it is."""
        named = seen.named_denied if seen.outcome == meaning.DROPPED else seen.named_allowed
        if not named or not decision.selected or decision.decision == "cant_tell":
            return ""
        ours = deciders(decision)
        if any(same_policy(ref, policy) for ref in named for policy in ours):
            return ""
        word = "denied" if seen.outcome == meaning.DROPPED else "allowed"
        if all(ref.selects for ref in named):
            word = "selects the pod, and no rule of its allowed"
        named = tuple(ref for ref in named if ref.kind in _KINDS)
        if not named:
            return ""  # what Cilium derives itself is no document
        missing = self.ungiven(named)
        who = ", ".join(str(ref) for ref in (missing or named))
        mine = ", ".join(map(str, ours)) or "none of these policies"
        if missing:
            return f"Hubble says {who} {word} it, which was not given"
        return f"Hubble says {who} {word} it; by these policies it is {mine}"

    def ungiven(self, named: Sequence[PolicyRef]) -> list[PolicyRef]:
        """Those of Hubble's names of policies that aren't among these."""
        return [one for one in named if (one.kind, one.namespace, one.name) not in self._known]

    def closest(self, seen: Observation, decision: Decision) -> str:
        """For a default deny: the rule that misses by the least, in words; else ""."""
        return closest(
            self.policies, decision, seen.direction, seen.subject, seen.peer,
            seen.protocol, seen.asked_port, seen.known,
        )  # fmt: skip


def unaddressed(policies: PolicySet, seen: Asking) -> str:
    """Why policies can't be asked, in words, where they ask for an address that no record has; else ""."""
    peer = seen.peer
    if not peer.outside or peer.ip or any(one.startswith("cidr") for one in peer.labels):
        return ""
    entries = policies.selected(seen.subject, seen.direction).entries
    if any(
        isinstance(one, Block | LabelledBlocks) for entry in entries for one in entry.peers or ()
    ):
        if "kube-apiserver" in peer.reserved:
            return "the record doesn't say whether the API server is on a node, and rules are about addresses"
        return "the record has no address of the other end, and rules are about addresses"
    return ""


def _unauthenticated(decision: Decision) -> str:
    asking = [entry for entry in decision.entries if entry.auth == "required"]
    who = f", as {', '.join(map(str, asking))} asks for it" if asking else ""
    return f"authentication was not done yet: first packets drop{who}"


def _uncovered(seen: Observation, decision: Decision) -> str:
    if seen.outcome == meaning.DROPPED:
        return lost(seen)
    return decision.reason


ANSWER = (
    "the request passed, its answer was dropped here, as no connection was known that it answers"
)
_OPEN = "default deny is off there by these policies, and L7 rules let all pass then"
UNLABELLED_NODE = (
    "the record has no labels of the node, by which a policy for nodes (nodeSelector) may select it"
)
UNGIVEN = (
    "no policy that was given is about its namespace; enable-policy is always, so that one of the others "
    "must allow it"
)
BY_OTHERS = ("dropped by ", "passed in audit mode, and would be dropped by ")
"""How the reasons begin of what a policy blocked that wasn't given."""


def _not_given(seen: Observation) -> str:
    """Why a policy's block is none of these policies', as far as records name one."""
    who = "a policy that was not given"
    if named := ", ".join(dict.fromkeys(map(str, seen.named_denied))):
        selecting = all(ref.selects for ref in seen.named_denied)
        who = f"default deny: {named} selects the pod, {who}" if selecting else f"{named}, {who}"
    if seen.outcome == meaning.AUDIT:
        return f"{BY_OTHERS[1]}{who}"
    return f"{BY_OTHERS[0]}{who}"


def _audited(decision: Decision) -> tuple[Kind, str]:
    """The rehearsal before policies are enforced: what they would do is what Hubble says they would."""
    what = "audit mode is on: it passed, and would be denied"
    if decision.decision == "allowed":
        return "overblock", f"{what}, though these policies allow it: {decision.reason}"
    return "inconclusive", f"{what}, as these policies say: {decision.reason}"


def _denied(seen: Observation, decision: Decision) -> tuple[Kind, str]:
    if seen.outcome == meaning.DROPPED:
        if seen.answer_port is not None:
            return "ok", f"{ANSWER}: {decision.reason}"
        return "ok", decision.reason
    if seen.outcome == meaning.FORWARDED:
        if seen.guessed:
            return "inconclusive", "the record has no direction: nothing shows that it passed here"
        if seen.standing and not seen.verdict:
            return "inconclusive", (
                "aggregated: packets passed here, and what became of their attempts is in no line"
            )
        if not seen.opened:
            return "inconclusive", "opened before the first record, perhaps before the policy"
        if seen.waited:
            return "leak", (
                f"{decision.reason}; its first SYN was denied, as they say, and a retry was let through "
                f"after {seen.waited:.1f} s: they were not in force any more"
            )
        return "leak", decision.reason
    return "inconclusive", _NO_OUTCOME[seen.outcome]


def _allowed(seen: Observation, decision: Decision) -> tuple[Kind, str]:
    if decision.l7:
        return _proxied(seen, decision)
    if seen.outcome == meaning.DROPPED:
        return "overblock", decision.reason + _name_unknown_then(seen, decision)
    if seen.outcome == meaning.UNKNOWN and not seen.requests:
        # The packets went to a proxy that these policies don't ask for.
        return "inconclusive", _NO_OUTCOME[meaning.UNKNOWN]
    return "ok", decision.reason


def _name_unknown_then(seen: Observation, decision: Decision) -> str:
    """For what a DNS name allows: what records show of why the agent dropped it all the same.

    The labels of an address that it knows by name say so (``fqdn:``; Cilium 1.20, pkg/fqdn).
    """
    rules = [
        peer.rule for entry in decision.entries for peer in entry.peers or ()
        if isinstance(peer, Name) and peer.matches(seen.peer)
    ]  # fmt: skip
    if not rules or any(f"fqdn:{rule}" in seen.peer.labels for rule in rules):
        return ""
    answer = min(
        (one for one in seen.answered if any(rule.matches(one.name) for rule in rules)),
        key=lambda one: one.before,
        default=None,
    )
    others = [label for label in seen.peer.labels if label.startswith("fqdn:")]
    if others:
        also = f" ({answer})" if answer else ""
        return (
            f"; the address' identity carries {', '.join(others)}, another rule's name, and not "
            f"{rules[0]}{also}: the agent did not apply this rule to it"
        )
    if answer:
        return (
            f"; {answer}: it expired {answer.expired}"
            if answer.expired
            else f"; {answer}, through the DNS proxy: the agent had the answer, and did not apply it"
        )
    if not seen.peer.labels:
        return ""
    return (
        "; Cilium did not know the address by that name then: the answer had expired while the application "
        "kept the address, or the lookup did not go through the DNS proxy"
    )


def _proxied(seen: Observation, decision: Decision) -> tuple[Kind, str]:
    """Allowed as far as the proxy: its rules decide each request, as far as records have them."""
    if not seen.requests:
        if seen.outcome == meaning.DROPPED:
            return "overblock", decision.reason
        if seen.outcome == meaning.FORWARDED and not (decision.pass_all or _all_pass(decision)):
            # DNS over a proxy without its L7 record, or HTTP that nobody looked into.
            return (
                "inconclusive",
                "sent to the proxy, without the record of what the proxy decided",
            )
        if seen.outcome in (meaning.UNKNOWN, meaning.ERROR):
            return "inconclusive", _NO_OUTCOME[seen.outcome]
        return "ok", decision.reason
    doubt = ""
    for request in seen.requests:
        passes = True if decision.pass_all else _passes(decision, request)
        if isinstance(passes, str):
            doubt = passes
        elif request.passed and not passes:
            return "leak", f"{describe(request.layer7)} passed, though no L7 rule allows it"
        elif not request.passed and passes:
            opened = decision.pass_all and _passes(decision, request) is False
            allowed = _OPEN if opened else "an L7 rule allows it"
            return "overblock", f"{describe(request.layer7)} was refused, though {allowed}"
    if doubt:
        return "inconclusive", doubt
    if not all(request.passed for request in seen.requests):
        return "ok", f"denied by the L7 rules of {', '.join(map(str, decision.entries))}"
    return "ok", decision.reason


_KINDS = frozenset(
    {
        "CiliumNetworkPolicy",
        "CiliumClusterwideNetworkPolicy",
        "NetworkPolicy",
        "ClusterNetworkPolicy",
    }
)

_NO_OUTCOME = {
    meaning.UNKNOWN: "sent to the proxy, without the record of what the proxy decided",
    meaning.ERROR: "the proxy failed: neither passed nor denied",
    meaning.AUDIT: "audit mode is on",
    meaning.FORWARDED: "",
    meaning.DROPPED: "",
}


def deciders(decision: Decision) -> list[Policy]:
    if decision.entries:
        return list(dict.fromkeys(entry.policy for entry in decision.entries))
    return list(decision.denying)


def same_policy(ref: PolicyRef, policy: Policy) -> bool:
    if ref.kind and ref.kind != policy.kind:
        return False
    return ref.name == policy.name and ref.namespace == policy.namespace


def _passes(decision: Decision, request: Request) -> bool | str:
    """What the L7 rules of a decision say about a request."""
    layer7 = request.layer7
    rules = [rule.l7 for rule in decision.ports if rule.l7 is not None]
    if any(rule.kind == "tls" for rule in rules):
        return "server names and listeners are not in the records"
    if layer7.dns_query:
        named = [rule for rule in rules if rule.kind == "dns"]
        return any(rule.passes_name(layer7.dns_query) for rule in named) if named else True
    if not layer7.http_method:
        return "the proxy's record has neither a name nor a request"
    doubt = ""
    for rule in rules:
        if rule.kind == "http":
            passes = rule.passes_request(
                layer7.http_method,
                layer7.http_url,
                layer7.http_headers or None,
                hidden=request.hidden,
            )
            if passes is True:
                return True
            if passes:
                doubt = str(passes)
    return doubt or False


def passes_requests(decision: Decision, requests: Sequence[Request]) -> bool | str:
    """Whether all requests of an attempt pass the L7 rules of a decision; a string: why nobody can tell."""
    if not requests:
        return _all_pass(decision) or "L7 rules decide, and the records have no request"
    doubt = ""
    for request in requests:
        passes = _passes(decision, request)
        if passes is False:
            return False
        if isinstance(passes, str):
            doubt = passes
    return doubt or True


def _all_pass(decision: Decision) -> bool:
    """Whether the L7 rules refuse nothing: the name ``*``, or an HTTP rule that asks for nothing."""
    for rule in decision.ports:
        if rule.l7 is None:
            return True
        if any(name.every for name in rule.l7.dns):
            return True
        if any(not (one.path or one.method or one.host or one.headers) for one in rule.l7.http):
            return True
    return False


def refusal(seen: Observation, decision: Decision) -> str:
    """The first request of an attempt that the proxy refused, and by what the closest rule misses it.

    In words; "" without one.
    """
    refused = next((one.layer7 for one in seen.requests if not one.passed), None)
    if refused is None:
        return ""
    rules = [rule.l7 for rule in decision.ports if rule.l7 is not None]
    closest = missed(rules, refused.http_method, refused.http_url) if refused.http_method else ""
    if refused.dns_query:
        closest = missed_lookup([name for one in rules for name in one.dns], refused.dns_query)
    return describe(refused) + closest


def describe(layer7: Layer7) -> str:
    """A request in words; as hostile as the record."""
    if layer7.dns_query:
        return f"DNS query for {layer7.dns_query}"
    return f"{layer7.http_method} {layer7.http_url}"
