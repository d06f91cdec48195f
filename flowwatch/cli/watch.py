"""``flowwatch watch``: alerts from the stream, and metrics."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from flowwatch.api.policy_files import read_text
from flowwatch.cli import values
from flowwatch.cli.shared.baseline import baseline
from flowwatch.cli.shared.listening import host_and_port
from flowwatch.cli.shared.reading import UNREADABLE, Reading, telling_apart
from flowwatch.cli.shared.traffic import demo_traffic
from flowwatch.errors import InputError, UsageError
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch
from flowwatch.goyaml.nodes import DocumentError
from flowwatch.hubble.client.config import seconds
from flowwatch.hubble.filters.flags import raw_filters
from flowwatch.output import Output, open_output, put, say
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import flow_request
from flowwatch.text import plural, safe
from flowwatch.watching.destinations import STEP
from flowwatch.watching.outbox import Outbox, Sender
from flowwatch.watching.rules import FORMATS, KINDS, Rules, read_rules
from flowwatch.watching.senders import CommandSender, HttpSender, as_alert
from flowwatch.watching.state import Folder, Saved
from flowwatch.watching.watcher import Watcher

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.flows.source import Source
    from flowwatch.watching.alerts import Notice
    from flowwatch.watching.metrics import Metrics

FIRED = 1
"""Exit code when an alert fired in what was read to its end."""
_TICK = 1.0
"""Seconds between looks while nothing comes: silence is an event as well."""
_SAVED = 10.0
"""Seconds between two times that the state is kept."""
_DELIVERED = 10.0
"""Seconds that receivers get in the end."""

EXAMPLE = """\
# flowwatch watch RULES.yaml: every field but `when` may be left out.
receivers:
  - name: ops
    url: http://127.0.0.1:9093          # or url-file: with the URL in it
    format: alertmanager-api            # alertmanager (its webhook), slack
rules:
  - alert: NewlyBlocked                 # a destination is dropped that was not blocked before
    when: new-blocked
    workload: "*"                       # namespace/workload
    attempts: 2
    learn: 5m                           # what is blocked in that time is known
    labels: {severity: page}
    notify: [ops]
  - alert: DropsAboveNormal             # a workload's share of drops is above its own normal
    when: drop-share
  - alert: GoneQuiet                    # a destination that is needed is tried no more
    when: gone-quiet
    peer: api.openweathermap.org
  - alert: NobodyAnswers                # let through, and nobody answers
    when: unanswered
  - alert: PolicyCut                    # a policy cut off what worked
    when: cut
