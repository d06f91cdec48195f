"""Why a record can't be read: one of a few reasons, to count under."""

from __future__ import annotations

NOT_JSON = "not JSON"
COMPACT = "hubble observe's compact text"
TABLE = "hubble observe's table"
DICT = "hubble observe's dict text"
HUBBLE_TEXTS = (COMPACT, TABLE, DICT)
"""What ``hubble observe`` prints for people: it leaves out most of a record."""
NOT_UTF8 = "not UTF-8"
TOO_LONG = "longer than 64 MiB"
CUT_OFF = "cut off in the middle"
ZEROS = "zero bytes where records should be"
NO_FLOW = "JSON without a flow"
WRONG_VALUE = "a field's value is of the wrong type"
TOO_COSTLY = "a filter's expression takes too long on it"
AGENT_EVENT = "agent event"
DEBUG_EVENT = "debug event"


class NotAFlow(ValueError):
    """A record that can't be read as a flow, lost events or node status."""

    def __init__(self, reason: str, detail: str = "") -> None:
        """``reason`` is one of this module's few, to count under; ``detail`` names the field."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
