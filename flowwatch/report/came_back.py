"""What "forwarded" and "dropped" leave open, in words: what came back, and how late it was.

The summary says it of all rows, the dashboard of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flowwatch.egress.rows import MIXED, Row
from flowwatch.flows.clocks import time_of_day
from flowwatch.report.human import count, span
from flowwatch.text import plural


def late_words(rows: Sequence[Row]) -> str:
    """Of attempts that were denied at first, and let through on a retry; empty if none were."""
    late = sum(row.late for row in rows)
    if not late:
        return ""
    waited, retries = max((row.waited, row.retries) for row in rows)
    tries = f", {plural(retries, 'retry', 'retries')}" if retries else ""
    return (
        f"{plural(late, 'attempt')} late: denied at first, let through on a retry after "
        f"{span(waited)}{tries}" + (" at most" if late > 1 else "")
    )


def dropped_words(rows: Sequence[Row]) -> str:
    """Of attempts whose answer was dropped; empty if none was."""
    lost = sum(row.answers_dropped for row in rows)
    if not lost:
        return ""
    return (
        f"{plural(lost, 'attempt')} with the answer dropped: the request was let through, and what "
        "came back met the policies of the pod that dropped it"
    )


def noise_words(counts: Mapping[str, int]) -> str:
    """``14 dropped before any policy was asked: multicast 9, link-local 5``; empty if there was none.

    ``counts``: attempts by kind (flowwatch.flows.noise), the most first.
    """
    if not (total := sum(counts.values())):
        return ""
    kinds = ", ".join([f"{kind} {number:,}" for kind, number in counts.items()])
    return f"{total:,} dropped before any policy was asked: {kinds}"


def failed_words(rows: Sequence[Row]) -> str:
    """``2 refused (reset), 1 unreachable (ICMP)``: let through, and then; empty if none was."""
    counted = (
        (sum(row.refused for row in rows), "refused (reset)"),
        (sum(row.unreachable for row in rows), "unreachable (ICMP)"),
    )
    return ", ".join([f"{number:,} {word}" for number, word in counted if number])


def answer_words(row: Row) -> str:
    """``18 let through, 3 answered, 2 refused (reset)``; empty if nothing was let through, nor answered.

    Answers aren't told apart by outcome: what the proxy refused was answered before, and so was what was
    open before a policy. Where not all were let through they are counted of all.
    """
    through = row.forwarded + row.audited
    failed = failed_words([row])
    # Without a record of a reply nobody knows whether one came: "0 answered" would say none did.
    seen = f"{row.answered:,} answered" if row.answered else "" if failed else "no answer seen"
    if through == row.attempts:
        return ", ".join(filter(None, (f"{through:,} let through", seen, failed)))
    if not row.answered and not failed:
        return f"{through:,} let through, {seen}" if through else ""
    early = row.answered - through
    if row.dropped and early > 0:
        they = "it was" if early == 1 else "they were"
        some = f", {early:,} of them" if through else ""
        seen += f"{some} before {they} dropped"
    elif through and row.answered:
        seen = f"{row.answered:,} of all {plural(row.attempts, 'attempt')} answered"
    let = f"{through:,} let through; " if through else ""
    return let + ", ".join(filter(None, (seen, failed)))


def state_words(row: Row) -> str:
    """``forwarded until 11:17:41, dropped since 11:17:43`` (UTC); empty where attempts always went alike."""
    if len(row.runs) < 2:
        return ""
    if row.state == MIXED:
        last = {run.state: run.until for run in row.runs}
        told = ", ".join([f"last {state} {time_of_day(time)}" for state, time in last.items()])
        return f"by turns: {told}"
    before = [f"{run.state} until {time_of_day(run.until)}" for run in row.runs[:-1]]
    return ", ".join([*before, f"{row.state} since {time_of_day(row.since)}"])


def odd_answer(row: Row) -> str:
    """The oddest thing that came of a row's attempts, in a word for a cell; empty if nothing odd."""
    for number, word in (
        (row.refused, "refused"),
        (row.unreachable, "unreachable"),
    ):
        if number:
            return f"{word} {count(number)}"
    return f"late {span(row.waited)}" if row.late else ""
