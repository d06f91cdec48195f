"""What lies in a history, as text or JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flowwatch.history.info import Info
from flowwatch.output import Writer
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.jsontext import to_json
from flowwatch.text import plural, safe, size_words

_TIMES = TimeFormat.iso()

SHOWN = 20
"""Gaps, runs and nodes that are listed for people; the rest is counted."""


def write_info(info: Info, form: str, out: Writer) -> None:
    """Write ``info`` as ``text`` or ``json``."""
    if form == "json":
        out.write(to_json(_object(info), indent=2) + "\n")
        return
    for line in _text(info):
        out.write(line + "\n")


def _object(info: Info) -> dict[str, Any]:
    return {
        "first": _time(info.first),
        "last": _time(info.last),
        "records": info.records,
        "bytes": info.bytes,
        "files": info.files,
        "nodes": [
            {"node": node, "records": records, "last": _time(last)}
            for node, (records, last) in sorted(info.nodes.items())
        ],
        "runs": [
            {
                "run": one.name,
                "source": one.source,
                "filters": one.filters,
                "began": _time(one.began),
                "last": _time(one.last),
                "ended": one.ended,
            }
            for one in info.runs
        ],
        "gaps": [
            {
                "start": _time(one.since),
                "end": _time(one.until),
                "nodes": list(one.nodes),
                "cause": one.text,
            }
            for one in info.gaps
        ],
        "deleted": [
            {"at": _time(one.recorded), "what": one.name, "count": one.count, "which": one.text}
            for one in info.deleted
        ],
        "attempts": info.attempts,
        "attempts_until": _time(info.attempts_until),
        "records_not_in_attempts": info.not_made if info.attempts is not None else None,
        "left_out": info.left_out,
    }


def _time(time: int) -> str | None:
    return _TIMES.nanoseconds(time) if time else None


def _moment(time: int) -> str:
    """To the second."""
    return f"{_TIMES.nanoseconds(time)[:19]}Z" if time else "?"


def _text(info: Info) -> Iterator[str]:
    span = f"{_moment(info.first)} to {_moment(info.last)}" if info.first else "no records"
    yield f"Records:  {info.records:,}, {span}"
    each = f", {info.bytes / info.records:.0f} bytes a record" if info.records else ""
    yield f"Size:     {size_words(info.bytes)} in {plural(info.files, info.unit)}{each}"
    yield f"Attempts: {_attempts(info)}"
    nodes = [
        f"{safe(node)}: {plural(records, 'record')}, the last {_moment(last)}"
        for node, (records, last) in sorted(info.nodes.items())
    ]
    yield from _listed("Nodes:", nodes)
    runs = [
        f"{_moment(one.began)} to {_moment(one.last)}, {safe(one.source)}"
        f"{' ' + safe(' '.join(one.filters.split())) if one.filters else ''}: "
        f"{safe(one.ended) if one.ended else 'still at work, or killed'}"
        for one in info.runs
    ]
    yield from _listed("Runs:", runs)
    gaps = [
        f"{_moment(one.since)} to {_moment(one.until)}"
        f"{' on ' + safe(', '.join(one.nodes)) if one.nodes else ''}: {safe(one.text)}"
        for one in info.gaps
    ]
    yield from _listed("Gaps:", gaps)
    deleted = [
        f"{_moment(one.recorded)}: {plural(one.count, 'file')} that had grown old"
        if one.name == "old"
        else f"{_moment(one.recorded)}: {plural(one.count, 'record')} {safe(one.text)}"
        for one in info.deleted
    ]
    yield from _listed("Deleted:", deleted, none=False)
    yield from _listed("Left out:", info.left_out, none=False)


def _attempts(info: Info) -> str:
    if info.attempts is None:
        return "none were made of the records: flowwatch history compact"
    more = f"; {plural(info.not_made, 'record')} came or went since" if info.not_made else ""
    return f"{info.attempts:,}, made of what came until {_moment(info.attempts_until)}{more}"


def _listed(title: str, lines: list[str], *, none: bool = True) -> Iterator[str]:
    if not lines and none:
        yield f"{title:10}none"
    for at, line in enumerate(lines[:SHOWN]):
        yield f"{'' if at else title:10}{line}"
    if len(lines) > SHOWN:
        yield f"{'':10}and {len(lines) - SHOWN:,} more"
