"""The dashboard that is printed for Grafana, held to Grafana's own schema."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowwatch.watching.prometheus import grafana


def faults(metrics: Path, text: str) -> str:
    """What Grafana's schema says against a dashboard; "" for nothing."""
    done = subprocess.run(
        [metrics / "dashboard"], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode == 0) is (done.stderr == "")
    return done.stderr


def test_the_dashboard_is_as_grafana_s_schema_has_it(metrics: Path) -> None:
    assert faults(metrics, grafana()) == ""


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "an unknown field": (lambda one: one.update(titel="x"), "titel"),
    "a panel's option": (lambda one: one["panels"][0]["options"].update(legends={}), "legends"),
    "an option left out": (lambda one: one["panels"][2]["options"].pop("sizing"), "sizing"),
    "a query's field": (lambda one: one["panels"][1]["targets"][0].update(expression=""), "expr"),
    "a wrong type": (lambda one: one["panels"][0]["gridPos"].update(x="left"), "gridPos"),
    "a variable without its kind": (lambda one: one["templating"]["list"][1].pop("type"), "type"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_what_grafana_would_not_know_is_found(metrics: Path, name: str) -> None:
    spoil, named = SPOILT[name]
    value = json.loads(grafana())
    spoil(value)
    assert named in faults(metrics, json.dumps(value))
