"""What the parts of the matcher share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter

Match = Callable[[Flow], bool]
Build = Callable[[Any, FlowFilter], Match | None]
"""From the values of a FlowFilter's field, and the filter, to a test; None if there is none to do."""


_MOST_KNOWN = 10_000
"""Texts whose answer is remembered …"""
_LONGEST_KNOWN = 512
"""… if they are no longer than this."""


def remembering(find: Callable[[str], bool]) -> Callable[[str], bool]:
    """``find``, asked once for each text: records say the same again and again."""
    known: dict[str, bool] = {}

    def test(text: str) -> bool:
        answer = known.get(text)
        if answer is None:
            answer = find(text)
            if len(known) >= _MOST_KNOWN:
                known.clear()
            if len(text) <= _LONGEST_KNOWN:
                known[text] = answer
        return answer

    return test


class FilterError(ValueError):
    """A value that a Hubble server refuses, in its words."""
