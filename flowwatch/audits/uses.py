"""Who needs which rule: each question that was asked, and how often, whatever became of it and when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from flowwatch.audits.asking import Asking
from flowwatch.audits.document_notes import foreign_notes
from flowwatch.audits.findings import PolicyUse, RuleUse
from flowwatch.audits.judge import Judge
from flowwatch.audits.options import care_of_options
from flowwatch.flows.coverage import Coverage
from flowwatch.policy.engine import PolicySet, Selected
from flowwatch.policy.names import full
from flowwatch.policy.party import Party
from flowwatch.policy.peers import Name
from flowwatch.policy.rules import Direction, Entry, Policy

MAX_QUESTIONS = 200_000
"""Questions, and subjects, remembered; past it they are found anew."""


Met = tuple[Entry, tuple[int, ...], tuple[int, ...], bool]
"""A rule, which of its peers and of its ports (by their place) an attempt met, and whether that is sure."""

Question = tuple[Party, Party, Direction, str, int]
"""Whose policies are asked, of whom, in which direction, about which protocol and port."""
_OTHER: dict[Direction, Direction] = {"egress": "ingress", "ingress": "egress"}


class Questions:
    """Which rules a question meets, each asked by itself; remembered, since questions repeat."""

    def __init__(self, judge: Judge) -> None:
        self._policies = judge.policies
        self._known: dict[Question, tuple[Met, ...]] = {}
        self._names: dict[Party, frozenset[str] | None] = {}
        self._by_port: dict[tuple[Selected, str, int, bool], _About] = {}

    def meets(self, seen: Asking) -> tuple[Met, ...]:
        """The entries that match the attempt, with which of their peers and ports."""
        return self.met((seen.subject, seen.peer, seen.direction, seen.protocol, seen.asked_port))

    def met(self, question: Question) -> tuple[Met, ...]:
        """The same of a question that may never have been asked."""
        found = self._known.get(question)
        if found is None:
            if len(self._known) >= MAX_QUESTIONS:
                self._known.clear()
            found = self._known[question] = self._matching(*question)
        return found

    def _matching(
        self, subject: Party, peer: Party, way: Direction, protocol: str, port: int
    ) -> tuple[Met, ...]:
        selected = self._policies.selected(subject, way)
        about = self._about(selected, protocol, port, peer if way == "egress" else subject)
        if not about:
            return ()
        found = []
        names = self._names_of(peer)
        for entry in selected.index.candidates(peer):
            # Ports and names first: peers are dear to ask.
            met = about.get(entry)
            if met is None:
                continue
            sure, ports, named = met
            if named is not None and names is not None and names.isdisjoint(named):
                continue
            peer_match = entry.matches_peer(peer)
            if not peer_match:
                continue
            several = entry.peers or ()
            peers = (
                (0,)
                if peer_match is True and len(several) == 1
                else tuple(at for at, one in enumerate(several) if one.matches(peer) is True)
            )
            found.append((entry, peers, ports, peer_match is True and sure))
        return tuple(found)

    def _names_of(self, peer: Party) -> frozenset[str] | None:
        """The names by which rules can mean ``peer``; None where not by these alone."""
        if peer not in self._names:
            if len(self._names) >= MAX_QUESTIONS:
                self._names.clear()
            known = not peer.node and peer.names is not None
            if known and any(label.startswith("fqdn:") for label in peer.labels):
                known = False
            names = peer.names if known and peer.outside else ()
            self._names[peer] = frozenset(map(full, names or ())) if known else None
        return self._names[peer]

    def _about(self, selected: Selected, protocol: str, port: int, listener: Party) -> _About:
        """The entries about a port of ``listener``."""
        key = None if listener.ports else (selected, protocol, port, listener.ports is None)
        found = self._by_port.get(key) if key is not None else None
        if found is None:
            found = {}
            for entry in selected.entries:
                if match := entry.matches_port(protocol, port, listener):
                    ports = enumerate(entry.ports or ())
                    found[entry] = (
                        match is True,
                        tuple(at for at, one in ports if one.matches(protocol, port, listener.ports) is True),
                        _only_names(entry),
                    )  # fmt: skip
            if key is not None:
                if len(self._by_port) >= MAX_QUESTIONS:
                    self._by_port.clear()
                self._by_port[key] = found
        return found


_About = dict[Entry, tuple[bool, tuple[int, ...], frozenset[str] | None]]
"""Rules about a port: whether that is sure, by which of their ports, and names where it means no more."""


def _only_names(entry: Entry) -> frozenset[str] | None:
    """The names that an entry means and nothing else, and no pattern; None where it means more."""
    names = [one.rule for one in entry.peers or () if isinstance(one, Name) and one.rule.exact]
    if entry.peers is None or len(names) < len(entry.peers):
        return None
    return frozenset(full(one.text) for one in names)


class Uses:
    """Takes in what was asked; several are added up by :func:`policy_uses`."""

    def __init__(self, judge: Judge, questions: Questions) -> None:
        self._judge = judge
        self._policies = judge.policies
        self.questions = questions
        self.attempts = 0
        """In their directions."""
        self.needed: Counter[Entry] = Counter()
        self.perhaps: Counter[Entry] = Counter()
        """Attempts of which can't be told whether they need the rule."""
        self.met_peers: dict[Entry, set[int]] = {}
        self.met_ports: dict[Entry, set[int]] = {}
        self.subjects: dict[Policy, dict[str, None]] = {}
        self.unlabelled = 0
        """Attempts of pods whose labels aren't recorded: any policy may select these."""
        self.subjects_seen: set[tuple[Party, str]] = set()
        """With the name of each."""
        self.verdicts = False
        """Whether any policy verdict of a selected pod was seen."""
        self.asked = False
        """Whether anything was seen that the policies should have been asked about."""
        self._possible: dict[tuple[Party, Direction], tuple[Entry, ...]] = {}
        self.sides: set[tuple[Party, Direction]] = set()
        """Whose policies records show to be asked."""
        self.across: Counter[Question] = Counter()
        """Attempts by what the other end's policies were asked, if records had its side."""

    def empty(self) -> Uses:
        """Another by the same policies."""
        return Uses(self._judge, self.questions)

    def add(self, seen: Asking, attempts: int = 1) -> None:
        """Count so many attempts that asked this."""
        judge, judged = self._judge, seen.judged
        self.attempts += attempts
        if judge.unknown(seen):
            self.asked |= judged and not seen.waits_for_auth
            self._use_perhaps(seen, attempts)
            return
        if judged:
            self._use(seen, attempts)
            self._note_sides(seen, attempts)
        self._note_subject(seen)
        selected = self._policies.selected(seen.subject, seen.direction)
        self.verdicts |= selected.selected and seen.verdict
        if judged and not self.asked and not seen.waits_for_auth:
            self.asked = not judge.aside(seen, selected.selected, self._always(seen, selected))

    def _always(self, seen: Asking, selected: Selected) -> bool:
        """Whether the cluster denies it, and no policy."""
        return selected.always and self._judge.decide(seen).always

    def _use(self, seen: Asking, attempts: int) -> None:
        """Which rules this needs: each is asked by itself, whatever the others decide."""
        for entry, peers, ports, sure in self.questions.meets(seen):
            if not sure:
                self.perhaps[entry] += attempts
                continue
            self.needed[entry] += attempts
            if entry not in self.met_peers:
                self.met_peers[entry], self.met_ports[entry] = set(), set()
            self.met_peers[entry].update(peers)
            self.met_ports[entry].update(ports)

    def _note_sides(self, seen: Asking, attempts: int) -> None:
        """What passed at one end the other's policies let pass, too: records may have no word of that."""
        subject, peer, way = seen.subject, seen.peer, seen.direction
        self.sides.add((subject, way))
        if seen.denied or peer.outside or not peer.labels or peer.cluster != subject.cluster:
            return
        question = (peer, subject, _OTHER[way], seen.protocol, seen.asked_port)
        if question in self.across or len(self.across) < MAX_QUESTIONS:
            self.across[question] += attempts

    def _note_subject(self, seen: Asking) -> None:
        """Whom each policy selects, among those whose labels are known."""
        subject = seen.subject
        if (subject, seen.subject_name) not in self.subjects_seen and len(
            self.subjects_seen
        ) < MAX_QUESTIONS:
            self.subjects_seen.add((subject, seen.subject_name))
            for rule in self._policies.rules:
                if rule.subject.selects(subject):
                    self.subjects.setdefault(rule.policy, {})[seen.subject_name] = None

    def _use_perhaps(self, seen: Asking, attempts: int) -> None:
        """Which rules an attempt may have needed that nobody can ask about."""
        subject, way = seen.subject, seen.direction
        node = self._judge.unlabelled_node(seen)
        if seen.labelled and not node:
            self._note_subject(seen)
        else:
            self.unlabelled += attempts
        entries = self._possible.get((subject, way))
        if entries is None:
            if len(self._possible) >= MAX_QUESTIONS:
                self._possible.clear()
            entries = self._possible[subject, way] = tuple(
                entry
                for rule in self._policies.rules
                if (node and rule.subject.host)
                or not seen.labelled
                or rule.subject.selects(subject)
                for entry in rule.entries
                if entry.direction == way
            )
        for entry in entries:
            self.perhaps[entry] += attempts


