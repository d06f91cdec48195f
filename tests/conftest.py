"""For all tests: secrets that one has read, and the signals that what they start is given."""

import signal

import pytest

from flowwatch import redact

# Under nohup it is ignored, and whatever is started inherits that: a closed window would end nothing.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_known", {})
