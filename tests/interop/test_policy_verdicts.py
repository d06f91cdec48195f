"""Our decisions against Cilium's, on the answers stored beside the checkout; and the judge judged.

The oracle must give exactly the stored answers, and so must our engine: nothing may differ, and as these
questions come with full information it may not say "can't tell" either.
"""

import re

import pytest

from tests.interop.compared import Ours, Tally
from tests.interop.oracle import (
    VERDICTS,
    Judged,
    Oracle,
    Stored,
    measure,
    stored,
)

STORED = 16_749
"""Answers that the stored files hold."""

CHANCE = re.compile(r"combining (\w+) and (\w+)")
"""Cilium names the two fields in the order of a map."""

GROUPS_REFUSED = re.compile(r"client-egress-to-cidrgroup-external-deny")
"""Templates with a CiliumCIDRGroup whose blocks are no blocks. The API server's schema refuses such a
group, and so do we; the engine alone, which the stored answers come from, skips the block."""

TWO_FAULTS = "cilium+cilium-cli/manifests__client-egress-l7-http-external-node.yaml"
"""A document with a bad port and a bad name: each engine names the one it meets first."""

TOPICS = (
    r"CIDR prefix .* does not contain",
    r"combining",
    r"is not a CIDR|is not an IP address|unable to parse CIDR",
    r"invalid label selector",
    r"fromRequires",
    r"(?:bool|number) into Go struct field|a string is wanted",
    r"port must be specified",
    r"unable to parse port",
    r"invalid protocol",
    r"too many ports",
    r"wrong family",
    r"ICMPs block may only",
    r"only apply to TCP",
    r"can not be used when a port is 0",
    r"DNS rules do not support port ranges",
    r"port 53 must be specified",
    r"error parsing regexp",
    r"DNS is not supported on ingress",
    r"ServerNames are not allowed",
    r"empty server name",
    r"not supported on host (?:in|e)gress",
    r"rule cannot have (?:both|NodeSelector)",
    r"must have one of EndpointSelector or NodeSelector",
    r"at least one of Ingress",
    r"empty policy",
    r"must have name",
    r"unsupported entity",
    r"FromNodes/ToNodes",
    r"Invalid characters in MatchName",
    r"Invalid characters in MatchPattern",
    r"Invalid MatchPattern|longer than 255",
    r"only one of MatchName or MatchPattern",
    r"domainNames is only supported",
    r"to\.nodes is not supported",
)
"""What a refusal is about; the first that fits."""


def topic(reason: str) -> str:
    """What a refusal is about, whoever words it."""
    found = next((each for each in TOPICS if re.search(each, reason)), None)
    assert found, f"a reason of no known kind: {reason}"
    return found


@pytest.fixture(scope="module")
def kept() -> list[Stored]:
    """The stored answers."""
    if not VERDICTS.is_dir():
        pytest.skip("the stored verdicts are not beside this checkout (../shared/policy-verdicts)")
    return list(stored())


def test_the_oracle_gives_the_stored_answers(
    kept: list[Stored], capsys: pytest.CaptureFixture[str]
) -> None:
    tally = Tally()
    refused = 0
    with Oracle() as oracle:
        for one in kept:
            judged = oracle.ask(one.text, one.questions)
            assert judged.unknown == one.judged.unknown, one.file
            assert _ordered(judged) == _ordered(one.judged), one.file
            assert len(judged.answers) == len(one.judged.answers), one.file
            refused += len(judged.rejected)
            for asked, ours, theirs in zip(
                one.questions, judged.answers, one.judged.answers, strict=True
            ):
                tally.add(one.file, asked, theirs, ours)
                assert sorted(ours.policies) == sorted(theirs.policies), (one.file, asked)
    with capsys.disabled():
        print(f"\noracle against stored: {tally}; documents refused {refused}")
    assert not tally.differences
    assert tally.counts["equal"] >= STORED


def test_our_decisions_are_the_stored_ones(
    kept: list[Stored], capsys: pytest.CaptureFixture[str]
) -> None:
    tally = Tally()
    credited = 0
    for one in kept:
        engine = Ours(one.text)
        for asked, theirs in zip(one.questions, one.judged.answers, strict=True):
            decision = engine.decide(asked)
            tally.add(one.file, asked, theirs, decision)
            if theirs.policies:
                # Cilium credits what it merged into the winner: some of ours, never none.
                credited += 1
                named = {name.replace(" /", " ") for name in theirs.policies}
                assert named & set(decision.policies), (one.file, asked, decision)
                if theirs.places:
                    assert set(theirs.places) & set(decision.places), (one.file, asked, decision)
    with capsys.disabled():
        print(f"\nours against stored: {tally}; credit in common {credited}")
    assert not tally.differences
    assert tally.counts["equal"] >= STORED


def test_what_cilium_refuses_is_refused_for_the_same_reason(kept: list[Stored]) -> None:
    refused = 0
    for one in kept:
        reasons = [rejected.reason for rejected in Ours(one.text).rejected]
        if one.judged.unknown:
            fields = {re.sub(r'.*[."](\w+)"$', r"\1", text) for text in one.judged.unknown}
            assert any("unknown field" in reason for reason in reasons), (one.file, reasons)
            assert any(name in reason for reason in reasons for name in fields), (one.file, reasons)
            continue
        theirs = sorted(topic(reason) for reason in one.judged.rejected)
        ours = sorted(topic(reason) for reason in reasons)
        if GROUPS_REFUSED.search(one.file):
            assert set(ours) == set(theirs)
            assert len(ours) == len(theirs) + 1
        elif one.file == TWO_FAULTS:
            assert len(ours) == len(theirs) == 1
        else:
            assert ours == theirs, (one.file, reasons, one.judged.rejected)
        refused += len(reasons)
    assert refused > 70


def test_every_refusal_names_a_line_of_its_file(kept: list[Stored]) -> None:
    for one in kept:
        lines = one.text.count("\n") + 1
        for rejected in Ours(one.text).told:
            assert 1 <= rejected.line <= lines, (one.file, rejected)


def test_the_oracle_can_be_timed(kept: list[Stored]) -> None:
    one = next(each for each in kept if len(each.questions) > 20 and not each.judged.rejected)
    measured = measure(one.text, one.questions, times=3)
    assert measured["answers"] == 3 * len(one.questions)
    assert measured["answers_per_second"] > 0


def _ordered(judged: Judged) -> list[str]:
    """Refusals, with what is left to chance put in order."""
    return sorted(
        CHANCE.sub(lambda found: "combining " + " and ".join(sorted(found.groups())), text)
        for text in judged.rejected
    )