def policy_uses(policies: PolicySet, counted: Sequence[Uses]) -> tuple[PolicyUse, ...]:
    """What each policy was needed for, in the order of their files; nothing yet of what it forbids."""
    uses = []
    beyond, others = _beyond(policies, counted)
    for policy in policies.policies:
        entries = [
            entry
            for rule in policies.rules
            if rule.policy is policy
            for entry in rule.entries
            if not entry.implied
        ]
        names = {name: None for one in counted for name in one.subjects.get(policy, ())}
        uses.append(
            PolicyUse(
                policy,
                tuple(names),
                tuple(_rule_use(entry, counted, beyond[entry]) for entry in entries),
                unlabelled=sum(one.unlabelled for one in counted),
                others=others[policy],
            )
        )
    return tuple(uses)


def _beyond(policies: PolicySet, counted: Sequence[Uses]) -> tuple[Counter[Entry], Counter[Policy]]:
    """Attempts by a rule that they may have needed, and by a policy, at an end whose side no record has."""
    sides = {(party.labels, way) for one in counted for party, way in one.sides}
    entries: Counter[Entry] = Counter()
    others: Counter[Policy] = Counter()
    for one in counted:
        for question, attempts in one.across.items():
            subject, _, way = question[:3]
            if (subject.labels, way) in sides:
                continue
            for entry, _, _, _ in one.questions.met(question):
                entries[entry] += attempts
            selecting = {rule.policy for rule in policies.rules if rule.subject.selects(subject)}
            others.update(dict.fromkeys(selecting, attempts))
    return entries, others


