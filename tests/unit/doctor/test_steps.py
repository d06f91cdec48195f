"""One look after another: what fails in a way that makes the next ones senseless ends them."""

from __future__ import annotations

import pytest

from flowwatch.doctor.steps import State, Step, run
from flowwatch.errors import FlowwatchError, Refused, Unreachable, UsageError


def fine() -> Step:
    return Step("second", State.OK, "well")


@pytest.mark.parametrize(
    ("error", "second"),
    [
        (Refused("this user may not"), State.OK),
        (Unreachable("no answer"), State.SKIPPED),
        # Basic authentication without TLS: there is no connection that the next could ask.
        (UsageError("a password needs TLS"), State.SKIPPED),
    ],
)
def test_what_comes_after_a_failure(error: FlowwatchError, second: State) -> None:
    def fails() -> Step:
        raise error

    steps = list(run([("first", fails, False), ("second", fine, False)]))
    assert [step.state for step in steps] == [State.FAIL, second]
