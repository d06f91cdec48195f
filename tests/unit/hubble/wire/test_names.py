"""Hubble's names stand once, and those that flow.proto has too are the same there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flowwatch.hubble.wire import names
from flowwatch.hubble.wire.pb.flow import flow_pb2

PACKAGE = Path(names.__file__).parents[2]


def test_verdicts_are_those_of_the_protocol() -> None:
    assert dict(flow_pb2.Verdict.items()) == {name: n for n, name in enumerate(names.VERDICTS)}


def test_flags_are_those_of_the_protocol() -> None:
    assert tuple(flow_pb2.TCPFlags.DESCRIPTOR.fields_by_name) == names.TCP_FLAGS


def test_types_of_l7_are_those_of_the_protocol() -> None:
    found = {number: name.lower() for name, number in flow_pb2.L7FlowType.items() if number}
    assert found == names.L7_TYPES


def test_trace_points_are_those_of_the_protocol() -> None:
    """TO_ENDPOINT is 101 there, as 0 says that a record is no trace."""
    found = {
        name.lower().replace("_", "-"): n for name, n in flow_pb2.TraceObservationPoint.items()
    }
    assert found.pop("unknown-point") == 0
    assert found.pop("to-endpoint") == 101
    assert found == {name: n for n, name in enumerate(names.TRACE_POINTS) if n}


def test_socket_points_are_those_of_the_protocol() -> None:
    theirs = {
        number: name.removeprefix("SOCK_XLATE_POINT_").replace("_DIRECTION_", "-xlate-").lower()
        for name, number in flow_pb2.SocketTranslationPoint.items()
        if number
    }
    assert theirs == names.SOCKET_POINTS


@pytest.mark.parametrize(
    "name",
    ["to-overlay", "pre-xlate-fwd", "L3-Only", "TRANSLATED", "ECE", "aggregate-world", "sample"],
)
def test_each_stands_in_one_file(name: str) -> None:
    files = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "pb" not in path.parts and re.search(f'"{name}"', path.read_text(encoding="utf-8"))
    ]
    assert files == ["hubble/wire/names.py"]
