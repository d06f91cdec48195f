"""The columns of the egress table: what each shows, and which give way in a narrow terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from flowwatch.egress.folding import PLAIN, By
from flowwatch.egress.rows import Fold, Row, Totals
from flowwatch.egress.schema import NUMBERS, OF_ROW
from flowwatch.egress.words import NO_RULE, PROXY_ERROR, PROXY_REFUSED, WOULD_DENY, short_pod
from flowwatch.flows.staged import NO_CHANGE
from flowwatch.report.came_back import odd_answer
from flowwatch.report.human import age, count, width
from flowwatch.report.summary_table import (
    attempts_text,
    listening,
    peer_text,
    pod_name,
    policy_text,
    worst,
)
from flowwatch.text import plural, safe
from flowwatch.tui.format import SECOND, Line, Piece, fit, rate
from flowwatch.tui.theme import CURSOR, FANCY, Signs

GAP = " "

LUXURY = 3
"""Rank from which a column is only shown where the names have room."""


@dataclass(frozen=True, slots=True)
class Cells:
    """What the columns need besides the row."""

    now: int
    """Time that ages are counted to, ns."""
    namespace: str | None
    """The namespace that all rows share, which the cells then leave out; None if they don't."""
    arrows: tuple[str, str] | None
    """Signs for egress and ingress, when both are shown."""
    signs: Signs = FANCY
    short: bool = False
    """Whether pods' names are without their hash: ``weather-app·pk4k7``."""
    by: By = PLAIN
    """What rows are folded by."""
    unfolded: frozenset[int] = frozenset()
    """The open folds, by key."""
    folds: Mapping[int, Fold] = field(default_factory=dict)
    within: Mapping[int, int] = field(default_factory=dict)
    """Of rows of an open fold: its key, by theirs."""


@dataclass(frozen=True, slots=True)
class ScreenColumn:
    """One column; ``rank`` 0 is always there, the highest goes first when room is short."""

    name: str
    """Of the field that it shows (flowwatch.egress.schema)."""
    title: str
    rank: int
    least: int
    """Columns of the terminal: exactly for numbers, at least for names."""
    cell: Callable[[Row, Cells], str]
    number: bool = False
    role: str = "text"
    when: Callable[[Totals], int] | None = None
    """Only shown when there are any."""
    clusters: bool = False
    """Only shown when rows of several clusters are there."""
    good: int = 0
    """Columns of the terminal that a name should have before columns of rank LUXURY are shown."""
    most: int = 400
    tail: int = 0
    """When a text is shortened, so much of its end is kept; 0: about two fifths."""
    short: tuple[Callable[[Row, Cells], str], ...] = ()
    """What it shows where the cell has no room, one after the other."""
    words: str = ""
    """What it shows: a phrase, for help and docs/dashboard.md."""
    staged: bool = False
    """Only shown where policies are staged."""


def _pod(row: Row, cells: Cells) -> str:
    pods = f" ({plural(row.pods, 'pod')})" if row.pods > 1 else ""
    return _marked(row, cells, f"{_who(row, cells)}{pods}")


def _pod_short(row: Row, cells: Cells) -> str:
    """The same where there isn't room for all of it."""
    pods = f" {cells.signs.times}{row.pods}" if row.pods > 1 else ""
    return _marked(row, cells, f"{_who(row, cells)}{pods}")


def _pod_shortest(row: Row, cells: Cells) -> str:
    """Without the namespace; of an open fold's pod what tells it from the others."""
    alone = replace(cells, namespace=row.namespace)
    if row.key not in cells.within:
        return _pod_short(row, alone if cells.by != PLAIN else cells)
    _, joint, suffix = _who(row, alone).rpartition(cells.signs.joint)
    return _marked(row, cells, f"{joint}{suffix}")


def _marked(row: Row, cells: Cells, name: str) -> str:
    """``name`` behind the sign of a fold; indented where others have one."""
    name = listening(row, name)
    if cells.by == PLAIN:
        return name
    if row.key in cells.within:
        return f"    {name}"
    signs = (cells.signs.folded, cells.signs.unfolded)
    return f"{signs[row.key in cells.unfolded] if row.pods > 1 else ' '} {name}"


