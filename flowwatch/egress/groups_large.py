"""Folding a great many rows, with numpy.

The same answers as :mod:`flowwatch.egress.groups` gives for few rows; a test holds them together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flowwatch.egress.groups import Groups, Subjects
from flowwatch.egress.query import Query
from flowwatch.egress.select_large import ranks, view
from flowwatch.egress.table import RATE_SECONDS, Columns

Numbers = npt.NDArray[np.int64]


_PAIR_BITS = 38
"""What a port, a protocol and a direction leave of a number's."""


class LargeGroups(Groups):
    """Folds whose rows stand one after the other in one array."""

    def __init__(self, rows: Numbers, starts: Numbers, ends: Numbers) -> None:
        self._rows, self._starts, self._ends = rows, starts, ends

    def __len__(self) -> int:
        return len(self._starts)

    def rows(self, place: int) -> Sequence[int]:
        rows: list[int] = self._rows[self._starts[place] : self._ends[place]].tolist()
        return rows

    def all(self) -> list[int]:
        if not len(self):
            return []
        lengths = self._ends - self._starts
        # Each place within its fold, plus where the fold starts.
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        rows: list[int] = self._rows[np.repeat(self._starts, lengths) + within].tolist()
        return rows


def put_together(
    columns: Columns, rows: Sequence[int], subjects: Subjects, query: Query, now: float
) -> Groups:
    """See :func:`flowwatch.egress.groups.put_together`."""
    chosen = np.asarray(rows, np.int64)
    by = subjects.by
    who = np.array(subjects.of, np.int64)[view(columns, "pod")[chosen]]
    peer = view(columns, "peer")[chosen].astype(np.int64) if by.peer else np.zeros_like(who)
    port = view(columns, "port")[chosen].astype(np.int64) if by.port else np.zeros_like(who)
    way = view(columns, "direction")[chosen].astype(np.int64)
    if by.port:
        way |= view(columns, "protocol")[chosen].astype(np.int64) << 2
    # Whom and where in one number, then the rest. Those that are too large together are numbered anew.
    shift = int(peer.max(initial=0)).bit_length()
    pair = who << shift | peer
    if shift + len(subjects.things).bit_length() > _PAIR_BITS:
        pair = _numbered(who << 32 | peer)
    group = _numbered(pair << 24 | port << 8 | way)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    ends = np.append(starts[1:], len(order))
    first = order[starts]

    def summed(name: str) -> Numbers:
        counted: Numbers = np.add.reduceat(
            view(columns, name)[chosen][order].astype(np.int64), starts
        )
        return counted

    dropped, audited = summed("dropped"), summed("audited")
    quiet = _quiet(columns, chosen, order, starts)
    if not query.noise and query.drops_only:
        dropped, quiet = dropped - quiet, np.zeros_like(quiet)
    wheres = [
        port[first],
        ranks(columns.peer_names.things)[peer[first] >> 3] if by.peer else peer[first],
        ranks(subjects.things)[who[first]],
    ]
    keys: list[npt.NDArray[Any]]
    if query.order == "pod":
        keys = wheres
    elif query.order == "peer":
        keys = [wheres[0], wheres[2], wheres[1]]
    elif query.order == "last":
        keys = [*wheres, -np.maximum.reduceat(view(columns, "last")[chosen][order], starts)]
    elif query.order == "rate":
        rate, rated = (view(columns, name)[chosen] for name in ("rate", "rated"))
        faded = rate * np.exp((rated - now) / RATE_SECONDS)
        keys = [*wheres, -np.add.reduceat(faded[order], starts)]
    elif query.order == "forwarded":
        keys = [*wheres, -summed("forwarded")]
    else:
        worst = (dropped, summed("forwarded"), summed("errors"), audited, dropped - quiet)
        keys = [*wheres, *(-one for one in worst)]
    places = np.lexsort(keys)
    if query.reverse:
        places = places[::-1]
    if query.drops_only:
        places = places[((dropped > 0) | (audited > 0))[places]]
    return LargeGroups(chosen[order], starts[places], ends[places])


def _numbered(values: Numbers) -> Numbers:
    """Equal values by one number, from 0 on."""
    _, numbers = np.unique(values, return_inverse=True)
    return numbers.astype(np.int64)


def _quiet(columns: Columns, chosen: Numbers, order: Numbers, starts: Numbers) -> Numbers:
    """Of each fold, its attempts that are noise."""
    if not columns.noise:
        return np.zeros(len(starts), np.int64)
    quiet = np.zeros(len(columns), np.int64)
    for row in columns.noise:
        quiet[row] = columns.quiet(row)
    counted: Numbers = np.add.reduceat(quiet[chosen][order], starts)
    return counted
