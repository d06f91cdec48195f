"""Rules at work on a stream: batches in by way of the join, notices out.

watcher = Watcher(rules, join, saved)
for batch in source.batches():
    join.add(batch)
    for notice in watcher.look(now):
        ...
"""

from __future__ import annotations

import time

from flowwatch.flows.join import Join
from flowwatch.marks.live import LiveChanges
from flowwatch.watching.alerts import Alerts, Notice
from flowwatch.watching.destinations import MOST, Destinations
from flowwatch.watching.kinds import OF_KIND, CutOff, Learned, Now, note
from flowwatch.watching.names import Names, Path
from flowwatch.watching.rules import SECOND, Rules
from flowwatch.watching.state import Saved

_CHANGES_EVERY = 30 * SECOND
"""Of flow time, between two searches for what policies changed."""
_COSTLY = 20
"""No more than one part in so many of the time goes into them."""
_WATCHED_GAP = 120 * SECOND
"""Without any record for so long nobody was watching: silence proves nothing then."""


class Watcher:
    """All rules. One thread adds to the join and asks here."""

    def __init__(
        self, rules: Rules, join: Join, saved: Saved | None = None, *, live: bool = True
    ) -> None:
        """``live``: what comes late is missed, so searches may take no more than a part of the time; else
        they go by flow time alone, so that the same records give the same alerts."""
        self._join = join
        self._live = live
        self._rules = [OF_KIND[rule.kind](rule) for rule in rules.rules]
        self._cuts = [one for one in self._rules if isinstance(one, CutOff)]
        self.alerts = Alerts({rule.alert: rule for rule in rules.rules})
        self.learned = Learned()
        self.names = Names(saved.names if saved is not None else None)
        """Of ends, as they are known by now."""
        self.destinations = Destinations(self.names)
        self._changes = LiveChanges(join) if self._cuts else None
        self.now = 0
        """Up to when rules have looked, in flow time."""
        self._begun_at = 0
        self._watched_since = 0
        self._next = 0
        self._due = 0.0
        if saved is not None:
            self.now = self._begun_at = saved.now
            self.alerts.begin(saved.active)
            self.learned = saved.learned
            self.destinations.skip_until = saved.now
        self.destinations.paths = self.learned.paths
        join.listen(self.destinations)

    def learnt(self) -> Saved:
        """What another may begin with: how things are, and no alert (a baseline)."""
        self.look(0, all_of_it=True)
        return Saved(learned=self.learned, names=self.names.learnt())

    def saved(self) -> Saved:
        """What goes on from here after a restart."""
        active = list(self.alerts.active.values())
        return Saved(self.now, active, self.learned, self.names.learnt())

    def look(self, clock: int, *, all_of_it: bool = False) -> list[Notice]:
        """What is new by now. ``clock``: the time on the flows' clock where it is known to have come
        (ns since 1970); ``all_of_it``: nothing follows."""
        seen = self._join.tally.last_seen
        if self.names.renamed:
            self._rename()
        stepped = self.destinations.over(max(seen, clock), all_of_it=all_of_it)
        self.learned.paths = self.destinations.paths
        first = self._join.tally.first_seen
        now = None
        for end, steps in stepped:
            if end <= self._begun_at:
                continue
            if not self.learned.since:
                self.learned.since = first
            if not self._watched_since:
                self._watched_since = max(first or end, self._begun_at)
            elif end - self.now > _WATCHED_GAP:
                self._watched_since = end
            note(self.learned, steps)
            self.now = end
            now = Now(end, steps, self.learned, self.alerts, self.names, self._watched_since)
            for rule in self._rules:
                rule.look(now)
            self._bound()
            self.alerts.tell(end)
        if now is not None:
            self._look_for_changes(now, at_once=all_of_it)
            self.alerts.tell(now.end)
        return self.alerts.take_news()

    def _rename(self) -> None:
        self.names.renamed = False
        by = self.names.path
        self.destinations.rename()
        self.learned.rename(by)
        self.alerts.rename(by)
        for rule in self._rules:
            rule.rename(by)

    def _look_for_changes(self, now: Now, *, at_once: bool) -> None:
        changes = self._changes
        if changes is None:
            return
        began = time.monotonic()
        if not at_once and (now.end < self._next or (self._live and began < self._due)):
            return
        directions = frozenset(("egress", "ingress"))
        report = changes.report(directions)
        found: dict[Path, int] = {}
        for rule in self._cuts:
            found.update(rule.changed(now, report))
        self.learned.cut.update(found)
        span = 0 if self._live else now.end - self._join.tally.first_seen
        self._next = now.end + max(_CHANGES_EVERY, span // _COSTLY)
        self._due = time.monotonic() + (time.monotonic() - began) * _COSTLY

    def _bound(self) -> None:
        for known in (*self.learned.blocked.values(), self.learned.cut):
            if len(known) > MOST:
                by_age = sorted(known, key=known.__getitem__)
                for path in by_age[: len(by_age) // 2]:
                    del known[path]
        normal = self.learned.normal
        while len(normal) > MOST:
            del normal[next(iter(normal))]
