"""Captures, policies and recordings that tests read.

A few of our own are in tests/data, so that every kind is tested in every clone. What people have
published, and what was recorded for flowwatch, lies in ../shared beside some checkouts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.command import ROOT

OWN = ROOT / "tests" / "data"
SHARED = ROOT.parent / "shared"

DROPPED_FLOW: dict[str, Any] = {
    "time": "2026-01-31T10:00:00.5Z",
    "verdict": "DROPPED",
    "drop_reason_desc": "POLICY_DENIED",
    "IP": {"source": "10.0.0.1", "destination": "1.2.3.4", "ipVersion": "IPv4"},
    "l4": {"TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": True}}},
    "source": {"namespace": "weather", "pod_name": "app-1", "labels": ["k8s:app=weather-app"]},
    "destination": {"identity": 2, "labels": ["reserved:world"]},
    "event_type": {"type": 5},
    "traffic_direction": "EGRESS",
    "node_name": "node-1",
}
"""As Hubble's JSON has it: a pod's SYN to the world, held by its own policies."""


def both(pattern: str) -> list[Path]:
    """The files or folders that match: ours, then the shared ones, each in order."""
    return [path for root in (OWN, SHARED) for path in sorted(root.glob(pattern))]


def name(path: Path | None) -> str:
    """For a test's id: where a file is, below its root; of nothing, "none"."""
    if path is None:
        return "none"
    root = OWN if path.is_relative_to(OWN) else SHARED
    where = "own" if root == OWN else "shared"
    return f"{where}/{path.relative_to(root)}"


def needs(below: str) -> pytest.MarkDecorator:
    """Skip without what lies ``below`` ../shared, and say so."""
    return pytest.mark.skipif(
        not (SHARED / below).exists(), reason=f"../shared/{below} isn't beside this checkout"
    )


def where_shared(below: str, names: str, values: Iterable[Any]) -> pytest.MarkDecorator:
    """Parametrize by ``values``; a test for which they lie ``below`` ../shared skips once without them.

    For tests of which another, of our own material, stands beside it.
    """
    there = (SHARED / below).exists()
    width = len(names.split(","))
    nothing = pytest.param(*[None] * width, marks=needs(below), id="none")
    return pytest.mark.parametrize(names, list(values) if there else [nothing])
