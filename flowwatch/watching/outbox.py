"""Notices on their way: a queue and a thread for each receiver, tried again until it has them.

What waits is bounded; of what is left out the receiver is told how many. Kept on disk where there is a folder
for it, before it is sent and after: a notice may come twice after a crash, and none gets lost.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from flowwatch.watching.alerts import Alert, Notice
from flowwatch.watching.state import Folder, Waiting

ROOM = 1000
"""Notices that wait for one receiver at most: 1 MB."""
AT_ONCE = 50
"""Sent together at most."""
FIRST, LONGEST = 0.5, 60.0
"""Seconds until the first retry; each further one waits twice as long, up to this."""


class NotDelivered(Exception):
    """A receiver hasn't got it; ``str()`` is why, one line without secrets."""

    def __init__(self, why: str, *, again: bool = True) -> None:
        """``again``: whether a later try may succeed."""
        super().__init__(why)
        self.again = again


class Sender(Protocol):
    """How a receiver is told."""

    name: str
    refresh: float
    """Seconds after which it is told again of what goes on; 0: once is enough."""

    def send(self, notices: list[Notice], left_out: int) -> None:
        """Tell it. Raises NotDelivered."""
        ...


class Outbox:
    """All receivers."""

    def __init__(
        self, senders: list[Sender], folder: Folder | None, say: Callable[[str], None]
    ) -> None:
        self._folder, self._say = folder, say
        self._lock = threading.Condition()
        known = folder.load_outbox() if folder is not None else {}
        self.waiting = {one.name: known.pop(one.name, Waiting()) for one in senders}
        self.strangers = sum(len(one.notices) for one in known.values())
        """Notices of receivers that are no longer there."""
        self.sent = dict.fromkeys(self.waiting, 0)
        self.failed = dict.fromkeys(self.waiting, 0)
        self.refused = dict.fromkeys(self.waiting, 0)
        """Notices that a receiver won't take, now or later."""
        self.left_out = dict.fromkeys(self.waiting, 0)
        self._going_on: list[Alert] = []
        self._ended = False
        self._threads = [
            threading.Thread(
                target=self._run, args=(one,), name=f"flowwatch-{one.name}", daemon=True
            )
            for one in senders
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def put(self, notices: list[Notice], to: Callable[[str, Notice], bool]) -> None:
        """Let receivers be told; ``to`` says whether one is to be of this. Raises OutputError."""
        with self._lock:
            for name, queue in self.waiting.items():
                for notice in notices:
                    if to(name, notice) and notice not in queue.notices:
                        self._add(name, queue, notice)
            self._keep()
            self._lock.notify_all()

    def _add(self, name: str, queue: Waiting, notice: Notice) -> None:
        if len(queue.notices) >= ROOM:
            queue.left_out += 1
            self.left_out[name] += 1
        else:
            queue.notices.append(notice)

    def _keep(self) -> None:
        if self._folder is not None:
            self._folder.save_outbox(self.waiting)

    def goes_on(self, alerts: Mapping[str, Alert]) -> None:
        """Which alerts go on now, for receivers that forget them otherwise."""
        with self._lock:
            self._going_on = [alert for alert in alerts.values() if alert.told]

    @property
    def undelivered(self) -> int:
        """Notices that wait."""
        with self._lock:
            return sum(len(one.notices) for one in self.waiting.values())

    def drain(self, seconds: float) -> int:
        """Wait until all is sent, so long at most; what wasn't. Then nothing more is sent."""
        deadline = time.monotonic() + seconds
        while self.undelivered and time.monotonic() < deadline:
            with self._lock:
                self._lock.wait(0.05)
        with self._lock:
            self._ended = True
            self._lock.notify_all()
        return self.undelivered

    def _run(self, sender: Sender) -> None:
        pause, told = FIRST, False
        refreshed = time.monotonic()
        while True:
            queue = self.waiting[sender.name]
            with self._lock:
                due = refreshed + sender.refresh if sender.refresh else float("inf")
                while not (queue.notices or self._ended or time.monotonic() >= due):
                    self._lock.wait(min(due - time.monotonic(), 1.0) if sender.refresh else None)
                if self._ended:
                    return
                batch, left_out = queue.notices[:AT_ONCE], queue.left_out
                if not batch:
                    batch = [Notice("firing", alert) for alert in self._going_on]
            refreshed = time.monotonic()
            if not batch:
                continue
            try:
                sender.send(batch, left_out)
            except NotDelivered as error:
                self.failed[sender.name] += 1
                if error.again:
                    if not told:
                        self._say(f"{sender.name}: {error}; alerts wait, and it is tried again")
                    told = True
                    with self._lock:
                        if not self._ended:
                            self._lock.wait_for(
                                lambda: self._ended, pause * random.uniform(0.8, 1.2)
                            )
                    pause = min(2 * pause, LONGEST)
                    continue
                self._say(f"{sender.name}: {error}: it is not told again")
                self.refused[sender.name] += len(batch)
            else:
                self.sent[sender.name] += len(batch)
                if told:
                    self._say(f"{sender.name}: it is told again")
                if left_out:
                    self._say(f"{sender.name}: {left_out} alerts were left out, as too many waited")
            pause, told = FIRST, False
            with self._lock:
                for notice in batch:
                    if notice in queue.notices:
                        queue.notices.remove(notice)
                queue.left_out -= left_out
                self._keep_or_say()
                self._lock.notify_all()

    def _keep_or_say(self) -> None:
        from flowwatch.errors import OutputError

        try:
            self._keep()
        except OutputError as error:
            self._say(f"{error}: what was sent may come again")
