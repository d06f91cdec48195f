"""Parts in Hubble's own form are read straight: what that gives is what the long way gives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowwatch.flows import json_parts
from flowwatch.flows.decode_json import LineDecoder
from flowwatch.flows.model import Batch

ENDPOINTS: list[Any] = [
    {},
    {"identity": 2, "labels": ["reserved:world"]},
    {
        "ID": 7, "identity": 9, "cluster_name": "c", "namespace": "n", "labels": ["a", "b=ü"],
        "pod_name": "p", "workloads": [{"name": "w", "kind": "Deployment"}, {"name": "x"}],
    },
    {"identity": "9"}, {"identity": 9.0}, {"identity": -1}, {"identity": 2**32}, {"ID": None},
    {"labels": None}, {"labels": "a"}, {"labels": [1]}, {"workloads": [{"name": None}]},
    {"podName": "p"}, {"newer": 1}, {"workloads": [{"newer": 1}]}, [], "", 5, None,
]  # fmt: skip
LAYERS: list[Any] = [
    {"type": "REQUEST", "dns": {"query": "a.example.", "observation_source": "proxy", "qtypes": ["A"]}},
    {"type": "RESPONSE", "dns": {"query": "a.", "ips": ["1.2.3.4"], "ttl": 30, "cnames": ["b."]}},
    {
        "type": "RESPONSE", "latency_ns": "1234",
        "http": {
            "code": 200, "method": "GET", "url": "http://a/\u0000\u20ac", "protocol": "HTTP/1.1",
            "headers": [{"key": "k", "value": "v"}, {"key": "k"}],
        },
    },
    {}, {"type": "SAMPLE"}, {"type": "NEWER"}, {"type": 2}, {"type": ""}, {"type": None},
    {"latency_ns": 5}, {"latency_ns": "x"}, {"latency_ns": "-1"}, {"latency_ns": "9" * 25},
    {"latency_ns": "\u0663"}, {"dns": {}, "http": {}}, {"dns": {"query": "a"}, "http": {"code": 1}},
    {"http": {"code": "200"}}, {"kafka": {"topic": "t"}}, {"http": {"headers": [None]}}, [], None, "x",
]  # fmt: skip


def read(part: str, value: Any) -> Batch:
    text = json.dumps({"flow": {"verdict": "FORWARDED", part: value}}).encode()
    decoder = LineDecoder()
    return decoder.batch(decoder.structs(text) or [])


@pytest.mark.parametrize(
    ("part", "value"), [("source", one) for one in ENDPOINTS] + [("l7", one) for one in LAYERS]
)
def test_both_ways_give_the_same(part: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    straight = read(part, value)
    monkeypatch.setattr(json_parts, "endpoint", lambda text: None)
    monkeypatch.setattr(json_parts, "layer7", lambda text: None)
    assert straight == read(part, value)


@pytest.mark.parametrize("text", [b'{"namespace":"\\ud800"}', b'{"namespace":"\xff"}', b"{"])
def test_what_is_no_text_goes_the_long_way(text: bytes) -> None:
    assert json_parts.endpoint(text) is None


def test_hubble_s_own_form_is_read_straight() -> None:
    for value in ENDPOINTS[:3]:
        assert json_parts.endpoint(json.dumps(value).encode()) is not None
    for value in LAYERS[:3]:
        assert json_parts.layer7(json.dumps(value).encode()) is not None
