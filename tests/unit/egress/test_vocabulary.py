"""What was seen, as values of filters, and what is like a word that finds nothing."""

from __future__ import annotations

import pytest

from flowwatch.egress import vocabulary
from flowwatch.egress.filters import KEYS
from flowwatch.egress.query import Query
from flowwatch.egress.vocabulary import beginning, near, seen
from flowwatch.flows.model import PolicyRef
from tests.unit.egress.test_found import rows


def test_values_of_every_key() -> None:
    aggregate = rows()
    told = {key: seen(aggregate.columns, aggregate.ends, key) for key in KEYS}
    assert told == {
        "ns": ["ci", "shop"],
        "pod": ["runner-0", "web"],
        "to": ["10.0.0.1", "10.0.0.2", "10.0.0.3"],
        "port": ["443/tcp", "53/udp", "8080/tcp"],
        "why": ["POLICY_DENIED", "no rule allows it"],
        "policy": ["shop/web-egress"],
        "label": ["app=runner", "app=web", "team=a b"],
        "staged": [],
        "verdict": ["audited", "dropped", "errors", "forwarded", "unknown"],
    }


def test_what_no_row_shows_is_not_offered() -> None:
    aggregate = rows()
    for sides in range(len(aggregate.columns.policy_sets.things)):
        aggregate.columns.policy_sets.things[sides] = ((), (PolicyRef("CNP", "shop", "deny"),))
    assert seen(aggregate.columns, aggregate.ends, "why") == ["POLICY_DENIED"]


def test_values_are_of_the_rows_that_the_rest_of_a_filter_finds() -> None:
    aggregate = rows()

    def told(key: str, text: str, direction: str = "egress") -> list[str]:
        return seen(aggregate.columns, aggregate.ends, key, Query(direction=direction, text=text))

    assert {key: told(key, "ns:shop 443") for key in KEYS} == {
        "ns": ["shop"],
        "pod": ["web"],
        "to": ["10.0.0.1"],
        "port": ["443/tcp"],
        "why": ["POLICY_DENIED", "no rule allows it"],
        "policy": [],
        "label": ["app=web", "team=a b"],
        "staged": [],
        "verdict": ["dropped"],
    }
    assert told("why", "verdict:forwarded") == []
    assert told("to", "", "ingress") == []
    for key in [*KEYS][:7]:
        # Without a word these are all, whichever way they are looked for.
        assert told(key, "", "both") == seen(aggregate.columns, aggregate.ends, key), key


def test_of_a_great_many_rows_all_values_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "NARROWED", 2)
    aggregate = rows()
    assert seen(aggregate.columns, aggregate.ends, "ns", Query(text="ns:shop")) == ["ci", "shop"]


def test_what_begins_so_comes_before_what_has_it() -> None:
    assert beginning(["shop/web", "web", "WEB-2", "x y"], "web") == ["web", "WEB-2"]
    assert beginning(["shop/web", "x y"], "web") == ["shop/web"]
    assert beginning(["x y"], "") == ['"x y"']


def test_what_was_probably_meant() -> None:
    names = ["telemetry.skydata.example", "weather/weather-app", "shop/web"]
    assert near(names, "telemtry") == names[0]
    assert near(names, "wether-app") == names[1]
    assert near(names, "zzz") == ""
    assert near(names, "=te") == names[0]
