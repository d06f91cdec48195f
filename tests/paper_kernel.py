"""A cluster on paper: what its applications try, and the records that Cilium's monitor makes of it.

    paper = Paper(seed=1, linear=True)
    paper.policy(10.0, allowed={("203.0.113.5", 443)})
    paper.connect(12.0, "203.0.113.66", 443)
    paper.tries, paper.lines()

It knows the truth because it makes it: what Linux sends when (the waits between SYNs with the timer
wheel's lateness, TIME_WAIT, the choice of source ports), what Cilium decides of each packet, and which
packets leave a record (monitorAggregation medium: a connection's SYN, FIN and RST, once each, and one
packet each 5 s). Nothing of flowwatch is used here.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

START = 1_795_866_000
"""Seconds since 1970 at which the paper begins."""

CLIENT, SERVER = "10.0.1.7", "10.0.2.9"
"""The application's pod on node-1, and a pod of the cluster that it asks, on node-2."""

NODES = ("node-1", "node-2")
"""Of the client, and of the server in the cluster."""

PORTS = range(32_769, 61_000, 2)
"""Those that connect() takes first: every other one of net.ipv4.ip_local_port_range."""

SYN = {"SYN": True}
SYN_ACK = {"SYN": True, "ACK": True}
PSH_ACK = {"PSH": True, "ACK": True}
FIN_ACK = {"FIN": True, "ACK": True}
RST_ACK = {"RST": True, "ACK": True}

Allowed = frozenset[tuple[str, int]]
Policies = list[tuple[float, Allowed | None]]
"""What passes, from when on; None: all, and nothing is enforced."""

Flags = dict[str, bool]
To = tuple[str, int, int]
"""Server, its port, and the client's."""


@dataclass(frozen=True)
class Try:
    """One try of an application, and what became of it."""

    server: str
    protocol: str
    port: int
    source_port: int
    time: float
    outcome: str
    answer: str = ""
    late: bool = False
    seen: bool = True
    """Whether it left any record: a SYN that finds the entry of an unanswered one may not."""

    @property
    def ports(self) -> tuple[str, str, int, int]:
        return self.server, self.protocol, self.port, self.source_port


