"""``--filter`` of verbs that judge attempts: they are told of the traffic of the rows that it finds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from flowwatch.cli.shared.causes import row_causes
from flowwatch.cli.shared.options import filter_text
from flowwatch.cli.shared.reading import Reading
from flowwatch.errors import UsageError
from flowwatch.flows.join import Join
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import flow_request

if TYPE_CHECKING:
    from flowwatch.audits.judge import Judge
    from flowwatch.cli.flags import Parsed
    from flowwatch.egress.chosen import ChosenJoin
    from flowwatch.flows.model import Batch
    from flowwatch.flows.source import Source


class Traffic:
    """What a verb looks at: a join to listen to, and the batches to give it.

    ``directions``: of which rows the filter is asked. ``judge``: who tells what blocked rows, where policies
    in force were given. Raises UsageError for what is no filter, and where what is read has no end.
    """

    def __init__(
        self, parsed: Parsed, directions: frozenset[str], judge: Judge | None = None
    ) -> None:
        self._parsed = parsed
        text = filter_text(parsed)
        self._chosen = self._choosing(text, directions, judge) if text else None
        self.join = self._chosen or Join()

    def _choosing(self, text: str, directions: frozenset[str], judge: Judge | None) -> ChosenJoin:
        parsed = self._parsed
        if parsed.switch("follow") and not ("demo" in parsed.flags and parsed.was_set("demo")):
            raise UsageError(
                "--filter finds rows once all was read",
                "leave out --follow, or choose with --namespace, --pod, --to-fqdn …",
            )
        from flowwatch.egress.chosen import ChosenJoin

        return ChosenJoin(text, directions, teller=lambda join: row_causes(judge, join))

    def batches(
        self, reading: Reading, opened: Callable[[], Source] | None = None
    ) -> Iterator[Batch]:
        """Those of ``reading``, for the join; with a filter all are read first.

        ``opened``: gives what is read once more, where that isn't what ``parsed`` names.
        """
        if self._chosen is None:
            return reading.batches()
        return self._chosen.chosen(reading.batches(), self._again(reading, opened or self._open))

    def _open(self) -> Source:
        return open_source(flow_request(self._parsed))

    def _again(
        self, reading: Reading, opened: Callable[[], Source]
    ) -> Callable[[], Iterator[Batch]] | None:
        """How what lies in files is read once more; None for what may be gone, or be another then."""
        parsed = self._parsed
        files = parsed.list("input-file")
        if ("demo" in parsed.flags and parsed.was_set("demo")) or parsed.text("keep-bad"):
            return None
        if not parsed.text("history") and not (files and all(map(os.path.isfile, files))):
            return None

        def again() -> Iterator[Batch]:
            second = Reading(opened())
            yield from second.batches()
            reading.stopped = reading.stopped or second.stopped
            reading.failure = reading.failure or second.failure

        return again
