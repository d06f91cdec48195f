"""Attribution: of each blocked attempt, which policy blocked it, in words.

    listing = AttemptListing(batches, ways, outcomes, Attributor(Judge(policies)))

The judgement is the audit's own (:mod:`flowwatch.audits.judge`), so the two can't disagree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowwatch.audits.evidence import Observation, Observer
from flowwatch.audits.judge import Judge, deciders, refusal
from flowwatch.audits.noise import lost
from flowwatch.flows import meaning
from flowwatch.flows.attempts import Attempts
from flowwatch.flows.cause import Cause
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
        told = causes(self._judge, self._observer.over(attempt, scope))
        return {way: cause.attribution for way, cause in told.items()}


def causes(judge: Judge, observations: Iterable[Observation]) -> dict[str, Cause]:
    """For each direction in which a blocked attempt was seen: what blocked it.

    What was blocked at the other end alone passed here, and is told so.
    """
    seen: dict[str, Observation] = {}
    for one in observations:
        if one.end not in seen or one.answer_port is not None:
            seen[one.end] = one
    blocked = {way: one for way, one in seen.items() if one.outcome in _BLOCKED}
    told: dict[str, Cause] = {}
    for way in seen:
        if way in blocked:
            told[way] = cause(judge, blocked[way])
        elif blocked:
            (other,) = blocked.values()
            words, text = cause(judge, other)
            there = f"{other.direction} of {other.subject_name}"
            words = f"{words}, {there}" if words else ""
            told[way] = Cause(words, f"{text} (at the other end: {there})")
        else:
            told[way] = _NO_DIRECTION
    return told


_NO_DIRECTION = Cause("can't tell", "can't tell: no record shows in which direction it was dropped")


def cause(judge: Judge, seen: Observation) -> Cause:
    """What blocked an attempt in its direction, by the policies that were given."""
    decision = judge.decide(seen)
    words, text = _words(judge, seen, decision), _attribution(judge, seen, decision)
    if seen.answer_port is None:
        return Cause(words, text)
    where = f"{seen.direction} of {seen.subject_name}"
    return Cause(words and f"answer: {words}, {where}", f"its answer: {text} ({where})")


def _words(judge: Judge, seen: Observation, decision: Decision) -> str:
    """The attribution for a cell: ``default deny · weather-egress``."""
    if seen.outcome == meaning.DROPPED and not seen.by_policy and not seen.waits_for_auth:
        return ""
    if judge.unknown(seen) or (decision.selected and decision.decision == "cant_tell"):
        return "can't tell"
    kind, _ = judge.verdict(seen, decision)
    if kind in ("unexplained", "not covered"):
        named = _few([ref.name for ref in seen.named_denied])
        return f"not given · {named}" if named else "a policy not given"
    if kind == "inconclusive" and seen.outcome == meaning.DROPPED:
        return "can't tell"
    named = _few([policy.name for policy in deciders(decision)])
    how = _HOW.get(decision.why, "no rule") if decision.decision == "denied" else "though allowed"
    if decision.l7:
        how = "L7 rules"
    return f"{how} · {named}" if named else how


_HOW = {"default deny": "default deny", "rule": "deny"}


def _few(names: Iterable[str]) -> str:
    """The first two, and how many others there are."""
    known = list(dict.fromkeys(name for name in names if name))
    more = f" +{len(known) - 2}" if len(known) > 2 else ""
    return ", ".join(known[:2]) + more


def _attribution(judge: Judge, seen: Observation, decision: Decision) -> str:
    if seen.outcome == meaning.DROPPED and not seen.by_policy and not seen.waits_for_auth:
        return lost(seen)
    if why := judge.unknown(seen):
        return f"can't tell: {why}"
    kind, why = judge.verdict(seen, decision)
    if kind in ("unexplained", "not covered"):
        named = ", ".join(
            dict.fromkeys(
                f"{one} selects the pod (default deny)" if one.selects else str(one)
                for one in seen.named_denied
            )
        )
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
