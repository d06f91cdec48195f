"""What an audit that follows says while it runs: each finding once, when it is first seen."""

from __future__ import annotations

import time

from flowwatch.audits.audit import Audit
from flowwatch.audits.findings import FAILURES, Finding
from flowwatch.output import say
from flowwatch.report.audit.words import who
from flowwatch.text import safe

EVERY = 2.0
"""Seconds between looks at what is known so far."""
SHARE = 0.1
"""Of a core that looking may take: judging 25,000 open attempts takes 0.3 s."""


class News:
    """Looks at a running audit from time to time, and says what is new on standard error."""

    def __init__(self, audit: Audit, every: float = EVERY) -> None:
        self._audit = audit
        self._every = every
        self._told: set[tuple[str, str, str, str, str, int]] = set()
        self._next = time.monotonic() + every
        say("following; the report comes at the end (Ctrl-C), findings are told as they are seen")

    def look(self) -> None:
        """To be called after each batch; mostly does nothing."""
        began = time.monotonic()
        if began < self._next:
            return
        for finding in self._audit.report_now().findings:
            if finding.kind in FAILURES:
                self._tell(finding)
        now = time.monotonic()
        self._next = now + max(self._every, (now - began) / SHARE)

    def _tell(self, one: Finding) -> None:
        key = (one.kind, one.direction, one.subject, one.peer, one.protocol, one.port)
        if key in self._told:
            return
        self._told.add(key)
        at = time.strftime("%H:%M:%S", time.localtime(one.first / 1e9))
        say(f"{at} {one.kind}: {safe(who(one))}: {safe(one.reason)}")
