"""Rows in columns: identity, reasons, policies, addresses, and room made by folding."""

from __future__ import annotations

import pytest

from flowwatch.egress.table import COUNTS, OTHER, PROTOCOLS, Columns, Interned
from flowwatch.flows.model import PolicyRef
from flowwatch.flows.peers import Peer

SECOND = 1_000_000_000
POD = ("weather", "app-1", "app")
NAME = Peer("dns", "api.example.org")
DROPPED = COUNTS.index("dropped")


def add(columns: Columns, port: int = 443, *, peer: Peer = NAME, time: int = SECOND) -> int:
    return columns.row(2, POD, peer, port, "TCP", time, ident=port)


def drop(columns: Columns, row: int, reason: int, count: int = 1) -> None:
    columns.counts[DROPPED][row] += count
    columns.add_reason(row, reason, count, ("10.0.0.7", "10.0.0.8"))


def test_equal_identities_are_one_row_and_each_part_makes_another() -> None:
    columns = Columns()
    first = add(columns)
    assert add(columns) == first
    others = [
        columns.row(1, POD, NAME, 443, "TCP", SECOND, 2),
        columns.row(2, ("weather", "app-2", "app"), NAME, 443, "TCP", SECOND, 3),
        columns.row(2, POD, Peer("service", NAME.name), 443, "TCP", SECOND, 4),
        columns.row(2, POD, NAME, 80, "TCP", SECOND, 5),
        columns.row(2, POD, NAME, 443, "UDP", SECOND, 6),
        columns.row(2, POD, NAME, 443, "TCP", SECOND, 7, ("east", "")),
        columns.row(2, POD, NAME, 443, "TCP", SECOND, 8, ("", "a:1")),
    ]
    assert [first, *others] == list(range(8))
    assert columns.peer_of(others[2]) == ("service", NAME.name)


@pytest.mark.parametrize(
    ("direction", "port", "time"), [(0, 443, 0), (3, 443, 0), (2, 65_536, 0), (2, 443, 2**63)]
)
def test_what_no_decoder_lets_through_leaves_no_half_a_row(
    direction: int, port: int, time: int
) -> None:
    columns = Columns()
    with pytest.raises(ValueError, match="no row has"):
        columns.row(direction, POD, NAME, port, "TCP", time, 1)
    assert (len(columns), len(columns.pods)) == (0, 0)


def test_reasons_add_up_whether_there_is_one_or_several_and_can_be_taken_back() -> None:
    columns = Columns()
    row = add(columns)
    assert columns.reasons(row) == {}
    drop(columns, row, 133, 2)
    assert columns.reasons(row) == {133: 2}
    drop(columns, row, 181)
    assert columns.reasons(row) == {133: 2, 181: 1}
    drop(columns, row, 181, -1)
    assert columns.reasons(row) == {133: 2}


def test_policies_are_gathered_and_equal_sets_are_kept_once() -> None:
    columns = Columns()
    allow, deny = (PolicyRef("CiliumNetworkPolicy", "n", name) for name in ("allow", "deny"))
    rows = [add(columns, port) for port in (1, 2)]
    for row in rows:
        columns.add_policies(row, (allow,), ())
        columns.add_policies(row, (), (deny,))
        columns.add_policies(row, (allow,), (deny,))
    assert columns.policies[rows[0]] == columns.policies[rows[1]]
    assert columns.policy_sets.things[columns.policies[rows[0]]] == ((allow,), (deny,))


def test_four_addresses_of_a_name_are_kept_the_latest_first_and_none_of_an_address() -> None:
    columns = Columns()
    named, bare = add(columns), add(columns, peer=Peer("address", "1.1.1.1"))
    for last in (1, 2, 3, 4, 5, 3):
        columns.add_address(named, f"1.1.1.{last}")
        columns.add_address(bare, f"1.1.1.{last}")
    assert columns.addresses == {named: ("1.1.1.3", "1.1.1.5", "1.1.1.4", "1.1.1.2")}


def test_folding_keeps_the_latest_rows_and_every_count() -> None:
    columns = Columns()
    for port in range(1, 9):
        row = add(columns, port, time=port * SECOND)
        drop(columns, row, 133 if port % 2 else 181)
        columns.add_answer(row, 1, 1)
    new, moved, folded = columns.folded(4)
    assert folded == 5
    assert [new.port[moved[row]] for row in range(8)] == [0, 0, 0, 0, 0, 6, 7, 8]
    other = moved[0]
    assert new.peer_of(other) == OTHER
    assert new.reasons(other) == {133: 3, 181: 2}
    assert (new.first[other], new.last[other]) == (SECOND, 5 * SECOND)
    assert sum(new.counts[DROPPED]) == sum(new.answered) == 8
    # Keys stay, so that a selection follows its row.
    assert [new.ident[moved[row]] for row in (5, 6, 7)] == [6, 7, 8]
    assert len(new.peer_names) == 2, "peers that no row needs are forgotten"


def test_a_thing_has_one_number() -> None:
    known: Interned[str] = Interned()
    assert [known.number(thing) for thing in ("a", "b", "a")] == [0, 1, 0]
    assert known.things == ["a", "b"]


def test_the_numbers_of_protocols_fit_their_bits() -> None:
    assert len(PROTOCOLS) <= 8
