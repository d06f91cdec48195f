"""Made-up records for what goes on from a checkpoint: few ends and ports, so that all of them meet again.

Two nodes, one with a clock that is ahead, two servers, retries, answers that come early or late, what the
proxy saw, ICMP and its errors, aggregated lines, lost events, gaps, and how late records come.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from flowwatch.flows.model import (
    Batch,
    Direction,
    Endpoint,
    EventType,
    Extras,
    Flow,
    Gap,
    Layer7,
    LostEvents,
    NodeStatus,
    Standing,
    Verdict,
)
from tests.unit.flows.made import ALLOW, API, APP, DENY, SYN, SYN_ACK, WORLD, flow

NODES = ("demo/node-1", "demo/node-2")
AHEAD = 9.0
"""Seconds that the clock of the second node is ahead."""
_CLIENTS = [
    ("10.0.0.1", APP),
    ("10.0.0.2", Endpoint(1003, "weather", "weather-app-2", "weather-app")),
]
_SERVERS = [
    ("10.0.1.1", API), ("1.2.3.4", WORLD), ("1.2.3.5", WORLD),
    ("10.0.1.2", Endpoint(1004, "api", "api-2", "api", labels=("k8s:app=api",))),
]  # fmt: skip
_OUT, _IN = Direction.EGRESS, Direction.INGRESS


def _l7(random: Random) -> dict[str, Any]:
    told = random.choice(
        [
            Layer7(2, "example.com", ("1.2.3.4", "1.2.3.5"), random.choice((5, 300)), ("a.example.com",)),
            Layer7(1, http_method="GET", http_url=f"http://api/{random.randrange(3)}"),
        ]
    )  # fmt: skip
    return {"l7": told, "event_type": EventType.L7, "is_reply": told.type == 2, "sub_type": 0}


def _records(random: Random, at: float, number: int) -> Iterator[Flow]:
    """Those of one packet, or of a few."""
    client_ip, client = random.choice(_CLIENTS)
    server_ip, server = random.choice(_SERVERS)
    port, way = 40_000 + random.randrange(40), random.choice((_OUT, _IN))
    node = NODES[way == _IN]
    if node == NODES[1]:
        at += AHEAD
    there: dict[str, Any] = {
        "source": client, "destination": server, "source_ip": client_ip, "destination_ip": server_ip,
        "source_port": port, "destination_port": random.choice((53, 443)), "node": node, "direction": way,
        "protocol": random.choice(("TCP", "TCP", "TCP", "UDP")),
        "uuid": f"00000000-0000-4000-8000-{number:012x}" if random.random() < 0.8 else "",
    }  # fmt: skip
    back = there | {
        "source": server, "destination": client, "source_ip": server_ip, "destination_ip": client_ip,
        "source_port": there["destination_port"], "destination_port": port, "is_reply": True,
        "tcp_flags": random.choice((SYN_ACK, 16, 17, 4)),
    }  # fmt: skip
    dropped = {"verdict": Verdict.DROPPED, "drop_reason": 133, "is_reply": None}
    match random.randrange(12):
        case 0 | 1:
            yield flow(at, **there)
            yield flow(at + 0.002, **back)
        case 2:
            yield flow(
                at, **there | {"event_type": EventType.POLICY_VERDICT, "allowed_by": (ALLOW,)}
            )
        case 3 | 4:
            named = {"denied_by": (DENY,)} if random.random() < 0.5 else {}
            yield flow(at, **there | dropped | {"event_type": EventType.POLICY_VERDICT} | named)
            yield flow(at + 0.001, **there | dropped | {"event_type": EventType.DROP})
        case 5:
            yield flow(at, **back)
        case 6:
            yield flow(at, **back | dropped | {"event_type": EventType.DROP})
        case 7:
            yield flow(
                at, **there | _l7(random) | random.choice(({}, {"verdict": Verdict.DROPPED}))
            )
        case 8:
            icmp = {"protocol": "ICMPv4", "source_port": 0, "tcp_flags": 0}
            yield flow(at, **there | icmp | {"destination_port": random.choice((8, 0))})
            yield flow(at, **back | icmp | {"destination_port": 3, "is_reply": None})
        case 9:
            names = random.choice(((), ("example.com",), ("example.org", "example.com")))
            yield flow(
                at,
                **there | {"destination_names": names, "tcp_flags": random.choice((SYN, 16, 17))},
            )
        case 10:
            told = random.choice(
                [
                    Extras(policy_log=(f"log: {random.randrange(9)}",)),
                    Extras(encrypted=True),
                    Extras(standing=Standing(egress=3) if way == _OUT else Standing(ingress=2)),
                ]
            )
            yield flow(at, **there | {"extras": told})
        case _:
            yield flow(at, **there | {"time": 0} if random.random() < 0.1 else there)


def batches(seed: int, count: int, *, servers: int = 1, pace: float = 0.7) -> list[Batch]:
    """So many batches, each ``pace`` seconds after the one before."""
    random = Random(seed)
    made, number = [], seed << 24
    for place in range(count):
        at = place * pace
        batch = Batch(origin=f"server-{random.randrange(servers)}" if servers > 1 else "")
        for _ in range(random.randrange(8)):
            number += 1
            batch.flows += _records(random, at + random.random() * 3, number)
        random.shuffle(batch.flows)
        if random.random() < 0.05:
            time = int((1_700_000_000 + at) * 10**9)
            batch.lost.append(
                LostEvents("HUBBLE_RING_BUFFER", 3, random.choice(NODES), time, time - 10**9, time)
            )
            batch.gaps.append(Gap(time - 10**9, time, "a test", (NODES[0],), batch.origin))
        if random.random() < 0.05:
            state = random.choice(("NODE_UNAVAILABLE", "NODE_CONNECTED", "NODE_GONE"))
            batch.nodes.append(NodeStatus(state, (random.choice((*NODES, "demo/node-3")),), "away"))
        if random.random() < 0.1:
            batch.late = {
                node: random.randrange(3 * 10**9) + 90 * 10**9 * (node == NODES[1])
                for node in NODES
            }
        if random.random() < 0.1:
            batch.odd["a port above 65535"] = 1
            batch.skipped["not JSON"] = 2
        made.append(batch)
    return made
