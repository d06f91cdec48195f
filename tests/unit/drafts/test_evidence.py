"""What stands beside a rule, and on top of a policy: how far it may be trusted."""

from __future__ import annotations

import msgspec
import pytest
import yaml

from flowwatch.drafts.draft import Draft, Drafter
from flowwatch.flows.model import Batch, LostEvents
from flowwatch.policy import load
from tests.unit.drafts.test_draft import NODE, Seen, only, pod
from tests.unit.marks.traffic import API, EVIL, POD

OTHER = pod("shop", "web")


def policy_of(draft: Draft, namespace: str) -> str:
    return next(one.text for one in draft.documents if one.plan.owner.namespace == namespace)


def test_the_name_of_another_pod_s_lookup_is_told_with_its_age() -> None:
    # As where an agent was restarted: nothing shows what this pod asked for.
    seen = Seen().looks_up(0, "api.example.com", API, source=OTHER).passes(120, API)

    text = policy_of(seen.draft(), "weather")

    assert "matchName: api.example.com" in text
    assert "its name is the address's last known, told 2 min before and not for these pods" in text


def test_of_several_such_names_it_is_the_newest() -> None:
    seen = Seen().looks_up(0, "old.example.com", API, source=OTHER)
    seen.looks_up(60, "new.example.com", API, source=OTHER).passes(120, API)

    assert "matchName: new.example.com" in policy_of(seen.draft(), "weather")


def test_a_name_that_was_given_later_is_one_too() -> None:
    seen = Seen().passes(0, API).looks_up(60, "api.example.com", API, source=OTHER)

    assert "told 60 s later and not for these pods" in policy_of(seen.draft(), "weather")


def test_what_the_pod_asked_for_itself_comes_first() -> None:
    seen = Seen().looks_up(0, "mine.example.com", API)
    seen.looks_up(60, "theirs.example.com", API, source=OTHER).passes(120, API)

    text = policy_of(seen.draft(), "weather")

    assert "matchName: mine.example.com" in text
    assert "last known" not in text


def test_needs_that_were_seen_once_or_twice_are_told_on_top() -> None:
    seen = Seen().passes(0, API).passes(1, EVIL).passes(2, EVIL)
    for at in range(3):
        seen.passes(10 + at, "192.0.2.7")

    assert "# 2 of 3 needs were seen fewer than 3 times: " in seen.draft().text


def test_how_many_of_the_pods_need_it_is_told() -> None:
    other = msgspec.structs.replace(POD, pod="weather-app-2")
    seen = Seen().passes(0, API).passes(1, API, source=other).passes(2, EVIL)

    text = seen.draft().text

    assert f"{API}:443/TCP: 2 attempts, 2023-11-14 22:13:20 to 2023-11-14 22:13:21, 2 pods" in text
    assert f"{EVIL}:443/TCP: seen once, at 2023-11-14 22:13:22, 1 of 2 pods" in text


def test_lost_events_and_a_short_window_stand_on_top_of_the_file() -> None:
    seen = Seen().passes(0, API).passes(60, API)
    drafter = Drafter()
    lost = LostEvents(
        source="PERF_EVENT_RING_BUFFER", count=7, node="node-1", time=seen.records[0].time
    )
    draft = drafter.read([Batch(flows=seen.records, lost=[lost])])

    head = draft.text.partition("apiVersion")[0]
    assert "# Seen for 60 s only" in head
    assert "# 7 events were lost" in head
    assert "on node-1" in head


def test_who_was_seen_at_the_other_end_alone_is_quiet() -> None:
    seen = Seen().passes(0, "10.1.0.5", destination=OTHER)

    assert seen.draft().quiet == ("shop/web",)


