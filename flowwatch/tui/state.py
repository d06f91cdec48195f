"""What the dashboard was started with, and what the person at the keyboard has chosen since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flowwatch.egress.folding import BY_WORKLOAD, By
from flowwatch.egress.query import Query
from flowwatch.tui.hubble_command import HUBBLE
from flowwatch.tui.parts.sorting import Orders, Sorted
from flowwatch.tui.question import When
from flowwatch.tui.theme import FANCY, Signs

FIRST_LIMIT = 120
"""Rows asked for at first: a snapshot costs by the row, and a screen shows few."""

LAST_LIMIT = 7_680
"""Rows that scrolling can reach; past it a filter finds the rest."""


@dataclass(frozen=True, slots=True)
class Options:
    """What :func:`flowwatch.tui.app.run` was asked for."""

    title: str = "flowwatch"
    filter_words: str = ""
    export_dir: Path = field(default_factory=Path.cwd)
    theme: str = "ansi"
    auto_theme: str = "ansi"
    themes: Mapping[str, Path] = field(default_factory=dict)
    """Files of the user's own, by name."""
    keys: Path | None = None
    """The file of the user's own keys, where there is one."""
    columns: tuple[str, ...] = ()
    """Fields of the table's columns, in the user's own order; none: those that fit."""
    order: str = "drops"
    reverse: bool = False
    sorted: Orders = field(default_factory=dict)
    """The orders of lists that are remembered, by their views' names."""
    arranged_file: Path | None = None
    """Where the columns and the order are remembered; None: nowhere."""
    signs: Signs = FANCY
    direction: str = "egress"
    drops_only: bool = False
    noise: bool = False
    text: str = ""
    """The filter that is chosen at first."""
    hubble: tuple[str, ...] = HUBBLE
    mouse: bool = True
    deaf: bool = False
    saved: Path | None = None
    """The file of the filters that are saved; None: they are kept for as long as this runs."""
    by: By = BY_WORKLOAD
    """What rows are folded by at first."""
    opened: str = ""
    """The view that is opened over the first at once; "" for none."""
    private: bool = False
    """Whether names are hidden: no path is shown either."""
    hidden_words: str = "names hidden"
    """What stands in place of the filters where they are."""
    in_browser: bool = False
    """Whether it is seen in a browser's tab: no shell is behind it, that could continue it."""


@dataclass(slots=True)
class ViewState:
    """What all views follow. Changed by the shell alone; widgets read it."""

    title: str
    filter_words: str = ""
    """The filters of the command line, as words."""
    query: Query = field(
        default_factory=lambda: Query(limit=FIRST_LIMIT, noise=False, by=BY_WORKLOAD)
    )
    when: When = field(default_factory=When)
    mouse: bool = True
    picked: str = ""
    """The filter that finds the row that was selected by hand in a table last; empty: none."""
    row: str = ""
    """That of the row whose records alone are listed; empty: those of all."""
    saved: dict[str, str] = field(default_factory=dict)
    """Filters by the names under which they were saved."""
    columns: tuple[str, ...] = ()
    """Fields of the table's columns, in their order; none: those that fit."""
    sorted: dict[str, Sorted] = field(default_factory=dict)
    """The orders of lists, by their views' names; of those that aren't there it is their own."""
    record: int = 0
    """The number of the record that is shown whole; 0: none."""
    marks: tuple[int, ...] = ()
    """Moments set by hand, nanoseconds since 1970: then none is looked for."""

    @property
    def paused(self) -> bool:
        return self.when.at > 0


def first_state(options: Options) -> ViewState:
    """What is chosen at first."""
    query = Query(
        direction=options.direction,
        drops_only=options.drops_only,
        noise=options.noise,
        text=options.text,
        order=options.order,
        reverse=options.reverse,
        limit=FIRST_LIMIT,
        by=options.by,
    )
    return ViewState(
        title=options.title,
        filter_words=options.filter_words,
        query=query,
        mouse=options.mouse,
        columns=options.columns,
        sorted=dict(options.sorted),
    )
