"""The ``hubble observe`` command that shows the records of a row.

Only flags that go together are used: ``--from-…`` and ``--to-…`` of one side each, never two of
``--…-fqdn``, ``--…-ip``, ``--…-namespace`` for the same side, which hubble refuses (cilium 1.20,
hubble/cmd/observe/flows_filter.go). Without ``--last`` hubble shows the last 20 records.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from flowwatch.egress.rows import Row
from flowwatch.gotext import is_address
from flowwatch.text import safe

_PROTOCOLS = {
    "TCP": "tcp",
    "UDP": "udp",
    "SCTP": "sctp",
    "ICMPv4": "icmpv4",
    "ICMPv6": "icmpv6",
    "VRRP": "vrrp",
    "IGMP": "igmp",
}

HUBBLE = ("hubble", "observe")


def command(row: Row, base: Sequence[str] = HUBBLE, *, by_address: bool = False) -> str:
    """The command as one line for a POSIX shell; "" for rows that no filter describes (folded ones).

    ``base`` is what to begin with, as ``hubble observe --server localhost:4999``. ``by_address``
    asks for a DNS peer by the addresses it was seen at: for records from before its name was known.
    """
    if row.peer_kind == "other":
        return ""
    near, far = ("from", "to") if row.direction != "ingress" else ("to", "from")
    words = [*_base(row, base), *_subject(row, near), *_peer(row, far, by_address)]
    if row.port and not row.protocol.startswith("ICMP"):
        words += ["--to-port", str(row.port)]
    if row.protocol in _PROTOCOLS:
        words += ["--protocol", _PROTOCOLS[row.protocol]]
    if row.dropped:
        words += ["--verdict", "DROPPED"]
    elif row.audited:
        words += ["--verdict", "AUDIT"]
    elif row.errors:
        words += ["--verdict", "ERROR"]
    return shlex.join(words)


def _base(row: Row, base: Sequence[str]) -> list[str]:
    """``base``, at the row's own server where several are read."""
    words = list(base)
    if row.server and "--server" in words[:-1]:
        words[words.index("--server") + 1] = row.server
    return words


def _subject(row: Row, side: str) -> list[str]:
    if "=" in row.workload:
        # Folded by a label, which no workload's name looks like.
        namespace = _flag(f"--{side}-namespace", row.namespace)
        return [*namespace, *_flag(f"--{side}-label", row.workload)]
    if row.namespace and not row.pod and row.workload:
        return [
            *_flag(f"--{side}-namespace", row.namespace),
            *_flag(f"--{side}-workload", row.workload),
        ]
    if row.namespace:
        return _flag(f"--{side}-pod", f"{row.namespace}/{row.pod}")
    return _place(row.pod, side)


def _peer(row: Row, side: str, by_address: bool) -> list[str]:
    if row.peer_kind == "dns":
        if by_address and row.peer_addresses:
            return [part for ip in row.peer_addresses for part in _flag(f"--{side}-ip", ip)]
        return _flag(f"--{side}-fqdn", row.peer)
    if row.peer_kind == "service":
        return _flag(f"--{side}-service", row.peer)
    if row.peer_kind == "workload":
        *cluster, namespace, name = row.peer.rsplit("/", 2)
        words = _flag(f"--{side}-cluster", cluster[0]) if cluster else []
        return [
            *words,
            *_flag(f"--{side}-namespace", namespace),
            *_flag(f"--{side}-workload", name),
        ]
    if row.peer_kind == "pod":
        # "namespace/?" is what a record without a pod's name leaves.
        *cluster, namespace, pod = row.peer.removesuffix("?").rsplit("/", 2)
        words = _flag(f"--{side}-cluster", cluster[0]) if cluster else []
        return [*words, *_flag(f"--{side}-pod", f"{namespace}/{pod}")]
    return _place(row.peer, side)


def _place(name: str, side: str) -> list[str]:
    """What is neither pod nor name: an address, or one of Cilium's entities."""
    if is_address(name):
        return _flag(f"--{side}-ip", name)
    # By label: the number of an entity's identity differs from cluster to cluster.
    return _flag(f"--{side}-label", f"reserved:{name}") if name != "unknown" else []


def _flag(flag: str, value: str) -> list[str]:
    """The flag with its value; nothing when the value couldn't be typed, or would read as a flag."""
    if not value or safe(value) != value or value.startswith("-"):
        return []
    return [flag, value]
