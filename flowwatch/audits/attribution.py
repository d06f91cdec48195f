"""Attribution: of each blocked attempt, which policy blocked it, in words.

    listing = AttemptListing(batches, ways, outcomes, Attributor(Judge(policies)))

The judgement is the audit's own (:mod:`flowwatch.audits.judge`), so the two can't disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowwatch.audits.evidence import Observation, Observer
from flowwatch.audits.judge import Judge, refusal
from flowwatch.audits.noise import lost
from flowwatch.flows import meaning
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.join import Joined
from flowwatch.flows.open_attempt import OpenAttempt
from flowwatch.policy.engine import Decision

_BLOCKED = (meaning.DROPPED, meaning.AUDIT)
_NOTHING: Mapping[str, str] = {}
NOT_GIVEN = "dropped by a policy that was not given"


class Attributor:
    """Tells what blocked an attempt (flowwatch.flows.listing.Teller)."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._observer = Observer(reach=judge.policies.options.reach)

    def take(self, joined: Joined) -> None:
        """Take in a batch."""
        self._observer.take(joined)

    def over(self, attempt: OpenAttempt, scope: Attempts) -> Mapping[str, str]:
        """The attribution of an attempt that is over, by direction; empty if nothing blocked it."""
        if attempt.outcome not in _BLOCKED:
            self._observer.forget(attempt)
            return _NOTHING
        return attributions(self._judge, self._observer.over(attempt, scope))


def attributions(judge: Judge, observations: Iterable[Observation]) -> dict[str, str]:
    """For each direction in which a blocked attempt was seen: what blocked it.

    What was blocked at the other end alone passed here, and is told so.
    """
    seen: dict[str, Observation] = {}
    for one in observations:
        if one.end not in seen or one.answer_port is not None:
            seen[one.end] = one
    blocked = {way: one for way, one in seen.items() if one.outcome in _BLOCKED}
    told: dict[str, str] = {}
    for way in seen:
        if way in blocked:
            told[way] = attribution(judge, blocked[way])
        elif blocked:
            (other,) = blocked.values()
            there = f"{other.direction} of {other.subject_name}"
            told[way] = f"{attribution(judge, other)} (at the other end: {there})"
        else:
            told[way] = "can't tell: no record shows in which direction it was dropped"
    return told


def attribution(judge: Judge, seen: Observation) -> str:
    """What blocked an attempt in its direction, by the policies that were given."""
    decision = judge.decide(seen)
    if seen.answer_port is not None:
        return f"its answer: {_attribution(judge, seen, decision)} ({seen.direction} of {seen.subject_name})"
    return _attribution(judge, seen, decision)


def _attribution(judge: Judge, seen: Observation, decision: Decision) -> str:
    if seen.outcome == meaning.DROPPED and not seen.by_policy and not seen.waits_for_auth:
        return lost(seen)
    if why := judge.unknown(seen):
        return f"can't tell: {why}"
    kind, why = judge.verdict(seen, decision)
    if kind in ("unexplained", "not covered"):
        named = ", ".join(dict.fromkeys(map(str, seen.named_denied)))
        text = f"{NOT_GIVEN}: {named}" if named else NOT_GIVEN
        return text if seen.outcome == meaning.DROPPED else f"passed in audit mode; to be {text}"
    if seen.outcome == meaning.AUDIT:
        though = "though these policies allow it: " if kind == "overblock" else ""
        return f"passed in audit mode: {though}{_said(judge, seen, decision)}"
    if kind == "inconclusive":
        return f"can't tell: {why}"
    if kind == "overblock":
        text = f"dropped though these policies allow it: {why}"
    elif kind == "leak":
        # One request was refused, another passed.
        text = f"blocked in part: {why}"
    else:
        text = _said(judge, seen, decision)
    other = judge.other_policy(seen, decision)
    return f"{text}; {other}" if other else text


def _said(judge: Judge, seen: Observation, decision: Decision) -> str:
    """The decision in words, with the closest rule or the request that no L7 rule allows."""
    refused = refusal(seen, decision)
    if decision.l7 and refused:
        where = ", ".join(map(str, decision.entries))
        return f"denied by the L7 rules of {where}: none allows {refused}"
    return decision.reason + judge.closest(seen, decision)
