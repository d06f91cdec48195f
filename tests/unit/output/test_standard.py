"""Lines beside the result."""

from __future__ import annotations

import pytest

from flowwatch.output.standard import LONGEST, say


def test_a_line_is_no_longer_than_can_be_read(capfd: pytest.CaptureFixture[str]) -> None:
    """A key of 70,000 letters in a policy is named, but not whole."""
    say('unknown field "' + "x" * 70_000 + '"')
    line = capfd.readouterr().err
    assert line.startswith('flowwatch: unknown field "xxx')
    assert line.endswith("x…\n")
    assert len(line) < LONGEST + 20
