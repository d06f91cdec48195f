"""Whole reports, with the scanner and without: the same rows, attempts, coverage, errors and counts."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from flowwatch.hubble.wire import scanner
from flowwatch.hubble.wire.jsonprint import message_to_json
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsResponse
from tests import paper_kernel
from tests.fuzz import corpus, mutate, protobuf
from tests.fuzz.served import Served, conversation
from tests.in_process import flowwatch

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared"
CAPTURES = [
    path
    for folder in (
        ROOT / "tests" / "data",
        *(SHARED / name for name in ("captures", "cases", "kernel-lab")),
    )
    for path in sorted(folder.rglob("*.json*"))
]
LINES, MESSAGES = 3_000, 2_000

VERBS = (
    ("summary", "-o", "json"),
    ("export", "--raw", "--outcome", "all", "--direction", "both", "--format", "jsonl"),
    ("export", "--outcome", "all", "--direction", "both", "--format", "jsonl"),
    ("summary", "-o", "json", "--since", "2026-06-01T00:00:00Z"),
    ("summary", "-o", "json", "--last", "100"),
)


@pytest.fixture(scope="module", autouse=True)
def _scanner() -> None:
    if scanner.module() is None:
        if os.environ.get("CI") and os.environ.get(scanner.VARIABLE) != "off":
            pytest.fail("no scanner: make native builds it")
        pytest.skip(f"no scanner at work: {scanner.at_work()}")


def told(*arguments: str | Path) -> tuple[int, str, str]:
    """What is said with the scanner, which is what is said without."""
    scanned, pure = (
        flowwatch(*arguments, env={scanner.VARIABLE: wanted}) for wanted in ("on", "off")
    )
    assert (scanned.returncode, scanned.stderr) == (pure.returncode, pure.stderr)
    assert scanned.stdout == pure.stdout
    return scanned.returncode, scanned.stdout, scanned.stderr


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_capture_reads_the_same(path: Path) -> None:
    for verb in VERBS[:3]:
        told(*verb, "--input-file", path)


def test_what_was_encrypted_is_told_the_same(tmp_path: Path) -> None:
    sound = message_to_json(
        next(one for one in responses() if one.flow.verdict == 1 and one.flow.l4.TCP.flags.SYN)
    )
    lines = []
    for number in range(1_000):
        tree = json.loads(sound)
        tree["flow"]["IP"]["encrypted"] = True
        tree["flow"]["uuid"] = f"00000000-0000-4000-8000-{number:012x}"
        lines.append(json.dumps(tree, separators=(",", ":")))
    capture = tmp_path / "flows.jsonl"
    capture.write_text("\n".join(lines) + "\n")
    for verb in (VERBS[0], VERBS[-1]):
        rows = json.loads(told(*verb, "--direction", "both", "--input-file", capture)[1])["rows"]
        assert {row["encrypted"] for row in rows} == {"all"}


def count(what: str, report: dict[str, Any]) -> None:
    """Print how much was compared."""
    print(f"{what}: {len(report['rows']):,} rows, {report['totals']['attempts']:,} attempts")


def responses() -> list[GetFlowsResponse]:
    """Records of the campaign and of a paper cluster, some of them often."""
    paper = paper_kernel.Paper(seed=8, linear=True)
    paper.policy(1.0, allowed=frozenset({("203.0.113.5", 443)}))
    for number in range(120):
        paper.connect(2.0 + number, f"203.0.113.{5 + number % 3}", 443 + number % 2)
    return [ParseDict(one, GetFlowsResponse()) for one in (*corpus.RECORDS * 5, *paper.records())]


def spoilt_lines(random: Random) -> Iterator[bytes]:
    """Sound lines of Hubble's, and among them spoilt ones, more and fewer in turns."""
    sound = [message_to_json(one).encode() for one in responses()]
    for number in range(LINES):
        line = random.choice(sound)
        if random.random() < (0.0, 0.02, 0.5)[number // 200 % 3]:
            if random.random() < 0.7:
                tree = mutate.tree(random, json.loads(line))
                line = json.dumps(tree, separators=(",", ":")).encode()
            else:
                line = mutate.data(random, line)
        yield line + b"\n"


@pytest.mark.parametrize("seed", range(4))
def test_spoilt_lines_among_sound_ones_read_the_same(seed: int, tmp_path: Path) -> None:
    capture = tmp_path / "flows.jsonl"
    whole = b"".join(spoilt_lines(Random(seed)))
    capture.write_bytes(gzip.compress(whole, 1) if seed % 2 else whole)
    for verb in VERBS:
        code, out, errors = told(*verb, "--input-file", capture)
        assert (code, bool(out)) == (0, True), errors
    report = json.loads(told(*VERBS[0], "--input-file", capture)[1])
    count(f"{LINES:,} lines", report)


@pytest.mark.parametrize("seed", range(2))
def test_spoilt_messages_among_sound_ones_read_the_same(seed: int) -> None:
    random = Random(seed)
    sound = [one.SerializeToString() for one in responses()]
    messages = [random.choice(sound) for _ in range(MESSAGES)]
    for place in range(0, MESSAGES, 20 - 15 * seed):
        messages[place] = protobuf.spoil(random, messages[place], GetFlowsResponse.DESCRIPTOR)
    server = Served()
    try:
        server.wire = b"".join(conversation(messages))
        for verb in VERBS[:3]:
            told(*verb, "--server", server.address)
        report = json.loads(told(*VERBS[0], "--server", server.address)[1])
    finally:
        server.close()
    count(f"{MESSAGES:,} messages", report)
