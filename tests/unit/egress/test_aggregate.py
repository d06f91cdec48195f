"""Records in, rows out."""

from __future__ import annotations

from typing import Any

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Snapshot
from flowwatch.egress.view import records, snapshot
from flowwatch.flows.listing import AttemptListing
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.flows.model import (
    Batch,
    Direction,
    Endpoint,
    Flow,
    Gap,
    Layer7,
    LostEvents,
    NodeStatus,
    PolicyRef,
    Verdict,
)
from tests.unit.egress.made import counted, rows, traffic
from tests.unit.flows.made import (
    ALLOW,
    API,
    APP,
    DENY,
    SECOND,
    WORLD,
    denied,
    flow,
    l7,
    reply,
    verdict,
)


def test_a_blocked_attempt_is_counted_once_however_many_records_and_retries() -> None:
    [row] = rows(*denied(0), *denied(1), *denied(3), *denied(7))
    assert (row.namespace, row.pod, row.workload) == ("weather", "weather-app-1", "weather-app")
    assert (row.peer, row.peer_kind, row.port, row.protocol) == ("1.2.3.4", "address", 443, "TCP")
    assert (row.dropped, row.forwarded, row.records) == (1, 0, 8)
    assert row.drop_reasons == {"POLICY_DENIED": 1}
    assert row.last_seen - row.first_seen == pytest.approx(7 * SECOND, abs=SECOND / 1000)


def test_an_outcome_that_changes_moves_and_is_not_counted_twice() -> None:
    aggregate = counted(verdict(), flow())
    assert snapshot(aggregate, Query()).totals.forwarded == 1
    aggregate.join.add(Batch(flows=denied(1)))
    after = snapshot(aggregate, Query())
    assert (after.totals.forwarded, after.totals.dropped) == (0, 1)
    assert sum(after.timeline.forwarded) == 0
    assert sum(after.timeline.dropped) == 1


def test_a_reason_that_changes_moves_too() -> None:
    stray = denied(0, reason=158)[1]
    [row] = rows(stray, *denied(1, reason=181))
    assert row.drop_reasons == {"POLICY_DENY": 1}


def test_what_the_proxy_refused_stands_in_its_row_the_latest_first() -> None:
    [row] = rows(
        *(
            l7(
                i,
                Layer7(type=1, http_method="GET", http_url=f"http://api/{page}"),
                verdict=Verdict.DROPPED,
                source_port=i + 1,
            )
            for i, page in enumerate(("admin", "secret", "admin", "x" * 500))
        )
    )
    assert row.drop_reasons == {"L7_DENIED": 4}
    longest, *others = row.proxy_refused
    assert others == ["GET http://api/admin", "GET http://api/secret"]
    assert longest.startswith("GET http://api/xxx")
    assert len(longest) == 200
    assert rows(flow())[0].proxy_refused == ()


def test_reasons_add_up_to_dropped() -> None:
    mixed = [
        *denied(0),
        *denied(0, source_port=2, reason=181),
        *denied(0, source_port=3, reason=158),
        *denied(0, source_port=4),
    ]
    [row] = rows(*mixed)
    assert row.drop_reasons == {
        "POLICY_DENIED": 2,
        "POLICY_DENY": 1,
        "SERVICE_BACKEND_NOT_FOUND": 1,
    }
    assert row.dropped == 4


def test_the_far_nodes_denial_counts_in_both_directions() -> None:
    pods: dict[str, Any] = {"source": APP, "destination": API, "destination_ip": "10.0.1.1"}
    far = denied(0.1, 181, direction=Direction.INGRESS, node="node-2", denied_by=(DENY,), **pods)
    both = Query(direction="both", order="pod")
    flows = [verdict(**pods), flow(**pods), *far]
    for order in (flows, flows[2:] + flows[:2]):
        ingress, egress = rows(*order, query=both)
        assert (egress.direction, egress.pod, egress.peer) == (
            "egress",
            "weather-app-1",
            "api/api-1",
        )
        assert (ingress.direction, ingress.pod) == ("ingress", "api-1")
        assert ingress.peer == "weather/weather-app-1"
        assert egress.dropped == ingress.dropped == 1
        assert egress.denied_by == ingress.denied_by == (DENY,)
    assert [row.direction for row in rows(*flows)] == ["egress"]


