"""What answers in the lab, in a namespace of its own: the world outside, the cluster's DNS, or another pod.

    python server.py '{"api.openweathermap.org": [["203.0.113.5"], 300], …}'

TCP: any port of ECHO answers each line; 80 speaks HTTP; 9001 resets whoever connects; 9004 answers late.
UDP: 5000 answers, 5002 late, 53 is DNS with the names given. Only Python's own library is used; it ends
with its standard input, and says "ready" first.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

ECHO = (443, 5432, 8080, 9003)
HTTP, RESETS, LATE, UDP_ECHO, UDP_LATE, DNS = 80, 9001, 9004, 5000, 5002, 53
LATE_SECONDS = 1.2
IP_PKTINFO, IPV6_FREEBIND = 8, 78
Zone = dict[str, tuple[list[str], int]]


def echo(taken: socket.socket) -> None:
    while data := taken.recv(4096):
        taken.sendall(data)


def late(taken: socket.socket) -> None:
    while data := taken.recv(4096):
        time.sleep(LATE_SECONDS)
        taken.sendall(data)


def reset(taken: socket.socket) -> None:
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def http(taken: socket.socket) -> None:
    if taken.recv(65536):
        taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsunny\n")


def closing(serve: Callable[[socket.socket], None], taken: socket.socket) -> None:
    with taken, contextlib.suppress(OSError):
        serve(taken)


def listen(port: int, serve: Callable[[socket.socket], None], family: socket.AddressFamily) -> None:
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family is socket.AF_INET6:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    listening.bind(("", port))
    listening.listen(1024)

    def accept() -> None:
        while True:
            taken, _ = listening.accept()
            threading.Thread(target=closing, args=(serve, taken), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def answer(
    port: int, make: Callable[[bytes], bytes], family: socket.AddressFamily, wait: float = 0
) -> None:
    """Datagrams are answered from the address that was asked: all addresses are this namespace's."""
    six = family is socket.AF_INET6
    level, option = (
        (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO) if six else (socket.IPPROTO_IP, IP_PKTINFO)
    )
    bound = socket.socket(family, socket.SOCK_DGRAM)
    bound.setsockopt(level, socket.IPV6_RECVPKTINFO if six else IP_PKTINFO, 1)
    if six:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        # Its addresses are a whole block's.
        bound.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    bound.bind(("", port))

    def reply(data: bytes, info: bytes, sender: Any) -> None:
        time.sleep(wait)
        asked = info[:16] if six else info[8:12]
        source = asked + bytes(4) if six else bytes(4) + asked + bytes(4)
        with contextlib.suppress(OSError):
            bound.sendmsg([make(data)], [(level, option, source)], 0, sender)

    def receive() -> None:
        while True:
            data, control, _, sender = bound.recvmsg(4096, 256)
            threading.Thread(target=reply, args=(data, control[0][2], sender), daemon=True).start()

    threading.Thread(target=receive, daemon=True).start()


def resolver(zone: Zone) -> Callable[[bytes], bytes]:
    def resolve(query: bytes) -> bytes:
        at, parts = 12, []
        while length := query[at]:
            parts.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        kind = int.from_bytes(query[at + 1 : at + 3], "big")
        question = query[12 : at + 5]
        found, ttl = zone.get(".".join(parts).lower(), ([], 0))
        packed = [
            socket.inet_pton(socket.AF_INET6 if kind == 28 else socket.AF_INET, one)
            for one in found
            if (":" in one) == (kind == 28)
        ]
        code = 0 if ".".join(parts).lower() in zone else 3
        head = query[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, len(packed), 0, 0)
        records = (
            b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, ttl, len(one)) + one for one in packed
        )
        return head + question + b"".join(records)

    return resolve


def main() -> None:
    zone: Zone = json.loads(sys.argv[1])
    for family in (socket.AF_INET, socket.AF_INET6):
        for port in ECHO:
            listen(port, echo, family)
        listen(HTTP, http, family)
        listen(RESETS, reset, family)
        listen(LATE, late, family)
        answer(UDP_ECHO, bytes, family)
        answer(UDP_LATE, bytes, family, LATE_SECONDS)
        if zone:
            answer(DNS, resolver(zone), family)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
