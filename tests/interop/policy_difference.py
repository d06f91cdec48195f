"""Random pairs of policy sets: what `flowwatch diff` names, held against Cilium's engine, both ways.

    python -m tests.interop.policy_difference --pairs 2000 --seed 5

A pair is a random set and the same with policies taken away, put in, or rewritten. Every difference that is
named must be one to Cilium, and every question sampled from the universe on which Cilium's two answers
differ must be in a difference that is named; where they are equal, in none that is certain.
"""

import argparse
import copy
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from flowwatch.policy import Party, load, read_agent_options
from flowwatch.policy.agent_options import UNKNOWN
from flowwatch.policy.difference import Change, Difference, compare
from flowwatch.policy.rules import Direction
from tests.interop.compared import as_text, config_map
from tests.interop.oracle import Answer, Asked, Oracle, Who
from tests.interop.policy_maker import policy_sets
from tests.interop.policy_universe import FAR, OPTIONS, questions, subjects

BATCH = 60
"""Questions sampled for each pair."""
_ENDPOINTS = frozenset({"host", "health", "ingress", "init"})
"""Those of Cilium's own that policies can be about: the others are on no node of theirs."""
_UNSURE = ("other rules at the proxy", "can't tell")


class Wrong(AssertionError):
    """A difference that is none, or one that was missed."""


_ANYWHERE = ("172.31.255.9", "fd00::99")
"""Addresses of a pod or node in an example, which says something of all of them."""


def _who(party: Party, mode: str) -> Who:
    name = party.names[0] if party.names else ""
    who = Who(party.labels, party.ip, name, tuple(sorted((party.ports or {}).items())))
    has = "nodes" if party.node else "pods"
    if party.outside or has not in mode or (party.reserved and not party.node):
        return who
    # Whom blocks may mean has addresses.
    return replace(who, ip=_ANYWHERE[0], also=_ANYWHERE[1:])


def examples(changes: Sequence[Change], mode: str) -> list[Asked]:
    """The questions of differences, as Cilium is asked about them."""
    return [
        Asked(
            one.direction, _who(one.example.subject, mode), _who(one.example.peer, mode),
            one.example.protocol, one.example.port,
        )
        for one in changes
    ]  # fmt: skip


def _told(answer: Answer) -> tuple[str, bool]:
    return answer.verdict, answer.l7


def _both_families(who: Who) -> bool:
    """Whether an end outside, or an endpoint with an address of each family, which blocks may mean."""
    return not who.labels or {":" in at for at in (who.ip, *who.also)} == {True, False}


def _asked_of(one: Asked, text: str, mode: str) -> str:
    """Why a question is about nothing that a difference speaks of; "" if it is."""
    labels = (*one.subject.labels, *one.peer.labels)
    reserved = {label[9:] for label in one.subject.labels if label.startswith("reserved:")}
    if reserved - _ENDPOINTS:
        return "subject is no endpoint"
    if mode and any(who.ip and not _both_families(who) for who in (one.subject, one.peer)):
        return "an endpoint without an address of each family"
    if one.subject in FAR:
        return "subject is of another cluster"
    if one.peer.labels == ("reserved:world",):
        return "the world without an address"
    if "container:app" not in text and any(label.startswith("container:") for label in labels):
        return "labels of a source that no policy names"
    return ""


def _hold_named(
    named: Difference, before: Sequence[Answer], after: Sequence[Answer]
) -> Counter[str]:
    counts: Counter[str] = Counter()
    for change, old, new in zip(named.changes, before, after, strict=True):
        counts["named"] += 1
        if "fails" in (old.verdict, new.verdict) or change.kind in _UNSURE:
            counts["named, of proxies' rules or unsure"] += 1
            asked = change.example
            if change.kind == _UNSURE[0] and (old.l7, new.l7) != (asked.before.l7, asked.after.l7):
                raise Wrong(f"{change.kind} {change}: Cilium {old} then {new}")
            continue
        wanted = ("denied", "allowed") if change.kind == "newly allowed" else ("allowed", "denied")
        if (old.verdict, new.verdict) != wanted:
            raise Wrong(f"{change.kind} {change}: Cilium {old} then {new}")
        counts["named, and one to Cilium"] += 1
    return counts


def _hold_sampled(
    named: Difference, asked: Sequence[Asked], before: Sequence[Answer], after: Sequence[Answer],
    text: str,
    mode: str,
) -> Counter[str]:  # fmt: skip
    counts: Counter[str] = Counter()
    for one, old, new in zip(asked, before, after, strict=True):
        if why := _asked_of(one, text, mode):
            counts[f"left out: {why}"] += 1
            continue
        counts["sampled"] += 1
        direction: Direction = "egress" if one.direction == "egress" else "ingress"
        found = named.about(
            direction, one.subject.party(), one.peer.party(), one.protocol, one.port
        )
        kinds = {change.kind for change in found}
        counts["sampled, in a difference"] += bool(found)
        if _told(old) == _told(new):
            if kinds - set(_UNSURE):
                raise Wrong(f"{one}: Cilium {old} twice, named {kinds}")
            continue
        counts["sampled, differs to Cilium"] += 1
        wanted = {("denied", "allowed"): "newly allowed", ("allowed", "denied"): "newly denied"}
        kind = wanted.get((old.verdict, new.verdict))
        if not found or (kind and kinds != {kind} and "can't tell" not in kinds):
            raise Wrong(f"{one}: Cilium {old} then {new}, named {kinds or 'nothing'}")
    return counts


