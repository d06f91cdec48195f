"""The one table's values: what is derived from the counts."""

from __future__ import annotations

import msgspec
import pytest

from flowwatch.egress.rows import Totals
from tests.unit.report.made import row


def test_attempts_are_all_outcomes_together_and_records_are_none_of_them() -> None:
    one = row(forwarded=1, dropped=2, audited=3, errors=4, unknown=5, records=99)
    assert one.attempts == 15
    assert Totals(1, 2, 3, 4, 5, rows=99).attempts == 15


@pytest.mark.parametrize(
    ("totals", "share"),
    [
        (Totals(), 0.0),
        (Totals(unknown=7), 0.0),  # nothing is known of any
        (Totals(forwarded=3, dropped=1, unknown=96), 0.25),
        (Totals(dropped=1), 1.0),
        (Totals(dropped=1, audited=2, errors=1), 0.25),
    ],
)
def test_the_dropped_share_is_of_what_came_to_an_end(totals: Totals, share: float) -> None:
    assert totals.dropped_share == share


def test_nobody_changes_a_row() -> None:
    one = row(dropped=1)
    with pytest.raises(AttributeError):
        one.dropped = 2  # type: ignore[misc]
    assert msgspec.structs.replace(one, dropped=2).dropped == 2
