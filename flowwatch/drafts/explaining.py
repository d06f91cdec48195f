"""Why a peer is in a draft, or isn't: what shows it, where it stands, and why it is named so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flowwatch.drafts.documents import Kind, moment, says, together, told
from flowwatch.drafts.needs import Evidence, Need
from flowwatch.drafts.rules import Plan, Port, Rule, Target, spelt
from flowwatch.text import plural


@dataclass(frozen=True, slots=True)
class Asked:
    """A peer as a person names it, with or without a port."""

    peer: str
    port: int = 0

    @classmethod
    def read(cls, text: str) -> Asked:
        """``api.github.com:443``, ``[2001:db8::7]:443``, ``shop/api``; names in any case."""
        host, colon, port = text.rpartition(":")
        if colon and port.isdecimal() and (":" not in host or host.endswith("]")):
            return cls(host.strip("[]").removesuffix(".").lower(), int(port))
        return cls(text.strip("[]").removesuffix(".").lower())

    def means(self, target: Target, port: int, seen: Evidence | None = None) -> bool:
        """Whether it is this peer, by its name, its service or an address that it had."""
        return self.port in (0, port) and self.is_peer(target, seen)

    def is_peer(self, target: Target, seen: Evidence | None = None) -> bool:
        """The same on any port."""
        also = set() if seen is None else seen.addresses | seen.services
        return self.peer == target.text.lower() or self.peer in {one.lower() for one in also}


def explained(plan: Plan, text: str, kind: Kind = "cnp") -> Iterator[str]:
    """What a plan makes of one peer; not made safe."""
    asked = Asked.read(text)
    found = [*_allowed(plan, asked, kind), *_dropped(plan, asked), *_scanned(plan, asked)]
    found += _unusable(plan, asked)
    yield from found
    if found:
        return
    if others := _other_ports(plan, asked):
        yield f"doesn't allow {text}: it was only seen on {', '.join(others)}"
    elif asked.peer in plan.owned.lookups:
        yield f"doesn't allow {text}: its name was looked up, but no attempt to reach it was seen"


def _allowed(plan: Plan, asked: Asked, kind: Kind) -> Iterator[str]:
    counted = {"egress": 0, "ingress": 0}
    for rule in plan.rules:
        place = f"spec.{rule.direction}.{counted[rule.direction]}"
        written = says(rule, kind)
        counted[rule.direction] += written
        stands = f"stands in {place}" if written else "has no word in this kind of policy"
        for (target, port), seen in rule.evidence.items():
            if asked.means(target, port.number, seen):
                how = _how(rule, target, seen, asked)
                yield f"allows {spelt(target, port)}/{port.protocol}: {told(seen)}; {stands}, {how}"
        for target in rule.targets:
            if rule.assumed and asked.is_peer(target):
                yield f"allows {target.text}: {rule.assumed}; {stands}"


def _how(rule: Rule, target: Target, seen: Evidence, asked: Asked) -> str:
    """Why it is named so."""
    known = f": {asked.peer} was one of its addresses" if asked.peer in seen.addresses else ""
    if target.form == "pods":
        labels = ", ".join(f"{key}={value}" for key, value in target.selected.labels)
        also = target.selected.also
        others = (
            f"which {', '.join(also)} has too" if also else "the fewest that no other pod seen has"
        )
        return f"by {labels or 'its namespace'}, {others}"
    if target.form == "name":
        whose = "is the address's last known" if seen.lent else "these pods asked for"
        return f"by the name that {whose}{known}"
    if target.form == "address":
        return "by the address, as no name was seen for it: it may change"
    if target.form == "entity":
        return "by what Cilium calls it, whatever its address"
    return f"by what was chosen{known}" if rule.form == "pattern" else f"by its group{known}"


def _dropped(plan: Plan, asked: Asked) -> Iterator[str]:
    for (_, target, port), (seen, until) in together(plan.candidates).items():
        if asked.means(target, port.number, seen):
            before = f"; let through until {moment(until)}" if until else ""
            yield (
                f"doesn't allow {spelt(target, port)}/{port.protocol}, which a policy drops: "
                f"{told(seen)}{before}; --allow takes it in"
            )


def _scanned(plan: Plan, asked: Asked) -> Iterator[str]:
    for target, ports in plan.scans:
        if asked.is_peer(target):
            yield f"doesn't allow {target.text}: {plural(ports, 'port')} tried without an answer, a scan"


def _unusable(plan: Plan, asked: Asked) -> Iterator[str]:
    """Attempts that neither teach nor are candidates."""
    for (need, why), attempts in sorted(plan.owned.unusable.items()):
        target = plan.targets.get(need, Target("address", need.peer.name))
        if asked.means(target, need.port):
            name = spelt(target, Port(need.protocol, need.port))
            yield f"doesn't learn from {plural(attempts, 'attempt')} to {name}/{need.protocol}: {why}"
    if asked.peer == "host" and plan.owned.probes:
        yield (
            f"needs no rule for {plural(plan.owned.probes, 'attempt')} of its node: "
            "Cilium lets them in whatever policies say"
        )


def _other_ports(plan: Plan, asked: Asked) -> list[str]:
    every: list[tuple[Need, Evidence]] = [*plan.wanted.items()]
    every += [(one.need, one.evidence) for one in plan.candidates]
    return sorted(
        {
            f"{need.port}/{need.protocol}"
            for need, seen in every
            if asked.is_peer(plan.targets[need], seen)
        }
    )