def _who(row: Row, cells: Cells) -> str:
    """Whose row it is, safe: a pod, or what its pods are folded by."""
    fold = cells.folds.get(row.key)
    if fold is not None and cells.by.label:
        return safe(fold.name) or f"no {safe(cells.by.label)}"
    if fold is not None and cells.by.subject == "namespace":
        return safe(fold.name)
    name = pod_name(row) or "?"
    if row.pods > 1:
        name = safe(row.workload)
    elif cells.short:
        name = safe(short_pod(row.pod, row.workload, cells.signs.joint)) or name
    if row.namespace and cells.namespace != row.namespace:
        name = f"{safe(row.namespace)}/{name}"
    return name


HEADINGS = {"pod": "POD", "workload": "PODS", "namespace": "NAMESPACE"}


def heading(by: By) -> str:
    """Of the column that says whose rows these are."""
    return safe(by.label).upper() if by.label else HEADINGS[by.subject]


def folded(columns: Sequence[ScreenColumn], by: By) -> list[ScreenColumn]:
    """The columns where rows are folded by ``by``: none says the same twice."""
    return [
        replace(one, title=heading(by)) if one.name == "pod" else one
        for one in columns
        if by.subject == "pod" or one.name != "workload"
    ]


def _peer(row: Row, cells: Cells) -> str:
    text = peer_text(row)
    if cells.arrows is None:
        return text
    return f"{cells.arrows[row.direction == 'ingress']} {text}"


def _reason(row: Row, cells: Cells) -> str:
    if not row.drop_reasons:
        if row.audited:
            return f"{WOULD_DENY} {count(row.audited)}"
        return f"{PROXY_ERROR} {count(row.errors)}" if row.errors else odd_answer(row)
    name = min(row.drop_reasons, key=lambda reason: (-row.drop_reasons[reason], reason))
    if name == "L7_DENIED" and row.proxy_refused:
        return f"{PROXY_REFUSED} {_refused(row)}"
    more = len(row.drop_reasons) - 1
    # The request was let through: whoever reads the reason shall not look for who forbade that.
    what = "answer " if row.answers_dropped == row.dropped else ""
    return what + safe(name) + (f" +{more}" if more else "")


def _refused(row: Row) -> str:
    """What the proxy refused last, and how many other things: ``DELETE /admin/cache +1``.

    Without the host, which the row names already.
    """
    method, _, url = row.proxy_refused[0].partition(" ")
    path = url.partition("://")[2].partition("/")[2]
    what = url if method == "DNS" else f"{method} /{path}" if "://" in url else f"{method} {url}"
    more = len(row.proxy_refused) - 1
    return safe(what) + (f" +{more}" if more else "")


def _reason_short(row: Row, cells: Cells) -> str:
    """The same where there isn't room for all of it: what was refused says that it was."""
    return _reason(row, cells).removeprefix(f"{PROXY_REFUSED} ")


def _policy(row: Row, cells: Cells) -> str:
    return policy_text(row)


def _staged(row: Row, cells: Cells) -> str:
    return safe(row.staged.words) if row.staged is not None else ""


def _staged_short(row: Row, cells: Cells) -> str:
    return _staged(row, cells).removeprefix("would ")


def _would(row: Row, place: int) -> str:
    would = row.staged[:2][place] if row.staged is not None else 0
    return count(would) if would else "-"


def column(
    name: str,
    rank: int,
    least: int,
    cell: Callable[[Row, Cells], str] | None = None,
    *,
    role: str = "text",
    when: Callable[[Totals], int] | None = None,
    clusters: bool = False,
    staged: bool = False,
    good: int = 0,
    most: int = 400,
    tail: int = 0,
    short: tuple[Callable[[Row, Cells], str], ...] = (),
) -> ScreenColumn:
    """The column of a field by its declaration; without ``cell`` its count."""
    field = OF_ROW[name]
    return ScreenColumn(
        name, field.title, rank, least, cell or (lambda row, _: attempts_text(row, name)),
        field.kind in NUMBERS, role, when, clusters, good, most, tail, short,
        _WORDS.get(name, field.meaning), staged,
    )  # fmt: skip


