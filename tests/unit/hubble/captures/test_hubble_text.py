"""Text that Hubble prints for people is named, with what to write instead; other text is no JSON."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch.hubble.captures.hubble_text import why_not
from flowwatch.hubble.wire.errors import COMPACT, DICT, NOT_JSON, TABLE
from tests.in_process import flowwatch
from tests.material import OWN

WEATHER = OWN / "captures/weather.jsonl"
FORMS = {"compact": COMPACT, "table": TABLE, "dict": DICT}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("more", [(), ("--print-node-name", "--time-format", "RFC3339Nano")])
def test_what_observe_prints_is_named(form: str, more: tuple[str, ...], tmp_path: Path) -> None:
    """Ours is Hubble's own, to the byte: tests/interop."""
    text = flowwatch("observe", "--input-file", WEATHER, "-o", form, *more).stdout
    path = tmp_path / "pasted.txt"
    path.write_text(text)
    told = flowwatch("summary", "--input-file", path)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.splitlines()[-1] == (
        f"flowwatch: pasted.txt is {FORMS[form]}, which leaves out most of a record: "
        "write the records: hubble observe -o jsonpb"
    )


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b'level=info msg="a -> b FORWARDED"',
        b"2026-01-31T10:00:00Z node restarted -> FORWARDED",
        b"SOURCES: none",
        b"Jan 31 10:00:00 host sshd[1]: session opened",
    ],
)
def test_other_text_is_not(line: bytes) -> None:
    assert why_not(line) == NOT_JSON


@pytest.mark.parametrize(
    "line",
    [
        b"Nov 28 17:57:54.575: a/b:1 (ID:7) <> 1.2.3.4:80 (world) Policy denied DROPPED (TCP Flags: SYN)",
        b"Jan  3 00:00:00.000 [n1]: a/b:1 (ID:7) <- c/d:80 (ID:9) to-endpoint FORWARDED (TCP)",
        b"2026-01-31T10:00:00Z: a/b:1 (ID:7) -> c/d:80 (ID:9) policy-verdict:none EGRESS DENIED (TCP)",
    ],
)
def test_compact_lines(line: bytes) -> None:
    assert why_not(line) == COMPACT


@pytest.mark.parametrize("device", ["/dev/full", "/dev/zero", "/dev/urandom"])
def test_a_device_without_end_is_refused(device: str) -> None:
    told = flowwatch("summary", "--input-file", device)
    assert (told.returncode, told.stderr) == (
        1,
        f"flowwatch: {device} is a device, not a file: name a capture, or pipe flows in\n",
    )


def test_nothing_is_still_nothing() -> None:
    assert flowwatch("summary", "--input-file", "/dev/null").returncode == 0