def _rule_use(entry: Entry, counted: Sequence[Uses], beyond: int) -> RuleUse:
    peers = {at for one in counted for at in one.met_peers.get(entry, ())}
    ports = {at for one in counted for at in one.met_ports.get(entry, ())}
    unused = []
    if len(entry.peers or ()) > 1:
        unused += [str(one) for at, one in enumerate(entry.peers or ()) if at not in peers]
    if len(entry.ports or ()) > 1:
        unused += [str(one) for at, one in enumerate(entry.ports or ()) if at not in ports]
    attempts = sum(one.needed[entry] for one in counted)
    perhaps = sum(one.perhaps[entry] for one in counted) + beyond
    return RuleUse(entry, attempts, tuple(unused) if attempts else (), perhaps)


def care(
    policies: PolicySet, clusters: Iterable[str], counted: Sequence[Uses], coverage: Coverage
) -> Iterator[str]:
    """What to bear in mind, before all numbers; ``clusters`` are those of the pods seen."""
    options = policies.options
    yield from care_of_options(options, clusters)
    seen = sorted(set().union(*(one.subjects_seen for one in counted)), key=lambda one: one[1])
    yield from foreign_notes(policies.documents, seen)
    asked = any(one.asked for one in counted)
    if asked and not any(one.verdicts for one in counted) and options.enforcement != "never":
        yield (
            "which records are policy verdicts isn't recorded: whether anything is enforced can't be told"
            if coverage.not_recorded
            else "no policy verdict of the pods that these policies select: nothing is enforced on them, "
            "or verdict records are off or left out (flowwatch doctor tells)"
        )
    yield from coverage.warnings
