"""Copying: by OSC 52 as far as it goes, and always into a file."""

from __future__ import annotations

from flowwatch.tui.clipboard import keep, osc52


def test_too_long_a_text_is_not_sent_to_the_clipboard() -> None:
    assert osc52("flow") == "\x1b]52;c;Zmxvdw==\a"
    assert osc52("x" * 100_000) == ""


def test_the_last_copy_is_kept_in_a_file_of_the_user_alone(tmp_path: object) -> None:
    path = keep("hubble observe", {"XDG_CACHE_HOME": str(tmp_path)})

    assert path is not None
    assert path.read_text() == "hubble observe\n"
    assert path.stat().st_mode & 0o077 == 0
    assert keep("x", {"XDG_CACHE_HOME": "/proc/nowhere"}) is None
