"""The shell knows no view, nor does what views are made of."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
TUI = ROOT / "flowwatch" / "tui"


def module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


FILES = {module(path): path for path in sorted(TUI.rglob("*.py"))}


def imported(path: Path) -> set[str]:
    """The files of the dashboard that one imports: for types alone, and inside functions, too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inside & set(FILES) or {node.module}
    return found & set(FILES)


def test_neither_shell_nor_feed_nor_actions_name_a_view() -> None:
    for name in ("shell", "feed", "actions", "desk", "view", "prompt", "commands", "keys"):
        views = [
            other
            for other in imported(FILES[f"flowwatch.tui.{name}"])
            if other.startswith("flowwatch.tui.views")
        ]
        assert views == []


def test_parts_are_made_of_no_view() -> None:
    for name, path in FILES.items():
        if name.startswith("flowwatch.tui.parts"):
            assert not [x for x in imported(path) if x.startswith("flowwatch.tui.views")]
