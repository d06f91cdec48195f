"""An attempt is found by the same filters as its row."""

from __future__ import annotations

import pytest

from flowwatch.egress.filters import BadFilter
from flowwatch.egress.matching import asks_for, matcher
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.listing import AttemptListing
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.flows.model import Batch, Flow
from tests.unit.egress.made import counted, traffic
from tests.unit.egress.test_found import story

FILTERS = [
    "ns:shop", "!ns:shop", "ns:=sho", "pod:web", "pod:=shop/web", "pod:runner-*", "to:10.0.0.1",
    "to:10.0.0.2:53", "port:53", "port:53/tcp", "port:400-9000", "why:policy_denied",
    'why:"no rule"', "why:late", "policy:web-egress", "policy:=shop/web-egress",
    "verdict:dropped", "verdict:forwarded|dropped", "ns: to:", "web !53", "10.0*0.3", "tcp",
    "443", "10.0.0.1:443", "no rule", "pod-1", "!pod-1 1.1.1.3", "policy_denied",
]  # fmt: skip


@pytest.mark.parametrize("flows", [story(), traffic(100)], ids=["story", "traffic"])
@pytest.mark.parametrize("text", FILTERS)
def test_attempts_are_found_as_their_rows_are(text: str, flows: list[Flow]) -> None:
    batch = Batch(flows=flows)
    every = list(AttemptListing([batch], frozenset(("egress",)), frozenset(OUTCOMES)))
    found = {(a.pod, a.peer, a.port) for a in every if matcher(text)(a)}
    rows = snapshot(counted(*flows), Query(text=text)).rows
    assert found == {(row.pod, row.peer, row.port) for row in rows}


def test_labels_are_told_apart_as_attempts_have_none() -> None:
    assert asks_for("ns:a|label:x", "label")
    assert not asks_for("ns:a label", "label")
    with pytest.raises(BadFilter):
        matcher("port:x")
