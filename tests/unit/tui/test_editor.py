"""The line that is typed: keys of readline, and pastes."""

from __future__ import annotations

from flowwatch.tui.editor import LONGEST, Editor


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


def test_a_hostile_paste_is_one_short_safe_line() -> None:
    editor = Editor("/")

    editor.insert("a\x1b[2Jb\nc" + "x" * 5_000)

    assert editor.text.startswith("a\\x1b[2Jb c")
    assert len(editor.text) == LONGEST
