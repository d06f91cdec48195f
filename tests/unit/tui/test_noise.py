"""Noise in the dashboard: folded and counted, listed below what policies blocked by a key or a flag."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from flowwatch.flows.model import Flow
from flowwatch.sources.files import FileSource
from tests.unit.audits.told import Capture
from tests.unit.tui.driven import Driven, Played, played, run

COUNTED = "✗ 1 dropped ✓ 3 forwarded 25.0% dropped + 2 noise (n)"


def starting(folder: Path) -> list[Flow]:
    """A pod that comes up looks for neighbours; a policy drops one of the four things it tries then."""
    flows = Capture()
    for peer, kind in (("ff02::2", 133), ("ff02::16", 143)):
        flows.add("shop/web", "→", peer, kind, "DROPPED", protocol="ICMPv6", drop_reason=132)
    flows.add("shop/web", "→", "198.51.100.9", 443, "DROPPED")
    for port in (443, 444, 445):
        flows.add("shop/web", "→", "198.51.100.1", port)
    return [
        one for batch in FileSource([str(flows.write(folder))]).batches() for one in batch.flows
    ]


def peers(driven: Driven) -> list[str]:
    """The destinations in the table, in order, each with its sign."""
    rows = (line.replace("▌", " ").split() for line in driven.screen)
    return [
        f"{row[0]} {word}"
        for row in rows
        if row and row[0] in ("✗", "✓", "·")
        for word in row
        if word.startswith(("198.", "ff02:"))
    ]


BLOCKED = [
    "✗ 198.51.100.9:443", "✓ 198.51.100.1:443", "✓ 198.51.100.1:444", "✓ 198.51.100.1:445",
]  # fmt: skip
NOISE = ["· ff02::16", "· ff02::2"]


def test_noise_is_folded_until_a_key_lists_it_and_no_share_has_it(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(starting(tmp_path))) as driven:
            await driven.sees(COUNTED)
            assert peers(driven) == BLOCKED
            await driven.press("n")
            await driven.until(lambda: peers(driven) == [*BLOCKED, *NOISE], "the noise")
            assert driven.has(COUNTED)
            assert " noise " in driven.screen[0]
            await driven.press("n")
            await driven.until(lambda: peers(driven) == BLOCKED, "without the noise")
            assert " noise " not in driven.screen[0]

    run(test())


def test_the_flag_lists_it_from_the_start(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(starting(tmp_path)), noise=True) as driven:
            await driven.until(lambda: peers(driven) == [*BLOCKED, *NOISE], "the noise")

    run(test())


def test_drops_only_is_without_what_is_folded(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(starting(tmp_path))) as driven:
            await driven.press("d")
            await driven.until(lambda: peers(driven) == BLOCKED[:1], "the drop")
            await driven.press("n")
            await driven.until(lambda: peers(driven) == [*BLOCKED[:1], *NOISE], "the noise")

    run(test())


def test_where_there_is_nothing_else_it_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(starting(tmp_path)[:2])) as driven:
            await driven.sees(
                "Nothing but noise: 2 dropped before any policy was asked: multicast 1"
            )
            assert driven.has("n lists the rows")

    run(test())


def test_the_file_of_the_rows_has_all_and_a_column_that_tells(tmp_path: Path) -> None:
    async def test() -> None:
        async with played(Played(starting(tmp_path)), export_dir=tmp_path) as driven:
            await driven.sees(COUNTED)
            await driven.press("e")
            await driven.sees("6 rows written")

    run(test())
    [path] = tmp_path.glob("*.csv")
    noise = [line["noise"] for line in csv.DictReader(io.StringIO(path.read_text()))]
    assert noise == ["", "", "", "", "multicast=1", "neighbour discovery=1"]
