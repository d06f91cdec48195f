"""Blocked attempts written to nodes while faults come and go, and the account that must come out even.

Each chapter (a time between two faults) has a pod of its own on each node. So every row of the
program has a number that is known: equal to what was written, or less where a gap tells of it.
"""

from __future__ import annotations

import time
from collections import Counter

from tests.interop.faults.follower import State
from tests.interop.real import Observer

_PORTS = range(1024, 65_536)


class Traffic:
    """Writes to ``nodes`` and knows what it wrote. One thread."""

    def __init__(self, *nodes: Observer) -> None:
        self.nodes = nodes
        self._number = 0
        self.chapter = 0
        self.written: Counter[str] = Counter()
        """Attempts by pod."""
        self.times: dict[str, tuple[int, int]] = {}
        """First and last (ns) by pod."""

    def write(self, count: int = 1, *, padding: int = 0) -> None:
        """``count`` blocked attempts on each node that runs, ``padding`` bytes larger than need be."""
        for place, node in enumerate(self.nodes):
            if node.running:
                pod = f"{node.node}-{self.chapter}"
                records = [r for _ in range(count) for r in self._attempt(place, pod, padding)]
                node.write(*records)
                self.written[pod] += count

    @property
    def total(self) -> int:
        return self.written.total()

    def _attempt(self, place: int, pod: str, padding: int) -> list[dict[str, object]]:
        """The two records of one: the policy's verdict and the drop."""
        self._number += 1
        now = time.time_ns()
        first, _ = self.times.get(pod, (now, now))
        self.times[pod] = first, now
        seconds, fraction = divmod(now, 10**9)
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
        node = self.nodes[place].node
        return [
            {
                "time": f"{stamp}.{fraction + later:09d}Z"
                if fraction + later < 10**9
                else f"{stamp}.{fraction:09d}Z",
                "uuid": f"{node}-{self._number}-{kind}",
                "verdict": "DROPPED",
                "drop_reason_desc": "POLICY_DENIED",
                "IP": {
                    "source": f"10.{place}.{self.chapter // 250}.{self.chapter % 250 + 1}",
                    "destination": "1.2.3.4",
                    "ipVersion": "IPv4",
                },
                "l4": {
                    "TCP": {
                        "source_port": _PORTS[self._number % len(_PORTS)],
                        "destination_port": 443,
                        "flags": {"SYN": True},
                    }
                },
                "source": {
                    "identity": 1000,
                    "namespace": "weather",
                    "pod_name": pod,
                    "labels": [f"k8s:padding={'x' * padding}"] if padding else [],
                },
                "destination": {"identity": 2, "labels": ["reserved:world"]},
                "event_type": {"type": kind, "sub_type": sub},
                "traffic_direction": "EGRESS",
                "node_name": node,
            }
            for kind, sub, later in ((5, 0, 0), (1, 133, 5000))
        ]

    def missing(self, state: State) -> dict[str, int]:
        """Attempts by pod that the program doesn't show; negative where it shows too many."""
        return {
            pod: count - state.rows.get(pod, 0)
            for pod, count in self.written.items()
            if count != state.rows.get(pod, 0)
        }

    def untold(self, state: State) -> dict[str, int]:
        """Of :meth:`missing`, what no gap of that node and time tells of: this must be nothing."""
        missing = self.missing(state)
        return {pod: n for pod, n in missing.items() if n < 0 or not self._is_told(pod, state)}

    def _is_told(self, pod: str, state: State) -> bool:
        first, last = self.times[pod]
        node = pod.rpartition("-")[0]
        return any(
            gap["start"] <= last and gap["end"] >= first and node in (gap["nodes"] or [node])
            for gap in state.gaps
        )
