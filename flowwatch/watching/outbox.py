"""Notices on their way: a queue and a thread for each receiver, tried again until it has them.

What waits is bounded. Where there is no room, alerts that began and were over meanwhile go first, then the
last that begin: whoever was told of a beginning is told of its end. Of what is left out the receiver is told
how many. Kept on disk where there is a folder for it, before it is sent and after: a notice may come twice
after a crash, and none gets lost.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from flowwatch.text import plural, safe
from flowwatch.watching.alerts import MOST, Alert, Notice
from flowwatch.watching.state import Folder, Waiting

ROOM = 1000
"""Notices that wait for one receiver at most: 1 MB."""
AT_ONCE = 50
"""Sent together at most."""
FIRST, LONGEST = 0.5, 60.0
"""Seconds until the first retry; each further one waits twice as long, up to this."""

_LAST = 1.0
"""Seconds for the answer to what is on its way in the end."""


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

    def at_once(self, notices: list[Notice]) -> list[Notice]:
        """Those of ``notices`` that one message tells of, the first among them: all arrive, or none."""
        ...

    def send(self, notices: list[Notice], left_out: int) -> None:
        """Tell it. Raises NotDelivered."""
        ...


class Clock:
    """Seconds that go by."""

    def now(self) -> float:
        """Since some moment."""
        return time.monotonic()

    def wait(self, lock: threading.Condition, seconds: float | None) -> None:
        """Let ``lock`` go until it is notified, so long at most."""
        lock.wait(seconds)


class Outbox:
    """All receivers."""

    def __init__(
        self,
        senders: list[Sender],
        folder: Folder | None,
        say: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._folder, self._say, self._clock = folder, say, clock or Clock()
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
        key = notice.alert.fingerprint
        if key in queue.untold:
            queue.untold.discard(key)
            if notice.status == "resolved":
                return
        queue.notices.append(notice)
        if len(queue.notices) > ROOM:
            before = queue.left_out
            _merge(queue)
            if len(queue.notices) > ROOM:
                _leave_out(queue)
            self.left_out[name] += queue.left_out - before

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
        """Wait until all is sent, so long at most; what wasn't. Then nothing more is sent. Begun before."""
        deadline = self._clock.now() + seconds
        while self.undelivered and self._clock.now() < deadline:
            with self._lock:
                self._clock.wait(self._lock, 0.05)
        with self._lock:
            self._ended = True
            self._lock.notify_all()
        for thread in self._threads:
            # What is on its way would come twice, were its answer not waited for.
            thread.join(_LAST)
        return self.undelivered

    def _run(self, sender: Sender) -> None:
        clock, queue = self._clock, self.waiting[sender.name]
        pause, told = FIRST, False
        refreshed = clock.now()
        while True:
            with self._lock:
                due = refreshed + sender.refresh if sender.refresh else float("inf")
                while not (queue.notices or self._ended or clock.now() >= due):
                    clock.wait(self._lock, due - clock.now() if sender.refresh else None)
                if self._ended:
                    return
                batch, left_out, over = queue.notices[:AT_ONCE], queue.left_out, queue.over
                if batch:
                    batch = sender.at_once(batch)
                else:
                    batch = [Notice("firing", alert) for alert in self._going_on]
            refreshed = clock.now()
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
                    self._pause(pause * random.uniform(0.8, 1.2))
                    pause = min(2 * pause, LONGEST)
                    continue
                self._say(f"{sender.name}: {error}: it is not told again")
                self.refused[sender.name] += len(batch)
            else:
                self.sent[sender.name] += len(batch)
                if told:
                    self._say(f"{sender.name}: it is told again")
                if left_out:
                    alerts = plural(left_out, "alert")
                    meanwhile = f"; {over} of them began and were over meanwhile" if over else ""
                    self._say(f"{sender.name}: {alerts} left out, as too many waited{meanwhile}")
            pause, told = FIRST, False
            with self._lock:
                for notice in batch:
                    if notice in queue.notices:
                        queue.notices.remove(notice)
                queue.left_out -= left_out
                queue.over -= over
                self._keep_or_say()
                self._lock.notify_all()

    def _pause(self, seconds: float) -> None:
        """Let so long pass, but for the end."""
        until = self._clock.now() + seconds
        with self._lock:
            while not self._ended and self._clock.now() < until:
                self._clock.wait(self._lock, until - self._clock.now())

    def _keep_or_say(self) -> None:
        from flowwatch.errors import OutputError

        try:
            self._keep()
        except OutputError as error:
            self._say(f"{error}: what was sent may come again")


# The first AT_ONCE of a queue may be on their way: they stay.


def _merge(queue: Waiting) -> None:
    """Leave out alerts that began and were over while they waited."""
    begun: dict[str, int] = {}
    gone: set[int] = set()
    for place, notice in enumerate(queue.notices[AT_ONCE:], AT_ONCE):
        key = notice.alert.fingerprint
        if notice.status == "firing":
            begun[key] = place
        elif key in begun:
            gone |= {begun.pop(key), place}
    queue.notices = [one for place, one in enumerate(queue.notices) if place not in gone]
    queue.left_out += len(gone) // 2
    queue.over += len(gone) // 2


def _leave_out(queue: Waiting) -> None:
    """Leave out the last that begins; where none does, the last."""
    last = len(queue.notices) - 1
    begins = (at for at in range(last, AT_ONCE - 1, -1) if queue.notices[at].status == "firing")
    notice = queue.notices.pop(next(begins, last))
    queue.left_out += 1
    if notice.status == "firing" and len(queue.untold) < MOST:
        queue.untold.add(notice.alert.fingerprint)


def reason_of(error: BaseException) -> str:
    """What the system says, which libraries wrap several times."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return safe(inner.strerror)
        below = [one for one in inner.args if isinstance(one, BaseException)]
        reason = getattr(inner, "reason", None)
        below += [reason] if isinstance(reason, BaseException) else []
        inner = inner.__cause__ or inner.__context__ or (below[0] if below else None)
    return "no answer in time" if "imeout" in type(error).__name__ else type(error).__name__
