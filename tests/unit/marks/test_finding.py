"""Marks are found where a policy changed, and nowhere else: each way of turning as a small example."""

from __future__ import annotations

import random
from typing import Any

import pytest

from flowwatch.flows.model import Layer7, PolicyRef
from tests.unit.flows.made import ACK, WORLD, denied, flow, l7
from tests.unit.marks.traffic import ALLOW, API, EVIL, OTHER, THIRD, Traffic, changed, moments, pod


def test_a_first_policy_is_found_by_no_one_having_been_asked_before() -> None:
    traffic = Traffic()
    for at in range(10):
        traffic.passes(at, API, asked=False).passes(at + 0.3, EVIL, asked=False)
    for at in range(10, 20):
        traffic.passes(at, API, (ALLOW,)).fails(at + 0.3, EVIL)

    report = traffic.report()

    assert moments(report) == [10.0]
    (one,) = report.differences
    assert one.mark.came == (str(ALLOW),)
    assert changed(report) == {API: "same", EVIL: "cut"}
    assert one.before.seconds == one.after.seconds == pytest.approx(9.3, abs=0.1)


def test_a_policy_that_is_taken_away() -> None:
    traffic = Traffic()
    for at in range(10):
        traffic.passes(at, API, (ALLOW,)).fails(at + 0.3, EVIL)
    for at in range(10, 20):
        traffic.passes(at, API, asked=False).passes(at + 0.3, EVIL, asked=False)

    report = traffic.report()

    assert moments(report) == [10.0]
    (one,) = report.differences
    assert (one.mark.came, one.mark.gone) == ((), (str(ALLOW),))
    (opened,) = [row for row in one.rows if row.change == "new"]
    assert (opened.edge.peer, opened.opened) == (EVIL, True)
    assert report.cut == 0


def test_another_policy_in_place_of_one_before() -> None:
    traffic = Traffic()
    for at in range(5):
        traffic.passes(at, API, (OTHER,), revision=3).passes(at + 0.3, EVIL, (OTHER,), revision=3)
    for at in range(5, 10):
        traffic.passes(at, API, (ALLOW,), revision=5).fails(at + 0.3, EVIL)

    (one,) = traffic.report().differences

    assert (one.mark.came, one.mark.gone) == ((str(ALLOW),), (str(OTHER),))


def test_a_policy_replaced_under_its_own_name_is_told_by_its_revision() -> None:
    traffic = Traffic()
    for at in range(5):
        traffic.passes(at, API, (ALLOW,), revision=3).passes(at + 0.3, EVIL, (ALLOW,), revision=3)
    for at in range(5, 10):
        traffic.passes(at, API, (ALLOW,), revision=4).fails(at + 0.3, EVIL)

    report = traffic.report()

    assert moments(report) == [5.3]
    (one,) = report.differences
    assert (one.mark.came, one.mark.changed, one.mark.gone) == ((), (str(ALLOW),), ())
    assert changed(report) == {API: "same", EVIL: "cut"}


def test_two_changes_are_two_marks_and_windows_end_at_the_next() -> None:
    traffic = Traffic()
    for at in range(10):
        traffic.passes(at, API, asked=False).passes(at + 0.3, EVIL, asked=False)
    for at in range(10, 14):
        traffic.passes(at, API, (ALLOW,)).fails(at + 0.3, EVIL)
    for at in range(14, 24):
        traffic.passes(at, API, asked=False).passes(at + 0.3, EVIL, asked=False)

    report = traffic.report()

    assert moments(report) == [10.0, 14.0]
    assert [round(one.after.seconds) for one in report.differences] == [4, 4]
    assert [changed(report, at)[EVIL] for at in range(2)] == ["cut", "new"]


def test_nodes_take_a_policy_up_one_after_the_other() -> None:
    traffic = Traffic()
    for number, node, late in ((1, "node-1", 0.0), (2, "node-2", 2.0)):
        same: Any = {"source": pod(number), "node": node}
        for at in range(20):
            if at < 10 + late:
                traffic.passes(at, API, asked=False, **same).passes(at, EVIL, asked=False, **same)
            else:
                traffic.passes(at, API, (ALLOW,), **same).fails(at, EVIL, **same)

    (one,) = traffic.report().differences

    assert {node: round(time / 1e9 - 1_700_000_000) for node, time in one.mark.nodes.items()} == {
        "node-1": 10, "node-2": 12,
    }  # fmt: skip
    # What node-2 still let through is before, though it came after the mark.
    (cut,) = [row for row in one.rows if row.change == "cut"]
    assert (cut.before.forwarded, cut.after.forwarded, cut.after.denied) == (20, 0, 18)


