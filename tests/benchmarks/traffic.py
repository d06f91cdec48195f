"""Captures to measure with, of two sorts, each of as many lines as wanted.

*Made up*: the real observer's generator, of hundreds of pods and thousands of destinations: every third
record opens an attempt. *The story*: the demo's, over and over, each time later and from other source ports:
long connections, retries, answers, layer 7, DNS, policies named.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flowwatch.demo.server import DemoServer
from flowwatch.hubble.client import h2
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.filters.request import ALL
from flowwatch.hubble.wire.jsonprint import message_to_json
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsRequest, GetFlowsResponse

_TIME = re.compile(r'"time":"([^"]+)\.(\d+)Z"')
_CLIENT_PORT = re.compile(r'"(source_port|destination_port)":(\d{5})')
_UUID = re.compile(r'"uuid":"([^"]{8})')
_EPHEMERAL = range(32768, 60_999)
"""Linux's ports for clients."""


def made_up(lines: int, path: Path) -> None:
    from tests.interop.real import build

    command: list[str | Path] = [build().observer, "-generate", str(lines), "-write-capture", path]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def story(lines: int, path: Path) -> None:
    with DemoServer("127.0.0.1:0", live=False) as server, path.open("w") as file:
        told = list(_records(Settings(server=server.address)))
        moments = [_moment(found) for line in told if (found := _TIME.search(line))]
        length = max(moments) - min(moments) + timedelta(seconds=1)
        written = 0
        for turn in range(-(-lines // len(told))):
            for line in told[: lines - written]:
                file.write(_later(line, turn, length * turn) + "\n")
            written += len(told)


MADE_UP, STORY = "made up", "the story"
SORTS: dict[str, Callable[[int, Path], None]] = {MADE_UP: made_up, STORY: story}


def _records(settings: Settings) -> Iterator[str]:
    request = GetFlowsRequest(number=ALL).SerializeToString()
    stream = h2.H2Stream(settings, settings.address, "/observer.Observer/GetFlows", request, 30.0)
    for messages in stream.lists():
        for message in messages:
            line = message_to_json(GetFlowsResponse.FromString(message))
            if line.startswith('{"flow"'):
                yield line


def _moment(found: re.Match[str]) -> datetime:
    return datetime.fromisoformat(found[1]).replace(tzinfo=UTC)


def _later(line: str, turn: int, by: timedelta) -> str:
    """A record as it would be that much later: of another connection, if it is of one."""

    def port(found: re.Match[str]) -> str:
        number = int(found[2])
        if number in _EPHEMERAL:
            number = _EPHEMERAL[(number - _EPHEMERAL.start + 7 * turn) % len(_EPHEMERAL)]
        return f'"{found[1]}":{number}'

    def time(found: re.Match[str]) -> str:
        return f'"time":"{_moment(found) + by:%Y-%m-%dT%H:%M:%S}.{found[2]}Z"'

    line = _CLIENT_PORT.sub(port, _TIME.sub(time, line))
    return _UUID.sub(f'"uuid":"{turn:08x}', line)
