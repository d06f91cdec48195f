"""Captures: lines, arrays and packed files of records, spoilt."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from random import Random

from tests.fuzz import corpus, mutate
from tests.fuzz.inputs import Input
from tests.fuzz.program import Fault, Ran, run
from tests.fuzz.readers import POLICY, READERS, Reader

_BY_CALL: dict[tuple[str, ...], Reader] = {reader.arguments: reader for reader in READERS}
_FILE = "flows.jsonl"


class Captures:
    """Where only lines between good ones are spoilt, each as a line, the good ones all count."""

    name = "captures"
    what = "lines"

    def __init__(self) -> None:
        self._good = [corpus.printed(record) for record in corpus.good()]
        self._lines = [corpus.line(record) for record in corpus.RECORDS]
        self._lines += [corpus.printed(record) for record in corpus.RECORDS]
        self._lines += [
            corpus.line(record["flow"]) for record in corpus.RECORDS if "flow" in record
        ]
        for capture in corpus.hostile("*.jsonl"):
            self._lines += [line for line in capture.splitlines() if line]
        self._expected: dict[tuple[str, ...], object] = {}

    def make(self, random: Random) -> Input:
        call = random.choice(list(_BY_CALL))
        lines = [self._spoilt(random) for _ in range(random.choice((1, 2, 4, 16)))]
        if random.random() < 0.8:
            return Input(call, {f"{n:02}.line": line for n, line in enumerate(lines)}, len(lines))
        return Input(call, {_FILE: self._whole(random, lines)}, len(lines))

    def _spoilt(self, random: Random) -> bytes:
        """Spoilt, but still one line."""
        raw = random.choice(self._lines)
        kind = random.randrange(10)
        if kind < 7:
            tree = mutate.tree(random, json.loads(raw))
            marks = random.choice(((",", ":"), (", ", ": ")))
            text = json.dumps(tree, ensure_ascii=random.random() < 0.5, separators=marks)
            raw = text.encode("utf-8", "surrogatepass")
        elif kind < 9:
            raw = mutate.data(random, raw)
        else:
            raw = mutate.mixed(random, self._lines)
        return raw.replace(b"\n", b" ").replace(b"\r", b" ")

    def _whole(self, random: Random, lines: list[bytes]) -> bytes:
        """A file of another shape, spoilt as a whole."""
        shapes = (
            b"\n".join(lines),
            b"[" + b",\n".join(lines) + b"]",
            b"\r\n".join(lines),
            b" ".join(lines),
        )
        raw = random.choice(shapes)
        if random.random() < 0.3:
            raw = (
                random.choice((b"\0", b"[", b"{", b'"', b"\xef\xbb\xbf", b"\xff\xfe"))
                * random.choice((1, 3, 4096, 300_000))
                + raw
            )
        raw = mutate.data(random, raw) if random.random() < 0.5 else raw
        if random.random() < 0.3:
            packed = gzip.compress(raw, 1, mtime=0)
            raw = mutate.data(random, packed) if random.random() < 0.5 else packed
        return raw

    def run(self, given: Input, place: Path) -> None:
        if _FILE in given.files:
            self._read(given.call, given.files[_FILE], place)
            return
        if given.call not in self._expected:
            self._expected[given.call] = self._seen(given.call, [], place)
            (place / "out").unlink(missing_ok=True)
        seen = self._seen(given.call, [data for _, data in sorted(given.files.items())], place)
        if seen != self._expected[given.call]:
            raise Fault(f"the good records differ: {seen} not {self._expected[given.call]}")

    def _seen(self, call: tuple[str, ...], spoilt: list[bytes], place: Path) -> object:
        raw = b"\n".join([self._good[0], *spoilt, *self._good[1:]]) + b"\n"
        return _BY_CALL[call].good(self._read(call, raw, place), place)

    def _read(self, call: tuple[str, ...], raw: bytes, place: Path) -> Ran:
        (place / _FILE).write_bytes(raw)
        (place / "policy.yaml").write_bytes(POLICY)
        return run([*call, "--input-file", _FILE], place)

    def close(self) -> None:
        pass
