"""GetFlowsResponse messages, spoilt, between good ones from a server: all good ones count."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from random import Random

from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsResponse
from flowwatch.policy import load
from tests.fuzz import corpus, mutate, protobuf, views
from tests.fuzz.inputs import Input
from tests.fuzz.program import Fault, bounded, run
from tests.fuzz.readers import POLICY, READERS, Reader
from tests.fuzz.served import Served, conversation

_VIEWS = ("dashboard",)
_BY_CALL: dict[tuple[str, ...], Reader] = {reader.arguments: reader for reader in READERS}


class Wire:
    """A server sends them to each verb in turn; the dashboard's aggregate takes them in too."""

    name = "wire"
    what = "messages"

    def __init__(self) -> None:
        self._server = Served()
        self.good = [corpus.wire(record) for record in corpus.good()]
        self._expected: dict[tuple[str, ...], object] = {}

    @cached_property
    def _seeds(self) -> list[bytes]:
        return [corpus.wire(record) for record in corpus.RECORDS] + list(
            corpus.hostile("wire-*.bin")
        )

    def make(self, random: Random) -> Input:
        call = random.choice([_VIEWS] * 4 + list(_BY_CALL))
        messages = [self.spoilt(random) for _ in range(random.choice((1, 2, 4, 16, 32)))]
        files = {f"{number:02}.bin": message for number, message in enumerate(messages)}
        return Input(call, files, len(messages))

    def spoilt(self, random: Random) -> bytes:
        """A message."""
        raw = random.choice(self._seeds)
        kind = random.randrange(10)
        if kind < 7:
            raw = protobuf.spoil(random, raw, GetFlowsResponse.DESCRIPTOR)
        elif kind < 9:
            raw = mutate.data(random, raw)
        else:
            raw = mutate.mixed(random, self._seeds)
        return raw[:15_000]

    def run(self, given: Input, place: Path) -> None:
        spoilt = [data for _, data in sorted(given.files.items())]
        if given.call not in self._expected:
            self._expected[given.call] = self._seen(given.call, [], place)
            (place / "out").unlink(missing_ok=True)
        seen = self._seen(given.call, spoilt, place)
        if seen != self._expected[given.call]:
            raise Fault(f"the good records differ: {seen} not {self._expected[given.call]}")

    def _seen(self, call: tuple[str, ...], spoilt: list[bytes], place: Path) -> object:
        """What ``call`` says of the good records with the spoilt ones among them."""
        messages = [self.good[0], *spoilt, *self.good[1:]]
        if call == _VIEWS:
            with bounded():
                return views.look(messages, load([("policy.yaml", POLICY.decode())]))
        self._server.wire = b"".join(conversation(messages))
        (place / "policy.yaml").write_bytes(POLICY)
        ran = run([*call, "--server", self._server.address], place)
        return _BY_CALL[call].good(ran, place)

    def close(self) -> None:
        self._server.close()