def test_an_egress_policy_admits_nothing_at_the_other_end() -> None:
    """weather-egress lets the request leave; api-ingress lets it in, as each end's record names it."""
    admits = PolicyRef("CiliumNetworkPolicy", "api", "api-ingress")
    pods: dict[str, Any] = {"source": APP, "destination": API, "destination_ip": "10.0.1.1"}
    leaves = verdict(**pods, allowed_by=(ALLOW,))
    enters = verdict(0.1, **pods, direction=Direction.INGRESS, allowed_by=(admits,))
    unnamed = verdict(0.1, **pods, direction=Direction.INGRESS)
    both = Query(direction="both", order="pod")
    for flows, at_the_server in (
        ((leaves, enters), (admits,)),
        ((enters, leaves), (admits,)),
        ((leaves, unnamed), ()),
    ):
        ingress, egress = rows(*flows, query=both)
        assert (egress.direction, egress.allowed_by) == ("egress", (ALLOW,))
        assert (ingress.direction, ingress.allowed_by) == ("ingress", at_the_server)
        ways, batch = frozenset(("egress", "ingress")), Batch(flows=list(flows))
        listed = AttemptListing([batch], ways, frozenset(OUTCOMES))
        told = {one.direction: one.allowed_by for one in listed}
        assert told == {"egress": (ALLOW,), "ingress": at_the_server}


def test_policies_are_gathered_and_the_workload_taken_from_whichever_record_has_it() -> None:
    bare = Endpoint(identity=1001, namespace="weather", pod="weather-app-1")
    [row] = rows(
        flow(source=bare), verdict(1, source_port=2, allowed_by=(ALLOW,)), verdict(2, source_port=3)
    )
    assert row.allowed_by == (ALLOW,)
    assert row.workload == "weather-app"


PEERS: list[tuple[str, dict[str, Any], tuple[str, str]]] = [
    ("names", {"destination_names": ("api.example.org",)}, ("api.example.org", "dns")),
    ("service", {"destination_service": "shop/cart"}, ("shop/cart", "service")),
    ("pod", {"destination": API}, ("api/api-1", "pod")),
    ("entity", {"destination": Endpoint(1, entity="host")}, ("host", "entity")),
    ("address", {"destination": WORLD}, ("1.2.3.4", "address")),
    ("no address", {"destination": WORLD, "destination_ip": ""}, ("world", "entity")),
    ("nothing", {"destination": Endpoint(), "destination_ip": ""}, ("unknown", "unknown")),
]


@pytest.mark.parametrize(("fields", "peer"), [p[1:] for p in PEERS], ids=[p[0] for p in PEERS])
def test_a_peer_is_named_as_a_person_would(fields: dict[str, Any], peer: tuple[str, str]) -> None:
    [row] = rows(flow(**fields))
    assert (row.peer, row.peer_kind) == peer


def test_a_name_seen_once_helps_later_records_of_the_same_pod_only() -> None:
    answer = Layer7(type=2, dns_query="api.example.org", dns_ips=("1.2.3.4",))
    other = Endpoint(identity=7, namespace="weather", pod="other-1")
    found = rows(
        l7(record=answer, is_reply=True, source=API, destination=APP, source_port=53),
        flow(1),
        flow(1, source=other, source_ip="10.0.0.2"),
    )
    assert {(row.pod, row.peer) for row in found} == {
        ("weather-app-1", "api.example.org"),
        ("other-1", "1.2.3.4"),
    }


def test_a_host_is_a_subject_by_its_entity() -> None:
    [row] = rows(flow(source=Endpoint(1, entity="host")))
    assert (row.namespace, row.pod) == ("", "host")


def test_replies_make_no_row_but_count_as_records_of_their_attempt() -> None:
    assert rows(reply()) == []
    [row] = rows(flow(), reply(1))
    assert (row.forwarded, row.records) == (1, 2)


