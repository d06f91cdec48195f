"""The selected row, told in full: what happened, why, which policy, what to do, how to see it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flowwatch.egress.rows import CloseUp, Recent, Row
from flowwatch.egress.schema import not_recorded
from flowwatch.flows.clocks import time_of_day
from flowwatch.flows.model import Endpoint, PolicyRef
from flowwatch.flows.reasons import by_name
from flowwatch.flows.reasons_table import POLICY
from flowwatch.report.came_back import (
    answer_words,
    dropped_words,
    late_words,
    noise_words,
    state_words,
)
from flowwatch.report.human import age, count
from flowwatch.report.summary_table import peer_text, pod_text, worst
from flowwatch.text import plural, safe
from flowwatch.tui.format import SECOND, Line, Piece, labelled, line_width, rate, stamp, wrap
from flowwatch.tui.hubble_command import command
from flowwatch.tui.named import NAMES, KeyNames
from flowwatch.tui.parts.around import around_lines
from flowwatch.tui.parts.ends import ends_lines
from flowwatch.tui.parts.panel import Panel
from flowwatch.tui.parts.rows import NOTHING_MORE, RowsAnswer
from flowwatch.tui.parts.tail import record_words, verdict_piece
from flowwatch.tui.theme import Signs

_INDENT = 11
"""Columns of the words before each text."""

_FLAG = re.compile(r"(--[a-z-]+) (?!--)")
"""A flag that has a value behind it."""

_ROLES = {"dropped": "drop", "audited": "warn", "errors": "warn", "forwarded": "ok"}
_SIGNS = {
    "dropped": "dropped",
    "audited": "warned",
    "errors": "warned",
    "forwarded": "forwarded",
    "unknown": "unknown",
    "noise": "dot",
}


class Detail(Panel):
    """The panel for one row."""

    ABOUT = (
        "The detail of a row ends with the hubble command that shows its records; {copy} copies it.",
        "A default deny has no culprit that Hubble names: with --policies the detail says which",
        "policies ask for it, and which of their rules comes closest.",
    )

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._key = 0

    def update_from(
        self,
        row: Row | None,
        told: RowsAnswer,
        now: int,
        hubble: Sequence[str],
    ) -> None:
        """Show ``row`` (None: nothing is selected); ``hubble`` is how the command begins."""
        if row is None:
            self.fill_with(
                "Detail",
                self.look.keys.told("{detail} closes"),
                [((" no row is selected", "dim"),)],
            )
            return
        if row.key != self._key:
            self._key = row.key
            self._top = 0
        columns = self.size.width - 2
        signs = self.look.signs
        lines = detail_lines(
            row,
            told.more.records,
            now,
            columns,
            signs,
            hubble,
            told.more.ends,
            told.more,
            told.place,
            self.look.keys,
        )
        note = self.look.keys.told("{panel_down} {panel_up} scroll  {detail} closes")
        self.fill_with("Detail", note, [((" ", "text"), *x) for x in lines])


def detail_lines(
    row: Row,
    records: Sequence[Recent],
    now: int,
    columns: int,
    signs: Signs,
    hubble: Sequence[str],
    ends: tuple[Endpoint, Endpoint] | None = None,
    more: CloseUp = NOTHING_MORE,
    place: tuple[str, int] | None = None,
    keys: KeyNames = NAMES,
) -> list[Line]:
    """The text of the panel, ``columns`` wide."""
    lines = _heading(row, columns, signs)
    if told := state_words(row):
        lines += _labelled("In time", f"{told} UTC", columns)
    if lost := dropped_words([row]):
        lines += _labelled("No answer", lost, columns, role="warn")
    if noise := noise_words(row.noise):
        lines += _labelled("Noise", f"{noise}; the share is without", columns)
    for name, times in sorted(row.drop_reasons.items(), key=lambda item: (-item[1], item[0])):
        lines += _reason(name, times, columns, row.answers_dropped == row.dropped)
    if row.audited and not row.dropped:
        text = "A policy would deny this, but audit mode lets it through."
        lines += _labelled("Why", text, columns)
    if row.unknown and row.unknown == row.attempts:
        text = (
            "No final record yet: the proxy or the socket layer took it over, and no more is known."
        )
        lines += _labelled("Why", text, columns)
    lines += _refused(row, more, columns, signs)
    lines += _what_came_back(row, columns)
    lines += _policies(row, columns)
    lines += _staged(row, columns)
    if place is not None:
        lines += _labelled(
            "File", f"{safe(place[0])}:{place[1]} ({keys['open_policy']} opens it)", columns
        )
    lines += _asked(row, more, columns)
    if ends is not None:
        lines += ends_lines(*ends, row.direction, columns, _INDENT)
    lines += around_lines(row, more, columns, _INDENT, signs)
    lines += _manner(row, records, columns)
    lines += _command(row, columns, hubble, keys)
    lines += _counts(row, now, columns)
    return lines + _records(records, columns, signs)


_NAMES = 5
"""Things refused, and names asked for, that are told."""


def _refused(row: Row, more: CloseUp, columns: int, signs: Signs) -> list[Line]:
    """What the proxy refused, ``10× DNS collector.clicks.example``."""
    counted = [f"{count(times)}{signs.times} {safe(what)}" for what, times in more.refused]
    told = counted or [safe(one) for one in row.proxy_refused]
    if not told:
        return []
    left = f", and {len(told) - _NAMES} more" if len(told) > _NAMES else ""
    return _labelled("Refused", ", ".join(told[:_NAMES]) + left, columns, role="strong")


def _asked(row: Row, more: CloseUp, columns: int) -> list[Line]:
    """Which names a blocked pod had asked for: what it wanted to reach."""
    if not row.blocked or not more.asked:
        return []
    told = [
        f"{safe(one.name)}{' (refused)' if one.refused else ''} "
        f"{age(max(row.last_seen - one.time, 0) / SECOND)} before"
        for one in more.asked[:_NAMES]
    ]
    return _labelled("Asked for", ", ".join(told), columns)


def _labelled(label: str, text: str, columns: int, *, role: str = "text") -> list[Line]:
    return labelled(label, text, columns, indent=_INDENT, role=role)


def _heading(row: Row, columns: int, signs: Signs) -> list[Line]:
    outcome = worst(row)
    sign = getattr(signs, _SIGNS[outcome])
    arrow = signs.of if row.direction == "ingress" else signs.to
    ends = f"{pod_text(row)} {arrow} {peer_text(row)}"
    protocol = "" if row.protocol in ends else f" {safe(row.protocol)}"
    text = f"{sign} {ends}{protocol}"
    role = _ROLES.get(outcome, "dim")
    return [((part, role),) for part in wrap(text, columns)]


def _counts(row: Row, now: int, columns: int) -> list[Line]:
    counted = [
        f"{number:,} {word}"
        for number, word in (
            (row.dropped, "dropped"),
            (row.forwarded, "forwarded"),
            (row.audited, "audited"),
            (row.errors, "error" if row.errors == 1 else "errors"),
            (row.unknown, "unknown"),
        )
        if number
    ]
    if row.uncounted:
        counted[:1] = [f"at least {counted[0]}"]
    counted.append(f"from {plural(row.records, 'record')}")
    if row.rate >= 0.05:
        counted.append(f"{rate(row.rate)}/s")
    lines = _labelled("Attempts", ", ".join(counted), columns)
    last = age((now - row.last_seen) / SECOND)
    seen = (
        f"first {time_of_day(row.first_seen)}, last {time_of_day(row.last_seen)} UTC ({last} ago)"
    )
    lines += _labelled("Seen", seen, columns)
    if row.cluster not in ("", "default"):
        lines += _labelled("Cluster", safe(row.cluster), columns)
    if row.server:
        lines += _labelled("Seen at", safe(row.server), columns)
    if row.workload and row.workload not in row.pod:
        lines += _labelled("Workload", safe(row.workload), columns)
    if missing := not_recorded(row):
        lines += _labelled(
            "Unknown", f"no record tells its {', '.join(missing)}", columns, role="warn"
        )
    if row.encrypted in ("all", "mixed"):
        lines += _labelled("Encrypted", row.encrypted, columns)
    if row.policy_log:
        lines += _labelled("Policy log", ", ".join(map(safe, row.policy_log)), columns)
    addresses = [safe(address) for address in row.peer_addresses if address != row.peer]
    if addresses:
        lines += _labelled("Address", ", ".join(addresses), columns)
    return lines


_NEXT = "Check the policies of the pod that dropped it, in the direction that the answer takes."


def _reason(name: str, times: int, columns: int, answer: bool) -> list[Line]:
    """``answer``: it was the answer that was dropped, whose sender is the other end."""
    known = by_name(name)
    head = f"{safe(name)} ({count(times)})"
    if known is None:
        return _labelled("Why", head, columns, role="drop")
    why = _labelled("Why", f"{head}: {known.plain}", columns)
    label, (first, _) = why[0]
    if first.startswith(head):
        why[0] = (label, (head, "drop"), (first.removeprefix(head), "text"))
    policy = answer and known.group == POLICY
    return [*why, *_labelled("Next", _NEXT if policy else known.next, columns)]


def _what_came_back(row: Row, columns: int) -> list[Line]:
    """What "forwarded" and "dropped" leave open, in the summary's words."""
    odd = row.refused or row.unreachable
    lines: list[Line] = []
    if through := answer_words(row):
        lines += _labelled("Answers", through, columns, role="warn" if odd else "text")
    if late := late_words([row]):
        lines += _labelled("Late", late, columns, role="warn")
    return lines


