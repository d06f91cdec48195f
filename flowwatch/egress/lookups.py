"""Which names each pod asked for last: what is known of where it wanted to go, before anything is dropped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from flowwatch.flows.model import Flow, Verdict

NAMES = 8
"""That are kept of a pod."""

_PODS = 10_000
"""That are kept, 10 MB: past it those that asked longest ago are forgotten."""


class Lookup(NamedTuple):
    """A name that a pod asked for."""

    name: str
    time: int
    """Of the latest record of it, nanoseconds since 1970."""
    refused: bool
    """Whether the proxy refused to look it up."""


class Lookups:
    """The last names of each pod, by namespace and name. One thread."""

    def __init__(self) -> None:
        self._pods: dict[tuple[str, str], dict[str, Lookup]] = {}

    def see(self, flow: Flow, name: str) -> None:
        """A record of a lookup of ``name``, or of its answer."""
        pod = flow.destination if flow.is_reply else flow.source
        if not pod.pod:
            return
        key = pod.namespace, pod.pod
        # The latest stands at the end, of pods and of names.
        names = self._pods.pop(key, None) or {}
        self._pods[key] = names
        names.pop(name, None)
        names[name] = Lookup(name, flow.time, flow.verdict == Verdict.DROPPED)
        if len(names) > NAMES:
            del names[next(iter(names))]
        if len(self._pods) > _PODS:
            del self._pods[next(iter(self._pods))]

    def of(self, pods: Iterable[tuple[str, str]], until: int) -> tuple[Lookup, ...]:
        """What these pods asked for up to ``until``, the latest first, each name once."""
        found: dict[str, Lookup] = {}
        for pod in pods:
            for one in self._pods.get(pod, {}).values():
                if one.time <= until and (one.name not in found or found[one.name].time < one.time):
                    found[one.name] = one
        return tuple(sorted(found.values(), key=lambda one: (-one.time, one.name))[:NAMES])
