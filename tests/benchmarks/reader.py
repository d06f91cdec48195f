"""What it costs to receive a stream: our reader in plain, under TLS and under mutual TLS, in turns.

    python -m tests.benchmarks.reader [ROUNDS]   prints µs of CPU a message, medians

Messages of the real observer are received and thrown away, in this process: the CPU is user and system.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from flowwatch.hubble.client import tls
from flowwatch.hubble.client.config import Settings
from flowwatch.hubble.client.h2 import H2Stream
from flowwatch.hubble.filters.request import ALL
from flowwatch.hubble.wire.pb.observer.observer_pb2 import GetFlowsRequest
from tests.interop.real import Certificates, Observer

RING = 65_535


def receive(settings: Settings) -> float:
    """µs of CPU a message."""
    address = settings.address
    request = GetFlowsRequest(number=ALL).SerializeToString()
    security = tls.secure(settings, address)
    stream = H2Stream(
        settings, address, "/observer.Observer/GetFlows", request, 30.0, security=security
    )
    began = time.process_time()
    messages = sum(map(len, stream.lists()))
    return (time.process_time() - began) / messages * 1e6


def measure(rounds: int) -> dict[str, float]:
    """By way, the median."""
    with tempfile.TemporaryDirectory() as folder:
        made = Certificates.make(Path(folder), "localhost")
        with (
            Observer(generate=RING) as plain,
            Observer(generate=RING, tls=made) as secured,
            Observer(generate=RING, tls=made, ask_client=True) as mutual,
        ):
            ways = {
                "plain": Settings(server=plain.address),
                "tls": _under_tls(secured, made),
                "mutual": _under_tls(mutual, made, client=True),
            }
            costs: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(rounds + 1):
                for name, settings in ways.items():
                    cost = receive(settings)
                    if turn:
                        costs[name].append(cost)
    return {name: statistics.median(each) for name, each in costs.items()}


def _under_tls(server: Observer, made: Certificates, *, client: bool = False) -> Settings:
    return Settings(
        server=f"tls://localhost:{server.address.rpartition(':')[2]}",
        tls_ca_cert_files=(str(made.ca),),
        tls_client_cert_file=str(made.client) if client else "",
        tls_client_key_file=str(made.client_key) if client else "",
    )


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if sys.argv[1:] else 9)))
