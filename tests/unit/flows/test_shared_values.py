"""Endpoints are built once, and named by label before number."""

from __future__ import annotations

import pytest

from flowwatch.flows import shared_values
from flowwatch.flows.shared_values import entity_of, make_endpoint, make_policy, service_name
from flowwatch.hubble.wire import enum_names


@pytest.mark.parametrize(
    ("identity", "labels", "entity"),
    [
        (0, (), ""),
        (0, ("reserved:unknown",), "unknown"),
        (1, (), "host"),
        (1, ("reserved:host", "reserved:kube-apiserver"), "host"),
        (2, ("reserved:world",), "world"),
        (6, (), "remote-node"),
        (7, ("reserved:kube-apiserver", "reserved:remote-node"), "kube-apiserver"),
        (7, ("reserved:remote-node", "reserved:kube-apiserver"), "kube-apiserver"),
        (9, ("reserved:world-ipv4",), "world-ipv4"),
        (300, ("k8s:app=x",), ""),
        (130, (), ""),
        (1 << 24, (), "world"),
        ((1 << 24) + 77, ("cidr:1.1.1.1/32", "reserved:world-ipv4"), "world-ipv4"),
        ((2 << 24) + 5, (), "remote-node"),
        (65536 * 3 + 400, ("k8s:app=x",), ""),
        (42, ("reserved:newer-than-us",), "newer-than-us"),
    ],
)
def test_entities(identity: int, labels: tuple[str, ...], entity: str) -> None:
    assert entity_of(identity, labels) == entity


def test_equal_values_give_one_object() -> None:
    first = make_endpoint(300, "n", "p", ("k8s:a=b",), "d", "c")
    again = make_endpoint(300, "n", "p", ("k8s:a=" + "b",), "d", "c")
    assert first is again
    assert first.workload == "d"
    assert make_endpoint(301, "n", "p", ("k8s:a=b",), "", "c") is not first
    assert make_policy("K", "n", "p") is make_policy("K", "n", "p")
    assert (service_name("n", "s"), service_name("", "s"), service_name("", "")) == ("n/s", "s", "")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_values, "CACHE_LIMIT", 10)
    for n in range(50):
        assert make_endpoint(n + 300, "n", f"p{n}", (), "", "").pod == f"p{n}"
        assert make_policy("K", "n", f"p{n}").name == f"p{n}"
    assert len(shared_values._endpoints) <= 10
    assert len(shared_values._policies) <= 10


def test_newer_enum_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enum_names, "_numbers", {})
    monkeypatch.setattr(enum_names, "_names", {})
    numbers = {enum_names.newer_number(f"NAME_{n}") for n in range(enum_names.LIMIT + 50)}
    assert len(numbers) == enum_names.LIMIT + 1
    assert max(numbers) == enum_names.FIRST
    assert enum_names.newer_name(enum_names.FIRST - 5) == "NAME_5"
    assert enum_names.newer_name(min(numbers)) == ""
    assert len(enum_names.newer_names()) == enum_names.LIMIT
