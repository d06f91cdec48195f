"""A bounded campaign: so many inputs of each target, the same each time. ``make fuzz`` has no end of them.

Then the corpus itself: hostile files that others found, between good records, through every reader.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import corpus
from tests.fuzz.campaign import Campaign, opened, tried
from tests.fuzz.inputs import Input
from tests.fuzz.readers import READERS, Reader
from tests.fuzz.targets import TARGETS

INPUTS = {
    "wire": 150, "captures": 150, "policies": 100, "rules": 60, "kubeconfigs": 200, "frames": 400,
    "configs": 100, "flags": 200, "answers": 60, "clusters": 100, "follows": 30,
    "screens": 2,
}  # fmt: skip
"""Some seconds of each; by number, so that a slow machine tries no less."""


def test_every_target_has_its_share() -> None:
    assert list(INPUTS) == list(TARGETS)


@pytest.mark.parametrize("name", INPUTS)
def test_spoilt_inputs_break_no_promise(name: str, tmp_path: Path) -> None:
    said: list[str] = []
    campaign = Campaign("tests", tmp_path, said.append)
    [tally] = campaign.run([name], seconds=100, turn=100, inputs=INPUTS[name])
    assert not tally.faults, "\n".join(said)
    assert tally.inputs


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: " ".join(reader.arguments))
@pytest.mark.parametrize("name", ["wire", "captures"])
def test_good_records_count_beside_hostile_ones(name: str, reader: Reader) -> None:
    """Beside those of the corpus, and all that others found."""
    lines = [line for file in corpus.hostile("*.jsonl") for line in file.splitlines()]
    lines += [corpus.line(record) for record in corpus.RECORDS]
    messages = [*corpus.hostile("wire-*.bin"), *(corpus.wire(one) for one in corpus.RECORDS)]
    beside = messages if name == "wire" else lines
    files = {f"{number:04}": data for number, data in enumerate(beside)}
    with opened(name) as target:
        assert tried(target, Input(reader.arguments, files)) is None


def _audits() -> list[Path]:
    return sorted(corpus.HOSTILE.glob("*.yaml"))


@pytest.mark.parametrize("policy", _audits(), ids=lambda path: path.stem)
@pytest.mark.parametrize("verb", ["audit", "whatif"])
def test_a_hostile_policy_is_carried_out_or_refused(verb: str, policy: Path) -> None:
    """On the flows that lie beside it, or our own."""
    beside = policy.with_suffix(".jsonl")
    lines = b"\n".join(corpus.line(record) for record in corpus.RECORDS)
    flows = beside.read_bytes() if beside.exists() else lines
    files = {"policy.yaml": policy.read_bytes(), "flows.jsonl": flows}
    call = (verb, "-f", "policy.yaml", "--input-file", "flows.jsonl", "-o", "json")
    with opened("policies") as target:
        assert tried(target, Input(call, files)) is None


@pytest.mark.parametrize("number", range(len(corpus.hostile("kubeconfig/*.yaml"))))
@pytest.mark.parametrize("verb", ["summary", "doctor"])
def test_a_hostile_kubeconfig_is_one_line(verb: str, number: int) -> None:
    config = corpus.hostile("kubeconfig/*.yaml")[number]
    call = (verb, "-P", "--kubeconfig", "config")
    with opened("kubeconfigs") as target:
        assert tried(target, Input(call, {"config": config, "answer": b"{}"})) is None