def test_a_connection_cut_in_the_middle_is_a_mark_by_itself() -> None:
    traffic = Traffic().passes(0, API, asked=False, source_port=5000)
    traffic.records += [
        flow(at, destination_ip=API, source_ip="10.0.0.1", source_port=5000, tcp_flags=ACK)
        for at in (1, 2, 3)
    ]
    traffic.records += denied(
        4, destination_ip=API, source_ip="10.0.0.1", source_port=5000, tcp_flags=ACK
    )

    report = traffic.report()

    assert moments(report) == [4.0]
    (row,) = report.differences[0].rows
    assert (row.change, row.cut_connections, row.before.forwarded) == ("cut", 1, 0)


# What looks like a change, and is none ---------------------------------------------------------


def test_requests_that_a_proxy_refuses_are_no_change() -> None:
    traffic = Traffic()
    for at in range(20):
        traffic.passes(at, API, (ALLOW,), source_port=6000 + at)
        refused = at >= 10
        traffic.records.append(
            l7(
                at + 0.1, Layer7(type=1, http_method="GET", http_url=f"http://api/{at}"),
                verdict=2 if refused else 1, destination_ip=API, source_ip="10.0.0.1",
                source_port=6000 + at, destination=WORLD,
            )
        )  # fmt: skip

    assert moments(traffic.report()) == []


def test_a_pod_that_just_started_is_denied_at_first() -> None:
    traffic = Traffic()
    for at in range(4):
        traffic.fails(at, API).fails(at + 0.2, EVIL)
    for at in range(4, 30):
        traffic.passes(at, API, (ALLOW,)).passes(at + 0.2, EVIL, (ALLOW,))

    assert moments(traffic.report()) == []


def test_a_revision_that_stayed_speaks_against_a_change() -> None:
    traffic = Traffic()
    for at in range(10):
        traffic.passes(at, API, (ALLOW,), revision=7).passes(at, EVIL, (ALLOW,), revision=7)
    for at in range(10, 20):
        traffic.passes(at, API, (ALLOW,), revision=7).fails(at, EVIL)

    assert moments(traffic.report()) == []


def test_addresses_that_other_rules_allow_are_no_change() -> None:
    traffic = Traffic()
    for at in range(30):
        traffic.passes(at, API, (ALLOW,) if at % 3 else (OTHER,))

    assert moments(traffic.report()) == []


def test_one_edge_that_is_denied_once_is_no_change() -> None:
    traffic = Traffic().passes(0, EVIL).passes(1, EVIL).fails(2, EVIL)

    assert moments(traffic.report()) == []


@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_found_where_nothing_changed(seed: int) -> None:
    """Random pods, peers, policies and failures that policies don't explain; never a change."""
    chance = random.Random(seed)
    traffic = Traffic()
    allowed = {API: (ALLOW,), THIRD: (OTHER, ALLOW), "198.51.100.7": ()}
    for number in range(1, 4):
        source, at = pod(number), chance.uniform(0, 20)
        enforced = chance.random() < 0.7
        young = at + chance.uniform(0, 5)
        for _ in range(60):
            at += chance.expovariate(1)
            to = chance.choice([*allowed, EVIL])
            if enforced and (to == EVIL or at < young):
                traffic.fails(at, to, source=source)
            else:
                by = tuple(chance.sample(allowed[to], len(allowed[to]))) if to in allowed else ()
                traffic.passes(
                    at, to, by, asked=enforced, revision=9 if enforced and chance.random() < 0.5 else 0,
                    source=source, answered=chance.random() < 0.9,
                )  # fmt: skip

    assert moments(traffic.report()) == []


def test_a_name_that_nobody_gave_is_told_as_such() -> None:
    traffic = Traffic()
    for at in range(10):
        traffic.passes(at, API, asked=False).passes(at, EVIL, asked=False)
    for at in range(10, 20):
        traffic.fails(at, API).fails(at, EVIL)

    (one,) = traffic.report().differences

    assert one.mark.policies == ()
    assert {row.cause for row in one.rows} == {"denied by a policy, no verdict says which"}


def test_a_deny_rule_is_named() -> None:
    known_bad = PolicyRef("CiliumClusterwideNetworkPolicy", "", "deny-known-bad")
    traffic = Traffic()
    for at in range(10):
        traffic.passes(at, API, asked=False).passes(at, EVIL, asked=False)
    for at in range(10, 20):
        traffic.passes(at, API, (ALLOW,)).fails(at, EVIL, reason=181, denied_by=(known_bad,))

    (one,) = traffic.report().differences

    (cut,) = [row for row in one.rows if row.change == "cut"]
    assert cut.cause == f"denied by {known_bad}"


def test_a_mark_by_hand_needs_no_finding() -> None:
    traffic = Traffic()
    for at in range(10):
        traffic.passes(at, API)
    for at in range(10, 20):
        traffic.passes(at, EVIL, answered=False)

    report = traffic.report(given=(10,))

    assert moments(report) == [10.0]
    assert changed(report) == {API: "quiet", EVIL: "new"}
