"""flowwatch: does your Cilium policy block what it should? Egress per pod and destination, from Hubble.

As a library, two lines give the rows that the dashboard shows, as a pandas frame::

    import flowwatch
    frame = flowwatch.read("flows.jsonl")

    frame = flowwatch.read(server="localhost:4245", namespace="weather")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["FlowwatchError", "__version__", "read"]

from flowwatch.errors import FlowwatchError

if TYPE_CHECKING:
    import pandas as pd

    from flowwatch.api import FlagValue


def read(*files: str, **flags: FlagValue) -> pd.DataFrame:
    """The egress table of capture files, or of a Hubble server, as a pandas frame.

    ``files`` are paths, ``-`` for standard input; without any, a server is asked. ``flags`` are
    those of ``flowwatch summary``, with ``_`` for ``-``: ``namespace="weather"``, ``to_fqdn=["a",
    "b"]``, ``since="5m"``, ``direction="both"``, ``tls=True``, ``server="localhost:4245"``; a list
    repeats the flag. Columns: see :mod:`flowwatch.egress.frame`.

    What makes the numbers less than the whole truth comes as UserWarning. Raises FlowwatchError,
    one line that says what to do.
    """
    from flowwatch.api import read as read_frame

    return read_frame(files, flags)
