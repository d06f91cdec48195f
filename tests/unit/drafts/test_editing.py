"""A draft decided on row by row: each choice, its policy and its proof, and the way back."""

from __future__ import annotations

import random
from typing import Any

import pytest
import yaml

from flowwatch.drafts.draft import Drafter, proven
from flowwatch.drafts.editing import Editing, Sheet
from flowwatch.drafts.judging import ask_of
from flowwatch.flows.model import Batch
from flowwatch.policy import PolicySet
from tests.unit.drafts.test_draft import NAMESPACE, Seen, pod
from tests.unit.marks.traffic import API, EVIL, POD


def sheet(seen: Seen, **options: Any) -> Sheet:
    drafter = Drafter(**options)
    drafter.needs.read([Batch(flows=sorted(seen.records, key=lambda one: one.time))])
    (found,) = Editing(drafter).sheets
    return found


def at(of: Sheet, name: str) -> int:
    (found,) = [number for number, row in enumerate(of.rows) if row.target.text == name]
    return found


def rules(of: Sheet, way: str = "egress") -> list[Any]:
    found: list[Any] = yaml.safe_load(of.text)["spec"][way]
    return found


@pytest.fixture
def weather() -> Sheet:
    seen = Seen().looks_up(0, "api.example.com", API).passes(1, API).fails(2, EVIL)
    seen.passes(3, "10.1.0.5", destination=pod("shop", "api"), destination_port=8080)
    return sheet(seen)


def many() -> Sheet:
    """Names, pods and addresses, some of them dropped."""
    seen = Seen()
    for number in range(8):
        seen.looks_up(number, f"api{number}.example.com", f"198.51.100.{number}")
        seen.passes(number + 0.5, f"198.51.100.{number}", destination_port=443 + number % 2)
        seen.passes(20 + number, f"192.0.2.{number}")
        end = pod("shop", f"a{number % 3}")
        seen.passes(40 + number, "10.1.0.5", destination=end, destination_port=8080 + number % 2)
    return sheet(seen.fails(60, EVIL))


def test_what_was_let_through_is_checked_and_what_was_dropped_is_not(weather: Sheet) -> None:
    told = {
        row.target.text: (row.dropped, weather.choice(n).on) for n, row in enumerate(weather.rows)
    }

    assert told == {
        "kube-system/coredns": (False, True),
        "shop/api": (False, True),
        "api.example.com": (False, True),
        EVIL: (True, False),
    }
    assert weather.proof.words == "allows 3 of 3 needed, denies 1 of 1 others"


def test_a_drop_that_is_needed_comes_in_and_the_proof_follows(weather: Sheet) -> None:
    weather.toggle(at(weather, EVIL))

    assert [one.get("toCIDR") for one in rules(weather)][-1] == [f"{EVIL}/32"]
    assert weather.proof.words == "allows 4 of 4 needed, denies 0 of 0 others"


def test_a_need_that_is_left_out_is_denied_and_named_in_the_file(weather: Sheet) -> None:
    weather.toggle(at(weather, "shop/api"))

    assert "shop" not in str(rules(weather))
    assert weather.proof.words == "allows 2 of 2 needed, denies 2 of 2 others"
    assert (
        "# Needed, as traffic shows, and left out by choice:\n#   shop/api:8080/TCP" in weather.text
    )
    dropped = weather.text.partition("Dropped by a policy")[2]
    assert "shop/api" not in dropped


def test_this_name_or_all_under_its_parent(weather: Sheet) -> None:
    weather.rename(at(weather, "api.example.com"))

    assert {"toFQDNs": [{"matchPattern": "*.example.com"}]}.items() <= rules(weather)[-1].items()
    assert weather.proof.failing == ()
    assert weather.undo()
    assert rules(weather)[-1]["toFQDNs"] == [{"matchName": "api.example.com"}]


def test_never_all_names_of_a_top_level_domain() -> None:
    of = sheet(Seen().looks_up(0, "example.com", API).passes(1, API))

    ways = [naming for naming, _ in of.rows[at(of, "example.com")].ways]
    assert ways == ["as drafted", "address", "block"]


def test_these_labels_or_the_namespace(weather: Sheet) -> None:
    weather.rename(at(weather, "shop/api"))

    (rule,) = [one for one in rules(weather) if "8080" in str(one)]
    assert rule["toEndpoints"] == [{"matchLabels": {NAMESPACE: "shop"}}]
    assert weather.proof.failing == ()


def test_a_name_its_address_or_the_block_of_that(weather: Sheet) -> None:
    row = at(weather, "api.example.com")
    taken = []
    for _ in range(3):
        weather.rename(row)
        taken.append(rules(weather)[-1])
        assert weather.proof.failing == ()

    assert [one.get("toCIDR") for one in taken] == [
        None, [f"{API}/32"], [f"{API.rpartition('.')[0]}.0/24"]
    ]  # fmt: skip


