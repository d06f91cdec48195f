"""``flowwatch draft``: the least policy that lets through what was let through."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flowwatch.api.policy_files import read_text, shown
from flowwatch.cli.shared.chosen import Traffic
from flowwatch.cli.shared.options import directions, stable_of
from flowwatch.cli.shared.policies import agent_options, given_of
from flowwatch.cli.shared.reading import UNREADABLE, Reading, at_terminal, telling_apart
from flowwatch.cli.shared.traffic import again_of, source_of
from flowwatch.errors import UsageError
from flowwatch.output import open_output, put, say
from flowwatch.text import plural, safe

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.drafts.draft import Draft
    from flowwatch.policy.agent_options import AgentOptions

MAX_PORT = 65_535
NOTHING = 3
"""Exit code when there is no evidence to draft anything from."""


def run(parsed: Parsed) -> int:
    """Draft, write; 0, or 3 when nothing could be learnt, 2 for bad input."""
    with telling_apart():
        return _draft(parsed)


def _draft(parsed: Parsed) -> int:
    from flowwatch.drafts.documents import KINDS
    from flowwatch.drafts.draft import Drafter
    from flowwatch.drafts.needs import SUBJECTS

    if parsed.switch("follow") and (not parsed.was_set("stable") or parsed.switch("edit")):
        hint = "--stable 2h says when" if not parsed.switch("edit") else "leave out --follow"
        raise UsageError("a draft ends", hint)
    if parsed.switch("edit"):
        return _edit(parsed)
    asked = parsed.text("explain")
    _check(asked)
    existing = _existing(parsed)
    options = agent_options(parsed)
    if options.known:
        say(options.judged_by)
    owner = next(one for one in SUBJECTS if one == parsed.text("for"))
    kind = next(one for one in KINDS if one == parsed.text("kind"))
    given = given_of(parsed, options)
    if existing is not None:
        from flowwatch.policy import load

        given = load([(shown(parsed.text("onto")), existing)], options=options)
    stable, follows = stable_of(parsed), parsed.switch("follow")
    picked = tuple(parsed.list("allow"))
    ways = directions(parsed)
    traffic = Traffic(parsed, ways)
    drafter = Drafter(
        owner, kind, ways, picked, options, given,
        stable=stable, follows=follows, l7=parsed.switch("l7"), dns_names=parsed.switch("dns-names"),
        explains=bool(asked), join=traffic.join,
    )  # fmt: skip
    if follows:
        say("following until nothing new comes any more (Ctrl-C writes what is known by then)")
    with source_of(parsed) as source:
        if source is None:
            return 0
        reading = Reading(source)
        draft = drafter.read(traffic.batches(reading))
        reading.nothing()
    if existing is not None:
        found = _write_onto(draft, parsed, existing, options)
    elif asked:
        found = _explain(draft, asked)
    else:
        found = _write(draft, parsed.text("output"))
    ended = reading.finish()
    if reading.failure is not None:
        return UNREADABLE
    return ended or (0 if found else NOTHING)


def _edit(parsed: Parsed) -> int:
    """The editor, in the dashboard; its own exit code."""
    from flowwatch.cli.shared.screen import show_dashboard

    for other in ("explain", "onto", "diff", "filter"):
        if parsed.was_set(other):
            raise UsageError(f"cannot set both --edit and --{other}")
    if "-" in (*parsed.list("input-file"), *parsed.list("policies")):
        raise UsageError("standard input can't be read twice", "name a file")
    if not at_terminal():
        raise UsageError("the editor needs a terminal", "leave out --edit to write the draft")
    agent_options(parsed)
    with again_of(parsed) as (again, server):
        return show_dashboard(
            parsed,
            again(),
            live=not parsed.list("input-file") and not parsed.text("history"),
            server=server,
            again=again,
            opened="draft",
        )


def _existing(parsed: Parsed) -> str | None:
    """The text of ``--onto``; None without it. Raises UsageError."""
    path = parsed.text("onto")
    if not path:
        if parsed.switch("diff") or parsed.was_set("onto"):
            raise UsageError("--diff shows what is added to policies", "give --onto FILE, too")
        return None
    for other in ("explain", "kind", "policies"):
        if parsed.was_set(other):
            raise UsageError(f"cannot set both --onto and --{other}")
    if path == "-" and "-" in parsed.list("input-file"):
        raise UsageError("policies and flows can't both come from standard input")
    if parsed.switch("diff") and parsed.was_set("output"):
        raise UsageError("cannot set both --diff, which writes nothing, and --output")
    text = read_text(path)
    _refuse(path, text)
    return text


def _refuse(path: str, text: str) -> None:
    """Raise UsageError for what can't be added to, before traffic is read."""
    from flowwatch.drafts.onto import OntoError, check_file

    try:
        check_file(shown(path), text)
    except OntoError as error:
        raise UsageError(safe(str(error))) from None


def _write_onto(draft: Draft, parsed: Parsed, text: str, options: AgentOptions) -> bool:
    """Write the policies with the addition, or what it changes; whether all that was chosen is allowed."""
    from flowwatch.drafts.onto import add_onto

    picked = parsed.list("allow")
    path = parsed.text("onto")
    if not picked:
        say("nothing was chosen: --allow PEER:PORT takes in one of what was dropped")
        for line in dict.fromkeys(draft.dropped):
            say(f"  {safe(line)}")
        return False
    onto = add_onto(draft, picked, shown(path), text, options)
    for note in onto.notes:
        say(safe(note))
    if parsed.switch("diff"):
        put(onto.diff)
    else:
        with open_output(parsed.text("output") or None, "yaml") as out:
            out.write(onto.after)
    say(f"allows {onto.allowed:,} of {onto.chosen:,} chosen")
    return 0 < onto.chosen == onto.allowed


def _check(asked: str) -> None:
    """Raise UsageError for a port that can't be. An IPv6 address has its port behind brackets."""
    host, colon, port = asked.rpartition(":")
    if not colon or (":" in host and not host.endswith("]")):
        return
    if not host or not port.isascii() or not port.isdigit() or int(port[:6]) > MAX_PORT:
        raise UsageError(
            f"invalid --explain: {safe(asked)}", "PEER, or PEER:PORT as api.github.com:443"
        )


def _explain(draft: Draft, asked: str) -> bool:
    lines = draft.why(asked)
    if not lines:
        say(f"nothing that was seen tried {safe(asked)}: no line is about it")
    put("".join(f"{safe(line)}\n" for line in lines))
    return bool(lines)


def _write(draft: Draft, path: str) -> bool:
    """Write the policies, say what they prove; whether there are any."""
    for note in draft.notes:
        say(safe(note))
    if draft.quiet:
        say(f"no evidence, so nothing drafted for {safe(draft.quiet_words)}")
    if not draft.documents:
        seen = draft.coverage
        say(
            f"nothing drafted: {plural(seen.records_read, 'record')}, {plural(draft.attempts, 'attempt')}, "
            "and none that was let through teaches what is needed"
        )
        return False
    if path and (path.endswith("/") or os.path.isdir(path)):
        os.makedirs(path, exist_ok=True)
        for one in draft.documents:
            with open_output(os.path.join(path, one.file), "yaml") as out:
                out.write(one.text)
    else:
        with open_output(path or None, "yaml") as out:
            out.write(draft.text)
    policies = plural(len(draft.documents), "policy", "policies")
    say(f"{policies}: {safe(draft.proof.words)}")
    return True
