"""What really happened: the attempts that the story made, by pod, destination and outcome."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from flowwatch.demo.cluster import Pod


class Destination(NamedTuple):
    """A pod and one of its egress destinations."""

    namespace: str
    pod: str
    peer: str
    """As a person names it: DNS name, else ``namespace/service``, ``namespace/pod``, entity, address."""
    port: int
    """For ICMP the type."""
    protocol: str
    """``TCP``, ``UDP``, ``ICMPv4``."""


class Truth:
    """Attempts, counted by the one who makes them. An attempt counts once, however many records and
    retries it leaves; pings of one type from one pod to one
    address, and datagrams of one socket and one verdict, are one attempt as long as they go on.

    An attempt is counted when it begins, with the outcome it is going to have.
    """

    def __init__(self) -> None:
        self._counts: dict[Destination, Counter[str]] = {}
        self.remarks: Counter[tuple[Destination, str]] = Counter()
        """Attempts that were ``late``, ``refused`` or ``unreachable``, or had their ``answers_dropped``."""

    def count(
        self,
        pod: Pod,
        peer: str,
        port: int,
        protocol: str,
        outcome: str,
        number: int = 1,
        *,
        remark: str = "",
    ) -> None:
        """Add ``number`` attempts; outcome is ``forwarded``, ``dropped`` or ``audited``."""
        key = Destination(pod.namespace, pod.name, peer, port, protocol)
        self._counts.setdefault(key, Counter())[outcome] += number
        if remark:
            self.remarks[key, remark] += number

    def counts(self, namespace: str = "") -> dict[Destination, dict[str, int]]:
        """Attempts by outcome for each destination, those of ``namespace`` only if given.

        Safe to call while the story goes on.
        """
        return {
            key: {outcome: number for outcome, number in dict(counter).items() if number}
            for key, counter in list(self._counts.items())
            if not namespace or key.namespace == namespace
        }