_WORDS = {
    "last_seen": "how long ago the last record was; counted to the end of a file",
    "pod": (
        "namespace and workload with its pods (`▸ weather-app (3 pods)`), or a pod: its workload and the end "
        "of its name (`weather-app·pk4k7`); the namespace alone in the heading where all rows share it. For "
        "what isn't a pod its entity (`host`) or address. `PODS`, `NAMESPACE`, or a label, by which rows are "
        "folded"
    ),
    "peer": (
        "the other end: DNS name, service, pod, entity or address, with its port and protocol (TCP goes "
        "without saying); `PEER` where ingress is shown"
    ),
    "drop_reasons": (
        "why attempts were dropped: Hubble's commonest reason (`+1`: there is another), what an L7 rule "
        "refused, `answer` before it where it was the answer that was dropped. Without drops what else is "
        f"odd: `{WOULD_DENY}` (audit mode), `{PROXY_ERROR}`, `refused`, `unreachable`, `late`"
    ),
    "policies": (
        f"who denied, else who allowed, as far as Hubble names them; `{NO_RULE}`: default deny, for which "
        "it names none"
    ),
}
"""Of columns that show more, or something else, than their field alone."""

# Counts come first: they change most, and a line is painted only up to its last change.
COLUMNS: tuple[ScreenColumn, ...] = (
    column("dropped", 0, 7, role="drop"),
    column("forwarded", 1, 9, role="ok"),
    # In the role of its neighbour: a style of its own would cost twenty bytes a row.
    column("answered", 6, 8, role="ok"),
    column("audited", 4, 7, role="warn", when=lambda t: t.audited),
    column("errors", 5, 6, role="warn", when=lambda t: t.errors),
    column("rate", 7, 6, lambda r, _: rate(r.rate), role="dim"),
    column("last_seen", 3, 4, lambda r, c: age((c.now - r.last_seen) / SECOND), role="dim"),
    column("pod", 0, 16, _pod, good=22, most=48, tail=5, short=(_pod_short, _pod_shortest)),
    column("cluster", 1, 8, lambda r, _: safe(r.cluster), most=24, role="accent", clusters=True),
    column("peer", 0, 20, _peer, good=26, most=72),
    column(
        "staged", 1, 12, _staged, good=22, most=48, role="warn", staged=True, short=(_staged_short,)
    ),
    column("would_deny", 5, 6, lambda r, _: _would(r, 0), role="drop", staged=True),
    column("would_admit", 5, 6, lambda r, _: _would(r, 1), role="ok", staged=True),
    column("drop_reasons", 2, 13, _reason, most=36, role="drop", short=(_reason_short,)),
    column("policies", 5, 17, _policy, most=60, role="dim"),
    column("workload", 6, 12, lambda r, _: safe(r.workload), most=40, role="dim"),
    column("records", 8, 7, role="dim"),
)

OF_ALL_TIME = frozenset({"answered", "records", "would_deny", "would_admit"})
"""Columns that are told of all that was read alone."""

MARK = 2
"""Columns before the first: the sign of the row's worst outcome, and a space."""

SIGNS: dict[str, tuple[str, str]] = {
    "dropped": ("dropped", "drop"),
    "audited": ("warned", "warn"),
    "errors": ("warned", "warn"),
    "forwarded": ("forwarded", "ok"),
    "unknown": ("unknown", "dim"),
    "noise": ("dot", "dim"),
}


def choose(
    columns: int,
    totals: Totals,
    clusters: bool = False,
    of: Sequence[ScreenColumn] = COLUMNS,
    *,
    staged: bool = False,
) -> list[ScreenColumn]:
    """Those of the columns that fit, in order. ``staged``: whether policies are."""
    shown = [c for c in of if c.when is None or c.when(totals)]
    shown = [c for c in shown if (clusters or not c.clusters) and (staged or not c.staged)]
    while len(shown) > 1:
        last = max(c.rank for c in shown)
        wide = last >= LUXURY
        sizes = [max(c.least, c.good) if wide else c.least for c in shown]
        if MARK + 1 + sum(sizes) + len(GAP) * len(sizes) <= columns:
            break
        if not last:
            break
        shown.remove(next(c for c in reversed(shown) if c.rank == last))
    return shown


