"""The summary as a table: fits 80 columns, and shows more where there is room."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import msgspec
from msgspec.structs import replace

from flowwatch.egress.rows import Row, Snapshot
from flowwatch.egress.schema import NUMBERS, OF_ROW, not_recorded, policies
from flowwatch.egress.words import NO_RULE, message
from flowwatch.report.came_back import dropped_words, failed_words, late_words, noise_words
from flowwatch.report.goformat import TimeFormat
from flowwatch.report.human import age, count, pad, percent, shorten, span, width
from flowwatch.text import plural, safe

_BOLD, _RED, _GREEN, _YELLOW, _DIM = 1, 31, 32, 33, 2

_GAP = "  "
_LUXURY = 5
"""Columns of this rank and above go before any name is shortened."""


class Style(msgspec.Struct, frozen=True):
    """How the table looks."""

    width: int = 80
    """Columns of the terminal; 0 for as wide as the content."""
    color: bool = False
    bold: bool = False
    """Bold and dim without colours, for terminals with NO_COLOR; ``color`` includes them."""
    ascii: bool = False
    """Only ASCII signs, for terminals that aren't UTF-8."""
    now: int = 0
    """Time that ages are counted to (ns since 1970); 0 means the end of the snapshot's window."""

    def paint(self, color: int, text: str) -> str:
        """``text`` in a colour (its SGR number), where there are colours."""
        return f"\x1b[{color}m{text}\x1b[0m" if self.color else text


class _Mark(msgspec.Struct, frozen=True):
    sign: str
    plain: str
    styles: tuple[int, ...]


_MARKS = {
    "dropped": _Mark("✗", "x", (_BOLD, _RED)),
    "audited": _Mark("!", "!", (_BOLD, _YELLOW)),
    "errors": _Mark("!", "!", (_BOLD, _YELLOW)),
    "forwarded": _Mark("✓", "+", (_GREEN,)),
    "unknown": _Mark("?", "?", (_DIM,)),
    "noise": _Mark("·", ".", (_DIM,)),
}


def worst(row: Row) -> str:
    """What a row is marked by: the worst that happened to any of its attempts."""
    for outcome in ("blocked", "audited", "errors", "forwarded"):
        if getattr(row, outcome):
            return "dropped" if outcome == "blocked" else outcome
    return "noise" if row.dropped else "unknown"


class _Column(msgspec.Struct, frozen=True):
    """One column: ``rank`` says which go first when room is short (0 stays in any case)."""

    name: str
    """Of the field that it shows (flowwatch.egress.schema)."""
    title: str
    rank: int
    cell: Callable[[Row, int], str]
    number: bool = False
    least: int = 0
    """A name: it may be shortened in the middle to this width before another column goes."""


def pod_text(row: Row) -> str:
    """``namespace/pod``, or what stands for it: of pods that aren't recorded ``namespace/workload/*``.

    In ingress with its port, which is the one that others reach.
    """
    name = pod_name(row)
    if row.pods > 1 and not row.workload and row.namespace:
        return listening(row, f"{safe(row.namespace)} {name}")
    return listening(row, f"{safe(row.namespace)}/{name}" if row.namespace else name)


def pod_name(row: Row) -> str:
    """The name alone."""
    if row.pods > 1:
        return f"{safe(row.workload)} ({plural(row.pods, 'pod')})".lstrip()
    if row.pod or not row.namespace:
        return safe(row.pod)
    return f"{safe(row.workload)}/*" if row.workload else "?"


def listening(row: Row, name: str) -> str:
    """``name`` of the row's pod, already safe; in ingress with its port, as the port is the server's."""
    return _at(name, _port(row)) if row.direction == "ingress" else name


def peer_text(row: Row) -> str:
    """``api.example.com:443``, ``kube-dns:53/UDP``, ``10.0.0.1 ICMPv4``: TCP goes without saying.

    In ingress the peer is the client, and the port none of its own.
    """
    peer = safe(row.peer)
    port = _port(row)
    if not port:
        return f"{peer} {safe(message(row.protocol, row.port))}".rstrip()
    return peer if row.direction == "ingress" else _at(peer, port)


def _at(name: str, port: str) -> str:
    return f"[{name}]{port}" if ":" in name and port[1:2].isdigit() else name + port


def _port(row: Row) -> str:
    """``:53/UDP``, ``:?`` where no record has it; empty where there is none."""
    if row.uncounted and "port" in not_recorded(row):
        return ":?"
    if not row.port or row.protocol.startswith("ICMP"):
        return ""
    return f":{row.port}" + ("" if row.protocol in ("TCP", "") else f"/{safe(row.protocol)}")


def reason_text(row: Row) -> str:
    """Reasons of the drops, the commonest first; with numbers when there are several."""
    reasons = sorted(row.drop_reasons.items(), key=lambda item: (-item[1], item[0]))
    if len(reasons) == 1:
        return safe(reasons[0][0])
    return ", ".join([f"{safe(name)} {count(number)}" for name, number in reasons])


