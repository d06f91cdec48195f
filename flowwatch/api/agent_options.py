"""The options of the cluster's agents, from a file that a user names or from the cluster."""

from __future__ import annotations

from flowwatch.api.policy_files import read_text, shown
from flowwatch.errors import UsageError
from flowwatch.policy.agent_options import UNKNOWN, AgentOptions, OptionsError, read_agent_options
from flowwatch.text import safe


def read_options(path: str) -> AgentOptions:
    """Those of a ConfigMap in a file, ``-`` for standard input; "" when none is named: nobody said them.

    Raises UsageError, one line with file, line and key.
    """
    if not path:
        return UNKNOWN
    try:
        return read_agent_options(read_text(path, "a ConfigMap"), shown(path))
    except OptionsError as error:
        line = f":{error.line}" if error.line else ""
        raise UsageError(f"{shown(path)}{line}: {safe(str(error))}") from None
