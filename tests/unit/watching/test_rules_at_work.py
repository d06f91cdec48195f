"""Each kind of rule on traffic of which the truth is known: told once, over once, whatever the batches."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest

from flowwatch.demo.server import DemoServer
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch, Flow
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import PlainOptions, flow_request
from flowwatch.watching.alerts import Notice
from flowwatch.watching.rules import read_rules
from flowwatch.watching.watcher import Watcher
from tests.unit.marks.traffic import ALLOW, API, EVIL, OTHER, Traffic

RULES = """
rules:
  - {alert: NewlyBlocked, when: new-blocked, learn: 1m, clear: 2m}
  - {alert: Drops, when: drop-share, learn: 2m}
  - {alert: Quiet, when: gone-quiet, quiet: 1m}
  - {alert: Silent, when: unanswered}
  - {alert: Cut, when: cut}
"""


def notices(flows: Iterable[Flow], size: int = 50, rules: str = RULES) -> list[Notice]:
    def no_secret(path: str) -> str:
        raise AssertionError(path)

    join = Join()
    watcher = Watcher(read_rules(rules, no_secret), join, live=False)
    found: list[Notice] = []
    ordered = sorted(flows, key=lambda flow: flow.time)
    for at in range(0, len(ordered), size):
        join.add(Batch(flows=ordered[at : at + size]))
        found += watcher.look(0)
    return found + watcher.look(0, all_of_it=True)


def told(found: list[Notice]) -> list[tuple[str, str, str]]:
    return sorted((one.alert.rule, one.status, one.alert.labels.get("peer", "")) for one in found)


def steady(traffic: Traffic, start: int, end: int, every: int = 5) -> None:
    """What works, all the time, so that time goes on."""
    for at in range(start, end, every):
        traffic.passes(at, API, (ALLOW,))


BLOCKED = [("NewlyBlocked", "firing", EVIL), ("NewlyBlocked", "resolved", EVIL)]


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_what_is_newly_blocked_is_told_once_and_over_once(size: int) -> None:
    traffic = Traffic()
    steady(traffic, 0, 600)
    for at in (200, 204, 208, 230):
        traffic.fails(at)
    rules = "rules: [{alert: NewlyBlocked, when: new-blocked, learn: 1m, clear: 2m}]"
    assert told(notices(traffic.records, size, rules)) == BLOCKED


def test_what_was_blocked_while_it_learnt_is_known() -> None:
    traffic = Traffic()
    steady(traffic, 0, 600)
    for at in range(10, 590, 20):
        traffic.fails(at)
    assert told(notices(traffic.records)) == []


def test_a_share_of_drops_above_normal_is_told_until_it_is_normal_again() -> None:
    traffic = Traffic()
    steady(traffic, 0, 1200, 2)
    for at in range(600, 720, 2):
        traffic.fails(at)
    found = told(
        notices(traffic.records, rules="rules: [{alert: Drops, when: drop-share, learn: 2m}]")
    )
    assert [one[:2] for one in found] == [("Drops", "firing"), ("Drops", "resolved")]


def test_a_destination_that_goes_quiet_is_told_until_it_is_tried_again() -> None:
    traffic = Traffic()
    steady(traffic, 0, 900)
    for at in [*range(0, 300, 10), *range(600, 900, 10)]:
        traffic.passes(at, EVIL, (ALLOW,))
    rules = "rules: [{alert: Quiet, when: gone-quiet, quiet: 1m}]"
    found = told(notices(traffic.records, rules=rules))
    assert found == [("Quiet", "firing", EVIL), ("Quiet", "resolved", EVIL)]


def test_silence_of_all_is_told_of_none_while_nobody_was_watching() -> None:
    traffic = Traffic()
    steady(traffic, 0, 300)
    steady(traffic, 3000, 3300)
    assert told(notices(traffic.records)) == []


def test_a_peer_that_answers_no_more_is_told_until_it_answers() -> None:
    traffic = Traffic()
    steady(traffic, 0, 900)
    for at in range(0, 900, 10):
        traffic.passes(at, EVIL, (ALLOW,), answered=not 300 <= at < 500)
    rules = "rules: [{alert: Silent, when: unanswered}]"
    found = told(notices(traffic.records, rules=rules))
    assert found == [("Silent", "firing", EVIL), ("Silent", "resolved", EVIL)]


def test_what_a_policy_cut_is_told_until_it_is_let_through() -> None:
    traffic = Traffic()
    for at in range(0, 900, 5):
        # A policy allows the one and not the other, where one before allowed both.
        traffic.passes(at, API, (ALLOW,) if 300 <= at < 600 else (OTHER,))
    for at in range(0, 900, 6):
        if 300 <= at < 600:
            traffic.fails(at, EVIL)
        else:
            traffic.passes(at, EVIL, (OTHER,))
    rules = "rules: [{alert: Cut, when: cut}]"
    found = told(notices(traffic.records, rules=rules))
    assert found == [("Cut", "firing", EVIL), ("Cut", "resolved", EVIL)]


def test_what_was_cut_at_once_is_told_in_an_order_that_no_count_changes() -> None:
    traffic = Traffic()
    for peer, every in (("a.example", 10), ("b.example", 4)):
        for at in range(0, 600, every):
            if at < 300:
                traffic.passes(at, peer, (OTHER,))
            else:
                traffic.fails(at, peer)
    found = notices(traffic.records, 100_000, rules="rules: [{alert: Cut, when: cut}]")
    assert [one.alert.labels["peer"] for one in found] == ["a.example", "b.example"]


def of_the_demo(policy_after: float | None = None) -> list[Flow]:
    with DemoServer(live=False, seed=1, policy_after=policy_after) as server:
        source = open_source(flow_request(PlainOptions({"server": server.address}), environ={}))
        try:
            return [flow for batch in source.batches() for flow in batch.flows]
        finally:
            source.close()


OF_WEATHER = RULES.replace("when:", 'workload: "weather/*", when:')


def test_the_demo_s_quiet_half_has_no_alert() -> None:
    assert told(notices(of_the_demo(1e6), rules=OF_WEATHER)) == []


def test_the_demo_s_policy_is_told_and_when_it_is_lifted_each_alert_is_over_once() -> None:
    story, lifted = of_the_demo(), of_the_demo(1e6)
    shift = max(flow.time for flow in story) - min(flow.time for flow in lifted) + 10**9
    again = [msgspec.structs.replace(flow, time=flow.time + shift) for flow in lifted]
    found = notices([*story, *again], rules=OF_WEATHER)
    firing = [one.alert.fingerprint for one in found if one.status == "firing"]
    over = [one.alert.fingerprint for one in found if one.status == "resolved"]
    assert len(firing) == len(set(firing))
    assert len(over) == len(set(over))
    blocked = {one.alert.labels["peer"] for one in found if one.alert.rule == "NewlyBlocked"}
    assert {"api.github.com", "telemetry.skydata.example", "www.google.com"} <= blocked
    assert "api.openweathermap.org" not in blocked
    kinds = {one.alert.rule for one in found}
    assert {"NewlyBlocked", "Cut"} <= kinds
    assert set(firing) == set(over)