def test_a_name_of_many_addresses_stays_a_name() -> None:
    seen = Seen()
    for number in range(3):
        address = f"198.51.100.{number}"
        seen.looks_up(number, "api.example.com", address).passes(number + 0.5, address)
    of = sheet(seen)

    ways = [naming for naming, _ in of.rows[at(of, "api.example.com")].ways]

    assert ways == ["as drafted", "pattern"]


def test_the_block_of_an_ipv6_address() -> None:
    of = sheet(Seen().passes(0, "2001:db8::7", source_ip="2001:db8::1"))

    of.rename(0)

    assert rules(of)[0]["toCIDR"] == ["2001:db8::/64"]
    assert of.proof.failing == ()


def test_these_ports_or_any(weather: Sheet) -> None:
    weather.open_ports(at(weather, "shop/api"))

    (rule,) = [one for one in rules(weather) if "shop" in str(one)]
    assert "toPorts" not in rule
    assert weather.proof.failing == ()


def test_undo_goes_back_choice_by_choice(weather: Sheet) -> None:
    texts = [weather.text]
    for act in (weather.toggle, weather.rename, weather.open_ports):
        act(at(weather, "shop/api"))
        texts.append(weather.text)

    back = [texts.pop()]
    while weather.undo():
        back.append(weather.text)

    assert back == [back[0], *reversed(texts)]
    assert not weather.undo()


@pytest.mark.parametrize("start", range(6))
def test_after_each_choice_the_proof_is_that_of_all_rows_judged_anew(start: int) -> None:
    of = many()
    chance = random.Random(start)
    for _ in range(25):
        row = chance.randrange(len(of.rows))
        act = chance.choice((of.toggle, of.rename, of.open_ports, lambda _: of.undo()))
        act(row)
        if chance.random() < 0.1:
            of.edit_by_hand(
                of.text.replace("8080", "8081").replace("egress: true", "egress: false")
            )

        assert of.proof == proven(ask_of(of.policies), [of.chosen])


def test_a_choice_asks_of_the_rows_that_it_may_change_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of = many()
    assert of.proof.failing == ()
    asked = []
    ask = PolicySet.ask

    def counted(self: PolicySet, *question: Any) -> Any:
        asked.append(question)
        return ask(self, *question)

    monkeypatch.setattr(PolicySet, "ask", counted)
    of.toggle(at(of, "api3.example.com"))
    assert of.proof.failing == ()

    assert {peer.names for _, _, peer, _, _ in asked} == {("api3.example.com",)}


def test_without_a_choice_there_is_no_policy(weather: Sheet) -> None:
    for number, row in enumerate(weather.rows):
        if not row.dropped:
            weather.toggle(number)

    assert weather.text == ""
    assert weather.policies.documents.policies == []


def test_what_is_edited_by_hand_moves_the_rows(weather: Sheet) -> None:
    by_hand = weather.text.replace("api.example.com", "other.example.com")

    assert weather.edit_by_hand(by_hand) == ""

    assert not weather.choice(at(weather, "api.example.com")).on
    assert weather.choice(at(weather, "shop/api")).on
    assert weather.text == by_hand
    assert weather.undo()
    assert weather.choice(at(weather, "api.example.com")).on


@pytest.mark.parametrize("text", ["", "a: [", "kind: Pod\napiVersion: v1\n"])
def test_what_is_no_policy_is_not_taken(weather: Sheet, text: str) -> None:
    before = weather.text

    assert weather.edit_by_hand(text) != ""
    assert weather.text == before


def test_what_comes_in_is_chosen_too() -> None:
    seen = Seen().passes(
        0,
        "10.0.0.9",
        source=pod("shop", "web"),
        destination=POD,
        direction=1,
        destination_port=8080,
    )
    of = sheet(seen, directions=frozenset({"ingress"}))

    of.rename(0)

    assert rules(of, "ingress")[0]["fromEndpoints"] == [{"matchLabels": {NAMESPACE: "shop"}}]
    assert of.proof.failing == ()


@pytest.mark.parametrize("kind", ["cnp", "ccnp", "knp"])
def test_each_kind_follows_each_choice(kind: Any) -> None:
    seen = Seen().passes(1, API).passes(3, "10.1.0.5", destination=pod("shop", "api"))
    of = sheet(seen, kind=kind)

    for number in range(len(of.rows)):
        of.rename(number)
        of.open_ports(number)

    assert of.proof.words == "allows 2 of 2 needed, denies 0 of 0 others"
