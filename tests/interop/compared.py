"""Cilium's answers and ours, side by side."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from flowwatch.policy import (
    Decision,
    Party,
    PolicyQuestion,
    PolicySet,
    Rejected,
    load,
    read_agent_options,
)
from flowwatch.policy.agent_options import UNKNOWN
from tests.interop.oracle import Answer, Asked, Who

CASES = Path(__file__).parent / "policy_cases"
"""Differences that were found once, each with Cilium's answers."""


class Ours:
    """Our engine, asked in the oracle's terms."""

    def __init__(self, text: str, options: Mapping[str, str] | None = None) -> None:
        """Load a text of policies, and entries of the ConfigMap."""
        read = read_agent_options(config_map(options), "the test") if options else UNKNOWN
        self._policies: PolicySet = load([("policies.yaml", text)], options=read)
        self._parties: dict[Who, Party] = {}

    @property
    def rejected(self) -> Sequence[Rejected]:
        """Documents that we refuse because Cilium would; what only the API server refuses decides."""
        return self._policies.documents.unread

    @property
    def told(self) -> Sequence[Rejected]:
        """All documents that the cluster would refuse."""
        return self._policies.documents.rejected

    @property
    def skipped(self) -> bool:
        """Whether there are documents of other kinds."""
        return bool(self._policies.documents.skipped)

    @property
    def refused(self) -> list[str]:
        """Their names, in order."""
        return sorted(rejected.name.rpartition("/")[2] for rejected in self.rejected)

    def decide(self, asked: Asked) -> Decision:
        """Our decision on one question."""
        return self._policies.decide(
            PolicyQuestion(
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


@dataclass
class Case:
    """A set of policies, the questions about it that matter, and what Cilium says."""

    policies: list[Any]
    asked: list[Asked] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """The names of the documents that Cilium doesn't take."""
    options: dict[str, str] = field(default_factory=dict)
    """Entries of the ConfigMap, where they aren't Cilium's defaults."""

    @property
    def text(self) -> str:
        """The documents."""
        return as_text(self.policies)

    def dump(self) -> str:
        """Write it as a file for `policy_cases`; the questions are lists as in the stored answers."""
        parties = list(dict.fromkeys(who for one in self.asked for who in (one.subject, one.peer)))
        questions = [
            [
                asked.direction, parties.index(asked.subject), parties.index(asked.peer),
                asked.protocol, asked.port, answer.verdict, answer.l7, answer.selected,
            ]
            for asked, answer in zip(self.asked, self.answers, strict=True)
        ]  # fmt: skip
        kept = {
            **({"options": self.options} if self.options else {}),
            "policies": self.policies,
            "refused": self.refused,
            "parties": [who.to_json() for who in parties],
            "questions": questions,
        }
        return yaml.safe_dump(kept, sort_keys=False, width=100, default_flow_style=None)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read one back."""
        kept = yaml.safe_load(path.read_text())
        parties = [Who.from_json(one) for one in kept["parties"]]
        return cls(
            policies=kept["policies"],
            asked=[
                Asked(way, parties[subject], parties[peer], protocol, port)
                for way, subject, peer, protocol, port, *_ in kept["questions"]
            ],
            answers=[Answer(*answer) for _, _, _, _, _, *answer in kept["questions"]],
            refused=kept["refused"],
            options=kept.get("options", {}),
        )


def config_map(entries: Mapping[str, str]) -> str:
    """The ConfigMap with these entries, as kubectl prints it."""
    metadata = {"name": "cilium-config", "namespace": "kube-system"}
    return json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(entries)}
    )


def as_text(policies: Sequence[Any]) -> str:
    """Documents as YAML (JSON is YAML, and quicker to write)."""
    return "\n---\n".join(json.dumps(policy) for policy in policies)
