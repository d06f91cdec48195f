"""The rows as a pandas frame."""

from __future__ import annotations

import pandas as pd

from flowwatch.egress.frame import frame
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from tests.unit.egress.made import counted, traffic
from tests.unit.report.made import START, row


def test_a_line_per_row_in_their_order_with_the_same_numbers() -> None:
    rows = snapshot(counted(*traffic(200)), Query()).rows
    made = frame(rows)
    assert list(made["peer"]) == [one.peer for one in rows]
    assert made["dropped"].sum() == sum(one.dropped for one in rows)
    assert made["dropped"].dtype == "int64"


def test_times_are_exact_and_one_that_is_missing_costs_the_others_nothing() -> None:
    odd = START + 123_456_789
    made = frame([row(first_seen=odd), row(first_seen=0)])
    assert made["first_seen"].iloc[0].value == odd
    assert pd.isna(made["first_seen"].iloc[1])
    assert str(made["first_seen"].dtype) == "datetime64[ns, UTC]"


def test_no_rows_are_a_frame_with_the_same_columns_that_can_be_reckoned_with() -> None:
    nothing = frame([])
    assert list(nothing.columns) == list(frame([row()]).columns)
    assert nothing["dropped"].dtype == "int64"
    assert str(nothing["first_seen"].dtype) == "datetime64[ns, UTC]"