@dataclass
class Paper:
    """Records of a made-up cluster, and the tries behind them. Times are seconds since START."""

    seed: int = 1
    linear: bool = True
    """Whether the kernel begins with waits of 1 s (Linux 6.5 and newer)."""
    lag: float = 0.075
    """Most by which the agent reads an event late, seconds: as in a recording of 200 connections/s."""
    mixed: bool = False
    """Whether what is read late comes out of order, too."""
    ahead: dict[str, float] = field(default_factory=dict)
    """How far the clocks of nodes are ahead."""
    tries: list[Try] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._records: list[tuple[float, str, dict[str, Any]]] = []
        self._policies: Policies = [(-1.0, None)]
        self._there: Policies = [(-1.0, None)]
        self._free: dict[To, float] = {}
        self._tracked: dict[tuple[str, int, int, str], tuple[float, float]] = {}
        self._stalls: list[tuple[float, float]] = []

    # What is set up -----------------------------------------------------------------------------

    def policy(
        self, at: float, allowed: Iterable[tuple[str, int]] | None, *, there: bool = False
    ) -> None:
        """From ``at`` on only ``allowed`` passes the client's egress (``there``: the server's ingress)."""
        policies = self._there if there else self._policies
        policies.append((at, None if allowed is None else frozenset(allowed)))

    def stall(self, at: float, seconds: float) -> None:
        """The agents read nothing for a while, and all of it after."""
        self._stalls.append((at, seconds))

    def port(self, at: float, server: str, port: int, among: range = PORTS) -> int:
        """A source port that is free, as connect() chooses one."""
        while True:
            chosen = self.random.choice(among)
            if self._free.get((server, port, chosen), -1.0) <= at:
                return chosen

    # What applications do -----------------------------------------------------------------------

    def connect(
        self, at: float, server: str, port: int = 443, *, source_port: int = 0, timeout: float = 2.5,
        peer: str = "answers", close: str = "server", lasts: float = 0.003, among: range = PORTS,
    ) -> float:  # fmt: skip
        """One TCP connection: its SYNs until one gets through or the application gives up.

        ``peer`` answers, is silent, or refuses; ``close`` says who ends it. Gives when it is over.
        """
        source_port = source_port or self.port(at, server, port, among)
        to = (server, port, source_port)
        held = denied_last = seen = False
        answered = refused = False
        end = at + timeout
        for sent in self._syns(at, timeout):
            denied = self._denied(self._policies, sent, server, port)
            if denied:
                self._dropped(sent, to, SYN)
                held = denied_last = seen = True
                continue
            seen |= self._passes(sent, to, SYN)
            if server == SERVER:
                if self._denied(self._there, sent, server, port):
                    self._dropped(sent + 0.0005, to, SYN, there=True)
                    held = denied_last = seen = True
                    continue
                self._passes(sent + 0.0005, to, SYN, there=True)
            denied_last = False
            if peer == "silent":
                continue
            if peer == "refuses":
                refused, end = True, sent + 0.001
                self._answers(sent + 0.001, to, RST_ACK)
            else:
                answered, end = True, self._converses(sent + 0.001, to, close, lasts)
            break
        self._free[to] = end + (60.0 if answered and close == "client" else 0.0)
        if answered or refused:
            # Closed on both sides, it is made anew by the next SYN (bpf/lib/conntrack.h).
            self._tracked.pop((*to, "node-1"), None)
            self._tracked.pop((*to, "node-2"), None)
        outcome, answer = ("dropped", "") if denied_last else ("forwarded", "none")
        if answered or refused:
            answer = "answered" if answered else "refused"
        late = held and not denied_last
        self.tries.append(Try(server, "TCP", port, source_port, at, outcome, answer, late, seen))
        return end

    def pooled(self, at: float, server: str, port: int, *, every: float, times: int) -> None:
        """A connection with a request now and then."""
        to = (server, port, self.port(at, server, port))
        self._passes(at, to, SYN)
        self._answers(at + 0.001, to, SYN_ACK)
        for number in range(1, times + 1):
            self._passes(at + number * every, to, PSH_ACK)
            self._answers(at + number * every + 0.001, to, PSH_ACK)
        self._free[to] = at + times * every + 60
        self.tries.append(Try(server, "TCP", port, to[2], at, "forwarded", "answered"))

    def cut(self, at: float, server: str, port: int, *, after: float, until: float) -> None:
        """A connection that the policies cut: its data is sent again and again, ever more rarely."""
        to = (server, port, self.port(at, server, port))
        self._passes(at, to, SYN)
        self._answers(at + 0.001, to, SYN_ACK)
        sent, wait = at + after, 0.2
        while sent < at + until:
            self._dropped(sent, to, PSH_ACK)
            sent, wait = sent + wait, min(wait * 2, 120.0)
        self._free[to] = at + until
        self.tries.append(Try(server, "TCP", port, to[2], at, "dropped", "answered"))

    def unheard(self, at: float, server: str, port: int) -> None:
        """A connection whose answers the client's own ingress drops: of SYN-ACKs all that are sent again."""
        to = (server, port, self.port(at, server, port))
        self._passes(at, to, SYN)
        back = self._l4(to, SYN_ACK, back=True)
        for again in (0.001, 1.003, 3.004):
            self._drop_pair(at + again, "node-1", "INGRESS", server, CLIENT, back)
        self._free[to] = at + 60
        self.tries.append(Try(server, "TCP", port, to[2], at, "dropped", "dropped"))

    def ask(
        self, at: float, server: str, port: int, *, source_port: int = 0, answers: str = "answered"
    ) -> None:
        """One UDP datagram, and what comes back: ``answered``, ``unreachable``, or ``none``."""
        to = (server, port, source_port or self.random.randrange(32_768, 61_000))
        if self._denied(self._policies, at, server, port):
            self._dropped(at, to, None)
            self.tries.append(Try(server, "UDP", port, to[2], at, "dropped"))
            return
        self._passes(at, to, None)
        if answers == "answered":
            self._answers(at + 0.001, to, None)
        elif answers == "unreachable":
            self._error(at + 0.001, server)
        self.tries.append(Try(server, "UDP", port, to[2], at, "forwarded", answers))

    def ping(self, at: float, server: str, *, answered: bool = True) -> None:
        """An echo request; policies know it as port 8."""
        request = {"ICMPv4": {"type": 8}}
        if self._denied(self._policies, at, server, 8):
            self._drop_pair(at, "node-1", "EGRESS", CLIENT, server, request)
            self.tries.append(Try(server, "ICMPv4", 8, 0, at, "dropped"))
            return
        self._trace(at, "node-1", "EGRESS", CLIENT, server, request, point="TO_STACK")
        if answered:
            self._trace(at + 0.001, "node-1", "EGRESS", server, CLIENT, {"ICMPv4": {}}, reply=True)
        self.tries.append(
            Try(server, "ICMPv4", 8, 0, at, "forwarded", "answered" if answered else "none")
        )

    # What the kernel and Cilium make of it ------------------------------------------------------

    def _syns(self, at: float, timeout: float) -> Iterator[float]:
        """When the SYNs of one try are sent: tcp_retransmit_timer of net/ipv4/tcp_timer.c."""
        sent, wait, times = at, 1.0, 0
        while sent < at + timeout and times < 12:
            yield sent
            times += 1
            sent += wait * (1 + self.random.uniform(0.002, 0.125 if wait >= 4 else 0.035))
            if not self.linear or times > 4:
                wait = min(wait * 2, 120.0)

    def _denied(self, policies: Policies, at: float, server: str, port: int) -> bool:
        allowed = _in_force(policies, at)
        return allowed is not None and (server, port) not in allowed

    def _converses(self, at: float, to: To, close: str, lasts: float) -> float:
        self._answers(at, to, SYN_ACK)
        end = at + lasts
        if close == "reset":
            self._passes(end, to, RST_ACK)
        elif close == "server":
            self._answers(end, to, FIN_ACK)
            self._passes(end + 0.0002, to, FIN_ACK)
            end += 0.001
        else:
            self._passes(end, to, FIN_ACK)
            self._answers(end + 0.0002, to, FIN_ACK)
        return end

    def _l4(self, to: To, flags: Flags | None, *, back: bool = False) -> dict[str, Any]:
        _, port, source_port = to
        ends = (port, source_port) if back else (source_port, port)
        same: dict[str, Any] = {"source_port": ends[0], "destination_port": ends[1]}
        return {"UDP": same} if flags is None else {"TCP": {**same, "flags": flags}}

    def _passes(self, at: float, to: To, flags: Flags | None, *, there: bool = False) -> bool:
        """A packet of the client's is let through; whether it leaves a record."""
        node, way = ("node-2", "INGRESS") if there else ("node-1", "EGRESS")
        shown, expires = self._tracked.get((*to, node), (-9.0, -1.0))
        new, lasting = at > expires, max(expires, at + 60.0)
        plain = flags in (SYN, PSH_ACK)
        if plain and not new and at - shown < 5.0:
            self._tracked[*to, node] = shown, lasting
            return False
        self._tracked[*to, node] = at, lasting
        layer4 = self._l4(to, flags)
        enforced = _in_force(self._there if there else self._policies, at) is not None
        if enforced and new and flags in (None, SYN):
            event = {"type": 5}
            self._write(at, node, way, CLIENT, to[0], layer4, event_type=event, is_reply=False)
            at += 0.000003
        point = "TO_ENDPOINT" if there else "TO_STACK"
        self._trace(at, node, way, CLIENT, to[0], layer4, point=point)
        return True

    def _answers(self, at: float, to: To, flags: Flags | None) -> None:
        layer4 = self._l4(to, flags, back=True)
        if to[0] == SERVER:
            there = at - 0.0004, "node-2", "INGRESS"
            self._trace(*there, to[0], CLIENT, layer4, reply=True, point="TO_STACK")
        self._trace(at, "node-1", "EGRESS", to[0], CLIENT, layer4, reply=True)

    def _error(self, at: float, server: str) -> None:
        kind = {"ICMPv4": {"type": 3, "code": 3}}
        self._trace(at, "node-1", "INGRESS", server, CLIENT, kind, reason="RELATED")

    def _dropped(self, at: float, to: To, flags: Flags | None, *, there: bool = False) -> None:
        node, way = ("node-2", "INGRESS") if there else ("node-1", "EGRESS")
        self._drop_pair(at, node, way, CLIENT, to[0], self._l4(to, flags))

    def _drop_pair(self, at: float, *where: Any) -> None:
        why: dict[str, Any] = {
            "verdict": "DROPPED",
            "drop_reason": 133,
            "drop_reason_desc": "POLICY_DENIED",
        }
        self._write(at, *where, event_type={"type": 5}, **why)
        self._write(at + 0.000004, *where, event_type={"type": 1, "sub_type": 133}, **why)

    def _trace(
        self, at: float, node: str, way: str, source: str, destination: str, layer4: dict[str, Any],
        *, reply: bool = False, point: str = "TO_ENDPOINT", reason: str = "",
    ) -> None:  # fmt: skip
        event: dict[str, int] = {"type": 4} | ({"sub_type": 3} if point == "TO_STACK" else {})
        self._write(
            at, node, way, source, destination, layer4, event_type=event, is_reply=reply,
            trace_observation_point=point, trace_reason=reason or ("REPLY" if reply else "NEW"),
        )  # fmt: skip

    def _write(
        self,
        at: float,
        node: str,
        way: str,
        source: str,
        destination: str,
        layer4: dict[str, Any],
        **more: Any,
    ) -> None:
        record = {
            "verdict": "FORWARDED",
            **more,
            "IP": {"source": source, "destination": destination, "ipVersion": "IPv4"},
            "l4": layer4,
            "source": _ENDS.get(source, _WORLD),
            "destination": _ENDS.get(destination, _WORLD),
            "Type": "L3_L4",
            "traffic_direction": way,
            "node_name": node,
        }
        self._records.append((at, node, record))

    # What is read of it -------------------------------------------------------------------------

    def records(self) -> list[dict[str, Any]]:
        """The records by the time at which they were read, each with its own node's time."""
        self._records.sort(key=lambda one: one[0])
        stalls = self._all_stalls()
        read: list[tuple[float, int, str, dict[str, Any]]] = []
        for at, node, record in self._records:
            ends = next((end for begin, end in stalls if begin <= at < end), None)
            # Each CPU's events lie in a ring of their own, and rings are read one after the other.
            cpu = _cpu(record) if ends is not None and self.mixed else 0
            read.append((at if ends is None else ends, cpu, node, record))
        read.sort(key=lambda one: one[:2])
        return [
            self._stamped(at + number * 1e-9, node, record)
            for number, (at, _, node, record) in enumerate(read)
        ]

    def _all_stalls(self) -> list[tuple[float, float]]:
        """Long ones as they were asked for, and one of up to ``lag`` each second."""
        often = random.Random(self.seed)
        short = [
            (begin, begin + often.random() * self.lag)
            for second in range(int(self._records[-1][0]) + 1)
            for begin in (second + often.random(),)
        ]
        return [(begin, begin + long) for begin, long in self._stalls] + short

    def _stamped(self, read: float, node: str, record: dict[str, Any]) -> dict[str, Any]:
        nanoseconds = round((START + read + self.ahead.get(node, 0.0)) * 1e9)
        seconds, rest = divmod(nanoseconds, 1_000_000_000)
        time = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
        return {"flow": {"time": time, **record}, "node_name": node, "time": time}


