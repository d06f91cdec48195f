"""What was seen, as values of filters, and what is like a word that finds nothing."""

from __future__ import annotations

from flowwatch.egress.filters import KEYS
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
