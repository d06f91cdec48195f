"""Cilium's answers and ours, side by side."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from flowwatch.policy import Decision, Party, PolicySet, Question, Rejected, load
from tests.interop.oracle import Answer, Asked, Who


class Ours:
    """Our engine, asked in the oracle's terms."""

    def __init__(self, text: str) -> None:
        """Load a text of policies."""
        self._policies: PolicySet = load([("policies.yaml", text)])
        self._parties: dict[Who, Party] = {}

    @property
    def rejected(self) -> Sequence[Rejected]:
        """Documents that we refuse."""
        return self._policies.documents.rejected

    def decide(self, asked: Asked) -> Decision:
        """Our decision on one question."""
        return self._policies.decide(
            Question(
                "egress" if asked.direction == "egress" else "ingress",
                self._party(asked.subject),
                self._party(asked.peer),
                asked.protocol,
                asked.port,
            )
        )

    def _party(self, who: Who) -> Party:
        if who not in self._parties:
            self._parties[who] = who.party()
        return self._parties[who]


@dataclass
class Tally:
    """What came of comparing decisions."""

    counts: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)
    """Each decision that isn't the same, "can't tell" among them."""

    def add(self, where: str, asked: Asked, theirs: Answer, ours: Decision | Answer) -> None:
        """Count one decision. `ours` is the engine's, or another answer of the oracle."""
        if isinstance(ours, Answer):
            given, reason = (ours.verdict, ours.l7, ours.selected), ""
        else:
            given, reason = (ours.decision, ours.l7, ours.selected), ours.reason
        wanted = theirs.verdict, theirs.l7, theirs.selected
        outcome = "equal" if given == wanted else "different"
        if given[0] == "cant_tell":
            outcome = "can't tell"
        self.counts["compared"] += 1
        self.counts[outcome] += 1
        if outcome != "equal":
            self.differences.append(f"{where}: {asked}: Cilium {wanted}, ours {given} {reason}")

    def __str__(self) -> str:
        words = ("compared", "equal", "can't tell", "different")
        return "decisions " + ", ".join(f"{word} {self.counts[word]}" for word in words)
