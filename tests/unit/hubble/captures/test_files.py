"""Files in, records out: every shape that captures come in, and every way in which they break."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from flowwatch.errors import InputError, UsageError
from flowwatch.hubble.captures.files import BLOCK, CaptureReader
from flowwatch.hubble.wire.errors import CUT_OFF, NO_FLOW, NOT_JSON, TOO_LONG, ZEROS

Result = tuple[list[bytes], dict[str, int]]


def nothing(_: bytes) -> bytes | None:
    """The fast way that takes nothing, so that everything comes as records."""
    return None


def line(number: int, pad: int = 0) -> bytes:
    return json.dumps({"flow": {"uuid": f"{number}", "Summary": "x" * pad}}).encode()


def numbers(records: list[bytes]) -> list[int]:
    return [int(json.loads(record)["flow"]["uuid"]) for record in records]


def read(path: Path, *, limit: int = 1 << 20) -> Result:
    """Everything by the careful way, as nothing is taken on the fast one."""
    reader = CaptureReader([path], limit=limit)
    records = [record for chunk in reader.chunks(nothing) for record in chunk.records]
    return records, reader.skipped


def drain(reader: CaptureReader, records: list[bytes]) -> None:
    for chunk in reader.chunks(nothing):
        records += chunk.records


def written(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "capture"
    path.write_bytes(data)
    return path


PRETTY = json.dumps([json.loads(line(n)) for n in range(3)], indent=4).encode()
INDENTED = b"\n".join(json.dumps(json.loads(line(n)), indent=1).encode() for n in range(3))

SHAPES = {
    "lines": b"".join(line(n) + b"\n" for n in range(3)),
    "no line break at the end": b"\n".join(line(n) for n in range(3)),
    "CRLF and blank lines": b"\r\n\r\n".join(line(n) for n in range(3)) + b"\r\n \r\n",
    "byte order mark": b"\xef\xbb\xbf" + b"\n".join(line(n) for n in range(3)),
    "UTF-16 as Windows writes it": b"\n".join(line(n) for n in range(3)).decode().encode("utf-16"),
    "UTF-16, big end first": b"\xfe\xff"
    + b"\n".join(line(n) for n in range(3)).decode().encode("utf-16-be"),
    "one array over many lines": PRETTY,
    "one array on one line": b"[" + b",".join(line(n) for n in range(3)) + b"]",
    "an array, an element a line": b"[\n" + b",\n".join(line(n) for n in range(3)) + b"\n]\n",
    "objects over many lines": INDENTED,
    "objects on one line": b" ".join(line(n) for n in range(3)),
    "several arrays": b"[" + line(0) + b"]\n[]\n[" + line(1) + b",\n" + line(2) + b"]",
    "array, then lines": b"[" + line(0) + b"]\n" + line(1) + b"\n" + line(2) + b"\n",
    "lines, then array": line(0) + b"\n[\n" + line(1) + b",\n" + line(2) + b"]",
    "gzip": gzip.compress(b"\n".join(line(n) for n in range(3))),
    "gzip in members, padded": gzip.compress(line(0) + b"\n")
    + gzip.compress(line(1) + b"\n" + line(2))
    + b"\0" * 512,
    "gzip of an array": gzip.compress(PRETTY),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape: str, tmp_path: Path) -> None:
    records, skipped = read(written(tmp_path, SHAPES[shape]))
    assert numbers(records) == [0, 1, 2]
    assert skipped == {}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [1, 7, 64])
def test_shapes_in_small_pieces(shape: str, size: int) -> None:
    class Trickle(io.BytesIO):
        def read(self, _: int | None = -1) -> bytes:
            return super().read(size)

    reader = CaptureReader(["-"], stdin=Trickle(SHAPES[shape]))
    chunks = list(reader.chunks(nothing))
    assert numbers([record for chunk in chunks for record in chunk.records]) == [0, 1, 2]
    assert reader.skipped == {}


# Data → records, what is said of the rest.
BROKEN: dict[str, tuple[bytes, list[int], dict[str, int]]] = {
    "empty": (b"", [], {}),
    "only blank lines": (b"\n\n\r\n", [], {}),
    "text between": (line(0) + b"\nthis is not json\n" + line(1), [0, 1], {NOT_JSON: 1}),
    "log lines that begin like arrays": (
        b"[INFO] started\n" + line(0) + b"\n[2026-01-01 unclosed\n" + line(1) + b"\n",
        [0, 1],
        {NOT_JSON: 2},
    ),
    "a cut last line": (line(0) + b"\n" + line(1)[:20], [0], {CUT_OFF: 1}),
    "a cut line amid": (
        line(0) + b"\n" + line(1)[:25] + b"\n" + line(2) + b"\n" + line(3),
        [0, 2, 3],
        {CUT_OFF: 1},
    ),
    "a line cut in a string": (line(0)[:22] + b"\n" + line(1) + b"\n", [1], {CUT_OFF: 1}),
    "a line cut after a backslash": (b'{"flow":{"a":"\\\n' + line(1) + b"\n", [1], {CUT_OFF: 1}),
    "an unfinished array": (b"[\n" + line(0) + b",\n" + line(1) + b",\n", [0, 1], {CUT_OFF: 1}),
    "brackets that don't match": (
        b'{"flow":{"a":1}}}}\n' + line(1) + b'\n{"flow":]}\n' + line(2),
        [1, 2],
        {NOT_JSON: 2},
    ),
    "junk after a record": (line(0) + b" trailing\n" + line(1), [0, 1], {NOT_JSON: 1}),
    "scalars and nested arrays": (
        b'1\n"two"\nnull\n[3, [4]]\n' + line(0),
        [0],
        {NOT_JSON: 5},
    ),
    "zero bytes and binary": (
        b"\x00\x01\x02\xff\xfe{\n" + line(0) + b"\n\x80\n",
        [0],
        {ZEROS: 1, NOT_JSON: 2},
    ),
    "zero bytes after a crash": (
        line(0) + b"\n\0\0\0\0" + line(1) + b"\n" + line(2) + b"\0\0\n\0\0\0",
        [0, 1, 2],
        {ZEROS: 2},
    ),
    "nothing but zero bytes": (bytes(300_000), [], {ZEROS: 1}),
    "one empty array": (b" [\n]\n", [], {}),
    "many empty arrays": (b"[ ][] []" * 1000, [], {NO_FLOW: 1}),
    "nothing but commas": (b",\n" * 1000, [], {NOT_JSON: 1}),
    "brackets that only open": (b"[" * 300_000 + b"\n" + line(1), [1], {NOT_JSON: 1, CUT_OFF: 1}),
    "braces that only open": (b"{" * 300_000 + b"\n" + line(1), [1], {NOT_JSON: 1}),
    "objects nested too deep": (
        b'{"a":' * 3000 + b"1" + b"}" * 3000 + b"\n" + line(1),
        [1],
        {NOT_JSON: 1},
    ),
    "brackets of every kind in a record": (
        b'{"a":[[[[[{"b":[{}]},[]]],[[]]]],{"c":"}]"}]}\n' + line(1),
        [1],
        {},
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_input_costs_only_itself(case: str, tmp_path: Path) -> None:
    data, expected, said = BROKEN[case]
    records, skipped = read(written(tmp_path, data))
    assert numbers([r for r in records if b"uuid" in r]) == expected
    assert skipped == said


def test_random_bytes_are_counted_and_end(tmp_path: Path) -> None:
    junk = bytes((i * 7919 >> 3) & 255 for i in range(300_000))
    records, skipped = read(written(tmp_path, junk))
    assert records == []
    assert sum(skipped.values()) > 0


@pytest.mark.parametrize("unit", [b'{"a":', b"[", b'"', b'{"a":"\\', b"{", b'[{"', b'{"flow":{\n'])
def test_what_never_closes_takes_linear_time(unit: bytes, tmp_path: Path) -> None:
    started = time.process_time()
    _, skipped = read(written(tmp_path, unit * 200_000))
    assert sum(skipped.values()) >= 1
    assert time.process_time() - started < 10


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_many_objects_on_a_line_take_linear_time(end: bytes, tmp_path: Path) -> None:
    started = time.process_time()
    records, skipped = read(written(tmp_path, (b"{}" * 30_000 + end) * 5))
    assert (len(records), skipped) == (150_000, {})
    assert time.process_time() - started < 10


def test_a_line_of_100_mb_is_passed_over_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(line(0) + b'\n{"flow":{"Summary":"')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}}\n' + line(1) + b"\n")
    tracemalloc.start()
    reader = CaptureReader([path], limit=8 << 20)
    records = [r for chunk in reader.chunks(nothing) for r in chunk.records]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert numbers(records) == [0, 1]
    assert reader.skipped == {TOO_LONG: 1}
    assert peak < 24 << 20


def test_100_mb_of_junk_on_one_line_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "junk"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b"\n" + line(1))
    tracemalloc.start()
    records, skipped = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (numbers(records), skipped) == ([1], {NOT_JSON: 1})
    assert peak < 16 << 20


def test_a_big_array_on_one_line_streams(tmp_path: Path) -> None:
    count = 10 * 16 * BLOCK // 1000
    path = written(tmp_path, b"[" + b",".join(line(n, 900) for n in range(count)) + b"]\n")
    tracemalloc.start()
    seen = sum(len(chunk.records) for chunk in CaptureReader([path]).chunks(nothing))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seen == count
    assert peak < path.stat().st_size


def test_a_gzip_bomb_stays_small(tmp_path: Path) -> None:
    path = written(tmp_path, gzip.compress(b" " * 200_000_000 + b"\n" + line(7)))
    tracemalloc.start()
    records, _ = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert numbers(records) == [7]
    assert peak < 32 << 20


@pytest.mark.parametrize("cut", [3, 12, 200, -9])
def test_truncated_gzip_gives_what_is_there_and_says_so(cut: int, tmp_path: Path) -> None:
    packed = gzip.compress(b"\n".join(line(n, 50) for n in range(500)))
    reader = CaptureReader([written(tmp_path, packed[:cut])])
    records: list[bytes] = []
    with pytest.raises(InputError, match="cut off"):
        drain(reader, records)
    assert numbers(records) == list(range(len(records)))
    if cut == -9:
        assert len(records) == 500
    elif cut == 200:
        assert 0 < len(records) < 500


def test_damaged_gzip_is_told_after_what_came_before(tmp_path: Path) -> None:
    good = gzip.compress(b"\n".join(line(n) for n in range(5)) + b"\n")
    reader = CaptureReader(
        [written(tmp_path, good + b"no gzip at all"), written(tmp_path, good)][:1]
    )
    reader = CaptureReader([written(tmp_path, good + b"no gzip at all")])
    records: list[bytes] = []
    with pytest.raises(InputError, match="damaged gzip"):
        drain(reader, records)
    assert numbers(records) == [0, 1, 2, 3, 4]


def test_the_next_file_is_read_though_one_is_broken(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.gz", tmp_path / "good.jsonl"
    bad.write_bytes(gzip.compress(line(0) + b"\n" + line(1) * 100)[:-12])
    good.write_bytes(line(2))
    records: list[bytes] = []
    with pytest.raises(InputError, match=r"bad\.gz"):
        drain(CaptureReader([bad, good]), records)
    assert records[-1] == line(2)


FOREIGN = {
    "a zip archive": b"PK\x03\x04aaaaaaaa",
    "zstd": b"\x28\xb5\x2f\xfdaaaaa",
    "xz": b"\xfd7zXZ\x00aaa",
    "pcap": b"\xd4\xc3\xb2\xa1aaaaaaa",
}


@pytest.mark.parametrize("what", FOREIGN)
def test_other_formats_are_named(what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=what) as caught:
        read(written(tmp_path, FOREIGN[what]))
    assert "\n" not in str(caught.value)


def test_a_missing_file_a_directory_and_a_bad_name_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        CaptureReader([tmp_path / "nothing"])
    with pytest.raises(InputError, match="is a directory"):
        CaptureReader([tmp_path])
    with pytest.raises(InputError, match="null"):
        CaptureReader(["a\0b"])
    with pytest.raises(InputError) as caught:
        CaptureReader([tmp_path / "\x1b[31mred\nline"])
    assert str(caught.value).isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    path = written(tmp_path, line(0))
    path.chmod(0)
    with pytest.raises(InputError, match="permission denied"):
        CaptureReader([path])


def test_a_terminal_as_input_says_how_to_use_it() -> None:
    controller, terminal = pty.openpty()
    try:
        with (
            os.fdopen(terminal, "rb", buffering=0) as stdin,
            pytest.raises(UsageError, match="hubble observe -o json"),
        ):
            CaptureReader(["-"], stdin=stdin)
    finally:
        os.close(controller)


def test_standard_input_once_only() -> None:
    with pytest.raises(UsageError, match="only once"):
        CaptureReader(["-", "-"], stdin=io.BytesIO())


PROGRAM = """
import sys
from flowwatch.hubble.captures.files import CaptureReader
print(sum(len(chunk.records) for chunk in CaptureReader(["-"]).chunks(lambda block: None)))
"""


@pytest.mark.parametrize(
    "data", [SHAPES["lines"], SHAPES["gzip"], PRETTY], ids=["lines", "gzip", "pretty"]
)
def test_standard_input(data: bytes) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=data, capture_output=True, check=True
    )
    assert done.stdout == b"3\n"


def test_closed_standard_input() -> None:
    program = "import os, sys; sys.stdin.close()\n" + PROGRAM
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert b"standard input is closed" in done.stderr


def test_a_pipe_gives_lines_as_they_come_and_idles_between() -> None:
    receiver, sender = os.pipe()
    with os.fdopen(receiver, "rb", buffering=0) as stdin:
        chunks = CaptureReader(["-"], stdin=stdin).chunks(nothing)
        os.write(sender, line(0) + b"\n" + line(1)[:10])
        first = next(chunk for chunk in chunks if chunk.records)
        assert numbers(first.records) == [0]
        assert next(chunks).records == []
        os.write(sender, line(1)[10:] + b"\n")
        assert numbers(next(chunk for chunk in chunks if chunk.records).records) == [1]
        os.close(sender)
        assert [r for chunk in chunks for r in chunk.records] == []


def test_closing_ends_a_wait_on_a_silent_pipe() -> None:
    receiver, sender = os.pipe()
    with os.fdopen(receiver, "rb", buffering=0) as stdin:
        reader = CaptureReader(["-"], stdin=stdin)
        thread = threading.Thread(target=lambda: list(reader.chunks(nothing)))
        thread.start()
        reader.close()
        thread.join(5)
        assert not thread.is_alive()
    os.close(sender)


def test_whole_lines_are_offered_to_the_fast_way_first(tmp_path: Path) -> None:
    data = b"".join(line(n, 900) + b"\n" for n in range(1000)) + line(1000)
    offered: list[bytes] = []

    def fast(block: bytes) -> int:
        offered.append(block)
        return block.count(b"{") // 2

    reader = CaptureReader([written(tmp_path, data)])
    chunks = list(reader.chunks(fast))
    assert sum(chunk.decoded or 0 for chunk in chunks) == 1001
    assert not any(chunk.records for chunk in chunks)
    assert b"".join(offered) == data
    assert all(block.endswith(b"\n") for block in offered[:-1])
