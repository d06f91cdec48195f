"""The Python API behind :func:`flowwatch.read`: keywords become the flags that they are named for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from flowwatch.cli.flags import parse
from flowwatch.cli.sources import asked, open_source
from flowwatch.cli.summary import direction, max_rows
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.frame import frame
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

FlagValue = str | int | bool | Sequence[str | int]


def arguments(flags: Mapping[str, FlagValue]) -> list[str]:
    """The command line that ``flags`` stand for."""
    words = []
    for name, value in flags.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"{flag}={'true' if value else 'false'}")
        elif isinstance(value, (str, int)):
            words.append(f"{flag}={value}")
        else:
            words += [f"{flag}={one}" for one in value]
    return words


def read(files: Sequence[str], flags: Mapping[str, FlagValue]) -> pd.DataFrame:
    """See :func:`flowwatch.read`."""
    parsed = parse(["summary", *arguments(flags), *(f"--input-file={path}" for path in files)])
    wanted = asked(parsed)
    if wanted.window.follow:
        raise UsageError("a frame ends", "leave out follow")
    query = Query(direction=direction(parsed))
    aggregate = Aggregate(max_rows(parsed), keep_recent=False)
    source = open_source(wanted)
    try:
        for batch in source.batches():
            aggregate.join.add(batch)
    finally:
        source.close()
    taken = snapshot(aggregate, query)
    for line in (*wanted.settings.warnings, *taken.warnings):
        warnings.warn(line, UserWarning, stacklevel=3)
    return frame(taken.rows)
