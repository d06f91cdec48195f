"""The campaign finds what it should: it is given targets with a planted fault of each kind."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsResponse
from tests.fuzz import corpus, mutate, program, protobuf
from tests.fuzz.campaign import Campaign, Tally, mark, shrunk, tried
from tests.fuzz.inputs import Input, load
from tests.fuzz.program import Fault, Ran, Stuck, bounded, check, run, watched


class Planted:
    """Fails with ``failure`` on every input that has a 0xFF in it."""

    name, what = "planted", "bytes"

    def __init__(self, failure: Callable[[], None]) -> None:
        self._failure = failure

    def make(self, random: Random) -> Input:
        return Input(("verb",), {"00.bin": b"plain", "01.bin": random.randbytes(200) + b"\xff"}, 2)

    def run(self, given: Input, place: Path) -> None:
        given.write(place)
        if any(b"\xff" in data for data in given.files.values()):
            self._failure()

    def close(self) -> None: ...


def differ() -> None:
    raise Fault("the good records differ: 17 not 18")


def test_a_fault_is_found_once_made_small_and_kept(tmp_path: Path) -> None:
    said: list[str] = []
    target, tally = Planted(differ), Tally("planted", "bytes")
    campaign = Campaign("5", tmp_path, said.append)
    for number in range(3):
        campaign.one(target, tally, f"5/planted/{number}")
    [found] = tally.faults.values()
    assert (found.mark, found.times) == ("Fault: the good records differ: … not …", 3)
    assert found.folder is not None
    kept = load(found.folder)
    assert kept.files == {"01.bin": b"\xff"}
    assert tried(target, kept) is not None
    assert f'--replay {found.folder}"' in (found.folder / "fault.txt").read_text()
    assert len(said) == 1
    assert tally.tried == 6


def test_two_campaigns_in_one_folder(tmp_path: Path) -> None:
    """One runs, and is killed maybe, while another keeps the same fault there."""
    said: list[str] = []
    first = Campaign("5", tmp_path, said.append)
    second = Campaign("5", tmp_path, said.append)

    def meanwhile() -> None:
        for running in tmp_path.glob("running-*"):
            other = running.rename(tmp_path / "running-1")
            second.one(Planted(differ), Tally("planted", "bytes"), "5/planted/7")
            other.rename(running)
        differ()

    first.one(Planted(meanwhile), Tally("planted", "bytes"), "5/planted/0")
    [kept] = (tmp_path / "planted").iterdir()
    assert load(kept).files == {"01.bin": b"\xff"}
    assert not list(tmp_path.glob("running*"))


def test_the_same_seed_gives_the_same_inputs() -> None:
    target = Planted(differ)
    assert target.make(Random("5/planted/0")) == target.make(Random("5/planted/0"))
    whole = corpus.RECORDS[0]
    assert mutate.tree(Random("1"), whole) == mutate.tree(Random("1"), whole)


def test_an_exception_is_named_by_where_it_arose() -> None:
    def deep() -> None:
        from flowwatch.hubble.client.address import parse

        parse(None)  # type: ignore[arg-type]

    target = Planted(deep)
    given = target.make(Random("1"))
    found = tried(target, given)
    assert found is not None
    assert found[0].startswith("AttributeError in flowwatch/hubble/client/address.py ")
    assert shrunk(target, given, found[0]).files == {"01.bin": b"\xff"}


def test_what_never_ends_is_ended() -> None:
    def forever() -> None:
        with bounded(0.2):
            while True:
                pass

    with pytest.raises(Stuck, match="still busy"):
        forever()
    assert mark(Stuck("still busy after 15 s")) == "Stuck: still busy after … s"


def test_what_only_waits_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "WAIT", 0.2)
    with pytest.raises(Stuck, match="no end"), bounded():
        threading.Event().wait(60)


def test_what_goes_wrong_in_a_thread_is_a_fault() -> None:
    def fails() -> None:
        thread = threading.Thread(target=lambda: 1 / 0)
        with watched():
            thread.start()
            thread.join()

    with pytest.raises(Fault, match="ZeroDivisionError"):
        fails()


@pytest.mark.parametrize(
    ("ran", "words"),
    [
        (Ran(70, b"", "flowwatch: a defect\n"), "exit code 70"),
        (Ran(1, b"", ""), "without a word"),
        (Ran(0, b"", "x.py:1: FutureWarning: nested set\n"), "FutureWarning"),
        (Ran(1, b"", "Traceback (most recent call last):\n"), "Traceback"),
        (Ran(1, b"", "flowwatch: a name \x1b[2J\n"), "control characters"),
        (Ran(1, b"", "oops\n"), "oops"),
        (Ran(0, b"", "flowwatch: again\n" * 100), "100 lines"),
    ],
)
def test_promises(ran: Ran, words: str) -> None:
    with pytest.raises(Fault, match=words):
        check(ran, named=True)
    check(Ran(1, b"", "flowwatch: there is no such file\n"), named=True)


def test_a_verb_runs_as_by_hand(tmp_path: Path) -> None:
    (tmp_path / "flows.jsonl").write_bytes(b"\n".join(map(corpus.line, corpus.good())))
    ran = run(["summary", "--input-file", "flows.jsonl", "-o", "csv"], tmp_path)
    assert ran.code == 0
    assert b"good" in ran.out
    assert sys.stdout is not None
    assert run(["summary", "--input-file", "none"], tmp_path).code in program.CODES - {0}


def test_records_are_spoilt_field_by_field() -> None:
    """Most spoilt messages are still messages: what is odd is inside."""
    descriptor = GetFlowsResponse.DESCRIPTOR
    seeds = [corpus.wire(record) for record in corpus.RECORDS]
    for seed in seeds:
        assert protobuf.serialize(protobuf.parse(seed, descriptor)) == seed
    random = Random(1)
    spoilt = [protobuf.spoil(random, random.choice(seeds), descriptor) for _ in range(400)]
    refused = 0
    for message in spoilt:
        try:
            GetFlowsResponse.FromString(message)
        except Exception:  # noqa: BLE001 - protobuf's own DecodeError, of either implementation
            refused += 1
    assert 20 < refused < 300