def rewritten(policies: list[Any], chance: random.Random) -> list[Any]:
    """The same policies in another order, with keys, selectors' parts and lists of peers reordered."""
    found = [_turned(one, chance) for one in policies]
    chance.shuffle(found)
    return found


_ORDERED = ("specs", "ingress", "egress", "ingressDeny", "egressDeny")
_ANY_ORDER = ("matchExpressions", "values", "toCIDR", "fromCIDR", "toEntities", "fromEntities", "toFQDNs",
              "toEndpoints", "fromEndpoints", "except")  # fmt: skip


def _turned(value: Any, chance: random.Random, key: str = "") -> Any:
    if isinstance(value, dict):
        items = list(value.items())
        chance.shuffle(items)
        return {name: _turned(one, chance, name) for name, one in items}
    if isinstance(value, list):
        inner = [_turned(one, chance) for one in value]
        if key in _ANY_ORDER:
            chance.shuffle(inner)
        return inner
    return value


def changed(policies: list[Any], others: list[Any], chance: random.Random) -> list[Any]:
    """A set beside the first: some of its policies left out, replaced, or added to."""
    groups = [one for one in policies if one["kind"] == "CiliumCIDRGroup"]
    rules = [copy.deepcopy(one) for one in policies if one["kind"] != "CiliumCIDRGroup"]
    fresh = [copy.deepcopy(one) for one in others if one["kind"] != "CiliumCIDRGroup"]
    for at, one in enumerate(fresh):
        one["metadata"]["name"] = f"q{at}"
    how = chance.randrange(4)
    if how == 0 and rules:
        rules.pop(chance.randrange(len(rules)))
    elif how == 1 and rules and fresh:
        rules[chance.randrange(len(rules))] = fresh[0]
    elif how == 2:
        rules += fresh[:1]
    else:
        for one in rules:
            _part_gone(one, chance)
    return [*rules, *groups]


def _part_gone(policy: Any, chance: random.Random) -> None:
    """Take an entry, a peer or a port away."""
    specs = [*([policy["spec"]] if policy.get("spec") else []), *(policy.get("specs") or [])]
    lists = [
        one
        for spec in specs
        for section in ("ingress", "egress", "ingressDeny", "egressDeny")
        for one in [spec.get(section)]
        if one
    ]
    inner = [
        one
        for entries in lists
        for entry in entries
        for one in entry.values()
        if isinstance(one, list)
    ]
    every = [one for one in (*lists, *inner) if one]
    if every:
        chosen = chance.choice(every)
        chosen.pop(chance.randrange(len(chosen)))


def run(pairs: int, start: int, options: Sequence[Mapping[str, str]] = OPTIONS[:1]) -> Counter[str]:
    """Hold about so many pairs by these options, the same ones for the same `start`. Raises Wrong."""
    total: Counter[str] = Counter()
    with Oracle() as oracle:

        @seed(start)
        @settings(
            max_examples=pairs, deadline=None, database=None, print_blob=False,
            suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
        )  # fmt: skip
        @given(
            policies=policy_sets(),
            others=policy_sets(),
            chosen=st.integers(0, 2**32),
        )
        def hold(policies: list[Any], others: list[Any], chosen: int) -> None:
            entries = options[chosen % len(options)]
            total.update(pair(oracle, policies, others, chosen, entries))

        hold()
    return total


def pair(
    oracle: Oracle, policies: list[Any], others: list[Any], chosen: int, entries: Mapping[str, str]
) -> Counter[str]:
    """Hold one pair. Raises Wrong."""
    by = read_agent_options(config_map(entries), "the test") if entries else UNKNOWN

    chance = random.Random(chosen)
    second = changed(policies, others, chance)
    texts = as_text(policies), as_text(second)
    rewrote = as_text(rewritten(policies, chance))
    old, new, itself, again = (
        load([("policies.yaml", text)], options=by) for text in (*texts, texts[0], rewrote)
    )
    for same in (itself, again):
        if found := compare(old, same).changes:
            raise Wrong(f"a set differs from itself: {found[0]}")
    named = compare(old, new)
    mode = entries.get("policy-cidr-match-mode", "")
    differing = examples(named.changes, mode)
    everybody = subjects()
    answers = [oracle.ask(text, everybody, entries).answers for text in texts]
    selected = [
        one for one, a, b in zip(everybody, *answers, strict=True) if a.selected or b.selected
    ]
    sampled = questions(chosen, BATCH, selected)
    first, then = (oracle.ask(text, [*differing, *sampled], entries).answers for text in texts)
    cut = len(differing)
    try:
        counts = _hold_named(named, first[:cut], then[:cut])
        counts += _hold_sampled(named, sampled, first[cut:], then[cut:], "".join(texts), mode)
    except Wrong as wrong:
        raise Wrong(f"{wrong}\n\n{texts[0]}\n\nand\n\n{texts[1]}") from None
    counts["pairs"] += 1
    counts["pairs that differ"] += bool(named.changes)
    return counts


def describe(total: Counter[str]) -> str:
    """The counts in words."""
    return ", ".join(f"{what} {count:,}" for what, count in sorted(total.items()))


def main(arguments: Sequence[str]) -> int:
    """Run as a program; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="policy_difference", description=__doc__)
    parser.add_argument("--pairs", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    try:
        for name, options in (("Cilium's defaults", OPTIONS[:1]), ("other options", OPTIONS[1:])):
            total = run(asked.pairs // 2, asked.seed, options)
            took = time.monotonic() - began
            print(f"{name}, seed {asked.seed}, {took:.0f} s: {describe(total)}", flush=True)
    except Wrong as wrong:
        print(wrong)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
