"""Telling a record that came before from one that didn't, in bounded memory.

After a reconnect with ``since`` the last seconds come again, and when a node returns to relay its
whole ring does (Cilium 1.20, run). Each record has a uuid; records of older servers, which have
none, are known by their time in nanoseconds, their ends and their kind.

What is remembered is one number a record, in two generations: between KEPT and twice that many. A
record older than what its node still has in memory, and not in it, can't be judged. It is left out
and counted, until a known record of that node shows that the node is only telling its ring again.
"""

from __future__ import annotations

from flowwatch.flows.identity import identity
from flowwatch.flows.model import Flow
from flowwatch.flows.ranges import LATEST

KEPT = 131_072
"""Records remembered at least, over all nodes: two rings of the largest size; 20 MB at most."""


class Seen:
    """Remembers records. One thread."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._young: set[int] = set()
        self._old: set[int] = set()
        self._young_newest: dict[str, int] = {}
        self._old_newest: dict[str, int] = {}
        self._horizon: dict[str, int] = {}
        """By node, the newest time that was forgotten."""
        self.newest: dict[str, int] = {}
        """By node, the newest time seen (ns since 1970)."""
        self.set_aside: dict[str, int] = {}
        """Records left out by node that aren't known to be repeats."""
        self.repeats = 0

    def unseen(self, flows: list[Flow], latest: int = LATEST) -> list[Flow]:
        """``flows`` without those that came before.

        A time after ``latest`` (ns) is no node's newest: one record from a clock gone wild would
        make all that follow look old.
        """
        fresh = []
        young, old, horizon = self._young, self._old, self._horizon
        newest: dict[str, int] = {}
        for flow in flows:
            # A property and a call, for each record of a live stream, are a fifth of what this takes.
            node, time = flow.kind.node, flow.time
            if uuid := flow.uuid:
                key = hash(uuid)
            elif time:
                key = identity(flow)
            else:
                # Nothing to know it by.
                fresh.append(flow)
                continue
            if key in young or key in old:
                self.repeats += 1
                if self.set_aside:
                    # It tells its ring again, from its start: what could not be judged was that.
                    self.set_aside.pop(node, None)
                continue
            if horizon and 0 < time <= horizon.get(node, 0):
                self.set_aside[node] = self.set_aside.get(node, 0) + 1
                continue
            young.add(key)
            if newest.get(node, 0) < time <= latest:
                newest[node] = time
            fresh.append(flow)
        for known in (self.newest, self._young_newest):
            for node, time in newest.items():
                known[node] = max(time, known.get(node, 0))
        if len(young) >= self._kept:
            self._turn()
        return fresh

    def knows(self, flow: Flow) -> bool:
        """Whether ``flow`` came before, or is too old to say."""
        key = identity(flow)
        return (
            key in self._young
            or key in self._old
            or 0 < flow.time <= self._horizon.get(flow.node, 0)
        )

    def _turn(self) -> None:
        for node, time in self._old_newest.items():
            self._horizon[node] = max(time, self._horizon.get(node, 0))
        self._old, self._young = self._young, set()
        self._old_newest, self._young_newest = self._young_newest, {}
