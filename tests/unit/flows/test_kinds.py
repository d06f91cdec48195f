"""A record has one kind, on the screen, in the tables and in their files."""

from __future__ import annotations

import csv
import io

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.view import records
from flowwatch.flows.kinds import kind
from flowwatch.flows.model import Batch, Flow, Layer7
from flowwatch.report.export import write_records
from tests.unit.flows.made import flow
from tests.unit.report.test_export import written

KINDS = [
    (flow(), "to-stack"),
    (flow(sub_type=20), "trace-20"),
    (flow(event_type=1), "drop"),
    (flow(event_type=3), "capture"),
    (flow(event_type=5), "policy-verdict"),
    (flow(event_type=7, sub_type=1), "pre-xlate-fwd"),
    (flow(event_type=7, sub_type=9), "trace-sock-9"),
    (flow(event_type=0), "unknown"),
    (flow(event_type=99), "unknown"),
    (flow(event_type=129, l7=Layer7(1, dns_query="x.io")), "dns-request"),
    (flow(event_type=129, l7=Layer7(2, dns_query="x.io")), "dns-response"),
    (flow(event_type=129, l7=Layer7(3, http_method="GET")), "http-sample"),
    (flow(event_type=129, l7=Layer7(0, http_method="GET")), "http-unknown"),
    (flow(event_type=129, l7=Layer7(3)), "l7-sample"),
    # Without an event type, as a field mask leaves it.
    (flow(event_type=0, l7=Layer7(1, http_method="GET")), "http-request"),
]


@pytest.mark.parametrize(
    ("record", "name"), KINDS, ids=[f"{i}-{k[1]}" for i, k in enumerate(KINDS)]
)
def test_a_record_is_called_alike_everywhere(record: Flow, name: str) -> None:
    aggregate = Aggregate()
    aggregate.join.add(Batch(flows=[record]))
    [shown] = records(aggregate, 1)
    [line] = csv.DictReader(io.StringIO(written(write_records, [record]).decode()))
    assert (kind(record), shown.kind, line["kind"]) == (name, name, name)
