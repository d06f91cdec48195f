"""``--cel-expression``: what only a server can evaluate so far."""

from __future__ import annotations

from flowwatch.hubble.match.base import FilterError, Match
from flowwatch.hubble.pb.flow import flow_pb2
from flowwatch.hubble.pb.flow.flow_pb2 import FlowFilter


def experimental(value: flow_pb2.FlowFilter.Experimental, _: FlowFilter) -> Match | None:
    """Refuses CEL expressions; anything else in there means nothing to a server either."""
    if value.cel_expression:
        raise FilterError(
            "a CEL expression can be evaluated by a Hubble server only, not on a capture file"
        )
    return None