@pytest.mark.parametrize(
    ("directions", "words"),
    [
        ({"egress"}, ["1 ingress attempt was seen: --direction ingress shows it"]),
        ({"ingress"}, []),
        ({"egress", "ingress"}, []),
    ],
    ids=["egress", "ingress", "both"],
)
def test_what_only_the_other_direction_has_is_told(directions: set[str], words: list[str]) -> None:
    seen = Seen().passes(
        0, "10.0.0.9", source=OTHER, destination=POD, direction=1, source_ip="10.0.1.1",
        answered=False,
    )  # fmt: skip

    draft = seen.draft(directions=frozenset(directions))

    assert [one for one in draft.notes if "--direction" in one] == words


def test_quiet_ones_of_one_name_are_told_apart_by_their_clusters() -> None:
    seen = Seen()
    for number, cluster in enumerate(("east", "west")):
        end = msgspec.structs.replace(OTHER, cluster=cluster)
        seen.passes(number, f"10.{number}.0.5", destination=end)

    assert seen.draft().quiet == ("east/shop/web", "west/shop/web")


def test_of_many_quiet_ones_some_are_named() -> None:
    seen = Seen()
    for number in range(12):
        seen.passes(number, "10.1.0.5", destination=pod("shop", f"a{number:02}"))

    assert seen.draft().quiet_words.endswith("shop/a09 and 2 more")


@pytest.mark.parametrize("kind", ["cnp", "ccnp", "knp"])
def test_protocols_without_ports_are_allowed_by_name(kind: str) -> None:
    seen = Seen().passes(
        0, "10.0.0.2", destination=OTHER, protocol="VRRP", source_port=0, destination_port=0,
        tcp_flags=0, answered=False,
    )  # fmt: skip
    draft = Drafter(kind=kind).read([Batch(flows=seen.records)])  # type: ignore[arg-type]

    assert load([("draft.yaml", draft.text)]).documents.rejected == []
    if kind == "knp":
        assert "# NetworkPolicy has no word for it: VRRP can't be named" in draft.text
    else:
        assert draft.proof.words == "allows 1 of 1 needed, denies 0 of 0 others"


def test_what_kubernetes_policies_lose_stands_in_the_file() -> None:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API)
    seen.passes(2, "10.0.0.2", destination=NODE)

    text = Drafter(kind="knp").read([Batch(flows=seen.records)]).text

    assert "# NetworkPolicy has no word for it: remote-node can't be named" in text
    assert "# NetworkPolicy knows no names: api.example.com by address, which may change" in text


def test_policies_that_would_have_one_name_are_told_apart() -> None:
    seen = Seen()
    for at, (space, app) in enumerate((("a-b", "c"), ("a", "b-c"), ("a", "other"))):
        seen.passes(at, API, source=pod(space, app))

    draft = seen.draft(kind="ccnp")

    names = [one["metadata"]["name"] for one in yaml.safe_load_all(draft.text)]
    assert len({one.file for one in draft.documents}) == len(set(names)) == 3
    assert sorted(names)[-1] == "a-other-egress"
    assert names == [
        one["metadata"]["name"] for one in yaml.safe_load_all(seen.draft(kind="ccnp").text)
    ]


def test_the_longest_names_are_cut_and_stay_apart() -> None:
    long = "a" * 300
    seen = Seen().passes(0, API, source=pod("shop", "x", workload=long))
    seen.passes(1, API, source=pod("shop", "y", workload=f"{long}b"))

    draft = seen.draft()

    names = [one["metadata"]["name"] for one in yaml.safe_load_all(draft.text)]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 253


def test_a_policy_for_all_pods_of_a_namespace_is_one_of_the_cluster_where_asked() -> None:
    seen = Seen().passes(0, API).passes(1, EVIL, source=pod("weather", "other"))

    spec = only(seen.draft(kind="ccnp", owner="namespace"))

    assert spec["endpointSelector"] == {
        "matchLabels": {"k8s:io.kubernetes.pod.namespace": "weather"}
    }
    assert spec["egress"][0]["toCIDR"] == sorted([f"{API}/32", f"{EVIL}/32"])
