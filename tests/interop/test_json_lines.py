"""A message of every kind printed as JSON, beside the same message printed by the real CLI."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch.hubble.wire.jsonprint import response_to_json
from tests.interop.real import hubble
from tests.unit.hubble.wire.test_jsonpb import VALID, by_json_format


@pytest.mark.parametrize("name", [name for name in VALID if name != "node status"])
def test_prints_what_hubble_prints(name: str, tmp_path: Path) -> None:
    line = response_to_json(by_json_format(VALID[name]))
    path = tmp_path / "flows.json"
    path.write_text(line + "\n")
    said = hubble("observe", "--input-file", path, "-o", "json").stdout.rstrip("\n")
    # We escape what a terminal would obey, hubble doesn't.
    assert line.replace("\\u202e", "\u202e") == said
