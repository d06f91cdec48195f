"""A draft that a person decides on, row by row: what is chosen, undone, and what that proves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import Literal, NamedTuple

from flowwatch.drafts.documents import Made, says, told, written
from flowwatch.drafts.draft import Document, Drafter, Proof, head_of, proven
from flowwatch.drafts.judging import Judging
from flowwatch.drafts.needs import Evidence, Need
from flowwatch.drafts.rules import Candidate, Plan, Planner, Port, Rule, Target, merged
from flowwatch.drafts.selecting import Selected
from flowwatch.policy import PolicySet, load
from flowwatch.policy.rules import Direction

Naming = Literal["as drafted", "pattern", "namespace", "address", "block"]

_BLOCKS = {4: 24, 6: 64}
"""Bits of the block that stands for an address and its neighbours, by the version of IP."""


class Choice(NamedTuple):
    """What a person says of one row."""

    on: bool
    naming: Naming = "as drafted"
    any_port: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One peer in one direction: what shows it, and what may be chosen."""

    direction: Direction
    target: Target
    needs: tuple[tuple[Need, Evidence], ...]
    dropped: bool
    """Whether it is dropped by now: a candidate."""
    ways: tuple[tuple[Naming, Target], ...]
    """How it may be named, the way of the draft first."""

    @property
    def ports(self) -> tuple[Port, ...]:
        return tuple(sorted({Port(need.protocol, need.port) for need, _ in self.needs}))

    @property
    def evidence(self) -> Evidence:
        found = Evidence()
        for _, one in self.needs:
            found = found.merged(one)
        return found

    @property
    def attempts(self) -> int:
        return sum(one.attempts for _, one in self.needs)

    @property
    def words(self) -> str:
        """Its evidence; not made safe."""
        return told(self.evidence)

    def named(self, choice: Choice) -> Target:
        """The target that is chosen."""
        return dict(self.ways)[choice.naming]


@dataclass(frozen=True)
class State:
    """The choices for one owner at one moment: policy and proof follow from them."""

    choices: tuple[Choice, ...]
    hand: str = ""
    """The policy as it was edited by hand; "" when the choices make it."""


@dataclass
class Sheet:
    """One owner's policy while it is edited."""

    planner: Planner
    plan: Plan
    drafter: Drafter
    rows: tuple[Row, ...]
    states: list[State] = field(default_factory=list)
    """The newest last; those before are what undo goes back to."""

    made: Made = field(default_factory=dict)
    _judging: Judging = field(default_factory=Judging)

    @property
    def state(self) -> State:
        return self.states[-1]

    def choice(self, row: int) -> Choice:
        """What is chosen for a row."""
        return self.state.choices[row]

    def change(self, row: int, choice: Choice) -> None:
        """Choose otherwise for a row. What was edited by hand gives way; undo brings it back."""
        choices = list(self.state.choices)
        choices[row] = choice
        self._go(State(tuple(choices)))

    def toggle(self, row: int) -> None:
        """Need it, or drop it."""
        self.change(row, self.choice(row)._replace(on=not self.choice(row).on))

    def rename(self, row: int) -> None:
        """Name its peer the next way."""
        ways = [naming for naming, _ in self.rows[row].ways]
        at = ways.index(self.choice(row).naming)
        self.change(row, self.choice(row)._replace(naming=ways[(at + 1) % len(ways)]))

    def open_ports(self, row: int) -> None:
        """Any port, or the ports seen."""
        self.change(row, self.choice(row)._replace(any_port=not self.choice(row).any_port))

    def edit_by_hand(self, text: str) -> str:
        """Take the policy as ``text``, with the rows as it decides; why not, in words, or "".

        A text without a policy that Cilium would take is left out.
        """
        if text == self.text:
            return ""
        policies = load(
            [("edited", text)], options=self.drafter.options, groups=self.drafter.groups
        )
        for refused in policies.documents.rejected:
            return str(refused)
        if not policies.documents.policies:
            return "no policy of Cilium or Kubernetes is in it"
        choices = tuple(
            choice._replace(on=allows(policies, row))
            for row, choice in zip(self.rows, self.state.choices, strict=True)
        )
        self._go(State(choices, text))
        return ""

    def undo(self) -> bool:
        """Go back to what was before the last choice; whether there was any."""
        if len(self.states) < 2:
            return False
        self.states.pop()
        self._forget()
        return True

    def _go(self, state: State) -> None:
        self.states.append(state)
        self._forget()

    def _forget(self) -> None:
        for made in ("chosen", "text", "policies", "proof"):
            self.__dict__.pop(made, None)

    @cached_property
    def chosen(self) -> Plan:
        """The plan of the choices."""
        plan = Plan(self.plan.owner, self.plan.selected, self.plan.owned, scans=self.plan.scans)
        plan.apart = self.plan.apart
        needs: dict[Need, tuple[Target, Evidence]] = {}
        rules = []
        for row, choice in zip(self.rows, self.state.choices, strict=True):
            if not choice.on:
                _leave(plan, row)
                continue
            target = row.named(choice)
            seen = dict(row.needs)
            plan.wanted |= seen
            if choice.any_port:
                evidence = {(target, Port(n.protocol, n.port)): one for n, one in seen.items()}
                rules.append(Rule(row.direction, target.form, (target,), (), evidence))
            else:
                needs |= {need: (target, one) for need, one in seen.items()}
        self.planner.complete(plan, merged(needs, self.plan.port_names) + rules)
        return plan

    @cached_property
    def text(self) -> str:
        """The policy; "" while nothing is chosen."""
        if self.state.hand or not self.chosen.rules:
            return self.state.hand
        coverage = self.drafter.needs.join.coverage()
        stability = self.drafter.stability()
        head = head_of(self.chosen, coverage, self.drafter.kind, stability)
        return written(self.chosen, self.drafter.kind, head, self.made, stability)

    @cached_property
    def policies(self) -> PolicySet:
        """The policy, as the engine has it."""
        texts = [("draft.yaml", self.text)] if self.text else []
        return load(texts, options=self.drafter.options, groups=self.drafter.groups)

    @cached_property
    def proof(self) -> Proof:
        """What it decides about all that was seen."""
        return proven(self._judging.by(self.policies), [self.chosen])

    @property
    def file(self) -> str:
        """A file's name for it."""
        return Document(self.plan, "").file

    @property
    def written_rules(self) -> list[Rule]:
        """Those of :attr:`chosen` that the document holds, in its order."""
        return [one for one in self.chosen.rules if says(one, self.drafter.kind)]

    def rows_of(self, rule: Rule) -> Iterator[int]:
        """The rows that a rule of :attr:`chosen` comes from."""
        for at, (row, choice) in enumerate(zip(self.rows, self.state.choices, strict=True)):
            if choice.on and row.direction == rule.direction and row.named(choice) in rule.targets:
                yield at


