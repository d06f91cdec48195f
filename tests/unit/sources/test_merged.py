"""Several sources as one: all that each gives, marked with where it is from."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from flowwatch.errors import Unreachable
from flowwatch.flows.model import Batch, Gap
from flowwatch.flows.source import SourceState
from flowwatch.sources.merged import WAITING, MergedSource
from tests.unit.flows.made import flow


class Listed:
    """A source of batches that a test wrote."""

    def __init__(self, where: str, *batches: Batch, error: Exception | None = None) -> None:
        self.where, self._batches, self._error = where, batches, error
        self.closed = threading.Event()
        self.given = 0
        self.phase = "reading"
        self.progress: float | None = None

    def batches(self) -> Iterator[Batch]:
        for batch in self._batches:
            if self.closed.is_set():
                return
            self.given += 1
            yield batch
        if self._error is not None:
            self.phase = "failed"
            raise self._error
        self.phase = "ended"

    def state(self) -> SourceState:
        return SourceState(
            self.where,
            self.phase,
            str(self._error or ""),
            nodes_connected=2,
            progress=self.progress,
        )

    def close(self) -> None:
        self.closed.set()


def batch(number: int) -> Batch:
    return Batch(flows=[flow(number)])


def test_all_of_both_comes_with_its_origin() -> None:
    gap = Gap(1, 2, "why")
    one = Listed("a", batch(1), Batch(gaps=[gap]))
    two = Listed("b", batch(2), batch(3))
    got = [b for b in MergedSource([one, two]).batches() if b]
    assert sorted((b.origin, f.time) for b in got for f in b.flows) == [
        ("a", flow(1).time),
        ("b", flow(2).time),
        ("b", flow(3).time),
    ]
    assert [g.origin for b in got for g in b.gaps] == ["a"]


def test_one_that_fails_does_not_stop_the_other_and_is_raised_at_the_end() -> None:
    broken = Listed("a", batch(1), error=Unreachable("a is gone"))
    merged = MergedSource([broken, Listed("b", *map(batch, range(20)))])
    got: list[Batch] = []
    with pytest.raises(Unreachable, match="a is gone"):
        got.extend(merged.batches())
    assert sum(len(b.flows) for b in got) == 21
    assert [(b.origin, b.failed) for b in got if b.failed] == [("a", "a is gone")]
    state = merged.state()
    assert state.phase == "ended"
    assert state.message == "a is gone"
    assert [one.phase for one in state.servers] == ["failed", "ended"]
    assert state.nodes_connected == 4


def test_a_defect_of_a_source_is_not_swallowed() -> None:
    merged = MergedSource([Listed("a", error=ZeroDivisionError()), Listed("b", batch(1))])
    with pytest.raises(ZeroDivisionError):
        list(merged.batches())


def test_a_slow_consumer_makes_the_sources_wait() -> None:
    many = Listed("a", *map(batch, range(1000)))
    merged = MergedSource([many, Listed("b")])
    batches = merged.batches()
    while not next(batches):
        pass
    threading.Event().wait(0.3)
    assert many.given <= 2 * WAITING + 3
    merged.close()
    assert len(list(batches)) <= 2 * WAITING


def test_names_must_differ() -> None:
    with pytest.raises(ValueError, match="same name"):
        MergedSource([Listed("a"), Listed("a")])


def test_as_much_is_read_as_of_the_one_that_is_slowest() -> None:
    slow, quick, live = Listed("a"), Listed("b"), Listed("c")
    slow.progress, quick.progress = 0.25, 0.75
    assert MergedSource([slow, quick, live]).state().progress == 0.25
    assert MergedSource([live]).state().progress is None
