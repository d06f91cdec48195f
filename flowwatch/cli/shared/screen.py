"""The dashboard over a source: of ``flowwatch`` itself, and of the demo."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from flowwatch.cli.flag_kinds import LIST, SWITCH
from flowwatch.cli.flow_flags import SERVER
from flowwatch.cli.shared.causes import asks_for_policies
from flowwatch.cli.shared.options import direction, filter_text, limit_words, max_rows
from flowwatch.cli.shared.reading import at_terminal
from flowwatch.errors import UsageError
from flowwatch.output import say
from flowwatch.sources.keeping import kept_words
from flowwatch.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowwatch.audits.live import LiveAudit
    from flowwatch.audits.staged import LiveStaged
    from flowwatch.cli.flags import Parsed
    from flowwatch.drafts.drafting import Drafting
    from flowwatch.flows.join import Join
    from flowwatch.flows.source import Source
    from flowwatch.marks.live import LiveChanges
    from flowwatch.policy.engine import PolicySet


def show_dashboard(
    parsed: Parsed,
    source: Source,
    *,
    live: bool,
    notes: tuple[str, ...] = (),
    server: str = "",
    policies: PolicySet | None = None,
    again: Callable[[], Source] | None = None,
    opened: str = "",
) -> int:
    """The dashboard over ``source`` until the user quits; then what went wrong, if anything.

    ``server`` is named in the hubble commands that it shows, if it isn't the default one. ``policies``
    are in force where ``parsed`` names none. ``again`` opens what was seen once more, for the editor;
    ``opened``: the view that is seen at first.
    """
    from flowwatch.egress.aggregate import MAX_ROWS
    from flowwatch.egress.monitor import LiveMonitor
    from flowwatch.flows.join import Join

    join = Join()
    private = "private" in parsed.flags and parsed.switch("private")
    if private:
        _refuse_named(parsed)
        from flowwatch.sources.private import PrivateSource

        source, policies, again = PrivateSource(source), None, None
    audit = live_audit(parsed, join, policies)
    if "plain" in parsed.flags and wants_plain(parsed):
        if parsed.list("staged"):
            raise UsageError("--plain tells nothing of --staged", "flowwatch whatif -f FILE does")
        for line in notes:
            say(line)
        from flowwatch.cli.shared.plain import print_events

        return print_events(parsed, source, audit, join)
    from flowwatch.tui.app import run as run_app

    stager = live_staged(parsed, join, audit)
    rows = max_rows(parsed) if "max-rows" in parsed.flags else MAX_ROWS
    way = direction(parsed)
    text = filter_text(parsed) if "filter" in parsed.flags else ""
    monitors: list[LiveMonitor] = []
    told: list[LiveChanges] = []

    def start() -> LiveMonitor:
        """Called when the first frame is on the screen."""
        teller = audit.causes if audit is not None else None
        monitor = LiveMonitor(source, rows, live=live, join=join, teller=teller, stager=stager)
        monitors.append(monitor)
        # Loaded once the first frame is seen, and before anything is read.
        from flowwatch.marks.live import LiveChanges

        told.append(LiveChanges(join))
        monitor.start()
        return monitor

    try:
        code = run_app(
            start,
            title="flowwatch",
            filter_words=_hidden(parsed) if private else limit_words(parsed),
            export_dir=Path(_text(parsed, "export-dir", ".")),
            direction=way,
            noise="noise" in parsed.flags and parsed.switch("noise"),
            theme=_text(parsed, "theme", "auto"),
            text=text,
            hubble=("hubble", "observe") if private else hubble_command(parsed, server),
            private=private,
            hidden_words=_hidden(parsed),
            audit=audit,
            changes=lambda: told[0],
            drafting=drafting(parsed, again, audit),
            opened=opened,
        )
    finally:
        for monitor in monitors:
            monitor.stop()
    for line in (*notes, *kept_words(source)):
        say(line)
    for monitor in monitors:
        if monitor.failure is not None:
            raise monitor.failure
    return code


NAMING = ("policies", "policies-from-cluster", "staged", "filter")
"""Flags whose values are of real names, which nobody sees in private."""


def _refuse_named(parsed: Parsed) -> None:
    given = [name for name in NAMING if name in parsed.flags and parsed.was_set(name)]
    if given:
        raise UsageError(
            f"--private hides the names that --{given[0]} is about", "leave out one of them"
        )


def _hidden(parsed: Parsed) -> str:
    """In place of the filters, which name somebody."""
    filters = sum(name != "not" for name, _ in parsed.filters)
    return f"names hidden, {plural(filters, 'filter')}" if filters else "names hidden"


def wants_plain(parsed: Parsed) -> bool:
    """Whether lines are asked for, or are all that the terminal can show: it has no cursor that moves."""
    return parsed.switch("plain") or (at_terminal() and os.environ.get("TERM") == "dumb")


def _text(parsed: Parsed, flag: str, default: str) -> str:
    """A flag's text, of a verb that may not have it."""
    return parsed.text(flag) if flag in parsed.flags else default


def drafting(
    parsed: Parsed, again: Callable[[], Source] | None, audit: LiveAudit | None
) -> Drafting | None:
    """What the editor edits, read once it is opened; None where nothing can be read again."""
    if again is None:
        return None
    from flowwatch.cli.shared.editor import editor

    return editor(parsed, again, audit)


def live_audit(parsed: Parsed, join: Join, policies: PolicySet | None = None) -> LiveAudit | None:
    """The audit of the policies in force, or else of ``policies``; None without. Raises UsageError."""
    if not asks_for_policies(parsed):
        given = policies
    elif "edit" in parsed.flags:
        from flowwatch.cli.shared.policies import agent_options, given_of

        given = given_of(parsed, agent_options(parsed))
        given = given if given is not None and given.documents.policies else None
    else:
        # The policies' part is loaded only for who asks for it.
        from flowwatch.cli.shared.policies import in_force

        given = in_force(parsed)
    if given is None:
        return None
    from flowwatch.audits.live import LiveAudit

    return LiveAudit(given, join)


def live_staged(parsed: Parsed, join: Join, audit: LiveAudit | None) -> LiveStaged | None:
    """What the staged policies would do, beside those that are in force; None without. Raises UsageError."""
    paths = parsed.list("staged") if "staged" in parsed.flags else []
    if not paths:
        return None
    from flowwatch.api.watched_policies import Watched
    from flowwatch.audits.staged import LiveStaged
    from flowwatch.cli.shared.policies import agent_options

    current = audit.policies if audit is not None else None
    watched = Watched(paths, agent_options(parsed) if current is None else current.options, say)
    return LiveStaged(watched.read(), current, join, watched.again)


def hubble_command(parsed: Parsed, server: str) -> list[str]:
    """How a command begins that shows the same flows in hubble: same server, same files."""
    if server:
        return ["hubble", "observe", "--server", server]
    words = ["hubble", "observe"]
    for flag in SERVER.flags:
        # A password has no place on a screen; hubble takes it from its variable too.
        if not parsed.was_set(flag.name) or flag.name in NOT_SHOWN:
            continue
        if flag.kind == SWITCH:
            words.append(f"--{flag.name}={'true' if parsed.switch(flag.name) else 'false'}")
        elif flag.kind == LIST:
            words += [f"--{flag.name}", ",".join(parsed.list(flag.name))]
        else:
            words += [f"--{flag.name}", parsed.text(flag.name)]
    for path in parsed.list("input-file") if "input-file" in parsed.flags else ():
        words += ["--input-file", path]
    return words


NOT_SHOWN = ("basic-auth-password", "debug")
