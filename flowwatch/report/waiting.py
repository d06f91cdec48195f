"""Who is waiting now, as lines for people: ``flowwatch summary --waiting``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from flowwatch.egress.rows import MIXED, Row, Snapshot
from flowwatch.egress.schema import ROW, WAITING
from flowwatch.egress.waiting import manner, waiting
from flowwatch.flows.clocks import time_of_day
from flowwatch.output import Output
from flowwatch.report.export import write_rows
from flowwatch.report.human import span, width
from flowwatch.report.jsontext import to_json
from flowwatch.report.summary import summary_object
from flowwatch.report.summary_markdown import code
from flowwatch.report.summary_table import peer_text, policy_text, reason_text
from flowwatch.text import safe


def waiting_now(taken: Snapshot) -> Snapshot:
    """The same with the rows of those who are blocked at its end."""
    rows = tuple(waiting(taken.rows, taken.coverage.last_seen))
    return msgspec.structs.replace(taken, rows=rows, matched=len(rows))


def write_waiting(taken: Snapshot, form: str, out: Output, *, attributed: bool = False) -> None:
    """Write what :func:`waiting_now` gives in one of ``summary``'s formats: ``attributed`` as there."""
    if form == "json":
        value = summary_object(taken, attributed=attributed, columns=_MORE)
        out.write(to_json(value, indent=2) + "\n")
    elif form == "csv":
        write_rows(taken.rows, out, "csv", attributed=attributed, columns=_MORE)
    elif form == "markdown":
        out.write(waiting_markdown(taken.rows))
    else:
        out.write("".join([f"{line}\n" for line in waiting_lines(taken.rows)]))


_MORE = tuple([one for one in WAITING if one not in ROW])


def waited_text(row: Row) -> str:
    """``1m3s``; ``-`` where nothing was tried again."""
    return span(row.waiting) if row.waiting else "-"


def pods_text(row: Row) -> str:
    """``all 3``, ``1 of 3``: of the workload's pods that go there."""
    if row.blocked_pods == row.pods:
        return f"all {row.pods}" if row.pods > 1 else "1"
    return f"{row.blocked_pods} of {row.pods}"


def since_text(row: Row) -> str:
    """When its latest attempts began to be dropped; ``always`` where none went otherwise, or was cut off."""
    if row.state == MIXED or not row.runs:
        return MIXED
    return "always" if row.always else time_of_day(row.since)


def why_text(row: Row) -> str:
    """Who denied it, or what else lost it; of what the proxy refused, that."""
    denied = row.cause or (bool(row.denied_by) and not row.proxy_refused)
    default = "POLICY_DENIED" in row.drop_reasons and not row.proxy_refused
    return policy_text(row) if denied or default else reason_text(row)


def _workload(row: Row) -> str:
    name = row.workload or row.pod
    return safe(f"{row.namespace}/{name}" if row.namespace else name)


class _Column(NamedTuple):
    title: str
    cell: Callable[[Row], str]
    number: bool = False


_COLUMNS = (
    _Column("WAITED", waited_text, True),
    _Column("DROPPED", lambda row: f"{row.blocked:,}", True),
    _Column("PODS", pods_text, True),
    _Column("FEELS", manner),
    _Column("SINCE", since_text),
    _Column("WORKLOAD", _workload),
    _Column("DESTINATION", peer_text),
    _Column("WHY", lambda row: safe(why_text(row))),
)
NOBODY = "nobody is blocked now"


def waiting_lines(rows: Sequence[Row]) -> Iterator[str]:
    """A line a row under a heading, as wide as they are; one line where nobody waits."""
    if not rows:
        yield NOBODY
        return
    cells = [
        [one.title for one in _COLUMNS],
        *[[one.cell(row) for one in _COLUMNS] for row in rows],
    ]
    widths = [max(width(line[place]) for line in cells) for place in range(len(_COLUMNS))]
    for line in cells:
        parts = []
        for column, text, wide in zip(_COLUMNS, line, widths, strict=True):
            space = " " * (wide - width(text))
            parts.append(space + text if column.number else text + space)
        yield "  ".join(parts).rstrip()


def waiting_markdown(rows: Sequence[Row]) -> str:
    """The same as a table of GitHub's."""
    if not rows:
        return f"{NOBODY}\n"
    lines = [
        [one.title.capitalize() for one in _COLUMNS],
        ["--:" if one.number else "---" for one in _COLUMNS],
        *[[code(one.cell(row)) for one in _COLUMNS] for row in rows],
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
