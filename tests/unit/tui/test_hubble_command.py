"""The command that shows a row's records finds them, in every capture."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from flowwatch.cli.flags import parse
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.hubble.filters.flags import Filters, build
from flowwatch.hubble.filters.match import compile_filters
from flowwatch.sources.files import FileSource
from flowwatch.tui.hubble_command import command
from tests.material import OWN, SHARED

ROWS = {OWN: 25, SHARED: 90}
"""How many rows the captures have at least."""


def filters(text: str) -> Filters:
    """What hubble makes of a command (refusing what it refuses), by our own reading of its flags."""
    words = shlex.split(text)
    assert words[:2] == ["hubble", "observe"]
    return build(parse(words[1:]).filters)


@pytest.mark.parametrize("root", [root for root in ROWS if root.is_dir()], ids=lambda p: p.name)
def test_it_finds_the_records_of_every_row_of_every_capture(root: Path) -> None:
    tried = 0
    for path in sorted((root / "captures").rglob("*.json*")):
        if "malformed" in path.parts:
            continue
        aggregate = Aggregate()
        for batch in FileSource([path]).batches():
            aggregate.join.add(batch)
        for found in snapshot(aggregate, Query(direction="both")).rows:
            text = command(found)
            match = compile_filters(filters(text))
            flows = [
                flow for batch in FileSource([path], match=match).batches() for flow in batch.flows
            ]
            assert flows, f"{path.name}: {text}"
            tried += 1
    assert tried >= ROWS[root]
