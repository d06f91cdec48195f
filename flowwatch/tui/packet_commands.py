"""Commands that capture the packets of a row, and of no other: in its pod, or by Retina on its node.

Flags as kubectl has them (kubernetes/kubectl, ``kubectl debug``; its profile ``netadmin`` may open raw
sockets) and Retina's command line (microsoft/retina, docs/captures/cli.md).
"""

from __future__ import annotations

import shlex

from flowwatch.egress.rows import CloseUp, Row
from flowwatch.gotext import is_address
from flowwatch.text import safe
from flowwatch.tui.parts.ends import own_labels

IMAGE = "nicolaka/netshoot"
"""Has tcpdump; any other that has it will do."""

_PROTOCOLS = {
    "TCP": "tcp", "UDP": "udp", "SCTP": "sctp", "ICMPv4": "icmp", "ICMPv6": "icmp6", "VRRP": "vrrp",
    "IGMP": "igmp",
}  # fmt: skip


def packet_filter(row: Row) -> str:
    """What tcpdump is to show (pcap-filter(7)): the protocol, the port, the addresses seen for the peer."""
    parts = [_PROTOCOLS[row.protocol]] if row.protocol in _PROTOCOLS else []
    if row.port and not row.protocol.startswith("ICMP"):
        parts.append(f"port {row.port}")
    hosts = [f"host {one}" for one in row.peer_addresses if is_address(one)]
    if hosts:
        parts.append(hosts[0] if len(hosts) == 1 else f"({' or '.join(hosts)})")
    return " and ".join(parts)


def tcpdump(row: Row, more: CloseUp) -> str:
    """In the row's pod, or in that of a fold's pods that was dropped most; "" where no pod is known."""
    names = [row.pod] if row.pod else [one.name for one in more.pods if one.pods == 1]
    if not row.namespace or not names or not _typed(row.namespace, names[0]):
        return ""
    words = ["kubectl", "debug", "-n", row.namespace, names[0], "-it", f"--image={IMAGE}"]
    return shlex.join(
        [*words, "--profile=netadmin", "--", "tcpdump", "-ni", "any", packet_filter(row)]
    )


def retina(row: Row, more: CloseUp) -> str:
    """On the nodes of all pods with the labels of the row's; "" where these aren't known."""
    labels = own_labels(more.ends[0]) if more.ends is not None else []
    if not row.namespace or not labels or not _typed(row.namespace, *labels):
        return ""
    words = ["kubectl", "retina", "capture", "create", "--name", "flowwatch"]
    words += ["--namespace-selectors", f"kubernetes.io/metadata.name={row.namespace}"]
    words += ["--pod-selectors", ",".join(labels), "--tcpdump-filter", packet_filter(row)]
    return shlex.join([*words, "--host-path", "/mnt/capture", "--duration", "60s"])


def _typed(*texts: str) -> bool:
    """Whether all can be typed, and none would be read as a flag."""
    return all(text and safe(text) == text and not text.startswith("-") for text in texts)
