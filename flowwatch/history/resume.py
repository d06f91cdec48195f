"""Going on where an earlier recorder of the same source ended: nothing twice, and no gap unsaid.

What the ring still holds comes again; what is known is left out. Of each node the first record that comes
says whether something is missing: if the ring reached back to what is kept, that record is known.
"""

from __future__ import annotations

from flowwatch.errors import InputError
from flowwatch.flows.identity import identity
from flowwatch.flows.model import Batch, Flow, Gap
from flowwatch.history.arrow import Arrow
from flowwatch.history.columns import EVENTS, FLOWS, Kept
from flowwatch.history.events import read_events
from flowwatch.history.parquet_files import Group
from flowwatch.history.places import Where
from flowwatch.history.recorder import Origin
from flowwatch.history.store import Listing, Piece, Unreadable, listing, rows
from flowwatch.history.tables import Reader

KNOWN = 300_000
"""Records of earlier runs that are known again: the newest, two rings of the largest size and more."""
OVERLAP = 5_000_000_000
"""Nanoseconds before the newest record of a node from which is asked again: they come out of order."""
QUIET = 600_000_000_000
"""Nanoseconds that a node may have been silent before the end for its newest record to count."""
WHY = "nothing was recorded, and the server's memory no longer reached back"


class Resume:
    """What earlier runs of one source have; tells what is new in what comes."""

    def __init__(self, flows: list[Flow], *, live: bool) -> None:
        """``flows``: the newest that are kept. ``live``: of a server, whose nodes may tell of a gap."""
        self._known = {identity(flow) for flow in flows}
        self._newest: dict[str, int] = {}
        self._open: set[str] = set()
        self.repeats = 0
        """Records left out so far."""
        if not live:
            return
        for flow in flows:
            key = flow.node
            self._newest[key] = max(self._newest.get(key, 0), flow.time)
        self._open = set(self._newest)

    @property
    def since(self) -> int | None:
        """From when on a server is asked again (ns since 1970); None: for all that it holds."""
        newest = max(self._newest.values(), default=0)
        of_late = [time for time in self._newest.values() if time >= newest - QUIET]
        return min(of_late) - OVERLAP if newest else None

    def fresh(self, batch: Batch) -> None:
        """Leave out of ``batch`` what is kept already; tell in it what is missing."""
        if not self._known:
            return
        flows = []
        for flow in batch.flows:
            known = identity(flow) in self._known
            if self._open:
                self._look(flow, known, batch)
            if known:
                self.repeats += 1
            else:
                flows.append(flow)
        batch.flows = flows

    def _look(self, flow: Flow, known: bool, batch: Batch) -> None:
        key = flow.node
        if key not in self._open:
            return
        newest = self._newest[key]
        if known:
            self._open.discard(key)
        elif flow.time > newest:
            self._open.discard(key)
            batch.gaps.append(Gap(newest, flow.time, WHY, (flow.node,), batch.origin))


def resume(where: Where, origin: Origin, *, live: bool) -> Resume:
    """What a history has of ``origin``. InputError for what is no history, or a server that fails."""
    found = listing(where)
    runs = _runs(found, origin)
    groups = sorted(
        (
            (group.recorded[1], piece.path, piece, group)
            for piece in found.flows
            if not runs.isdisjoint(piece.runs)
            for group in piece.groups
        ),
        key=lambda one: one[:2],
        reverse=True,
    )
    reader = Reader()
    flows: list[Flow] = []
    for _, _, piece, group in groups:
        if len(flows) >= KNOWN:
            break
        table = _read(piece, FLOWS, group)
        if table is not None:
            flows += reader.flows(table)
    return Resume(flows, live=live)


def _read(piece: Piece, columns: tuple[Kept, ...], group: Group | None = None) -> Arrow | None:
    """Rows; None where a file is damaged, which whoever reads the history tells."""
    try:
        return rows(piece, columns, group)
    except Unreadable as error:
        if piece.place.local is None and not error.gone:
            # What is there and isn't known would be kept twice.
            raise InputError(f"cannot read {piece.place.name}: {error}") from None
        return None


def _runs(found: Listing, origin: Origin) -> set[str]:
    """The runs that recorded ``origin``."""
    runs: set[str] = set()
    for piece in found.events:
        table = _read(piece, EVENTS)
        for one in read_events(table) if table is not None else ():
            if one.what == "run" and (one.name, one.text) == (origin.where, origin.filters):
                runs.add(one.run)
    return runs
