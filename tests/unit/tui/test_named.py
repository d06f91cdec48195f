"""Sentences name keys as this person has them: by the action, and by no letter of their own."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import flowwatch.tui
from flowwatch.tui.commands import COMMANDS
from flowwatch.tui.keys import OPENING, label, labels
from flowwatch.tui.named import NAMES, TYPED, KeyNames
from flowwatch.tui.own_keys import read_keys
from flowwatch.tui.view import key_map
from flowwatch.tui.views import VIEWS
from tests.unit.tui.driven import Played, played, run
from tests.unit.tui.made import COMPLETE
from tests.unit.tui.test_dashboard import STORY

TUI = Path(flowwatch.tui.__file__).parent
MAP = key_map(VIEWS)

_DOES = (
    "acts|back|begins|changes|clears|closes|compares|copies|each|ends|finds|folds|gives|goes|in|keeps|lists|"
    "looks|opens|puts|quits|says|scroll|scrolls|sets|shows|starts|steps|takes|tells|then|tries|turns|writes"
)
_LABELS = {label(name) for key in MAP.keys for name in key.keys}
_KEY = "|".join(sorted(map(re.escape, _LABELS), key=len, reverse=True))
_SIGN = "|".join(map(re.escape, sorted(_LABELS - {"?"})))
"""A question mark in brackets is the sign of what isn't known."""
NAMED = re.compile(
    rf"(?:^|(?<=[ (;,:]))(?:{_KEY})(?: (?:{_DOES})\b|: [a-z])|\((?:{_SIGN})(?:\)|; | (?:{_DOES})\b|: [a-z])"
)
"""A key that does something, in a sentence: ``p shows``, ``w: why``, ``(n)``."""

_TYPING = {"finding.py": 1}
"""Sentences of what a line that is typed does: its keys are fixed."""


def sentences(path: Path) -> Iterator[str]:
    """All texts of a file but those that document it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in documents and " " in text:
            yield text


def test_no_sentence_names_a_key_by_its_letter() -> None:
    found = {
        path.name: [text for text in sentences(path) if NAMED.search(text)]
        for path in TUI.rglob("*.py")
        if path.name != "columns.py"
    }
    told = {name: texts for name, texts in found.items() if len(texts) != _TYPING.get(name, 0)}
    assert told == {}
    for text in ("p shows what came", "w: why", "noise (n)", "x; L goes back to now", "esc closes"):
        assert NAMED.search(text), text


def test_each_action_in_braces_is_one() -> None:
    actions = {key.action for key in MAP.keys}
    named = {
        name
        for path in TUI.rglob("*.py")
        for text in sentences(path)
        for name in re.findall(r"\{([a-z_]+)\}", text)
    }
    assert len(named) > 25
    assert named <= actions
    assert {name for one in COMMANDS for name in (one.name, *one.aliases)} >= TYPED


def test_where_nobody_changed_them_they_are_those_of_the_map() -> None:
    given = KeyNames(MAP.keys)
    assert {view.name: view.keys_to_open for view in VIEWS if view.keys_to_open} == OPENING
    for key in MAP.keys:
        if key.action in OPENING or key.context in ("anywhere", "rows", "traffic", "timed"):
            assert NAMES[key.action] == given[key.action] == labels(key).split()[0]


def test_an_action_without_a_key_is_named_by_what_is_typed(tmp_path: Path) -> None:
    own = tmp_path / "keys"
    own.write_text("pause = none\nwarnings = none\nnow = none\nhelp = f5\n", encoding="utf-8")
    names = KeyNames(read_keys(own, MAP).keys)
    assert names.told("{pause} {warnings} {help}") == ":pause :warnings f5"
    assert names["now"] == "ctrl-p now"


def test_the_screen_says_the_keys_of_the_users_own_file(tmp_path: Path) -> None:
    own = tmp_path / "keys"
    own.write_text(
        "pause = x\nwarnings = !\nback = f9\nspan = @\ndetail = f3\ndrops = Z\nnow = X\nfollow = V\n",
        encoding="utf-8",
    )

    async def test() -> None:
        async with played(Played(STORY, COMPLETE), size=(120, 40), keys=own) as driven:
            await driven.sees("f3 detail", "Z drops only")
            await driven.press("x")
            await driven.sees("x shows what came meanwhile")
            await driven.press("x", "at")
            await driven.sees("(@; [ ] steps, X back to now)")
            await driven.press("exclamation_mark")
            await driven.sees("f9 closes")
            await driven.press("d")
            await driven.press("f9", "8")
            await driven.sees("(V: of the selected one)")
            assert any("@ the last minute" in one for one in driven.app.helps)

    run(test())
