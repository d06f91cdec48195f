"""What the scanner says of a record is what the decoders say, or it says nothing.

Records are those of captures, of the fuzz campaign and of a paper cluster, as JSON and on the wire, and
spoilt ones. A scanner that has learnt the parts of some makes the others of them: each must be what
a decoder makes of it whole.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from flowwatch.flows.decode_json import LineDecoder
from flowwatch.flows.decode_wire import WireDecoder
from flowwatch.flows.json_structs import JsonFlow, structs_of
from flowwatch.flows.model import Batch
from flowwatch.flows.ranges import LATEST
from flowwatch.flows.scanning import Scanning
from flowwatch.hubble.wire import scanner
from flowwatch.hubble.wire.jsonprint import message_to_json
from flowwatch.hubble.wire.pb.narrow import narrow_pb2
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsResponse
from tests import paper_kernel
from tests.fuzz import corpus, mutate, protobuf

ROOT = Path(__file__).parents[3]
CAPTURES = (ROOT / "tests" / "data" / "captures", ROOT.parent / "shared" / "captures")
SPOILT = 15_000


@dataclass
class Compared:
    """A scanner beside the decoder that teaches it, given records one by one."""

    scanning: Scanning
    scan: Callable[[bytes], list[scanner.Run]]
    decode: Callable[[bytes], Batch | None]
    seen: Counter[str] = field(default_factory=Counter)

    def look(self, record: bytes) -> None:
        """Compare, and let the scanner learn."""
        batch = self.decode(record)
        sound = batch is not None and len(batch.flows) == 1 and not (batch.odd or batch.skipped)
        flow = batch.flows[0] if batch is not None and sound else None
        [(_, _, made, new)] = self.scan(record)
        if made is not None:
            assert made == [flow], record
            self.seen["made of known parts"] += 1
        elif new is not None:
            self.seen["new" if flow is not None else "refused"] += 1
            self.scanning.learn(new, None, lambda _: flow)
            if flow is not None:
                again = self.scan(record)[0][2]
                assert again in ([flow], None), record
                self.seen["learnt"] += again is not None
        else:
            self.seen["left to the decoder" if flow is not None else "neither reads it"] += 1


def lines_compared() -> Compared:
    decoder = LineDecoder()
    scanning = Scanning(decoder.layer7)

    def decode(record: bytes) -> Batch | None:
        lines = structs_of(record)
        return None if lines is None else decoder.batch(lines)

    return Compared(scanning, scanning.lines, decode)


def messages_compared() -> Compared:
    decoder = WireDecoder()
    scanning = decoder._scanning
    pure = WireDecoder()
    pure._scanning = Scanning(decoder._layer7.__getitem__, scan=False)
    return Compared(
        scanning, lambda record: scanning.messages([record], LATEST), lambda one: pure.decode([one])
    )


@pytest.fixture(scope="module", autouse=True)
def _scanner() -> None:
    if scanner.module() is None:
        if os.environ.get("CI") and os.environ.get(scanner.VARIABLE) != "off":
            pytest.fail("no scanner: make native builds it")
        pytest.skip(f"no scanner at work: {scanner.at_work()}")


def on_paper() -> list[dict[str, Any]]:
    paper = paper_kernel.Paper(seed=3, linear=True)
    paper.policy(1.0, allowed=frozenset({("203.0.113.5", 443)}))
    for number in range(60):
        paper.connect(2.0 + number, f"203.0.113.{5 + number % 3}", 443 + number % 2)
    return paper.records()


def responses() -> list[GetFlowsResponse]:
    """Records of the campaign and of the paper cluster."""
    encrypted = deepcopy(corpus.RECORDS[0])
    encrypted["flow"]["IP"]["encrypted"] = True
    records = (*corpus.RECORDS, encrypted, *on_paper())
    return [ParseDict(record, GetFlowsResponse()) for record in records]


def captured() -> Iterator[bytes]:
    for folder in CAPTURES:
        for path in sorted(folder.rglob("*.json*")):
            if path.suffix != ".gz":
                yield from (line for line in path.read_bytes().split(b"\n") if line.strip())


def printed() -> list[bytes]:
    """The same as Hubble prints them, wrapped and bare."""
    lines = [message_to_json(one).encode() for one in responses()]
    bare = [
        json.dumps(json.loads(line)["flow"], separators=(",", ":"))
        for line in lines
        if b'"flow"' in line
    ]
    return lines + [line.encode() for line in bare]


def told(compared: Compared, what: str) -> None:
    print(f"{what}: {dict(compared.seen)}")


def test_lines_of_captures_are_what_the_decoder_reads() -> None:
    compared = lines_compared()
    for record in [*captured(), *printed(), *printed()]:
        compared.look(record)
    told(compared, "lines")
    assert compared.seen["made of known parts"] > 100


def test_messages_are_what_the_decoder_reads() -> None:
    compared = messages_compared()
    for response in [*responses(), *responses()]:
        compared.look(response.SerializeToString())
    told(compared, "messages")
    assert compared.seen["made of known parts"] > 100


def test_spoilt_lines_are_what_the_decoder_reads() -> None:
    compared, random, sound = lines_compared(), Random(5), printed()
    for _ in range(SPOILT):
        record = random.choice(sound)
        match random.randrange(4):
            case 0:
                tree = mutate.tree(random, json.loads(record))
                text = json.dumps(tree, ensure_ascii=random.random() < 0.5, separators=(",", ":"))
                record = text.encode("utf-8", "surrogatepass")
            case 1:
                record = mutate.data(random, record)
            case 2:
                record = mutate.mixed(random, sound)
        compared.look(record.replace(b"\n", b" ") or b" ")
    told(compared, f"{SPOILT:,} spoilt lines")
    assert compared.seen["made of known parts"] > SPOILT / 10
    assert compared.seen["refused"] > 10


def test_spoilt_messages_are_what_the_decoder_reads() -> None:
    compared, random = messages_compared(), Random(5)
    sound = [one.SerializeToString() for one in responses()]
    for _ in range(SPOILT):
        record = random.choice(sound)
        match random.randrange(4):
            case 0 | 1:
                record = protobuf.spoil(random, record, GetFlowsResponse.DESCRIPTOR)
            case 2:
                record = mutate.data(random, record)
        compared.look(record)
    told(compared, f"{SPOILT:,} spoilt messages")
    assert compared.seen["made of known parts"] > SPOILT / 10
    assert compared.seen["refused"] > 10


def test_what_the_scanner_passes_over_nobody_reads() -> None:
    module = scanner.module()
    assert module is not None
    narrow = {one.name for one in narrow_pb2.Flow.DESCRIPTOR.fields}
    # Only whether there is one: a bare flow is known by it.
    structs = set(JsonFlow.__struct_fields__) - {"Summary"}
    assert set(module.UNREAD) & (narrow | structs) == set()
