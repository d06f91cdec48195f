"""For all tests: secrets that one has read, and the signals that what they start is given."""

import signal

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


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_known", {})
