"""Flows and the policies they call for, ours and real ones: each is allowed by its policy, none leaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch.audits.audit import Audit
from flowwatch.policy import load
from flowwatch.sources.files import FileSource
from tests.material import both, name

# What is true of a pair that can't simply be judged, and why.
_SPECIAL = {
    "TC_05": "the policy is for other labels than the flow's pod has",
    "TC_11": "the policy names a service: only the cluster knows its addresses",
    "TC_25": "the record was seen at the source, the policy is the destination's",
    "TC_35": "the policy names an entity that Cilium doesn't know",
    "nothi": "the policy is for other labels than the flow's pod has",
}


def pairs() -> list[tuple[Path, Path]]:
    found = [(flows, flows.with_suffix(".yaml")) for flows in both("pairs/*.jsonl")]
    for flows in both("captures/accuknox/*.json"):
        policies = flows.with_suffix(".yaml")
        if not policies.exists():
            [policies] = flows.parent.glob(f"{flows.name[:5]}*.yaml")
        found.append((flows, policies))
    return found


@pytest.mark.parametrize("pair", pairs(), ids=lambda pair: name(pair[0]))
def test_a_flow_and_the_policy_it_calls_for(pair: tuple[Path, Path]) -> None:
    flows, path = pair
    policies = load([(path.name, path.read_text("utf-8"))])
    if flows.name.startswith("TC_35"):
        assert [one.reason for one in policies.documents.rejected] == [
            "unsupported entity: unknown"
        ] * 2
        return
    assert not policies.documents.rejected
    report = Audit(policies).read(FileSource([str(flows)]).batches())
    kinds = {one.kind for one in report.findings}
    assert not kinds & {"leak", "overblock", "difference"}
    if flows.name[:5] in _SPECIAL:
        assert "ok" not in kinds, _SPECIAL[flows.name[:5]]
    else:
        assert report.counts["ok"] >= 1