def arranged(columns: Sequence[ScreenColumn], names: Sequence[str]) -> Sequence[ScreenColumn]:
    """Those of the fields ``names``, in this order: where room is short the last gives way. None: all."""
    if not names:
        return columns
    by_name = {column.name: column for column in columns}
    return [replace(by_name[name], rank=place) for place, name in enumerate(names)]


def share(columns: int, chosen: Sequence[ScreenColumn], needs: Sequence[int]) -> list[int]:
    """Widths of the chosen columns: what they need while it lasts, the shortest wish first."""
    widths = [column.least for column in chosen]
    if not widths:
        return []
    left = columns - MARK - 1 - sum(widths) - len(GAP) * len(widths)
    if left < 0:
        # A terminal narrower than the least of everything: names give what is missing.
        names = [i for i, column in enumerate(chosen) if not column.number]
        for i in names:
            give = min(widths[i] - 4, -(left // max(len(names), 1)))
            widths[i] -= max(give, 0)
        return widths
    growing = [i for i, column in enumerate(chosen) if not column.number]
    growing.sort(key=lambda i: min(needs[i], chosen[i].most) - widths[i])
    for place, i in enumerate(growing):
        wish = max(min(needs[i], chosen[i].most) - widths[i], 0)
        more = min(wish, left // (len(growing) - place))
        widths[i] += more
        left -= more
    return widths


def needs(chosen: Sequence[ScreenColumn], rows: Sequence[Row], cells: Cells) -> list[int]:
    """Widths that the columns' texts have."""
    return [
        column.least
        if column.number
        else max([width(column.cell(row, cells)) for row in rows], default=0)
        for column in chosen
    ]


ORDER_OF = {"dropped": "drops", "last_seen": "last"}
"""Orders of rows (flowwatch.egress.query) by the columns that show them, where they are called otherwise."""


def header(
    chosen: Sequence[ScreenColumn],
    widths: Sequence[int],
    order: str,
    namespace: str | None,
    peer: str,
) -> Line:
    """The titles; that of the column which orders the rows is marked."""
    ordered = next((name for name, of in ORDER_OF.items() if of == order), order)
    pieces: list[Piece] = [(" " * (MARK + 1), "head")]
    for column, columns in zip(chosen, widths, strict=True):
        title = peer if column.name == "peer" else column.title
        if column.name == "pod" and namespace:
            title = f"{title} in {safe(namespace)}"
        role = "strong" if column.name == ordered else "head"
        pieces.append((fit(title, columns, right=column.number), role))
        pieces.append((GAP, "head"))
    return tuple(pieces)


def row_line(
    row: Row,
    chosen: Sequence[ScreenColumn],
    widths: Sequence[int],
    cells: Cells,
    signs: Signs,
    *,
    selected: bool,
) -> Line:
    """One row; bold where something was dropped, so that it stands out without colour too."""
    outcome = worst(row)
    sign, role = SIGNS[outcome]
    prefix = CURSOR if selected else ""
    pieces: list[Piece] = [
        (signs.cursor if selected else " ", f"{prefix}accent"),
        (f"{getattr(signs, sign)} ", prefix + role),
    ]
    bad = outcome == "dropped"
    for column, columns in zip(chosen, widths, strict=True):
        text = column.cell(row, cells)
        for shorter in column.short:
            if width(text) > columns:
                text = shorter(row, cells)
        # Behind a port the random end of a name is no end.
        tail = 0 if ":" in text else column.tail
        text = fit(text, columns, right=column.number, tail=tail)
        role = column.role
        if role in ("drop", "warn", "ok") and text.strip() in ("-", "", NO_CHANGE):
            role = "dim"
        elif role == "text" and bad:
            role = "strong"
        elif outcome == "noise":
            role = "dim"
        elif column.name == "drop_reasons" and not row.dropped:
            role = "warn"
        # Where there is nothing to read, no style need be sent.
        if not text.strip():
            role = "text"
        pieces.append((text + GAP, prefix + role))
    return tuple(pieces)