def test_what_was_not_seen_is_said() -> None:
    aggregate = counted(flow())
    aggregate.join.add(
        Batch(
            lost=[LostEvents("HUBBLE_RING_BUFFER", 7, "node-1", 5)] * 2,
            nodes=[NodeStatus("NODE_UNAVAILABLE", ("node-2",), "refused")],
            skipped={"not JSON": 3},
        )
    )
    taken = snapshot(aggregate, Query())
    assert taken.coverage.lost_events == 14
    assert taken.coverage.nodes_unavailable == ("node-2",)
    assert taken.coverage.records_skipped == {"not JSON": 3}
    assert taken.coverage.warnings == (
        "14 events were lost on node-1 (HUBBLE_RING_BUFFER: flowwatch read too slowly): "
        "counts are 'at least'",
        "1 of 2 nodes unseen: node-2 (refused): counts are 'at least'",
        "3 records were skipped: not JSON",
    )
    aggregate.join.add(Batch(nodes=[NodeStatus("NODE_CONNECTED", ("node-2",))]))
    assert snapshot(aggregate, Query()).coverage.nodes_unavailable == ()


def sums(taken: Snapshot) -> tuple[int, ...]:
    return tuple(
        sum(getattr(row, name) for row in taken.rows)
        for name in ("forwarded", "dropped", "audited", "errors", "unknown", "records")
    )


def test_past_the_limit_the_least_recently_seen_rows_are_folded_and_nothing_is_lost() -> None:
    flows = traffic(500)
    whole, small = snapshot(counted(*flows), Query()), Aggregate(max_rows=8)
    for i in range(0, len(flows), 10):
        small.join.add(Batch(flows=flows[i : i + 10]))
    taken = snapshot(small, Query())
    assert len(taken.rows) <= 8 + 10
    assert sums(taken) == sums(whole)
    assert taken.totals.dropped == whole.totals.dropped
    assert taken.coverage.folded_rows > 0
    assert any("folded into 'other'" in warning for warning in taken.coverage.warnings)
    [other] = [row for row in taken.rows if row.peer_kind == "other"]
    assert sum(other.drop_reasons.values()) == other.dropped
    assert len(small.columns.peer_names) <= 20


def test_an_attempt_in_a_folded_row_still_changes_its_outcome_once() -> None:
    aggregate = Aggregate(max_rows=4)
    aggregate.join.add(Batch(flows=[flow()]))
    later = [flow(i + 1, destination_ip=f"9.9.9.{i}", source_port=i + 1) for i in range(6)]
    aggregate.join.add(Batch(flows=later))
    aggregate.join.add(Batch(flows=denied(1)))
    totals = snapshot(aggregate, Query()).totals
    assert (totals.forwarded, totals.dropped) == (6, 1)


def on_two_nodes(count: int, ahead: float) -> list[Flow]:
    """Connections a second apart that both nodes saw; the other one's clock is ``ahead``."""
    return [
        one
        for at in range(count)
        for one in (
            flow(at, source_port=1000 + at, destination=API),
            flow(
                at + 0.001 + ahead,
                source_port=1000 + at,
                destination=API,
                direction=Direction.INGRESS,
                node="node-2",
            ),
        )
    ]


@pytest.mark.parametrize("ahead", [90.0, 3600.0])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_times_are_told_by_one_clock(ahead: float, size: int) -> None:
    """However late it is learnt, in rows as in the timeline; with the order of what is seen last."""
    records = on_two_nodes(60, ahead)
    aggregate = Aggregate()
    for at in range(0, len(records), size):
        aggregate.join.add(Batch(flows=records[at : at + size]))
    taken = snapshot(aggregate, Query(direction="both"))
    start = records[0].time
    assert taken.totals.forwarded == 120
    for row in taken.rows:
        assert (row.first_seen - start) / SECOND == pytest.approx(0, abs=0.01)
        assert (row.last_seen - start) / SECOND == pytest.approx(59, abs=0.01)
        assert row.rate == pytest.approx(taken.rows[0].rate, rel=0.01)
        assert row.rate > 0.5
    assert (taken.coverage.last_seen - taken.coverage.first_seen) / SECOND == pytest.approx(
        59, abs=0.01
    )
    assert sum(taken.timeline.forwarded) == 120
    assert len(taken.timeline.forwarded) <= 61
    assert [(skew.node, round(skew.ahead / SECOND)) for skew in taken.coverage.clock_skews] == [
        ("node-2", ahead)
    ]


