"""Policy documents with one thing changed, judged by Cilium's parser and engine.

    python -m tests.interop.mutated_decisions --decisions 300000 --seed 5

What Cilium can't read, flowwatch must refuse, and where both read it they must decide the same. A document
that flowwatch refuses for the API server's sake alone decides all the same, and is compared, too.
"""

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import yaml

from flowwatch.policy import Decision
from tests.interop.compared import Ours
from tests.interop.document_questions import Questions
from tests.interop.judged_documents import real, whole
from tests.interop.oracle import Answer, Asked, Oracle
from tests.interop.policy_mutations import mutants
from tests.interop.program import PartFailed

BATCH = 30
"""Decisions compared of each document."""
_POOL = 100
"""Questions from which they are taken."""
_KINDS = ("CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy", "ClusterNetworkPolicy",
          "CiliumCIDRGroup")  # fmt: skip
_GROUP = yaml.safe_dump({
    "apiVersion": "cilium.io/v2", "kind": "CiliumCIDRGroup",
    "metadata": {"name": "group", "labels": {"kind": "partner"}},
    "spec": {"externalCIDRs": ["203.0.113.0/24", "10.9.0.0/16"]},
})  # fmt: skip
"""Given with every document, as some refer to it."""


@dataclass
class Outcome:
    """What came of a run."""

    counts: Counter[str] = field(default_factory=Counter)
    doubts: Counter[str] = field(default_factory=Counter)
    """Why we couldn't tell, by the reason."""
    worse: list[str] = field(default_factory=list)
    """What Cilium refuses and flowwatch takes, and decisions that differ where neither refuses."""
    odd: list[str] = field(default_factory=list)
    """Decisions that differ about documents that flowwatch refuses for the API server's sake."""

    def __str__(self) -> str:
        counts = ", ".join(f"{what} {count:,}" for what, count in sorted(self.counts.items()))
        doubts = ", ".join(f"{count:,} {why}" for why, count in self.doubts.most_common())
        return f"{counts}; can't tell: {doubts or 'none'}"


class Comparison:
    """Asks both about one document after the other."""

    def __init__(self, oracle: Oracle, seed: int) -> None:
        """Begin with nothing."""
        self.outcome = Outcome()
        self._oracle = oracle
        self._chance = random.Random(seed)

    def add(self, text: str, where: str) -> None:
        """Compare one document: refusals, then decisions."""
        outcome = self.outcome
        document = _parsed(text)
        if not isinstance(document, dict) or document.get("kind") not in _KINDS:
            outcome.counts["documents of no policy's kind"] += 1
            return
        ours = Ours(f"{text}\n---\n{_GROUP}")
        if ours.skipped:
            outcome.counts["documents of no policy's kind"] += 1
            return
        outcome.counts["documents"] += 1
        theirs = self._refusal(text)
        if theirs or ours.rejected:
            both = "both" if theirs and ours.told else "only Cilium" if theirs else "only flowwatch"
            outcome.counts[f"refused by {both}"] += 1
            if not ours.told:
                outcome.worse.append(f"{where}\nCilium refuses: {theirs}")
            return
        outcome.counts["refused for the API server"] += bool(ours.told)
        try:
            self._decisions(text, document, ours, where)
        except PartFailed as failed:
            # Cilium's parser takes it, and its engine can't make a policy of it, or panics.
            outcome.counts["Cilium's engine fails"] += 1
            if not ours.told:
                outcome.worse.append(f"{where}\nCilium: {failed}")

    def _refusal(self, text: str) -> str:
        try:
            judged = self._oracle.ask(text, [])
        except PartFailed as failed:
            return str(failed)
        return "; ".join((*judged.rejected, *judged.unknown))

    def _decisions(self, text: str, document: Any, ours: Ours, where: str) -> None:
        documents = f"{text}\n---\n{_GROUP}"
        questions = Questions(document, self._chance)
        everybody = questions.subjects()
        told = self._oracle.ask(documents, everybody).answers
        selected = [one for one, answer in zip(everybody, told, strict=True) if answer.selected]
        asked = questions.pick(_POOL, selected or everybody)
        answers = self._oracle.ask(documents, asked).answers
        pairs = sorted(zip(asked, answers, strict=True), key=lambda pair: not pair[1].policies)
        # Where rules meet, most; and of the others those that came last, by chance.
        for one, theirs in pairs[: BATCH // 2] + pairs[-BATCH // 2 :]:
            self._compare(one, theirs, ours.decide(one), bool(ours.told), where)

    def _compare(
        self, asked: Asked, theirs: Answer, ours: Decision, refused: bool, where: str
    ) -> None:
        counts = self.outcome.counts
        counts["decisions"] += 1
        counts["by a rule"] += bool(theirs.policies)
        counts[theirs.verdict] += 1
        if ours.decision == "cant_tell":
            counts["can't tell"] += 1
            self.outcome.doubts[_kind(ours.doubts[0])] += 1
        elif (ours.decision, ours.l7, ours.selected) == (
            theirs.verdict,
            theirs.l7,
            theirs.selected,
        ):
            counts["equal"] += 1
        else:
            found = self.outcome.odd if refused else self.outcome.worse
            found.append(
                f"{where}\n{asked}\nCilium {theirs}\n"
                f"ours {ours.decision, ours.l7, ours.selected} {ours.reason}"
            )


def _kind(doubt: str) -> str:
    return re.sub(r'".*?"|(?<=service )\S+|(?<=Group )\S+', "…", doubt)


def _parsed(text: str) -> Any:
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, TypeError):
        return None


def compare(
    oracle: Oracle,
    documents: Sequence[Any],
    seed: int,
    decisions: int,
    progress: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Compare mutants of documents until so many decisions were made; the same for the same seed."""
    comparison = Comparison(oracle, seed)
    for mutant in mutants(documents, seed):
        comparison.add(mutant.text, f"{mutant.place}: {mutant.change}\n{mutant.lines}")
        if progress:
            progress(comparison.outcome)
        if comparison.outcome.counts["decisions"] >= decisions:
            return comparison.outcome
    raise AssertionError("mutants end")


def main(arguments: Sequence[str] | None = None) -> int:
    """1 when something differs to the worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    began = time.monotonic()

    def progress(outcome: Outcome) -> None:
        if outcome.counts["documents"] % 100 == 0:
            took = time.monotonic() - began
            print(
                f"\r{outcome.counts['decisions']:,} decisions, {took:.0f} s",
                end="",
                file=sys.stderr,
            )

    worse = 0
    starts = [("our own", whole()), ("../shared", real())]
    starts = [(name, documents) for name, documents in starts if documents]
    with Oracle() as oracle:
        for name, documents in starts:
            outcome = compare(
                oracle, documents, given.seed, given.decisions // len(starts), progress
            )
            print(f"\n{name}: {outcome}; different {len(outcome.worse)}, "
                  f"of documents refused for the API server {len(outcome.odd)}", flush=True)  # fmt: skip
            for one in chain(outcome.worse, outcome.odd):
                print(f"== {one}")
            worse += len(outcome.worse)
    print(f"seed {given.seed}, {time.monotonic() - began:.0f} s")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
