"""What docs/architecture.md names, exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PLACES = sorted(set(re.findall(r"`(flowwatch/[\w/]+\.py)(?:::(\w+))?`", TEXT)))


def test_it_names_places() -> None:
    assert len(PLACES) > 30


@pytest.mark.parametrize(("file", "name"), PLACES, ids=["::".join(filter(None, p)) for p in PLACES])
def test_every_place_is_there(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    if name:
        module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        assert hasattr(importlib.import_module(module), name)


def test_the_rooms_are_named_in_contributing() -> None:
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rooms = [
        path.name for path in (ROOT / "flowwatch").iterdir() if (path / "__init__.py").exists()
    ]
    missing = [room for room in rooms if f"flowwatch/{room}/" not in contributing]
    assert missing == []
