"""For all tests: what one has read as a secret is no secret in the next one's messages."""

import pytest

from flowwatch import redact


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redact, "_known", {})
