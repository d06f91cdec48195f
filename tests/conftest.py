"""For all tests: which run side by side, secrets that one has read, and the signals and variables that
what they start is given."""

import os
import signal
from pathlib import Path

import pytest

from flowwatch import redact

# Under nohup SIGHUP is ignored, in a shell's background job SIGINT, and whatever is started inherits
# that: nothing would end. Said once here, as a preexec_fn forks, and a fork of a process in which
# gRPC's threads run aborts before it becomes another program (157 of 6,400, grpcio 1.85).
for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGTERM, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

# Else each of some 700 programs that tests start compiles all that it loads: half of what it takes.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

MOST_WORKERS = 8
"""The longest group of tests takes an eighth of all; and each worker needs some 300 MB."""
INTEROP = Path(__file__).parent / "interop"


def pytest_xdist_auto_num_workers() -> int | None:
    """One more than there are processors for us, as many tests wait for what others do.

    xdist itself counts the processors of the whole machine.
    """
    if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS"):
        return None
    return min(MOST_WORKERS, 1 + len(os.sched_getaffinity(0)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep in one worker what shares a real part: the API server, and a file's Hubble servers."""
    for item in items:
        if "api" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("the API server"))
        elif item.path.is_relative_to(INTEROP):
            item.add_marker(pytest.mark.xdist_group(item.path.name))


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_known", {})
