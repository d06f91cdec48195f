"""What blocked an attempt, by the policies that were given: who counts attempts is told it by who judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from flowwatch.flows.open_attempt import OpenAttempt


class Cause(NamedTuple):
    """What blocked an attempt at one of its ends."""

    words: str
    """For a cell: ``default deny · weather-egress``; empty where no policy had a say."""
    attribution: str
    """In a sentence, with the closest rule or the request that was refused."""


Telling = Callable[[], "Cause | None"]
"""Asked once, any time later; None: nothing blocked it in the end."""


class Teller(Protocol):
    """Who judges. It hears of each batch before those who count."""

    def blocked(self, attempt: OpenAttempt, server: str, direction: str) -> Telling:
        """For an attempt that the present batch shows to be blocked: what will tell the cause of it.

        ``direction``: of which of its ends, ``egress`` or ``ingress``.
        """
        ...
