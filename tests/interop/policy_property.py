"""Random sets of policies, judged.

    make judge
    make judge ARGS="--decisions 1000000 --seed 5 --keep a-name-for-what-differs"

Half of the decisions are made by Cilium's defaults, the others with each of `policy_universe.OPTIONS`.
Each set gets a batch of questions. Ours must refuse the documents that Cilium refuses, and decide as it
does; with full information "can't tell" isn't an answer, except where Cilium can't make a policy of the
subject's rules. The first difference is shrunk, printed, and with `--keep NAME` written to
`policy_cases/NAME.yaml`, where `test_policy_property` runs it from then on.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from flowwatch.policy import Decision
from tests.interop.compared import CASES, Case, Ours, as_text
from tests.interop.oracle import Answer, Asked, Judged, Oracle
from tests.interop.policy_maker import policy_sets
from tests.interop.policy_universe import FAR, OPTIONS, questions, subjects

_NOT_GIVEN = "CiliumCIDRGroup"
"""What only a group that isn't among the documents can settle: the one doubt that is right here."""
_FAR = "a pod of another cluster"
BATCH = 75
"""Questions for each set of policies."""


class Different(AssertionError):
    """Ours isn't what Cilium does."""

    def __init__(self, case: Case, words: str) -> None:
        """Keep the case for whoever catches it."""
        super().__init__(words)
        self.case = case


def compare(
    policies: list[Any],
    asked: Sequence[Asked],
    judged: Judged,
    options: Mapping[str, str] | None = None,
) -> Counter[str]:
    """Count our decisions by what came of them.

    Raises:
        Different: one differs from Cilium's, or one of us refuses what the other takes.
    """
    ours = Ours(as_text(policies), options)
    refused = ours.refused
    if refused != sorted(judged.refused):
        raise Different(
            Case(policies, refused=list(judged.refused), options=dict(options or {})),
            f"Cilium refuses {judged.refused} {judged.rejected}, "
            f"ours {[str(rejected) for rejected in ours.rejected]}",
        )
    counts: Counter[str] = Counter(refused=len(refused))
    for one, theirs in zip(asked, judged.answers, strict=True):
        decision = ours.decide(one)
        counts["compared"] += 1
        if theirs.verdict == "fails" and decision.decision == "cant_tell":
            counts["no policy made"] += 1
        elif decision.decision == "cant_tell" and _NOT_GIVEN in decision.reason:
            counts["unclear"] += 1
        elif decision.decision == "cant_tell" and one.peer in FAR and _FAR in decision.reason:
            counts["far"] += 1
        elif same(theirs, decision):
            counts["equal"] += 1
            counts[theirs.verdict] += 1
            counts["by a rule"] += bool(theirs.policies)
            counts["l7"] += theirs.l7
        else:
            raise Different(
                Case(policies, [one], [theirs], list(judged.refused), dict(options or {})),
                f"{one}: Cilium {theirs}, ours {(decision.decision, decision.l7, decision.selected)} "
                f"{decision.reason}",
            )
    return counts


def selected(oracle: Oracle, text: str, options: Mapping[str, str]) -> list[Asked]:
    """Which subjects the policies are about, in which direction."""
    everybody = subjects()
    judged = oracle.ask(text, everybody, options)
    return [one for one, told in zip(everybody, judged.answers, strict=True) if told.selected]


def same(theirs: Answer, ours: Decision) -> bool:
    """Whether a decision of ours is Cilium's."""
    wanted = (theirs.verdict, theirs.l7, theirs.selected)
    return (ours.decision, ours.l7, ours.selected) == wanted


def run(
    decisions: int,
    start: int,
    progress: Callable[[Counter[str]], None] | None = None,
    options: Sequence[Mapping[str, str]] = OPTIONS[:1],
) -> Counter[str]:
    """Compare about `decisions` random decisions by these options, the same ones for the same `start`.

    Raises:
        Different: one differs; it is the smallest of its kind that was found.
    """
    total: Counter[str] = Counter()
    smallest: list[Different] = []

    with Oracle() as oracle:

        @seed(start)
        @settings(
            max_examples=max(1, decisions // BATCH),
            deadline=None,
            database=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
            report_multiple_bugs=False,
        )
        @given(
            policies=policy_sets(),
            chosen=st.integers(0, 2**32),
            entries=st.sampled_from(list(options)),
        )
        def hold(policies: list[Any], chosen: int, entries: Mapping[str, str]) -> None:
            text = as_text(policies)
            asked = questions(chosen, BATCH, selected(oracle, text, entries))
            judged = oracle.ask(text, asked, entries)
            try:
                total.update(compare(policies, asked, judged, entries))
            except Different as different:
                smallest[:] = [different]
                raise
            total["sets"] += 1
            if progress:
                progress(total)

        try:
            hold()
        except Different as different:
            raise smallest[0] from different
    return total


def main(arguments: Sequence[str]) -> int:
    """Run as a program; 1 when there is a difference."""
    parser = argparse.ArgumentParser(prog="policy_property", description=__doc__)
    parser.add_argument("--decisions", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", metavar="NAME", help="write a difference to policy_cases/")
    given_ = parser.parse_args(arguments)
    began = time.monotonic()

    def progress(total: Counter[str]) -> None:
        if total["sets"] % 100 == 0:
            took = time.monotonic() - began
            print(f"\r{total['compared']:,} decisions, {took:.0f} s", end="", file=sys.stderr)

    total: Counter[str] = Counter()
    try:
        for name, options in (("Cilium's defaults", OPTIONS[:1]), ("other options", OPTIONS[1:])):
            total = run(given_.decisions // 2, given_.seed, progress, options)
            took = time.monotonic() - began
            print(f"\n{name}, seed {given_.seed}, {took:.0f} s:", describe(total), flush=True)
    except Different as different:
        print(f"\n{different}\n\n{different.case.dump()}")
        if given_.keep:
            (CASES / f"{given_.keep}.yaml").write_text(different.case.dump())
        return 1
    return 0


def describe(total: Counter[str]) -> str:
    """The counts in words."""
    return (
        f"{total['sets']} sets of policies, decisions compared {total['compared']}, "
        f"equal {total['equal']} (allowed {total['allowed']}, {total['l7']} of them to the proxy, "
        f"denied {total['denied']}, {total['by a rule']} by a rule), can't tell {total['unclear']} "
        f"(a CIDR group isn't given), {total['far']} (a meshed pod's blocks) and "
        f"{total['no policy made']} (Cilium makes no policy), "
        f"documents refused {total['refused']}, different 0"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
