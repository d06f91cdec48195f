"""The request is hubble's: its debug log shows what it would send for the same command line."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
from google.protobuf import text_format

from flowwatch.cli.flags import parse
from flowwatch.hubble.filters import request
from flowwatch.hubble.filters.flags import build
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsRequest
from tests.interop.real import hubble

COMMAND_LINES = """
--last 0
--last 7
--last 0x10
--last 18446744073709551615
--first 3
--first 3 --last 0
--all
--all --last 0
--all=false
-f
-f --last 3
-f --all
-f --since 5m
-f --since 5m --last 2
-f --until 5m
-f --since 2026-01-31 --until nonsense
--since 5m
--since 5m --last 3
--since 5m --all
--since 5m --first 3
--since -5m
--until 5m
--until 5m --all
--until 5m --last 3
--since 1h30m --until 90s
--since 0s
--since 1.5h
--since 2026-01-31
--since 2026-01-31T15Z
--since 2026-01-31T5+02:00
--since 2026-01-31T15:04-07:30
--since 2026-01-31T15:04:05.123456789Z
--since 2026-01-31T15:04:05,5+24:60
--since 2026-01-31T15:04:05.12345678999Z --until 2027-01-31T00:00:00Z
--since 'Mon, 02 Jan 2006 15:04:05 -0700'
--since 'tue,  02 JAN 2006 5:04:05.25 +0100'
--since 0001-01-01 --until 9999-12-31
--last 5 --pod a/b --not --verdict DROPPED --since 1s
--allowlist '{"source_pod":["a"]}' --denylist '{}'
""".strip().split("\n")

# What differs while both programs start.
CLOCK_SECONDS = 60


def theirs(arguments: list[str], dead: Path) -> GetFlowsRequest:
    done = hubble("observe", "-D", "-o", "json", *arguments, server=f"unix://{dead}")
    found = re.search(r'msg="Sending GetFlows request" req=("(?:[^"\\]|\\.)*"|\S*)', done.stderr)
    assert found is not None, done.stderr
    text = ast.literal_eval(found[1]) if found[1].startswith('"') else found[1]
    return text_format.Parse(text, GetFlowsRequest())


@pytest.mark.parametrize("line", ["", *COMMAND_LINES])
def test_the_same_request(line: str, tmp_path: Path) -> None:
    arguments = shlex.split(line)
    parsed = parse(["observe", *arguments])
    filters = build(parsed.filters, parsed.list("allowlist"), parsed.list("denylist"))
    wanted = request.window(request.RequestFlags(parsed.get), default=request.LAST_BY_DEFAULT)
    ours = request.to_request(wanted, filters)
    expected = theirs(arguments, tmp_path / "dead.sock")
    if expected.follow and expected.HasField("since") and not expected.number:
        # Ours only: relay then holds back one flow of each node instead of a hundred.
        assert ours.number == 1
        ours.number = 0
    for name in ("since", "until"):
        assert ours.HasField(name) == expected.HasField(name)
        mine, real = getattr(ours, name), getattr(expected, name)
        if mine != real and re.search(r"-?\d[hms]", line):
            assert abs(mine.seconds - real.seconds) <= CLOCK_SECONDS
            mine.CopyFrom(real)
    assert ours == expected
