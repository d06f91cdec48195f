"""The detail of a row as Markdown, for a ticket."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from flowwatch.egress.rows import Row, Snapshot
from flowwatch.report.summary_markdown import code
from flowwatch.tui.format import Line, stamp
from flowwatch.tui.packet_commands import retina, tcpdump
from flowwatch.tui.parts.detail import detail_lines
from flowwatch.tui.parts.rows import RowsAnswer
from flowwatch.tui.theme import FANCY

_WIDE = 100_000
"""No text of a row is broken."""


def ticket(row: Row, told: RowsAnswer, now: int, hubble: Sequence[str]) -> str:
    """All that the detail says of ``row``; ``now`` (ns) is what ages are counted to."""
    more = told.more
    lines = detail_lines(row, more.records, now, _WIDE, FANCY, hubble, more.ends, more, told.place)
    packets = [text for text in (tcpdump(row, more), retina(row, more)) if text]
    captured = ["", "**Packets**", "", "```", *packets, "```"] if packets else []
    heading, *said = _markdown(lines)
    return "\n".join([heading, "", _window(told.snapshot), *said[1:], *captured]) + "\n"


def _window(snapshot: Snapshot) -> str:
    """Of which time the numbers are, and whether there may be more."""
    seen = snapshot.coverage
    start, end = snapshot.window if snapshot.window[1] else (seen.first_seen, seen.last_seen)
    times = f"{stamp(start)} to {stamp(end)} UTC" if end else "unknown"
    return f"- **Window** {times}" + (", numbers are at least" if seen.at_least else "")


def _markdown(lines: Sequence[Line]) -> Iterator[str]:
    heading, *rest = lines
    yield f"### {code(_text(heading))}"
    yield ""
    within = False
    for line in rest:
        label = line[0][0].strip() if line and line[0][1] == "head" else ""
        entry = bool(label) and len(line) > 1 and not _COMMANDS.get(label)
        if within and label:
            yield "```"
            yield ""
            within = False
        if entry and line[1][1] != "dim":
            yield f"- **{label}** {code(_text(line[1:]).strip())}"
        elif label:
            yield ""
            yield f"**{_COMMANDS.get(label, label)}**"
            yield ""
            yield "```"
            within = True
        elif within:
            yield _text(line).strip().replace("```", "` ` `")
        else:
            yield f"- {code(_text(line).strip())}"
    if within:
        yield "```"


_COMMANDS = {"See it": "Commands"}


def _text(line: Line) -> str:
    return "".join(text for text, _ in line)
