"""A destination is told once, whatever records call it: by pod, workload, service, name or address."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import msgspec
import pytest

from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch, Endpoint, Layer7
from flowwatch.watching.alerts import Notice
from flowwatch.watching.rules import read_rules
from flowwatch.watching.state import Folder
from flowwatch.watching.watcher import Watcher
from tests.unit.flows.made import l7
from tests.unit.marks.traffic import API, POD, Traffic

ADDRESS = "10.1.0.5"


def end(
    pod: str, workload: str = "", namespace: str = "data", labels: tuple[str, ...] = ()
) -> Endpoint:
    return Endpoint(identity=2001, namespace=namespace, pod=pod, workload=workload, labels=labels)


Way = dict[str, Any]
"""How one record names it."""

OUTSIDE: Way = {"destination_ip": "203.0.113.9"}
EAST = ("k8s:io.cilium.k8s.policy.cluster=east",)
KINDS: dict[str, tuple[str, list[Way]]] = {
    "a StatefulSet's pod, on its node and on another": (
        "data/postgres",
        [{"destination": end("postgres-0", "postgres")}, {"destination": end("postgres-0")}],
    ),
    "its replicas": (
        "data/postgres",
        [{"destination": end("postgres-0")}, {"destination": end("postgres-1")}],
    ),
    "a DaemonSet's pods": (
        "data/agent",
        [{"destination": end("agent-x2x4z")}, {"destination": end("agent-b5c6d", "agent")}],
    ),
    "a Deployment's, with a short hash": (
        "data/web",
        [{"destination": end("web-7d8f-x2x4z")}, {"destination": end("web-7d8f-b5c6d", "web")}],
    ),
    "two runs of a CronJob": (
        "data/import",
        [
            {"destination": end("import-29013060-x2x4z")},
            {"destination": end("import-29013120-b5c6d", "import")},
        ],
    ),
    "what an operator made, named otherwise": (
        "data/orders",
        [{"destination": end("orders-main-2")}, {"destination": end("orders-main-2", "orders")}],
    ),
    "a pod that nothing made": (
        "data/runner-1",
        [{"destination": end("runner-1")}, {"destination": end("runner-1", "runner-1")}],
    ),
    "a pod and its name": (
        "data/postgres",
        [
            {"destination": end("postgres-0", "postgres")},
            {"destination_names": ("postgres-0.db.data.svc.cluster.local",),
             "destination": end("postgres-0", "postgres")},
        ],
    ),
    "a service and the pod behind it": (
        "data/postgres",
        [
            {"destination": end("postgres-0", "postgres"), "destination_service": "data/db"},
            {"destination": end("postgres-0", "postgres")},
        ],
    ),
    "a service and its name": (
        "data/db",
        [
            {"destination_ip": "10.96.0.7", "destination_service": "data/db"},
            {"destination_ip": "10.96.0.7", "destination_names": ("db.data.svc.example.org",)},
        ],
    ),
    "a service without its pod": (
        "data/postgres",
        [
            {"destination_ip": "10.96.0.7", "destination_service": "data/db"},
            {"destination": end("postgres-0", "postgres"), "destination_service": "data/db"},
        ],
    ),
    "an address and its name": (
        "evil.example",
        [OUTSIDE, OUTSIDE | {"destination_names": ("evil.example",)}],
    ),
    "the API server and its name": (
        "kube-apiserver",
        [
            {"destination": Endpoint(identity=7, entity="kube-apiserver")},
            {"destination": Endpoint(identity=7, entity="kube-apiserver"),
             "destination_names": ("api.cluster.example",)},
        ],
    ),
    "a pod of another cluster": (
        "east/data/postgres",
        [
            {"destination": end("postgres-0", "postgres", labels=EAST)},
            {"destination": end("postgres-0", labels=EAST)},
        ],
    ),
    "who tries it, on its node and on another": (
        API,
        [{"to": API, "source": msgspec.structs.replace(POD, workload="")}, {"to": API, "source": POD}],
    ),
}  # fmt: skip


def notices(traffic: Traffic, rules: str, size: int) -> list[Notice]:
    join = Join()
    watcher = Watcher(read_rules(rules, str), join, live=False)
    flows = sorted(traffic.records, key=lambda flow: flow.time)
    found: list[Notice] = []
    for at in range(0, len(flows), size):
        join.add(Batch(flows=flows[at : at + size]))
        found += watcher.look(0)
    return found + watcher.look(0, all_of_it=True)


def ways(kind: str) -> list[tuple[Way, ...]]:
    return list(permutations([{"to": ADDRESS, "source": HERE} | way for way in KINDS[kind][1]]))


HERE = msgspec.structs.replace(POD, cluster="west")
RULES = """
rules:
- {alert: New, when: new-blocked, learn: 1m, attempts: 2}
"""


@pytest.mark.parametrize("size", [1, 100_000])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_blocked_is_told_once_by_whatever_name(kind: str, size: int) -> None:
    for every in ways(kind):
        traffic = Traffic()
        for at in range(0, 600, 5):
            traffic.passes(at, "192.0.2.77")
        for round_ in range(3):
            for place, way in enumerate(every):
                for again in range(3):
                    traffic.fails(200 + round_ * 60 + place * 20 + again, **way)
        # Over for one name is over for all.
        traffic.passes(500, **every[-1])
        found = notices(traffic, RULES, size)
        assert [one.status for one in found] == ["firing", "resolved"], every
        first, last = (one.alert for one in found)
        assert first.labels == last.labels
        assert last.ends >= 1_700_000_500 * 10**9


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_called_as_people_name_it(kind: str) -> None:
    for every in ways(kind):
        traffic = Traffic()
        for at in range(0, 300, 5):
            traffic.passes(at, "192.0.2.77")
        for place, way in enumerate(every):
            traffic.fails(100 + place, **way)
        for again in range(3):
            traffic.fails(200 + again, **every[-1])
        rules = RULES.replace("attempts: 2", "attempts: 4")
        (one,) = notices(traffic, rules, 50)
        assert one.alert.labels["peer"] == KINDS[kind][0]
        assert one.alert.labels["workload"] == "weather/weather-app"


def test_a_rule_finds_a_destination_by_any_of_its_names() -> None:
    way: Way = {"destination": end("postgres-0", "postgres"), "destination_service": "data/db"}
    traffic = Traffic()
    for at in range(0, 300, 5):
        traffic.passes(at, "192.0.2.77")
        if at > 200:
            traffic.fails(at, ADDRESS, **way)
    for peer in ("data/postgres", "data/db", "data/*"):
        rules = RULES.replace("when:", f"peer: {peer}, when:")
        (one,) = notices(traffic, rules, 50)
        summary = one.alert.annotations["summary"]
        assert "weather/weather-app → data/postgres:443 (service data/db) is blocked" in summary
    assert not notices(traffic, RULES.replace("when:", "peer: data/other, when:"), 50)


def test_two_services_of_one_name_in_other_namespaces_are_two() -> None:
    traffic = Traffic()
    for at in range(0, 300, 5):
        traffic.passes(at, "192.0.2.77")
    for at in range(200, 204):
        traffic.fails(at, ADDRESS, destination=end("postgres-0"))
        traffic.fails(at, "10.1.0.6", destination=end("postgres-0", namespace="test"))
        traffic.fails(at, "10.1.0.7", destination=end("redis-0"))
    peers = {one.alert.labels["peer"] for one in notices(traffic, RULES, 50)}
    assert peers == {"data/postgres", "test/postgres", "data/redis"}


def test_names_learnt_before_a_restart_are_known_after(tmp_path: Any) -> None:
    """An answer told the address's name; after the restart none does."""
    answer = Layer7(type=2, dns_query="evil.example", dns_ips=("203.0.113.9",), dns_ttl=60)
    traffic = Traffic()
    for at in range(0, 300, 5):
        traffic.passes(at, "192.0.2.77")
    traffic.records.append(l7(100, answer, source=Endpoint(), destination=POD, is_reply=True))
    for at in range(200, 204):
        traffic.fails(at, "203.0.113.9")
    rules = read_rules(RULES, str)
    join = Join()
    watcher = Watcher(rules, join, live=False)
    join.add(Batch(flows=sorted(traffic.records, key=lambda flow: flow.time)))
    (one,) = watcher.look(0, all_of_it=True)
    assert one.alert.labels["peer"] == "evil.example"
    folder = Folder(str(tmp_path))
    folder.save(watcher.saved())
    later = Traffic()
    for at in range(310, 400, 5):
        later.passes(at, "192.0.2.77")
        later.fails(at, "203.0.113.9")
    join = Join()
    watcher = Watcher(rules, join, folder.load(), live=False)
    folder.close()
    join.add(Batch(flows=sorted(later.records, key=lambda flow: flow.time)))
    assert watcher.look(0, all_of_it=True) == []
    assert [alert.labels["peer"] for alert in watcher.alerts.active.values()] == ["evil.example"]