def _in_force(policies: Policies, at: float) -> Allowed | None:
    # Of those of one time the last that was set.
    return max(reversed([one for one in policies if one[0] <= at]), key=lambda one: one[0])[1]


def _cpu(record: dict[str, Any]) -> int:
    """Packets of one direction of a connection are seen by one CPU; errors are told last."""
    layer4 = next(iter(record["l4"].values()))
    if layer4.get("type") == 3:
        return 2
    ports = layer4.get("source_port", 0), layer4.get("destination_port", 0)
    return int(sum(ports) // 2 + (record["IP"]["source"] == CLIENT)) % 2


_WORLD = {"identity": 2, "labels": ["reserved:world"]}
_ENDS: dict[str, dict[str, Any]] = {
    CLIENT: {
        "ID": 7, "identity": 1001, "namespace": "weather", "pod_name": "weather-app-1",
        "labels": ["k8s:app=weather-app", "k8s:io.kubernetes.pod.namespace=weather"],
    },
    SERVER: {
        "ID": 9, "identity": 1002, "namespace": "store", "pod_name": "db-0",
        "labels": ["k8s:app=db", "k8s:io.kubernetes.pod.namespace=store"],
    },
}  # fmt: skip


def lines(records: Iterable[dict[str, Any]]) -> str:
    """As a file of JSON lines."""
    return "".join(json.dumps(record) + "\n" for record in records)
