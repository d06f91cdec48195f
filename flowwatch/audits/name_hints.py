"""Mistakes with DNS names: what lookups, answers and their addresses give away of a policy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from flowwatch.audits.evidence import Observation
from flowwatch.audits.findings import Hint
from flowwatch.audits.judged import Judged, hint
from flowwatch.flows.clocks import time_of_day
from flowwatch.policy.engine import PolicySet
from flowwatch.policy.names import NameRule
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Name
from flowwatch.policy.rules import Entry

_DNS = 53
_OTHERS = 3


def without_dns(entries: Sequence[Entry]) -> Iterator[Hint]:
    """``toFQDNs`` learns addresses from the DNS proxy alone."""
    if _shows_lookups(entries):
        return
    for entry in entries:
        if _names(entry):
            yield hint(
                "missing-dns-rule", entry,
                f"{entry.place} allows DNS names, but no rule sends lookups through the DNS proxy "
                "(port 53 with rules: dns): no address is ever learnt, and it allows nothing",
            )  # fmt: skip


def alias(
    policies: PolicySet, row: Judged, aliases: Mapping[str, tuple[str, ...]]
) -> Iterator[Hint]:
    """A rule that names what a CNAME leads to: Cilium goes by the name that the pod asks for."""
    if row.decision.why != "default deny" or not row.seen.peer.outside:
        return
    for entry in policies.selected(row.seen.subject, row.seen.direction).entries:
        rules = _names(entry)
        for name in row.seen.peer.names or ():
            targets = [
                to for to in aliases.get(name, ()) if any(rule.matches(to) for rule in rules)
            ]
            if targets and entry.effect == "allow":
                target = targets[0].rstrip(".")
                yield hint(
                    "name-behind-an-alias", entry,
                    f"{entry.place} allows {target}; the pod asks for {name}, which leads there by "
                    f"CNAME, and only the name asked for counts: allow {name}",
                    row.attempts,
                )  # fmt: skip


def name_then(policies: PolicySet, row: Judged) -> Iterator[Hint]:
    """Dropped while no answer vouched for a name that a rule allows: later, or no longer."""
    seen = row.seen
    if not seen.absent or seen.direction != "egress" or row.decision.why != "default deny":
        return
    for entry in policies.selected(seen.subject, "egress").entries:
        if entry.effect != "allow":
            continue
        if entry.matches_port(seen.protocol, seen.asked_port, seen.peer) is not True:
            continue
        for name, since, expired in seen.absent:
            if not any(rule.matches(name) for rule in _names(entry)):
                continue
            what = f"{entry.place} allows {name}:{seen.port}/{seen.protocol}, and its address {seen.peer.ip}"
            if expired:
                yield hint(
                    "name-expired", entry,
                    f"{what} was dropped after the answer that named it had expired ({time_of_day(expired)} "
                    f"UTC{_answer_before(seen, name)}): the application kept the address longer than the "
                    "answer said",
                    row.attempts,
                )  # fmt: skip
            else:
                yield hint(
                    "name-not-yet-known", entry,
                    f"{what} was dropped before the name was first looked up through the DNS proxy: "
                    f"allowed from {time_of_day(since)} UTC on (an address kept from before the policy)",
                    row.attempts,
                )  # fmt: skip
            return


def _answer_before(seen: Observation, name: str) -> str:
    last = next((one for one in seen.answered if one.name == name), None)
    return f"; {last.expired}" if last else ""


def shared_address(row: Judged) -> Iterator[Hint]:
    """A name that no rule allows, at the address of one that a rule allows: it passes by that."""
    names = row.seen.peer.names
    if not names or len(names) < 2 or not row.seen.peer.outside:
        return
    allowing = [peer for entry in row.decision.entries for peer in entry.peers or ()]
    rules = [rule for entry in row.decision.entries for rule in _names(entry)]
    if not rules or any(
        not isinstance(peer, Name) and peer.matches(row.seen.peer) for peer in allowing
    ):
        return
    others = [name for name in names if not any(rule.matches(name) for rule in rules)]
    if others:
        entry = row.decision.entries[0]
        known = next(name for name in names if name not in others)
        yield hint(
            "shared-address", entry,
            f"{entry.place} allows {known}; {', '.join(others[:_OTHERS])} has the same address "
            f"({row.seen.peer.ip}), and passes by it",
            row.attempts,
        )  # fmt: skip


def lookups_elsewhere(policies: PolicySet, row: Judged) -> Iterator[Hint]:
    """Lookups that pass beside the DNS proxy, of a pod whose rules name names."""
    seen = row.seen
    if seen.port != _DNS or seen.protocol not in ("UDP", "TCP") or row.decision.l7:
        return
    entries = policies.selected(seen.subject, "egress").entries
    if not _shows_lookups(entries):
        return  # that is told of the policy itself
    for entry in entries:
        if not _names(entry):
            continue
        yield hint(
            "lookups-beside-the-proxy", entry,
            f"{entry.place} allows DNS names, but lookups at {seen.peer_name} pass without DNS rules: "
            "what they answer is never learnt (node-local DNS? select it in the rule with rules: dns)",
            row.attempts,
        )  # fmt: skip
        return


def no_lookups(policies: PolicySet, rows: Sequence[Judged]) -> Iterator[Hint]:
    """Pods that policies let out, and all of whose lookups they deny: DNS was forgotten, or is elsewhere."""
    asked: dict[tuple[Party, str], list[Judged]] = {}
    for row in rows:
        seen = row.seen
        lookup = (
            seen.direction == "egress" and seen.port == _DNS and seen.protocol in ("UDP", "TCP")
        )
        if lookup and not seen.unknown and seen.answer_port is None:
            asked.setdefault((seen.subject, seen.subject_name), []).append(row)
    for (subject, name), lookups in asked.items():
        if any(row.decision.why != "default deny" for row in lookups):
            continue
        allows = [
            entry
            for entry in policies.selected(subject, "egress").entries
            if entry.effect == "allow" and entry.peers != ()
        ]
        if not allows or (any(map(_names, allows)) and not _shows_lookups(allows)):
            continue  # nothing shall go out, or the missing rule is told of already
        entry = next((one for one in allows if _shows_lookups([one])), allows[0])
        servers = dict.fromkeys(row.seen.peer_name for row in lookups)
        meant = ", ".join(map(str, entry.peers or ())) if _shows_lookups([entry]) else ""
        yield hint(
            "lookups-denied", entry,
            f"no rule lets {name} ask {', '.join(list(servers)[:_OTHERS])} on port 53, where all its lookups "
            "went: no name is found, of services and of what is outside"
            + (f" ({entry.place} sends them to {meant})" if meant else ""),
            sum(row.attempts for row in lookups),
        )  # fmt: skip


def _names(entry: Entry) -> list[NameRule]:
    """The DNS names that a rule is about."""
    return [peer.rule for peer in entry.peers or () if isinstance(peer, Name)]


def _shows_lookups(entries: Sequence[Entry]) -> bool:
    """Whether a rule sends lookups through the DNS proxy."""
    return any(
        rule.l7 is not None and rule.l7.kind == "dns"
        for entry in entries
        for rule in entry.ports or ()
    )
