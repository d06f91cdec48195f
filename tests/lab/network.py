"""The lab's network namespaces: a pod, another pod, the node between them, and the world outside.

Nothing leads out of them: the outside is a namespace that has all documentation addresses itself. Their
names end in this process's number, so that two labs don't meet; they go, with all in them, when it ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

POD, PEER = ("10.10.0.7", "fd00:10::7"), ("10.10.0.15", "fd00:10::15")
DNS = "10.96.0.10"
SILENT = "198.51.100.77"
"""It takes packets and says nothing."""
OUTSIDE = ("203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24", "10.96.0.10/32", "2001:db8::/32")
GATEWAY = "169.254.7.1"
PROXY_TABLE, PROXY_MARK = "2005", "0x200"


class NoLab(Exception):
    """The lab can't be here; the message says why."""


def ip(*words: str, input: str | None = None) -> None:
    done = subprocess.run(["ip", *words], input=input, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoLab(f"ip {' '.join(words)}: {done.stderr.strip()}")


class Network:
    """The four namespaces. `with Network() as network: network.command(network.pod, …)`."""

    def __init__(self, suffix: str | None = None) -> None:
        """`suffix` of their names; else from this process's number."""
        self.suffix = suffix or f"{os.getpid():x}"
        self.pod, self.peer, self.node, self.outside = (
            f"fwlab-{self.suffix}-{name}" for name in ("pod", "peer", "node", "out")
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All four."""
        return self.pod, self.peer, self.node, self.outside

    def __enter__(self) -> Network:
        """Make them."""
        try:
            self.make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove them."""
        self.remove()

    def command(self, where: str, *words: str | Path) -> list[str | Path]:
        """A command that runs in one of them."""
        return ["ip", "netns", "exec", where, *words]

    def remove(self) -> None:
        """Remove those that are there; what runs in them should have ended."""
        for name in self.names:
            if Path("/run/netns", name).exists():
                with contextlib.suppress(NoLab):
                    ip("netns", "delete", name)

    def make(self) -> None:
        """Make them; `remove` takes away also what a failure left half made."""
        for name in self.names:
            ip("netns", "add", name)
            self._settings(name)
            self._batch(name, ["link set lo up"])
        self._batch(
            self.node,
            [
                f"link add lxc-pod type veth peer name eth0 netns {self.pod}",
                f"link add lxc-peer type veth peer name eth0 netns {self.peer}",
                f"link add outside type veth peer name eth0 netns {self.outside}",
                *(f"link set {link} up" for link in ("lxc-pod", "lxc-peer", "outside")),
                f"address add {GATEWAY}/32 dev lo",
                "address add fd00:10::1/128 dev lo nodad",
                "route add 172.31.0.2 dev outside",
                "address add 172.31.0.1/32 dev outside",
                "route add default via 172.31.0.2 dev outside onlink",
                f"rule add fwmark {PROXY_MARK} lookup {PROXY_TABLE}",
                f"route add local default dev lo table {PROXY_TABLE}",
            ],
        )
        for name, link, addresses in (
            (self.pod, "lxc-pod", POD),
            (self.peer, "lxc-peer", PEER),
        ):
            self._join(name, link, addresses)
        self._batch(
            self.outside,
            [
                "link set eth0 up",
                "address add 172.31.0.2/32 dev eth0",
                "route add 172.31.0.1 dev eth0",
                "route add 10.10.0.0/16 via 172.31.0.1 dev eth0 onlink",
                f"route add table local blackhole {SILENT}/32",
                *(f"route add local {block} dev lo" for block in OUTSIDE),
            ],
        )
        # IPv6 by the links' own addresses.
        theirs, ours = (
            self._link_local(self.outside, "eth0"),
            self._link_local(self.node, "outside"),
        )
        self._batch(self.node, [f"route add default via {theirs} dev outside"])
        self._batch(self.outside, [f"route add fd00:10::/64 via {ours} dev eth0"])

    def _join(self, name: str, link: str, addresses: Sequence[str]) -> None:
        self._batch(
            name,
            [
                "link set eth0 up",
                f"address add {addresses[0]}/32 dev eth0",
                f"address add {addresses[1]}/128 dev eth0 nodad",
                f"route add {GATEWAY} dev eth0",
                f"route add default via {GATEWAY} dev eth0 onlink",
            ],
        )
        own = self._link_local(self.node, link)
        self._batch(name, [f"route add default via {own} dev eth0"])
        self._batch(self.node, [f"route add {one} dev {link}" for one in addresses])

    def _batch(self, name: str, lines: list[str]) -> None:
        ip("-n", name, "-batch", "-", input="".join(f"{line}\n" for line in lines))

    def _settings(self, name: str) -> None:
        values = {
            "net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1",
            "net/ipv4/conf/all/rp_filter": "0", "net/ipv4/conf/default/rp_filter": "0",
            "net/ipv4/conf/default/accept_local": "1", "net/ipv6/conf/default/accept_dad": "0",
            "net/ipv4/icmp_ratelimit": "0", "net/ipv6/icmp/ratelimit": "0",
        }  # fmt: skip
        if name == self.pod:
            values |= {"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/forwarding": "0"}
        for key, value in values.items():
            # Each namespace has its own, seen from within.
            write = f"echo {value} > /proc/sys/{key}"
            subprocess.run(
                ["ip", "netns", "exec", name, "sh", "-c", write],
                check=False, capture_output=True,
            )  # fmt: skip

    def _link_local(self, name: str, link: str) -> str:
        shown = subprocess.run(
            ["ip", "-n", name, "-6", "-o", "address", "show", "dev", link, "scope", "link"],
            capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        if "inet6" not in shown:
            raise NoLab(f"{link} has no IPv6 address of its own: is IPv6 switched off here?")
        return shown[shown.index("inet6") + 1].partition("/")[0]


def needed() -> None:
    """Raise NoLab unless this is root on Linux with the tools that the lab takes."""
    if os.uname().sysname != "Linux":
        raise NoLab("the kernel lab needs Linux")
    if os.geteuid() != 0:
        raise NoLab("the kernel lab needs root, for namespaces and bpf()")
    major, minor = (int(part) for part in os.uname().release.split(".")[:2])
    if (major, minor) < (6, 6):
        raise NoLab(f"the kernel lab needs Linux 6.6 (TCX), and this is {os.uname().release}")
    for program, package in (("ip", "iproute2"), ("taskset", "util-linux"), ("clang", "clang")):
        if shutil.which(program) is None:
            raise NoLab(f"the kernel lab needs {program} (Debian, Ubuntu: apt install {package})")