"""


def run(parsed: Parsed) -> int:
    """Watch to the end, until ``--for`` is over, or until Ctrl-C, which is its end.

    1 where an alert fired in what has an end; errors end with 2.
    """
    with telling_apart():
        return _watch(parsed)


def _watch(parsed: Parsed) -> int:
    if parsed.was_set("print"):
        put(_printed(parsed.text("print")), "text")
        return 0
    if len(parsed.rest) != 1:
        raise UsageError(
            "one file of rules is wanted", "flowwatch watch --print example > rules.yaml"
        )
    rules = _rules(parsed.rest[0])
    senders = _senders(parsed, rules)
    if parsed.switch("check"):
        for rule in rules.rules:
            put(f"{safe(rule.alert)}: {KINDS[rule.kind][0]}\n", "text")
        return 0
    if parsed.switch("print-raw-filters"):
        put(raw_filters(flow_request(parsed).filters), "json")
        return 0
    with ExitStack() as stack:
        source, live = stack.enter_context(_source(parsed))
        folder = None
        if parsed.was_set("state"):
            folder = Folder(parsed.text("state"))
            stack.callback(folder.close)
        out = stack.enter_context(open_output(None, parsed.text("output")))
        return _Watching(parsed, rules, senders, folder, out, live=live).run(source, stack)


def _printed(what: str) -> str:
    if what == "example":
        return EXAMPLE
    from flowwatch.watching import prometheus

    return prometheus.rules() if what == "rules" else prometheus.grafana()


def _rules(path: str) -> Rules:
    try:
        return read_rules(read_text(path, "rules"), lambda other: read_text(other, "a URL"))
    except DocumentError as error:
        raise InputError(f"{safe(path)}:{error.line}: {safe(error.reason)}") from None


def _senders(parsed: Parsed, rules: Rules) -> list[Sender]:
    named = parsed.text("webhook-format") or FORMATS[0]
    form = next(one for one in FORMATS if one == named)
    found: list[Sender] = [HttpSender(one.name, one.url, one.format) for one in rules.receivers]
    found += [HttpSender("", url, form) for url in parsed.list("webhook")]
    found += [CommandSender(command, say) for command in parsed.list("exec")]
    return found


@contextmanager
def _source(parsed: Parsed) -> Iterator[tuple[Source, bool]]:
    """What is watched, and whether it is followed."""
    if parsed.was_set("demo"):
        with demo_traffic(parsed.text("demo") or "all", parsed) as source:
            yield source, False
        return
    ends = any(
        parsed.get(flag) for flag in ("all", "first", "last", "until", "input-file", "history")
    )
    wanted = flow_request(parsed, follow=not ends or None, several=True)
    for line in wanted.settings.warnings:
        say(line)
    live = wanted.window.follow and wanted.live
    yield open_source(wanted, with_ring=True, keep_trying=live), live


def _baseline(parsed: Parsed, rules: Rules) -> Saved | None:
    """What ``--baseline`` holds, as how things are. InputError."""
    if not parsed.text("baseline"):
        return None
    join = Join()
    watcher = Watcher(rules, join, live=False)
    join.read(baseline(parsed))
    return watcher.learnt()


class _Watching:
    """One run."""

    def __init__(
        self,
        parsed: Parsed,
        rules: Rules,
        senders: list[Sender],
        folder: Folder | None,
        out: Output,
        *,
        live: bool,
    ) -> None:
        self._parsed, self._folder, self._out, self._live = parsed, folder, out, live
        self._json = parsed.text("output") == "json"
        self._named = {one.name for one in rules.receivers}
        self._notify = {rule.alert: rule.notify for rule in rules.rules}
        self._join = Join()
        self._outbox = Outbox(senders, folder, say)
        known = folder.load() if folder is not None else None
        known = known or _baseline(parsed, rules)
        self._watcher = Watcher(rules, self._join, known, live=live)
        # Silence is looked at beside the reading.
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._kept = 0.0
        self._step = 0
        self._failure: Exception | None = None

    def run(self, source: Source, stack: ExitStack) -> int:
        """Watch ``source`` to its end; the exit code."""
        metrics = self._count(stack)
        self._outbox.start()
        if self._outbox.strangers:
            say(
                f"{plural(self._outbox.strangers, 'alert')} left out: of receivers that are no more"
            )
        if lasts := self._parsed.text("for"):
            timer = threading.Timer(seconds(lasts), source.close)
            timer.daemon = True
            timer.start()
        reading = Reading(source)
        ticker = threading.Thread(target=self._tick, daemon=True)
        if self._live:
            ticker.start()
        try:
            for batch in reading.batches():
                self._take(batch)
        finally:
            self._ended.set()
        if self._live:
            ticker.join()
        with self._lock:
            self._look(0, all_of_it=not self._live and not reading.partial)
            self._keep()
        if metrics is not None:
            metrics.finish()
        left = self._outbox.drain(_DELIVERED)
        if left:
            where = "lost" if self._folder is None else f"kept in {self._folder.name}"
            say(f"{plural(left, 'alert')} not delivered: {where}")
        if not self._live:
            for line in self._join.coverage().warnings:
                say(line)
        if reading.stopped is not None and reading.stopped.by_hand:
            return 0
        ended = reading.finish()
        if reading.failure is not None:
            return UNREADABLE
        if ended or self._live:
            return ended
        return FIRED if self._watcher.alerts.fired else 0

    def _count(self, stack: ExitStack) -> Metrics | None:
        """What is served to Prometheus, and pushed by OTLP; None where nobody wants it."""
        if not (self._parsed.was_set("metrics") or self._parsed.was_set("otlp")):
            return None
        from flowwatch.watching.metrics import Metrics

        alerts = self._watcher.alerts
        metrics = Metrics(
            self._join,
            live=self._live,
            active=alerts.by_rule,
            fired=lambda: dict(alerts.fired),
            names=self._watcher.names,
        )
        if self._parsed.was_set("metrics"):
            self._serve(metrics, stack)
        if self._parsed.was_set("otlp"):
            self._push(metrics, stack)
        return metrics

    def _serve(self, metrics: Metrics, stack: ExitStack) -> None:
        from flowwatch.watching.metrics import Served

        host, port = host_and_port(self._parsed.text("metrics"), "--metrics", "127.0.0.1:9435")
        served = Served(metrics, host, port)
        stack.callback(served.close)
        shown = f"[{host}]" if ":" in host else host
        say(f"metrics on http://{shown}:{served.port}/metrics")

    def _push(self, metrics: Metrics, stack: ExitStack) -> None:
        from flowwatch.watching.otlp import Pushed, endpoint

        given = self._parsed.text("otlp")
        url = endpoint("" if given == values.ENVIRONMENT else given, os.environ)
        pushed = Pushed(metrics, url, say, os.environ)
        stack.callback(pushed.close)
        say(f"metrics to {pushed.place} by OTLP")

    def _take(self, batch: Batch) -> None:
        for part in [batch] if self._live else self._parts(batch):
            with self._lock:
                if self._failure is not None:
                    raise self._failure
                self._join.add(part)
                self._look(0)

    def _parts(self, batch: Batch) -> Iterator[Batch]:
        """Each to the first record of a step, so that looks don't depend on a source's batches."""
        flows, start = batch.flows, 0
        rest = batch
        for place, flow in enumerate(flows):
            if flow.time // STEP > self._step:
                self._step = flow.time // STEP
                yield replace(rest, flows=flows[start : place + 1])
                rest, start = Batch(origin=batch.origin), place + 1
        yield replace(rest, flows=flows[start:])

    def _tick(self) -> None:
        while not self._ended.wait(_TICK):
            try:
                with self._lock:
                    self._look(time.time_ns() - self._join.tally.late)
            except Exception as error:  # noqa: BLE001 - raised by who reads
                self._failure = error
                return

    def _look(self, clock: int, *, all_of_it: bool = False) -> None:
        notices = self._watcher.look(clock, all_of_it=all_of_it)
        if notices:
            self._outbox.put(notices, self._is_for)
            for one in notices:
                self._out.write(self._line(one))
            self._out.flush()
        self._outbox.goes_on(self._watcher.alerts.active)
        if notices or time.monotonic() - self._kept >= _SAVED:
            self._keep()

    def _keep(self) -> None:
        self._kept = time.monotonic()
        if self._folder is not None:
            self._folder.save(self._watcher.saved())

    def _is_for(self, receiver: str, notice: Notice) -> bool:
        """A rule's own receivers, where it names some, and those of the command line."""
        wanted = self._notify.get(notice.alert.rule, ())
        return not wanted or receiver not in self._named or receiver in wanted

    def _line(self, notice: Notice) -> str:
        told = as_alert(notice)
        if self._json:
            return json.dumps(told) + "\n"
        at = told["endsAt"] if notice.status == "resolved" else told["startsAt"]
        words = safe(notice.alert.annotations.get("summary", ""))
        return f"{at} {notice.status:8} {safe(notice.alert.rule)}: {words}\n"
