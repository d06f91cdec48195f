"""The tail: the last records of all rows, as hubble would print them, the newest below."""

from __future__ import annotations

from collections.abc import Sequence

from flowwatch.egress.rows import Recent
from flowwatch.report.human import width
from flowwatch.text import safe
from flowwatch.tui.format import Line, Piece, cut, fit, line_width, stamp
from flowwatch.tui.parts.panel import Panel
from flowwatch.tui.theme import Signs

VERDICT_ROLES = {
    "DROPPED": "drop",
    "ERROR": "warn",
    "AUDIT": "warn",
    "FORWARDED": "ok",
}


class Tail(Panel):
    """Follows the newest record unless scrolled up."""

    ABOUT = (
        "The tail holds records as they come, whatever the rows are filtered by; one attempt",
        "leaves several. Times are UTC.",
    )

    def update_from(self, recent: Sequence[Recent], paused: bool) -> None:
        """``recent``: the newest last, as a snapshot has them."""
        signs = self.look.signs
        at_end = self._top + self.page >= len(self._body)
        newest = recent[-max(self.page * 4, 50) :]
        body = [tail_line(item, self.size.width, signs) for item in newest]
        if not body:
            body = [((" no record yet", "dim"),)]
        if at_end:
            self._top = len(body)
        self.fill_with(
            "Last records", "paused" if paused else self.look.keys.told("{tail} closes"), body
        )


def verdict_piece(item: Recent, signs: Signs) -> Piece:
    """Sign and verdict, told apart without colour too."""
    sign = {
        "DROPPED": signs.dropped,
        "FORWARDED": signs.forwarded,
        "AUDIT": signs.warned,
        "ERROR": signs.warned,
    }.get(item.verdict, signs.dot)
    role = VERDICT_ROLES.get(item.verdict, "dim")
    return (f"{sign} {fit(safe(item.verdict), 10)} ", role)


def tail_line(item: Recent, columns: int, signs: Signs) -> Line:
    """One record; what is at the right gives way first."""
    name = f"{item.namespace}/{item.pod}" if item.namespace else item.pod
    peer = item.peer
    arrow = signs.of if item.direction == "ingress" else signs.to
    port = f":{item.port}" if item.port and not item.protocol.startswith("ICMP") else ""
    rest = max(columns - 14 - 13 - 4, 20)
    # The server's: in ingress the pod's own.
    if item.direction == "ingress":
        name += port
    else:
        peer += port
    half = min(rest * 3 // 10, 44)
    bad = item.verdict == "DROPPED"
    role = "strong" if bad else "text"
    # At a port TCP goes without saying.
    protocol = item.protocol if item.protocol != "TCP" or not port else ""
    pieces: list[Piece] = [
        (f" {stamp(item.time)} ", "dim"),
        verdict_piece(item, signs),
        (fit(safe(name), half, tail=5), role),
        (f" {arrow} ", "dim"),
        (fit(safe(peer), half) + " ", role),
    ]
    told = record_words(item, columns - line_width(tuple(pieces)), protocol)
    return cut((*pieces, (told, "dim")), columns)


def record_words(item: Recent, columns: int, protocol: str = "") -> str:
    """What a record is, after its ends: node and flags give way as a whole where there is no room."""
    first = [protocol, item.kind, item.reason]
    texts = [
        " ".join([safe(word) for word in (*first, *more) if word])
        for more in ((item.flags, item.node), (item.flags,), ())
    ]
    return next((text for text in texts if width(text) <= columns), texts[-1])