class Editing:
    """The sheets of all owners that were seen."""

    def __init__(self, drafter: Drafter) -> None:
        """``drafter`` has read all that there is."""
        planner = drafter.planner()
        plans = planner.plans()
        sheets = [_sheet(planner, plan, drafter) for plan in plans]
        self.sheets = [sheet for sheet in sheets if sheet.rows]
        """Of those with anything to decide."""

    def first(self, namespace: str, name: str) -> int:
        """The sheet that is seen first: of this workload, else of which most was seen."""
        owners = [sheet.plan.owner for sheet in self.sheets]
        for wanted in ((namespace, name), (namespace, "")):
            for at, owner in enumerate(owners):
                if name and (owner.namespace, owner.name) == wanted:
                    return at
        busy = [sum(row.attempts for row in sheet.rows) for sheet in self.sheets]
        return busy.index(max(busy))


def allows(policies: PolicySet, row: Row) -> bool:
    """Whether policies let all of a row through."""
    return all(
        policies.ask(need.direction, *ends, need.protocol, need.port).decision == "allowed"
        for need, seen in row.needs
        for ends in seen.questions
    )


def _sheet(planner: Planner, plan: Plan, drafter: Drafter) -> Sheet:
    found: dict[tuple[bool, Direction, bool, Target], dict[Need, Evidence]] = {}
    dropped = {one.need: one for one in plan.candidates}
    for need, evidence in (
        *plan.wanted.items(),
        *((n, one.evidence) for n, one in dropped.items()),
    ):
        key = need.direction == "egress", need.direction, need in dropped, plan.targets[need]
        found.setdefault(key, {})[need] = evidence
    rows = tuple(
        Row(way, target, tuple(needs.items()), is_dropped, tuple(_ways(target, _addresses(needs))))
        for (_, way, is_dropped, target), needs in sorted(found.items(), key=lambda one: one[0])
    )
    return Sheet(
        planner, plan, drafter, rows, [State(tuple(Choice(not one.dropped) for one in rows))]
    )


def _addresses(needs: dict[Need, Evidence]) -> set[str]:
    return {address for seen in needs.values() for address in seen.addresses}


def _leave(plan: Plan, row: Row) -> None:
    for need, seen in row.needs:
        if not row.dropped:
            plan.left.append((row.target, Port(need.protocol, need.port), seen))
        plan.candidates.append(Candidate(need, row.target, seen))


def _ways(target: Target, addresses: set[str]) -> Iterator[tuple[Naming, Target]]:
    yield "as drafted", target
    if target.form == "pods" and target.selected.labels:
        text = f"{target.namespace}/*"
        yield "namespace", target._replace(text=text, selected=Selected(()))
    if target.form == "name":
        _, _, parent = target.text.partition(".")
        if "." in parent.strip("."):
            yield "pattern", Target("pattern", f"*.{parent}")
    if target.form in ("name", "group", "address") and len(addresses) == 1:
        (text,) = addresses
        address = ip_address(text.partition("%")[0])
        if target.form != "address":
            yield "address", Target("address", text)
        around = ip_network(f"{address}/{_BLOCKS[address.version]}", strict=False)
        yield "block", Target("address", str(around))