def _policies(row: Row, columns: int) -> list[Line]:
    lines: list[Line] = []
    denied = [name for name in row.drop_reasons if (r := by_name(name)) and r.group == POLICY]
    culprits = [one for one in row.denied_by if not one.selects]
    selecting = [one for one in row.denied_by if one.selects]
    if culprits:
        lines += _labelled("Denied by", _named(culprits), columns, role="strong")
    if selecting:
        text = f"no rule allows it: default deny, where {_named(selecting)} selects the pod"
        lines += _labelled("Policy", text, columns, role="strong")
    if row.attribution and (row.dropped or row.audited):
        lines += _labelled("Policy", safe(row.attribution), columns, role="strong")
    elif row.denied_by:
        pass
    elif "POLICY_DENIED" in denied:
        text = "no rule allows it: default deny, for which Hubble names no policy"
        lines += _labelled("Policy", text, columns, role="strong")
    elif "POLICY_DENY" in denied:
        text = "a deny rule, which these records don't name"
        lines += _labelled("Policy", text, columns, role="strong")
    if row.allowed_by:
        lines += _labelled("Allowed by", _named(row.allowed_by) + _when(row), columns)
    elif row.forwarded and not row.dropped:
        # Empty never means that there is no rule: names of some rules aren't recorded.
        lines += _labelled("Allowed by", "not named in these records", columns, role="dim")
    return lines


