"""Marks beside what is known to have happened: the demo's story, and a real kernel's stages of policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowwatch.demo.server import DemoServer
from flowwatch.marks.changes import Changes, ChangesReport
from flowwatch.sources.files import FileSource
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import PlainOptions, flow_request
from tests.material import OWN, both, name

APPLIED = 121.0
CUT = {
    "169.254.169.254", "198.51.100.30", "api.github.com", "data/postgres", "data/postgres-0",
    "geo/geocoder", "telemetry.skydata.example", "www.google.com",
}  # fmt: skip
"""What the story's policies cut: of weather-app, and the datagrams that a batch job counts by."""

STAGES = {
    "dns": [0], "icmp": [0], "portreuse": [0], "rate": [], "rescued": [], "slow": [0], "swap": [0, 1],
    "udp": [0],
    "lab-story": [0], "lab-cut": [0], "lab-both-ends": [0], "lab-names": [], "lab-http": [],
}  # fmt: skip
"""The stages whose beginning the records show, by recording. ``rate`` and two of the lab have but one;
in ``lab-cut`` all that its policy's end let through were retries of what it had denied;
of ``rescued`` one try got through late, and another was denied: that may be as well a pod that starts."""

RECORDINGS = [
    path for path in both("kernel-lab/*/truth.json") if "stages" in json.loads(path.read_text())
]


def of_the_demo(seed: int = 1, policy_after: float | None = None) -> ChangesReport:
    with DemoServer(live=False, seed=seed, policy_after=policy_after) as server:
        source = open_source(flow_request(PlainOptions({"server": server.address}), environ={}))
        try:
            return Changes().read(source.batches())
        finally:
            source.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_demo_s_policy_is_found_and_what_it_cut(seed: int) -> None:
    report = of_the_demo(seed)

    (one,) = report.differences
    assert 115 < (one.mark.time - report.coverage.first_seen) / 1e9 < 125
    assert [name.partition(" (")[0] for name in one.mark.came] == ["weather/weather-egress"]
    assert {row.edge.peer for row in one.rows if row.change == "cut"} == CUT
    alive = [row for row in one.rows if row.edge.peer == "api.openweathermap.org"]
    assert [row.change for row in alive] == ["same"]
    assert alive[0].after.answered == alive[0].after.forwarded > 0


@pytest.mark.parametrize("policy_after", [0.0, 1e6])
def test_nothing_is_found_in_one_half_of_the_story(policy_after: float) -> None:
    assert of_the_demo(policy_after=policy_after).differences == ()


@pytest.mark.parametrize("path", RECORDINGS, ids=name)
def test_marks_are_where_a_kernel_s_policies_changed(path: Path) -> None:
    stages = [one["done"] for one in json.loads(path.read_text())["stages"]]
    source = FileSource([str(path.parent / "flows.jsonl.gz")])
    report = Changes(frozenset({"egress", "ingress"})).read(source.batches())

    found = [
        matching(one.mark.not_before / 1e9, one.mark.time / 1e9, stages)
        for one in report.differences
    ]

    print(f"{path.parent.name}: {len(stages)} stages, found {found}")
    shown: Any = STAGES.get(path.parent.name)
    if shown is None:
        assert all(at is not None for at in found)
    else:
        assert found == shown


@pytest.mark.parametrize(("recording", "seconds"), [("steady", []), ("taken-away", [60])])
def test_marks_of_recordings_of_our_own(recording: str, seconds: list[int]) -> None:
    report = Changes().read(
        FileSource([str(OWN / "kernel-lab" / recording / "flows.jsonl.gz")]).batches()
    )

    first = report.coverage.first_seen
    assert [round((one.mark.time - first) / 1e9) for one in report.differences] == seconds
    assert all(one.mark.gone and not one.mark.came for one in report.differences)


def matching(before: float, time: float, stages: list[float]) -> int | None:
    """The latest stage that began between the two sightings that a mark lies between."""
    fitting = [at for at, done in enumerate(stages) if before - 0.01 <= done <= time + 0.01]
    return fitting[-1] if fitting else None
