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


PACKAGE, UNIT = ROOT / "flowwatch", ROOT / "tests" / "unit"

OF_THE_WHOLE = {
    "contract": "each value of a record, in every output",
    "test_captures_shared.py": "every capture, read in every way",
    "test_generated.py": "proto/ and what is made of it",
    "test_imports.py": "what each verb loads",
}
"""What in tests/unit is about no room."""


def rooms_of(folder: Path, files: str) -> set[str]:
    """Folders below with such files in them, as paths."""
    return {
        str(path.parent.relative_to(folder))
        for path in folder.rglob(files)
        if "pb" not in path.relative_to(folder).parts and path.parent != folder
    }


def test_tests_mirror_the_rooms() -> None:
    """A room's tests are where its files are; a part of a room may be tested with the room."""
    rooms = rooms_of(PACKAGE, "*.py")
    tested = rooms_of(UNIT, "test_*.py") - OF_THE_WHOLE.keys()
    assert tested <= rooms
    untested = {
        room for room in rooms - tested if not any(str(up) in tested for up in Path(room).parents)
    }
    assert untested <= {"hubble"}, "which is its parts"


def test_what_is_about_one_file_is_named_after_it() -> None:
    alone = {path.name for path in UNIT.glob("test_*.py")} - OF_THE_WHOLE.keys()
    assert alone <= {f"test_{path.name}" for path in PACKAGE.glob("*.py")}


def test_every_file_of_egress_has_its_tests() -> None:
    """The room whose numbers every view shows."""
    files = {path.name for path in (PACKAGE / "egress").glob("[!_]*.py")}
    assert {f"test_{name}" for name in files} <= {path.name for path in (UNIT / "egress").iterdir()}


@pytest.mark.parametrize("word", ["Address", "Answer", "Cluster", "Key", "Options", "Question"])
def test_a_word_that_several_rooms_would_take_names_one_class(word: str) -> None:
    """The others say of what theirs is: KubeAnswer, PolicyQuestion."""
    files = [path for path in PACKAGE.rglob("*.py") if "pb" not in path.parts]
    named = [
        path for path in files if re.search(rf"^class {word}\b", path.read_text(), re.MULTILINE)
    ]
    assert len(named) == 1
