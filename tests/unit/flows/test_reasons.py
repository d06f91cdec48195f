"""The table of drop reasons against Cilium's own list."""

from __future__ import annotations

import csv

import pytest

from flowwatch.flows import reasons, reasons_table
from flowwatch.hubble.wire import enum_names
from flowwatch.hubble.wire.enum_names import newer_number
from flowwatch.hubble.wire.pb.flow import flow_pb2
from tests.material import SHARED

CILIUM_TABLE = SHARED / "wire" / "drop-reasons.tsv"

# What became of the coarse classes of Cilium's list (left) in ours: a class may only be refined.
REFINED = {
    "internal": {"unknown", "not-ready", "tunnel", "routing"},
    "malformed": {"malformed", "not-ready", "tunnel", "rule"},
    "policy": {"policy"},
    "authentication": {"authentication"},
    "conntrack-nat": {"conntrack-nat", "fragment", "not-a-loss"},
    "routing": {"routing", "rule", "tunnel", "malformed", "not-a-loss"},
    "fragment": {"fragment"},
    "service": {"service", "rule"},
    "proxy": {"proxy", "conntrack-nat", "not-a-loss"},
    "rate-limit": {"rule"},
    "policy-not-ready": {"not-ready", "tunnel"},
    "encryption": {"rule"},
}


@pytest.fixture(scope="module")
def cilium() -> list[dict[str, str]]:
    if not CILIUM_TABLE.exists():
        pytest.skip("the shared table of drop reasons is not beside this checkout")
    with CILIUM_TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def test_every_reason_of_cilium_is_known_by_its_number_name_and_text(
    cilium: list[dict[str, str]],
) -> None:
    assert len(cilium) > 70
    for row in cilium:
        known = reasons.REASONS[int(row["number"])]
        assert (known.name, known.cilium_text) == (row["name"], row["cilium_text"])


def test_our_classes_refine_those_of_cilium(cilium: list[dict[str, str]]) -> None:
    for row in cilium:
        assert reasons.reason(int(row["number"])).group in REFINED[row["class"]], row


def test_the_enum_on_the_wire_holds_no_reason_that_the_table_lacks() -> None:
    names = {value.name: value.number for value in flow_pb2.DropReason.DESCRIPTOR.values}
    assert {name: reasons.reason(number).name for name, number in names.items()} == {
        name: name for name in names
    }


def test_every_reason_has_two_sentences_of_its_own() -> None:
    sentences = [s for known in reasons.REASONS.values() for s in (known.plain, known.next)]
    assert len(set(sentences)) == len(sentences) == 2 * len(reasons_table.TABLE)
    for sentence in sentences:
        assert sentence[0].isupper()
        assert sentence[-1] in ".?"
        assert "  " not in sentence
        assert len(sentence) <= 130


def test_numbers_and_classes_are_well_formed() -> None:
    assert len(reasons.REASONS) == len(reasons_table.TABLE), "a number occurs twice"
    assert {known.group for known in reasons.REASONS.values()} == set(reasons_table.CLASSES)


def test_policy_and_no_loss() -> None:
    assert sorted(reasons.POLICY_REASONS) == [133, 181]
    assert sorted(reasons.NOT_A_LOSS) == [173, 199, 200, 201, 205]


@pytest.mark.parametrize(("number", "name"), [(136, "CT_MISSING_TCP_ACK_FLAG"), (206, "206")])
def test_names_lead_to_reasons_and_back(number: int, name: str) -> None:
    assert reasons.reason(number).name == name
    assert reasons.by_name(name) == reasons.reason(number)


def test_a_newer_name_from_a_file_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ten thousand names fill the table: in one of this test's own.
    monkeypatch.setattr(enum_names, "_numbers", {})
    monkeypatch.setattr(enum_names, "_names", {})
    number = newer_number("DROPPED_BY_MAGIC")
    assert reasons.reason(number).name == "DROPPED_BY_MAGIC"
    assert "DROPPED_BY_MAGIC" in reasons.reason(number).plain
    assert all(newer_number(f"NAME_{n}") != reasons.L7_DENIED for n in range(10_000))


def test_a_newer_reason_is_told_honestly() -> None:
    newer = reasons.reason(251)
    assert newer.name == "251"
    assert "251" in newer.plain
    assert newer.group == "unknown"
    assert reasons.by_name("251") == newer
    assert reasons.by_name("NO_SUCH_REASON") is None
