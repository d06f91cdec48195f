"""What a terminal sends: keys, and what Textual's parser can't read, which costs itself alone."""

from __future__ import annotations

from random import Random

import pytest
from textual.events import Key, MouseEvent, Paste, Resize

from flowwatch.tui.driver import Typed


def keys(*typed: bytes, encoding: str = "utf-8") -> list[str]:
    """What is pressed when ``typed`` comes, a piece at a time."""
    terminal = Typed(encoding)
    messages = [message for data in typed for message in terminal.feed(data)]
    return [
        message.character or message.key
        for message in (*messages, *terminal.end())
        if isinstance(message, Key)
    ]


def test_a_letter_that_comes_in_pieces() -> None:
    """The first one has no text in it yet, which Textual takes for the end."""
    assert keys(b"\xc3", b"\xa9", b"\xf0\x9f", b"\x98", b"\x80q") == ["é", "😀", "q"]


def test_a_byte_that_is_no_letter() -> None:
    assert keys(b"a\xe9q") == ["a", "\ufffd", "q"]
    assert keys(b"a\xe9q", encoding="latin-1") == ["a", "é", "q"]


NONE = (
    b"\x1b[1114112u",
    b"\x1b[99999999999999999999u",
    b"\x1b[1;1;99999999999999999999u",
    b"\x1b[0;0;1114112:1u",
    b"\x1b[48;0;0;0;0t",
    b"\x1b[48;24;99999999;1;1t",
    b"\x1b[48;99999999;80;1;1t",
)


@pytest.mark.parametrize("sequence", NONE, ids=repr)
def test_a_sequence_with_an_impossible_number(sequence: bytes) -> None:
    """Whole, and a byte at a time: the keys around it are pressed."""
    assert keys(b"a" + sequence + b"q") == ["a", "q"]
    assert keys(b"a", *(bytes((byte,)) for byte in sequence), b"q") == ["a", "q"]


def test_a_window_that_can_be() -> None:
    terminal = Typed("utf-8")
    [resized] = terminal.feed(b"\x1b[48;24;80;480;800t")
    assert isinstance(resized, Resize)
    assert resized.size == (80, 24)
    # By its cells' size the pointer is placed, also after a sequence that was none.
    terminal.feed(b"\x1b[1114112u")
    [clicked] = terminal.feed(b"\x1b[<0;101;201M")
    assert isinstance(clicked, MouseEvent)
    assert (clicked.x, clicked.y) == (10, 10)


def test_a_paste_after_a_sequence_that_is_none() -> None:
    terminal = Typed("utf-8")
    pasted = terminal.feed(b"\x1b[1114112u\x1b[200~a b\x1b[201~q")
    assert [message.text for message in pasted if isinstance(message, Paste)] == ["a b"]


PIECES = (
    b"\x1b", b"[", b"]", b"O", b"P", b"<", b"?", b";", b":", b"M", b"m", b"u", b"t", b"R", b"~", b"$y", b"48",
    b"200", b"201", b"0", b"1", b"-1", b"9999999999999999999999999", b"\xff", b"\xc3", b"\x9b", b"\0", b"q",
)  # fmt: skip


def test_whatever_comes() -> None:
    random = Random(1)
    for _ in range(3000):
        terminal = Typed("utf-8")
        for _ in range(random.randint(1, 4)):
            terminal.feed(b"".join(random.choices(PIECES, k=random.randint(1, 12))))
            terminal.tick()
        terminal.end()