def _staged(row: Row, columns: int) -> list[Line]:
    """What the staged policies would do to it."""
    if row.staged is None:
        return []
    told = row.staged
    kinds = (("denied", told.deny), ("let through", told.admit), ("can't be told", told.cant_tell))
    counts = [f"{count:,} {what}" for what, count in kinds if count]
    if not counts:
        return _labelled("Staged", "no change", columns)
    text = f"{safe(told.words)}: of {told.attempts:,} attempts {', '.join(counts)}"
    why = f"; {safe(told.why)}" if told.why else ""
    return _labelled("Staged", f"{text}{why}", columns, role="warn")


def _when(row: Row) -> str:
    """Of a row that is dropped: when it was that policies allowed it."""
    if not row.blocked:
        return ""
    if row.state == "dropped" and row.state_before == "forwarded":
        return f", until {time_of_day(row.until)} UTC"
    if row.forwarded:
        return ", the attempts that were forwarded"
    return ", before it was dropped, or at this end alone"


def _named(policies: Sequence[PolicyRef]) -> str:
    return ", ".join([safe(str(policy)) for policy in policies])


def _manner(row: Row, records: Sequence[Recent], columns: int) -> list[Line]:
    """How the drop feels to the application, as far as the last records tell."""
    if not row.dropped or row.protocol != "TCP":
        return []
    dropped = [record for record in records if record.verdict == "DROPPED"]
    if any(record.kind == "drop" for record in dropped):
        text = "dropped without an answer: the application tries again and hangs until its timeout"
    elif dropped and all(record.kind == "policy-verdict" for record in dropped):
        text = "no drop records: refused at once (ICMP), or drop events are off"
    else:
        return []
    return _labelled("Manner", text, columns)


def _command(row: Row, columns: int, hubble: Sequence[str], keys: KeyNames) -> list[Line]:
    text = command(row, hubble)
    if not text:
        return []
    lines: list[Line] = [
        ((f"{'See it':<11}", "head"), (keys.told("{copy} copies this command"), "dim"))
    ]
    lines += _wrapped(text, columns)
    by_address = command(row, hubble, by_address=True)
    if by_address != text:
        lines.append((("  or, for records without the name:", "dim"),))
        lines += _wrapped(by_address, columns)
    return lines


def _wrapped(command_line: str, columns: int) -> list[Line]:
    """The command with each flag on one line with its value."""
    bound = _FLAG.sub("\\1\xa0", safe(command_line))
    return [((f"  {part}".replace("\xa0", " "), "accent"),) for part in wrap(bound, columns - 2)]


def _records(records: Sequence[Recent], columns: int, signs: Signs) -> list[Line]:
    if not records:
        return [(("No records of it among the last ones", "dim"),)]
    lines: list[Line] = [(("Last records", "head"), (" (UTC)", "dim"))]
    for item in reversed(records):
        pieces: list[Piece] = [(f"{stamp(item.time)} ", "dim"), verdict_piece(item, signs)]
        pieces.append((record_words(item, columns - line_width(tuple(pieces))), "text"))
        lines.append(tuple(pieces))
    return lines
