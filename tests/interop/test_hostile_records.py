"""Records that are damaged, or hold what can't be, behind the real relay (Cilium 1.20.2).

What can't be but is a sound message passes through; one that is none ends relay's stream from that node,
which it tells as the node's error. A node of ours sends them; a real observer stands beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flowwatch.hubble.wire.pb.observer.observer_pb2 import ServerStatusResponse
from tests.command import flowwatch
from tests.interop.real import Observer, Relay
from tests.unit.flows.test_hostile_records import DAMAGED, IMPOSSIBLE, tcp, wire
from tests.unit.hubble.client.test_connection import Server, serving

STATUS = ServerStatusResponse(num_flows=7, max_flows=7, uptime_ns=10**12).SerializeToString()
GENERATED = 50


def good(number: int) -> bytes:
    return wire(uuid=f"g{number}", l4=tcp(1000 + number, 443), node_name="odd")


@contextmanager
def relay_over(*messages: bytes) -> Iterator[str]:
    """The address of a relay over a real observer, and a node that sends ``messages``."""
    node = Server(flows=lambda *_: iter(messages), status=lambda *_: STATUS)
    with (
        serving(node) as settings,
        Observer(node="worker1", generate=GENERATED) as observer,
        Relay([observer, ("odd", settings.address.text)]) as relay,
    ):
        yield relay.address


@pytest.mark.parametrize("reader", ["", "grpc"])
def test_what_can_not_be_passes_relay_and_costs_its_value(reader: str) -> None:
    # A newer name is one of a file: on the wire there are numbers.
    cases = [case for name, case in IMPOSSIBLE.items() if "by name" not in name]
    odd = [
        wire(uuid=f"odd{number}", node_name="odd", **change)
        for number, (change, _, _) in enumerate(cases)
    ]
    with relay_over(good(0), *odd, good(1)) as address:
        told = flowwatch(
            "summary", "-o", "json", "--server", address, env={"FLOWWATCH_READER": reader}
        )
        observed = flowwatch("observe", "--all", "--server", address)
    assert (told.returncode, observed.returncode) == (0, 0), told.stderr + observed.stderr
    value = json.loads(told.stdout)
    assert (value["records_read"], value["records_skipped"]) == (GENERATED + len(odd) + 2, 0)
    assert set(value["values_unknown"]) == {what for _, what, _ in cases}
    assert observed.stdout.count("weather/app") == len(odd) + 2


def test_what_is_no_message_is_relay_s_to_refuse_and_that_node_is_told() -> None:
    bad, _ = DAMAGED["a pod's name that is no UTF-8"]
    with relay_over(good(0), good(1), bad, good(2)) as address:
        told = flowwatch("summary", "-o", "json", "--server", address)
    assert told.returncode == 0, told.stderr
    value = json.loads(told.stdout)
    assert (value["records_read"], value["at_least"]) == (GENERATED + 2, True)
    (away,) = value["nodes_away"]
    assert away["node"] == "odd"
    assert "invalid UTF-8" in away["reason"]
