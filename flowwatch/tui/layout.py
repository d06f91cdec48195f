"""Which parts of the dashboard get how many lines, for any size of terminal.

The table is what people came for: everything else gives way to it, in this order: the axis of the
timeline, the timeline, the second headline. Where even the table is too small beside a panel
(detail or tail), the panel takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass

SIDE = 132
"""Columns from which the detail stands beside the table, and is open from the start."""

TABS = 20
"""Lines from which the numbered views are named above the table."""

TALL = 44
"""Lines from which the detail is open below the table from the start."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Lines of each part (0: not shown), and the width of a detail at the side (0: below)."""

    title: int
    banner: int
    headline: int
    timeline: int
    table: int
    detail: int
    tail: int
    footer: int
    side: int
    tabs: int = 0
    """The numbered views."""


def layout(
    width: int, height: int, *, banner: bool, detail: bool, tail: bool, needed: int = 0
) -> Layout:
    """The parts for a terminal of this size. Their lines add up to ``height``.

    ``needed``: lines that hold all of the detail; it gets no more, and fewer where the table would be
    left with less than two fifths.
    """
    footer = 1 if height >= 4 else 0
    title = 1 if height >= 6 else 0
    shown_banner = 1 if banner and height >= 5 else 0
    headline = 0 if height < 7 else 1 if height < 16 else 2
    timeline = 0 if height < 16 else 2 if height < 22 else 3
    tabs = 1 if height >= TABS else 0
    body = height - footer - title - shown_banner - headline - timeline - tabs
    beside = width >= SIDE
    side = max(56, width * 2 // 5) if detail and beside else 0
    tail_lines = 0
    if tail:
        tail_lines = body if body < 10 else max(5, body * 3 // 10)
        if detail and not beside and body < 24:
            # Both below don't fit: the detail says more about what was selected.
            tail_lines = 0
    body -= tail_lines
    detail_lines = 0
    if detail:
        if beside:
            detail_lines = body
        else:
            most = max(8, body - max(6, body * 2 // 5))
            detail_lines = body if body < 12 else min(most, max(needed, 8))
            body -= detail_lines
    return Layout(
        title, shown_banner, headline, timeline, body, detail_lines, tail_lines, footer, side, tabs
    )


def roomy(width: int, height: int) -> bool:
    """Whether the detail has room beside everything else, so that it is open from the start."""
    return (width >= SIDE and height >= 20) or height >= TALL
