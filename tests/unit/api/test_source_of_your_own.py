"""A source that a user wrote, read as ours are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import flowwatch
from flowwatch import FlowwatchError
from tests.material import DROPPED_FLOW

RECORD = json.dumps({"flow": DROPPED_FLOW}).encode()

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress: [{toEntities: [cluster]}]
"""


class Messages:
    def __init__(self, *messages: bytes) -> None:
        self.messages, self.closed = messages, False

    def batches(self) -> Iterator[flowwatch.Batch]:
        yield from map(flowwatch.decode, self.messages)

    def state(self) -> flowwatch.SourceState:
        return flowwatch.SourceState("a queue", "reading")

    def close(self) -> None:
        self.closed = True


def test_it_is_read() -> None:
    mine = Messages(RECORD, RECORD.replace(b"40000", b"40001") + b"\n")
    frame = flowwatch.read(source=mine)
    [row] = frame.to_dict("records")
    assert (row["pod"], row["port"], row["dropped"]) == ("app-1", 443, 2)
    assert mine.closed


def test_it_is_audited(tmp_path: Path) -> None:
    mine = Messages(RECORD)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    report = flowwatch.audit(source=mine, policies=policy)
    assert [(one.kind, one.subject) for one in report.findings] == [("ok", "weather/app-1")]
    assert mine.closed


def test_what_it_could_not_read_is_told() -> None:
    with pytest.warns(UserWarning, match="1 record was skipped: not JSON"):
        frame = flowwatch.read(source=Messages(b"nonsense\n" + RECORD))
    assert len(frame) == 1


def test_what_it_raises_comes_through_and_it_is_closed() -> None:
    class Broken(Messages):
        def batches(self) -> Iterator[flowwatch.Batch]:
            yield from super().batches()
            raise FlowwatchError("the queue went away", "start it again")

    mine = Broken(RECORD)
    with pytest.raises(FlowwatchError, match="the queue went away: start it again"):
        flowwatch.read(source=mine)
    assert mine.closed


def test_it_takes_no_filters() -> None:
    with pytest.raises(FlowwatchError, match="read as it is: leave out namespace"):
        flowwatch.read(source=Messages(RECORD), namespace="weather")
    with pytest.raises(FlowwatchError, match="read as it is: leave out the files"):
        flowwatch.read("flows.jsonl", source=Messages(RECORD))


def test_nothing_of_hubbles_is_counted_and_no_error() -> None:
    batch = flowwatch.decode(b"nonsense\n{}\n")
    assert batch.flows == []
    assert sum(batch.skipped.values()) == 2
    assert not flowwatch.decode(b"")
