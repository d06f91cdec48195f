"""The line that is typed: keys of readline, and pastes."""

from __future__ import annotations

from flowwatch.tui.editor import LONGEST, Editor
from flowwatch.tui.parts.footer import editor_line


def test_the_editor_edits_as_readline_does() -> None:
    editor = Editor("/", "", ["older", "newer"])
    for char in "foo bar":
        editor.key(char, char)
    editor.key("ctrl+w", "\x17")
    assert (editor.text, editor.caret) == ("foo ", 4)
    editor.key("home", None)
    editor.key("delete", None)
    editor.key("x", "x")
    assert editor.text == "xoo "
    editor.key("up", None)
    editor.key("up", None)
    assert editor.text == "older"
    editor.key("down", None)
    editor.key("down", None)
    assert editor.text == "xoo "
    editor.key("ctrl+u", "\x15")
    assert editor.text == ""


def test_what_stands_in_the_line_is_not_recalled_as_something_older() -> None:
    editor = Editor("/", "ns:shop", ["ns:ci", "ns:shop"])
    editor.key("up", None)
    assert editor.text == "ns:ci"
    editor.key("up", None)
    assert editor.text == "ns:ci"
    editor.key("down", None)
    assert editor.text == "ns:shop"


def test_of_a_hint_there_is_as_much_as_fits() -> None:
    def told(hint: str, columns: int) -> str:
        return "".join(text for text, _ in editor_line(Editor("/"), hint, columns))

    assert told("tab completes ns:  or words", 40) == " /   tab completes ns:  or words"
    assert told("tab completes ns:  or words", 24) == " /   tab completes ns:"
    assert told("tab completes ns:", 10) == " /   tab …"


def test_a_hostile_paste_is_one_short_safe_line() -> None:
    editor = Editor("/")

    editor.insert("a\x1b[2Jb\nc" + "x" * 5_000)

    assert editor.text.startswith("a\\x1b[2Jb c")
    assert len(editor.text) == LONGEST
