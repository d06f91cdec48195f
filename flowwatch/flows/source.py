"""A source: anything that yields batches of flows, live or stored.

    for batch in source.batches():
        join.add(batch)

Ours are :class:`flowwatch.sources.live.LiveSource` (a Hubble server), several of them as one
(:class:`flowwatch.sources.merged.MergedSource`) and :class:`flowwatch.sources.files.FileSource`
(captures); whoever uses the library may hand in another.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import msgspec

from flowwatch.flows.model import Batch


class NodeChange(msgspec.Struct, frozen=True):
    """A node that went away, came, or came back."""

    name: str
    state: str
    """``unavailable``, ``back``, ``new`` or ``gone`` (it left the cluster)."""
    since: float
    """time.time() at which it was noticed."""
    why: str = ""
    """Relay's reason, made safe."""


class SourceState(msgspec.Struct, frozen=True):
    """What a view says about where its numbers come from. Immutable; ask again for a newer one."""

    where: str
    """``localhost:4245``, ``flows.jsonl``, ``the demo`` …"""
    phase: str
    """``connecting``, ``reading``, ``following``, ``lost`` (a retry is due), ``ended``, ``failed``."""
    message: str = ""
    """Why it is lost or failed, one safe line."""
    since: float = 0.0
    """time.time() at which this phase began."""
    retry_in: float = 0.0
    """Seconds until the next try when lost."""
    nodes_connected: int | None = None
    nodes_unavailable: int | None = None
    unavailable: tuple[str, ...] = ()
    """Names of nodes that can't be seen now, as far as the server tells them."""
    changes: tuple[NodeChange, ...] = ()
    """What nodes did while we looked, the latest last, a few dozen at most."""
    heard: float = 0.0
    """time.time() of the server's last sign of life: a record, or an answer to a poll."""
    servers: tuple[SourceState, ...] = ()
    """Each one's own state, where several are read as one."""
    had: bool = True
    """Whether it was ever connected, or had nothing to connect to: without it nothing was lost yet."""
    version: str = ""
    encrypted: bool = False
    backlog: int = 0
    """Messages read but not yet aggregated (bounded)."""
    backlog_limit: int = 0
    progress: float | None = None
    """How much has been read of what there was when reading began, from 0 to 1 in hundredths; None:
    all of it, or nobody can tell."""


class Source(Protocol):
    """Whatever yields batches of flows. One of your own needs these three methods, and no base class::

        class Topic:
            def __init__(self, consumer):
                self.consumer = consumer

            def batches(self):
                for message in self.consumer:              # JSON lines, as Hubble exports them
                    yield flowwatch.decode(message.value)

            def state(self):
                return flowwatch.SourceState("topic hubble-flows", "reading")

            def close(self):
                self.consumer.close()

        frame = flowwatch.read(source=Topic(consumer))

    ``batches()`` is iterated once, in one thread; ``state()`` and ``close()`` may be called from any.
    """

    def batches(self) -> Iterator[Batch]:
        """Yield batches until the end, or until closed; raises FlowwatchError when it fails.

        Flows come in any order, each once, roughly as time goes. What is known to be missing belongs
        into the batch too (``lost``, ``gaps``, ``skipped``): it is told beside the numbers. When
        following it also yields empty batches about ten times a second, so that the caller can look
        at the clock.
        """
        ...

    def state(self) -> SourceState:
        """Where the flows come from, and how that goes; never waits."""
        ...

    def close(self) -> None:
        """End ``batches()`` soon; safe to call twice."""
        ...


def in_hundredths(progress: float | None) -> float | None:
    """As :attr:`SourceState.progress` has it: a view compares states to see whether there is anything new."""
    return None if progress is None else min(max(int(progress * 100), 0), 99) / 100


def try_again(source: Source) -> None:
    """Have ``source`` try now, if it waits to connect again: those that can have ``retry()``. Never waits."""
    retry = getattr(source, "retry", None)
    if retry is not None:
        retry()
