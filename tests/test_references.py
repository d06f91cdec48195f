"""What a docstring or a comment refers to, exists: :class:`…` and its kind, and pages of docs/."""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = re.compile(r":(class|func|mod|meth|data|attr|exc|obj|const):`~?([\w.]+)(?:\(\))?`")
ANY_ROLE = re.compile(r"(?<!:):[a-z]+:`[\w.~]")
PAGE = re.compile(r"(?<![\w/.-])docs/([\w-]+\.md)(?:#([\w-]+))?")


def _anything(_: object) -> bool:
    return True


KINDS: dict[str, Callable[[object], bool]] = {
    "mod": inspect.ismodule,
    "func": callable,
    "meth": callable,
    "exc": lambda found: inspect.isclass(found) and issubclass(found, BaseException),
}
"""What a role may lead to. A class may be an alias, and data is what it is."""


@dataclass(frozen=True)
class Reference:
    file: str
    line: int
    role: str
    target: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} :{self.role}:{self.target}"


def sources() -> Iterator[Path]:
    """Our own Python, without what is generated."""
    for folder in ("flowwatch", "tests", "screenshots"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "pb" not in path.relative_to(ROOT).parts and path != Path(__file__).resolve():
                yield path


def references(path: Path) -> Iterator[Reference]:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        for role, target in REFERENCE.findall(line):
            yield Reference(str(path.relative_to(ROOT)), number, role, target)


ALL = [reference for path in sources() for reference in references(path)]


def module_of(file: str) -> ModuleType:
    return importlib.import_module(
        file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    )


def classes_around(reference: Reference, module: ModuleType) -> list[Any]:
    """The classes in which the line stands, the innermost first; or what is documented is one itself."""
    found: list[Any] = []
    within: list[ast.AST] = [ast.parse((ROOT / reference.file).read_text("utf-8"))]
    owner: Any = module
    while within:
        node = within.pop()
        for child in ast.iter_child_nodes(node):
            first, last = getattr(child, "lineno", 0), getattr(child, "end_lineno", 0)
            if first <= reference.line <= last and isinstance(child, ast.ClassDef):
                owner = getattr(owner, child.name)
                found.insert(0, owner)
                within.append(child)
    return found


NOTHING = object()


def member(owner: Any, name: str) -> Any:
    """An attribute, or what stands for one that only instances have."""
    found = inspect.getattr_static(owner, name, NOTHING)
    if found is not NOTHING:
        return getattr(owner, name, found)
    if inspect.ismodule(owner):
        # Public names are loaded when they are asked for.
        return getattr(owner, name, None) or _module(f"{owner.__name__}.{name}")
    for base in getattr(owner, "__mro__", ()):
        if name in getattr(base, "__annotations__", {}):
            return base.__annotations__[name]
        if base.__module__.startswith(("flowwatch", "tests")) and re.search(
            rf"\bself\.{name}\b(:.*)? =", inspect.getsource(base)
        ):
            return name
    return NOTHING


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name) if importlib.util.find_spec(name) else NOTHING
    except ModuleNotFoundError:
        return NOTHING


def walk(start: Any, parts: list[str]) -> Any:
    for part in parts:
        if start is NOTHING:
            return NOTHING
        start = member(start, part)
    return start


def resolve(reference: Reference) -> Any:
    """What is meant: seen from its class, from its module, from nowhere; ``NOTHING`` when nothing is."""
    parts = reference.target.split(".")
    module = module_of(reference.file)
    for start in [*classes_around(reference, module), module, builtins]:
        if (found := walk(start, parts)) is not NOTHING:
            return found
    return walk(_module(parts[0]), parts[1:])


def test_there_are_references_to_follow() -> None:
    assert len(ALL) > 100
    assert {reference.role for reference in ALL} >= {"class", "func", "mod", "meth"}


def test_every_reference_leads_to_what_it_names() -> None:
    assert [str(reference) for reference in ALL if not leads(reference)] == []


def leads(reference: Reference) -> bool:
    found = resolve(reference)
    return found is not NOTHING and KINDS.get(reference.role, _anything)(found)


@pytest.mark.parametrize(
    ("role", "target"),
    [
        ("class", "Agregate"),
        ("meth", "Aggregate.snapshot_of_old"),
        ("mod", "flowwatch.egress.gone"),
        ("func", "flowwatch.egress.aggregate.gone"),
        ("func", "flowwatch.egress.aggregate"),
    ],
)
def test_a_reference_to_nothing_would_be_noticed(role: str, target: str) -> None:
    assert not leads(Reference("flowwatch/egress/aggregate.py", 1, role, target))


def test_no_role_is_overlooked() -> None:
    for path in sources():
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            known = len(REFERENCE.findall(line))
            assert len(ANY_ROLE.findall(line)) == known, f"{path.name}:{number}: {line.strip()}"


def headings(page: Path) -> set[str]:
    """As a link names them."""
    found = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_pages_that_code_names_exist() -> None:
    named = [
        (str(path.relative_to(ROOT)), page, heading)
        for path in [*sources(), ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / ".ci" / "run"]
        for page, heading in PAGE.findall(path.read_text("utf-8"))
    ]
    assert len(named) > 15
    assert [one for one in named if not is_there(*one[1:])] == []


def is_there(page: str, heading: str) -> bool:
    path = ROOT / "docs" / page
    return path.is_file() and (not heading or heading in headings(path))
