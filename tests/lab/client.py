"""The application in the pod: it tries what it is told to, and writes down what it experienced.

Each line of standard input is a try: {"id", "do": "tcp"|"http"|"udp"|"ping"|"dns", "peer", "port", …};
each line of output says what became of it: t, end, peer, port, proto, sport, result. Tries run side by side.
Only Python's own library is used; it ends with its standard input, and says "ready" first.
"""

from __future__ import annotations

import errno
import json
import os
import random
import socket
import struct
import sys
import threading
import time
from typing import Any

Try = dict[str, Any]

_out = threading.Lock()
_NAMES = {
    errno.ECONNREFUSED: "refused",
    errno.ECONNRESET: "reset",
    errno.EPIPE: "reset",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ETIMEDOUT: "timeout",
}


def named(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    return _NAMES.get(error.errno or 0, f"error {error}")


def family(one: Try) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in one["peer"] else socket.AF_INET


def opened(one: Try, kind: socket.SocketKind) -> socket.socket:
    made = socket.socket(family(one), kind)
    made.settimeout(one.get("timeout", 1.5))
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("", one.get("sport", 0)))
    return made


def tcp(one: Try) -> Try:
    with opened(one, socket.SOCK_STREAM) as made:
        sport = made.getsockname()[1]
        if one.get("reset"):
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        try:
            made.connect((one["peer"], one["port"]))
        except OSError as err:
            return {"sport": sport, "result": named(err)}
        try:
            for number in range(one.get("exchanges", 1)):
                if number:
                    time.sleep(one.get("every", 0))
                made.sendall(b"hello\n")
                if not made.recv(4096):
                    return {"sport": sport, "result": "closed"}
        except OSError as err:
            known = named(err)
            # No answer on an open connection: cut, unless the first was only late.
            return {"sport": sport, "result": "cut" if known == "timeout" else known}
        return {"sport": sport, "result": "ok"}


def http(one: Try) -> Try:
    with opened(one, socket.SOCK_STREAM) as made:
        sport = made.getsockname()[1]
        try:
            made.connect((one["peer"], one["port"]))
            words = f"{one.get('method', 'GET')} {one['path']} HTTP/1.1"
            made.sendall(f"{words}\r\nHost: {one['peer']}\r\nConnection: close\r\n\r\n".encode())
            said = made.recv(4096).split(b" ", 2)
        except OSError as err:
            return {"sport": sport, "result": named(err)}
        code = int(said[1]) if len(said) > 1 else 0
        return {"sport": sport, "result": "ok" if code == 200 else "forbidden", "status": code}


def udp(one: Try) -> Try:
    with opened(one, socket.SOCK_DGRAM) as made:
        sport = made.getsockname()[1]
        result = "ok"
        try:
            made.connect((one["peer"], one["port"]))
            for _ in range(one.get("exchanges", 1)):
                made.send(b"hello")
                made.recv(4096)
        except OSError as err:
            result = named(err)
        return {"sport": sport, "result": result}


def dns(one: Try) -> Try:
    parts = b"".join(bytes([len(part)]) + part.encode() for part in one["name"].split("."))
    kind = 28 if one.get("type") == "AAAA" else 1
    query = struct.pack(">HHHHHH", random.randrange(65536), 0x100, 1, 0, 0, 0)
    query += parts + b"\0" + struct.pack(">HH", kind, 1)
    with opened(one, socket.SOCK_DGRAM) as made:
        sport = made.getsockname()[1]
        try:
            made.connect((one["peer"], one["port"]))
            made.send(query)
            answer = made.recv(4096)
        except OSError as err:
            return {"sport": sport, "result": named(err), "name": one["name"]}
    code = answer[3] & 15
    return {"sport": sport, "result": "forbidden" if code == 5 else "ok", "name": one["name"]}


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def ping(one: Try) -> Try:
    six = family(one) is socket.AF_INET6
    identifier = random.randrange(1, 65536)
    answered, times = 0, one.get("times", 2)
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    with socket.socket(family(one), socket.SOCK_RAW, protocol) as made:
        made.connect((one["peer"], 0))
        for number in range(times):
            head = struct.pack(">BBHHH", 128 if six else 8, 0, 0, identifier, number)
            made.send(head if six else head[:2] + struct.pack(">H", checksum(head)) + head[4:])
            until = time.monotonic() + one.get("timeout", 0.3)
            while (rest := until - time.monotonic()) > 0:
                made.settimeout(rest)
                try:
                    data = made.recv(4096)
                except OSError:
                    break
                data = data if six else data[20:]
                if data[0] == (129 if six else 0) and data[4:8] == head[4:8]:
                    answered += 1
                    break
    result = "ok" if answered else "timeout"
    return {"sport": identifier, "result": result, "sent": times, "answered": answered}


KINDS = {"tcp": tcp, "http": http, "udp": udp, "dns": dns, "ping": ping}
PROTOCOLS = {"tcp": "TCP", "http": "TCP", "udp": "UDP", "dns": "UDP"}


def run(one: Try) -> None:
    began = time.time()
    said = KINDS[one["do"]](one)
    version = "ICMPv6" if ":" in one["peer"] else "ICMPv4"
    made = {
        "id": one["id"],
        "t": began,
        "end": time.time(),
        "peer": one["peer"],
        "port": one.get("port", 0),
        "proto": PROTOCOLS.get(one["do"], version),
        **said,
    }
    with _out:
        print(json.dumps(made), flush=True)


def main() -> None:
    with _out:
        print("ready", flush=True)
    for line in sys.stdin:
        threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()
    os._exit(0)


if __name__ == "__main__":
    main()
