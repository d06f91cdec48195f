"""What the page's script may say to a tab, and what it may not."""

from __future__ import annotations

import pytest

from flowwatch.web.server import heard


class Told:
    """What a tab was told."""

    def __init__(self) -> None:
        self.typed = ""
        self.sizes: list[tuple[int, int]] = []

    def type(self, text: str) -> None:
        self.typed += text

    def resize(self, columns: int, lines: int) -> None:
        self.sizes.append((columns, lines))


def test_what_the_script_says() -> None:
    told = Told()
    assert heard('["stdin", "jä"]', told) == []
    assert heard('["resize", {"width": 100, "height": 30}]', told) == []
    assert heard('["ping", "17"]', told) == ['["pong", "17"]']
    assert heard('["focus"]', told) == []
    assert (told.typed, told.sizes) == ("jä", [(100, 30)])


@pytest.mark.parametrize(
    "text",
    [
        "", "[", "{}", "null", "[]", '["stdin"]', '["stdin", 7]', '["stdin", null]', '["resize", []]',
        '["resize", {"width": "1", "height": 2}]', '["resize", {"width": 1e400, "height": 2}]',
        '["quit", {}]', "[" * 5000, '["ping", {}]',
    ],
)  # fmt: skip
def test_what_it_can_t_have_said_is_left_aside(text: str) -> None:
    told = Told()
    assert heard(text, told) == []
    assert (told.typed, told.sizes) == ("", [])
