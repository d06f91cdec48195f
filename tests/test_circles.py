"""No file imports one that imports it again, on whatever way: for types alone, or amid a function."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

Graph = dict[str, set[str]]


def files(root: Path, package: str) -> dict[str, Path]:
    """The modules of ``package`` below ``root``, by their names."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (root / package).rglob("*.py")
    }


def imports(root: Path, package: str) -> Graph:
    """Which modules of ``package`` each of them names in an import, wherever it stands."""
    known = files(root, package)
    return {name: set(named(path, known)) for name, path in known.items()}


def named(path: Path, known: Iterable[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                # A module of a package, or something that a module holds.
                inside = f"{node.module}.{alias.name}"
                found = inside if inside in known else node.module
                yield from (one for one in (found,) if one in known)


def circles(graph: Graph) -> list[set[str]]:
    """The largest sets of modules in which each is reached from each other (Tarjan's)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found: list[set[str]] = []

    def visit(one: str) -> None:
        number[one] = low[one] = len(number)
        path.append(one)
        for other in graph.get(one, ()):
            if other not in number:
                visit(other)
                low[one] = min(low[one], low[other])
            elif other in path:
                low[one] = min(low[one], number[other])
        if low[one] == number[one]:
            start = path.index(one)
            circle = set(path[start:])
            del path[start:]
            if len(circle) > 1 or one in graph[one]:
                found.append(circle)

    for one in graph:
        if one not in number:
            visit(one)
    return found


def test_there_is_no_circle() -> None:
    graph = imports(ROOT, "flowwatch")
    assert len(graph) > 250
    assert [sorted(circle) for circle in circles(graph)] == []


@pytest.mark.parametrize(
    ("texts", "circle"),
    [
        ({"a": "import pack.b", "b": "import pack.c", "c": ""}, []),
        ({"a": "import pack.b", "b": "from pack import a"}, ["pack.a", "pack.b"]),
        (
            {
                "a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pack.b import B",
                "b": "def f():\n    from pack.c import x",
                "c": "from pack.a import y",
            },
            ["pack.a", "pack.b", "pack.c"],
        ),
        ({"a": "from pack import b", "b": "from pack import __version__"}, []),
        ({"__init__": "from pack.a import x", "a": "from pack import y"}, ["pack", "pack.a"]),
    ],
    ids=["a line", "two", "types and functions", "the package's own names", "the package"],
)
def test_a_circle_is_found(texts: dict[str, str], circle: list[str], tmp_path: Path) -> None:
    (tmp_path / "pack").mkdir()
    for name, text in ({"__init__": ""} | texts).items():
        (tmp_path / "pack" / f"{name}.py").write_text(text)
    assert [sorted(one) for one in circles(imports(tmp_path, "pack"))] == (
        [circle] if circle else []
    )
