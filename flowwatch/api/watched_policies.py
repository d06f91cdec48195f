"""Policies in files that people go on writing while they are looked at."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from flowwatch.api.policy_files import Tell, policy_files, read_policies
from flowwatch.errors import UsageError
from flowwatch.policy.agent_options import AgentOptions
from flowwatch.policy.engine import PolicySet

EVERY = 2.0
"""Seconds between two looks at the files."""


class Watched:
    """Files and folders of policies, read again when one of them is written, comes or goes."""

    def __init__(
        self, paths: Sequence[str], options: AgentOptions, tell: Tell, every: float = EVERY
    ) -> None:
        """``tell`` is given what is odd about them when they are read first; ``every``: seconds."""
        self._every = every
        self._paths, self._options, self._tell = list(paths), options, tell
        self._due = 0.0
        self._read: object = None

    def read(self) -> PolicySet:
        """The policies. Raises UsageError."""
        if "-" in self._paths:
            raise UsageError("--staged reads files", "name a file or a folder in place of -")
        self._read = self._state()
        return read_policies(self._paths, self._tell, options=self._options)

    def again(self) -> PolicySet | str | None:
        """The policies, where they were changed since, or in words why they can't be read; else None."""
        if time.monotonic() < self._due:
            return None
        self._due = time.monotonic() + self._every
        state = self._state()
        if state == self._read:
            return None
        self._read = state
        told: list[str] = []
        try:
            return read_policies(self._paths, told.append, options=self._options)
        except UsageError as error:
            # What was refused, and where, is told line by line before.
            return f"staged policies can't be read, those of before stand: {[*told, str(error)][0]}"

    def _state(self) -> object:
        """What differs once anything is written: each file, when and how large."""
        try:
            told = [(file, os.stat(file)) for file in policy_files(self._paths)]
        except (OSError, UsageError) as error:
            return str(error)
        return [(file, one.st_mtime_ns, one.st_size, one.st_ino) for file, one in told]
