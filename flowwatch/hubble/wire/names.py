"""Hubble's names for the numbers in a record: one table for who reads, filters, prints and completes them.

From Cilium 1.20.2, the file named at each. Plain values without an import, as completion loads them; a test
holds those that flow.proto has as well to the generated messages.
"""

from __future__ import annotations

EVENT_TYPES = {
    "drop": 1, "debug": 2, "capture": 3, "trace": 4, "policy-verdict": 5,
    "trace-sock": 7, "l7": 129, "agent": 130,
}  # fmt: skip
"""What a record is made of, by the name that ``--type`` takes (pkg/monitor/api/types.go)."""

TRACE_POINTS = (
    "to-endpoint", "to-proxy", "to-host", "to-stack", "to-overlay", "from-endpoint", "from-proxy",
    "from-host", "from-stack", "from-overlay", "from-network", "to-network", "from-crypto",
    "to-crypto",
)  # fmt: skip
"""Where a trace was taken, by its sub type (pkg/monitor/api/types.go)."""

SOCKET_POINTS = {
    1: "pre-xlate-fwd",
    2: "post-xlate-fwd",
    3: "pre-xlate-rev",
    4: "post-xlate-rev",
}
"""Where a socket's address was translated, by the sub type of a ``trace-sock`` (pkg/monitor/api/types.go)."""

AGENT_EVENTS = (
    "unspecified", "message", "agent-started", "endpoint-regenerate-success",
    "endpoint-regenerate-failure", "policy-updated", "policy-deleted", "endpoint-created",
    "endpoint-deleted", "ipcache-upserted", "ipcache-deleted",
)  # fmt: skip
"""Sub types of an ``agent`` event (pkg/monitor/api/types.go)."""

L7_TYPES = {1: "request", 2: "response", 3: "sample"}
"""flow.L7FlowType, as hubble prints it (api/v1/flow/flow.proto)."""

MATCH_TYPES = ("none", "L3-Only", "L3-L4", "L4-Only", "all", "L3-Proto", "Proto-Only")
"""What a policy matched, on a policy verdict (pkg/monitor/api/types.go)."""

VERDICTS = (
    "VERDICT_UNKNOWN", "FORWARDED", "DROPPED", "ERROR", "AUDIT", "REDIRECTED", "TRACED",
    "TRANSLATED",
)  # fmt: skip
"""flow.Verdict by number (api/v1/flow/flow.proto)."""

PROTOCOLS = (
    "tcp", "udp", "sctp", "icmp", "icmpv4", "icmpv6", "vrrp", "igmp", "dns", "http",
)  # fmt: skip
"""What a server takes as a protocol to filter by (pkg/hubble/filters/protocol.go)."""

TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS")
"""Fields of flow.TCPFlags, by the bit that each has in the header of a packet (RFC 9293; NS: RFC 3540)."""

RESERVED = {
    1: "host",
    2: "world",
    3: "unmanaged",
    4: "health",
    5: "init",
    6: "remote-node",
    7: "kube-apiserver",
    8: "ingress",
    9: "world-ipv4",
    10: "world-ipv6",
    11: "aggregate-cluster",
    12: "aggregate-cluster-mesh",
    13: "aggregate-world",
    14: "aggregate-remote-node",
}
"""Entities: reserved identities by number (pkg/identity/numericidentity.go). 0 is "unknown", or masked."""
