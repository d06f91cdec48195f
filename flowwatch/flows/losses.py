"""Where events get lost, in plain words (flow.LostEventSource; Cilium 1.20, pkg/hubble/observer)."""

from __future__ import annotations

CAUSES = {
    "PERF_EVENT_RING_BUFFER": "the kernel made events faster than the agent read them",
    "OBSERVER_EVENTS_QUEUE": "the agent's queue to Hubble was full",
    "HUBBLE_RING_BUFFER": "flowwatch read too slowly",
}


def cause(source: str) -> str:
    """What a loss at ``source`` means; for a newer name, that it isn't known."""
    return CAUSES.get(source, "a place that this version doesn't know")
