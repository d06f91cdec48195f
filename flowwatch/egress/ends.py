"""Who the two ends of each row are: their labels and identities, as last seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from flowwatch.flows.model import Endpoint

_NOBODY = Endpoint()


class RowEnds:
    """The endpoints of each row: 16 bytes a row, as endpoints are shared. One thread."""

    def __init__(self) -> None:
        self._pod: list[Endpoint] = []
        self._peer: list[Endpoint] = []

    def see(self, row: int, pod: Endpoint, peer: Endpoint) -> None:
        """An attempt of ``row`` was between these two."""
        while row >= len(self._pod):
            self._pod.append(_NOBODY)
            self._peer.append(_NOBODY)
        if pod.labels or not self._pod[row].labels:
            self._pod[row] = pod
        if peer.labels or not self._peer[row].labels:
            self._peer[row] = peer

    def of(self, row: int) -> tuple[Endpoint, Endpoint]:
        """The row's pod and its peer."""
        if row >= len(self._pod):
            return _NOBODY, _NOBODY
        return self._pod[row], self._peer[row]

    def move(self, moved: Mapping[int, int]) -> None:
        """The rows have other numbers now. Where several became one, that is nobody's."""
        times = Counter(moved.values())
        pods, peers = self._pod, self._peer
        self._pod, self._peer = ([_NOBODY] * len(times) for _ in range(2))
        for row, (pod, peer) in enumerate(zip(pods, peers, strict=True)):
            if times[moved[row]] == 1:
                self._pod[moved[row]], self._peer[moved[row]] = pod, peer