def _main_reason(row: Row) -> str:
    """The commonest reason, and how many others there are: ``POLICY_DENIED +1``."""
    if not row.drop_reasons:
        return "-"
    name = min(row.drop_reasons, key=lambda reason: (-row.drop_reasons[reason], reason))
    more = len(row.drop_reasons) - 1
    return safe(name) + (f" +{more}" if more else "")


def policy_text(row: Row) -> str:
    """What blocked it by the policies given (``default deny · weather-egress``); else by the records: the
    policies that denied, or else those that allowed: ``deny weather/no-egress``.

    A default deny names nobody (Cilium 1.20): who allowed this row's other attempts, before the
    policy say, would then read as if it had allowed the blocked ones.
    """
    if row.cause and (row.dropped or row.audited):
        return safe(row.cause)
    if row.dropped and not row.denied_by and "POLICY_DENIED" in row.drop_reasons:
        return NO_RULE
    named = policies((), row.denied_by) or policies(row.allowed_by, ())
    texts = [
        f"{effect} {p.namespace}/{p.name}" if p.namespace else f"{effect} {p.name}"
        for effect, p in named
        if p.name
    ]
    return safe(", ".join(texts))


def attempts_text(row: Row, name: str) -> str:
    """A count of a row: ``1+`` of attempts that can't be counted, ``-`` for none."""
    value: int = OF_ROW[name].value(row)
    least = "+" if row.uncounted and OF_ROW[name].unit == "attempts" else ""
    return f"{count(value)}{least}" if value else "-"


def _column(
    name: str, rank: int, cell: Callable[[Row, int], str] | None = None, least: int = 0
) -> _Column:
    """The column of a field by its declaration; without ``cell`` its count."""
    field = OF_ROW[name]
    shown = cell or (lambda row, _: attempts_text(row, name))
    return _Column(name, field.title, rank, shown, field.kind in NUMBERS, least)


_COLUMNS = (
    replace(_column("pod", 0, lambda r, _: pod_text(r), least=14), title="NAMESPACE/POD"),
    _column("cluster", 2, lambda r, _: safe(r.cluster) or "-", least=8),
    _column("workload", 6, lambda r, _: safe(r.workload) or "-", least=12),
    _column("peer", 0, lambda r, _: peer_text(r), least=17),
    _column("forwarded", 0),
    _column("dropped", 0),
    _column("audited", 1),
    _column("errors", 1),
    _column("records", 5),
    _column("last_seen", 3, lambda r, now: age((now - r.last_seen) / 1e9)),
    _column("drop_reasons", 2, lambda r, _: _main_reason(r), least=13),
    _column("policies", 4, lambda r, _: policy_text(r) or "-", least=16),
)


def table_lines(snapshot: Snapshot, style: Style) -> list[str]:
    """The table with its totals, a line each, ready to print."""
    lines = []
    if snapshot.rows:
        lines = _rows(snapshot, style)
        lines.append("")
    lines.extend(_totals(snapshot, style))
    return lines


def _paint(text: str, styles: tuple[int, ...], style: Style) -> str:
    if not style.color:
        styles = tuple(s for s in styles if s < _RED) if style.bold else ()
    if not styles:
        return text
    return f"\x1b[{';'.join(map(str, styles))}m{text}\x1b[0m"


def _rows(snapshot: Snapshot, style: Style) -> list[str]:
    now = style.now or snapshot.coverage.last_seen
    both = len({row.direction for row in snapshot.rows}) > 1
    shown = [c for c in _COLUMNS if _has_content(c, snapshot)]
    cells = {c.name: [c.cell(row, now) for row in snapshot.rows] for c in shown}
    arrows = {"egress": "->" if style.ascii else "→", "ingress": "<-" if style.ascii else "←"}
    if both:
        arrow = _Column("direction", "", 0, lambda r, _: arrows.get(r.direction, "?"))
        shown.insert(1, arrow)
        cells[arrow.name] = [arrow.cell(row, now) for row in snapshot.rows]
    title_of = {"peer": "PEER"} if both or snapshot.rows[0].direction != "egress" else {}
    shown, widths = _fit(shown, cells, style.width)

    def line(texts: list[str]) -> str:
        parts = [
            _fitted(text, columns, column.number)
            for column, text, columns in zip(shown, texts, widths, strict=True)
        ]
        return _GAP.join(parts).rstrip()

    header = "  " + line([title_of.get(c.name, c.title) for c in shown])
    lines = [_paint(header, (_BOLD,), style)]
    for index, row in enumerate(snapshot.rows):
        mark = _MARKS[worst(row)]
        sign = mark.plain if style.ascii else mark.sign
        text = line([cells[c.name][index] for c in shown])
        if style.ascii:
            text = text.replace("…", "~")
        weight = (_BOLD,) if row.blocked else ()
        lines.append(_paint(sign, mark.styles, style) + " " + _paint(text, weight, style))
    return lines


