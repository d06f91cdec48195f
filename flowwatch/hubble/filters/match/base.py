"""What the parts of the matcher share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter

Match = Callable[[Flow], bool]
Build = Callable[[Any, FlowFilter], Match | None]
"""From the values of a FlowFilter's field, and the filter, to a test; None if there is none to do."""


class FilterError(ValueError):
    """A value that a Hubble server refuses, in its words."""
