"""What a view asks of an aggregate, and the interface through which it asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

import msgspec

from flowwatch.egress.folding import PLAIN, By
from flowwatch.egress.passing import Passing
from flowwatch.egress.rows import CloseUp, Fold, Recent, Snapshot
from flowwatch.flows.source import SourceState

if TYPE_CHECKING:
    from flowwatch.flows.hiding import Hiding

ORDERS: dict[str, str] = {
    "drops": "most dropped attempts first, then audited, errors, forwarded",
    "forwarded": "most forwarded attempts first",
    "rate": "busiest of late first",
    "last": "latest seen first",
    "pod": "by namespace and pod",
    "peer": "by destination",
}
"""The orders of rows, with the words that help and the sort prompt show."""

DIRECTIONS = ("egress", "ingress", "both")


class Query(msgspec.Struct, frozen=True):
    """Which rows, in which order."""

    direction: str = "egress"
    order: str = "drops"
    reverse: bool = False
    limit: int | None = None
    text: str = ""
    """Words that must all occur (case ignored) in what a row shows: its pod, workload, peer with its
    addresses, port (``:443``, ``name:443``, ``53/udp``), protocol, drop reasons, what the proxy refused,
    policies, cluster where there are several; or begin ``late``, ``refused``, ``unreachable``, ``answer``
    (dropped) where there are such. A word after ``!`` must not occur."""
    drops_only: bool = False
    """Only rows with dropped or audited attempts."""
    noise: bool = True
    """Also rows of nothing but noise (flowwatch.flows.noise); the order ``drops`` has them last."""
    by: By = PLAIN
    """What rows are folded by, once they are chosen; ``drops_only`` chooses folds."""
    unfolded: frozenset[int] = frozenset()
    """The folds, by their keys, whose rows follow them."""
    window: int = 0
    """Only attempts that began in so many nanoseconds up to ``until``; 0: all that was read. Rows are
    those that had any; answers, records, reasons and times are told of all that was read."""
    until: int = 0
    """Nanoseconds since 1970; 0: now, and going on."""


class Monitor(Protocol):
    """A running aggregate as a view sees it; every method is quick and safe from any thread."""

    def snapshot(self, query: Query) -> Snapshot: ...

    def close_up(self, query: Query, key: int, fold: Fold | None, records: int) -> CloseUp | None:
        """More of the row with this key, or of ``fold``, with its last ``records``; None: no such row."""
        ...

    def recent(self, count: int) -> tuple[Recent, ...]:
        """The last ``count`` records, of any row or none, the newest last: a few thousand are kept."""
        ...

    def seen(self, key: str, query: Query | None = None) -> list[str]:
        """Values of a key of filters (flowwatch.egress.filters.KEYS) that rows have, those of ``query`` where
        there aren't too many."""
        ...

    def hours(self, direction: str) -> list[int]:
        """The hours since 1970 in which attempts of this direction began, in order."""
        ...

    def whose(self, by: By) -> Mapping[str, str]:
        """Under which names destinations are put together (flowwatch.egress.whose)."""
        ...

    def hidden(self, hiding: Hiding) -> Monitor:
        """The same with pseudonyms in place of names and addresses."""
        ...

    def state(self) -> SourceState: ...

    @property
    def passing(self) -> Passing:
        """What reading waits for."""
        ...

    def retry(self) -> None:
        """Have the source try now, if it waits to connect again."""
        ...

    @property
    def revision(self) -> int:
        """Changes whenever a snapshot would differ: a view that saw it need not ask again."""
        ...