def test_records_seen_at_a_pause_are_told_by_their_number_and_not_by_their_time() -> None:
    """A node whose clock is ahead: its records of before the pause are later than the last of all."""
    aggregate = counted(*on_two_nodes(10, 3600.0))
    seen = snapshot(aggregate, Query()).coverage.records_read
    assert [one.number for one in records(aggregate, 100)] == list(range(1, seen + 1))
    aggregate.join.add(Batch(flows=[flow(99)]))
    assert [one.number for one in records(aggregate, 2)] == [seen, seen + 1]


def test_a_limit_too_small_to_mean_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        Aggregate(max_rows=3)


def test_losses_are_told_by_node_and_as_a_rate() -> None:
    aggregate = counted(flow(0), flow(10, source_port=1))
    lost = [
        LostEvents("OBSERVER_EVENTS_QUEUE", count, node, 5) for node, count in (("a", 5), ("b", 95))
    ]
    aggregate.join.add(Batch(lost=lost))
    taken = snapshot(aggregate, Query())
    assert taken.coverage.warnings[0].startswith(
        "100 events were lost, 10.0/s on b (95), a (5) (OBSERVER_"
    )
    assert {(one.node, one.rate) for one in taken.coverage.lost} == {("a", 0.5), ("b", 9.5)}


def test_a_gap_makes_the_numbers_at_least_and_is_told_with_its_seconds() -> None:
    aggregate = counted(flow())
    start = 1_700_000_000 * SECOND
    aggregate.join.add(
        Batch(gaps=[Gap(start, start + 42 * SECOND, "the ring had wrapped", ("n1",))])
    )
    taken = snapshot(aggregate, Query())
    assert taken.coverage.at_least
    assert taken.coverage.warnings == (
        "gap of 42 s, 22:13:20 to 22:14:02 UTC: records of n1 from then are gone "
        "(the ring had wrapped): counts are 'at least'",
    )
    for number in range(600):
        aggregate.join.add(Batch(gaps=[Gap(start, start + SECOND, str(number))]))
    taken = snapshot(aggregate, Query())
    assert len(taken.coverage.gaps) == 500
    assert len(taken.coverage.warnings) == 6
    assert "596 more gaps" in taken.coverage.warnings[-1]


def test_records_left_out_are_told_until_they_prove_repeats() -> None:
    aggregate = counted(flow())
    aggregate.join.add(Batch(set_aside={"node-1": 7}))
    (told,) = snapshot(aggregate, Query()).coverage.warnings
    assert told.startswith("7 records of node-1 were left out")
    aggregate.join.add(Batch(set_aside={}))
    assert snapshot(aggregate, Query()).coverage.warnings == ()


def test_flows_made_before_a_node_went_away_do_not_bring_it_back() -> None:
    aggregate = counted(flow(0, node="n1"))
    away = NodeStatus("NODE_UNAVAILABLE", ("n1",), "refused", since=flow(10).time)
    aggregate.join.add(Batch(nodes=[away]))
    aggregate.join.add(Batch(flows=[flow(9, node="n1")]))
    assert snapshot(aggregate, Query()).coverage.nodes_unavailable == ("n1",)
    aggregate.join.add(Batch(flows=[flow(11, node="n1")]))
    assert snapshot(aggregate, Query()).coverage.nodes_unavailable == ()
    aggregate.join.add(Batch(nodes=[NodeStatus("NODE_GONE", ("n1",))]))
    assert snapshot(aggregate, Query()).coverage.nodes_known == 0