@lru_cache(maxsize=4096)
def _fitted(text: str, columns: int, right: bool) -> str:
    """``text`` in so many columns. Most cells of a long table stand in it before."""
    return pad(shorten(text, columns), columns, right=right)


_CONTENT: dict[str, Callable[[Row], object]] = {
    "audited": lambda row: row.audited,
    "errors": lambda row: row.errors,
    "drop_reasons": lambda row: row.drop_reasons,
    "policies": lambda row: row.cause or row.denied_by or row.allowed_by,
    "workload": lambda row: row.workload,
}
"""Columns for what is rare: left out when no row has any of it."""


def _has_content(column: _Column, snapshot: Snapshot) -> bool:
    if column.name == "cluster":
        return len({row.cluster for row in snapshot.rows}) > 1
    has = _CONTENT.get(column.name)
    return has is None or any(has(row) for row in snapshot.rows)


def _fit(
    columns: list[_Column], cells: dict[str, list[str]], room: int
) -> tuple[list[_Column], list[int]]:
    """The columns that fit into ``room``, and their widths: names shrink first, then ranks go."""
    shown = list(columns)
    natural = {c.name: max(map(width, {c.title, *cells[c.name]})) for c in columns}
    while True:
        widths = [natural[column.name] for column in shown]
        # The mark and a space stand before the first column.
        excess = 2 + sum(widths) + len(_GAP) * (len(shown) - 1) - room
        if room <= 0 or excess <= 0:
            return shown, widths
        names = [i for i, c in enumerate(shown) if c.least]
        least = [min(widths[i], shown[i].least) for i in names]
        spare = sum(widths[i] for i in names) - sum(least)
        droppable = [c for c in shown if c.rank]
        luxury = any(c.rank >= _LUXURY for c in droppable)
        if (spare >= excess and not luxury) or not droppable:
            floor = least if spare >= excess else [1] * len(names)
            _shrink(widths, names, floor, excess)
            return shown, widths
        shown.remove(max(droppable, key=lambda c: c.rank))


def _shrink(widths: list[int], names: list[int], floor: list[int], excess: int) -> None:
    """Take ``excess`` columns away, always from the widest name that may still shrink."""
    least = dict(zip(names, floor, strict=True))
    for _ in range(excess):
        candidates = [i for i in names if widths[i] > least[i]]
        if not candidates:
            return
        widths[max(candidates, key=lambda i: widths[i])] -= 1


def _what_came_back(snapshot: Snapshot) -> list[str]:
    """Of the rows shown: what "forwarded" and "dropped" leave open."""
    failed = failed_words(snapshot.rows)
    lines = (
        late_words(snapshot.rows),
        dropped_words(snapshot.rows),
        f"let through, and then: {failed}" if failed else "",
    )
    return [line for line in lines if line]


def _totals(snapshot: Snapshot, style: Style) -> list[str]:
    totals, coverage = snapshot.totals, snapshot.coverage
    first = plural(totals.attempts, "attempt")
    if not totals.attempts:
        first = "No attempts"
    parts = []
    if totals.attempts:
        share = f" ({percent(totals.dropped_share)})" if totals.dropped else ""
        dropped = f"{totals.dropped:,} dropped{share}"
        parts = [
            f"{totals.forwarded:,} forwarded",
            _paint(dropped, _MARKS["dropped"].styles if totals.dropped else (), style),
        ]
        more = (
            (totals.audited, "audited"),
            (totals.errors, "error" if totals.errors == 1 else "errors"),
            (totals.unknown, "unknown"),
        )
        parts += [f"{number:,} {word}" for number, word in more if number]
    lines = [first + (": " + ", ".join(parts) if parts else "")]
    if noise := noise_words(totals.noise):
        shown = any(row.noise and not row.blocked for row in snapshot.rows)
        lines.append(f"+ {noise} ({'marked · above' if shown else '--noise lists them'})")
    hidden = snapshot.matched - len(snapshot.rows)
    seen = f"{plural(coverage.records_read, 'record')}"
    if coverage.first_seen:
        times = TimeFormat("RFC3339")
        start, end = times.nanoseconds(coverage.first_seen), times.nanoseconds(coverage.last_seen)
        seen += f" in {span(coverage.seconds)}, {start} to {end[11:] if start[:10] == end[:10] else end}"
    lines.append(seen)
    lines += _what_came_back(snapshot)
    if coverage.at_least:
        # Why, the warnings say: once.
        lines.append(_paint("counts are 'at least'", _MARKS["audited"].styles, style))
    if hidden > 0:
        lines.append(f"{len(snapshot.rows):,} of {snapshot.matched:,} rows shown")
    return lines
