"""What a record's columns say of it."""

from __future__ import annotations

from typing import Any

import pytest

from flowwatch.egress.record_schema import RECORD
from flowwatch.flows.model import Direction, EventType, Flow, Layer7, Verdict
from tests.unit.flows.made import denied, flow


def said(one: Flow) -> dict[str, Any]:
    return {column.name: column.value(one) for column in RECORD}


@pytest.mark.parametrize(
    ("one", "name", "value"),
    [
        (flow(), "direction", "egress"),
        (flow(direction=Direction.INGRESS), "direction", "ingress"),
        (flow(direction=0), "direction", "unknown"),
        (denied()[1], "drop_reason", "POLICY_DENIED"),
        (flow(), "drop_reason", ""),
        (
            flow(verdict=Verdict.DROPPED, event_type=EventType.L7, l7=Layer7(1, http_method="GET")),
            "drop_reason",
            "L7_DENIED",
        ),
    ],
)
def test_a_column_of_a_record(one: Flow, name: str, value: str) -> None:
    assert said(one)[name] == value
