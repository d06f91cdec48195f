"""``flowwatch history info|compact|verify|forget DIR``: looking after what ``record`` has kept; ``ask``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from flowwatch.errors import UsageError
from flowwatch.history.kept import Kept, kept_at
from flowwatch.history.upkeep import Unwanted
from flowwatch.hubble.filters.request import parse_time
from flowwatch.output import columns, open_output, put, say
from flowwatch.report.history import write_info
from flowwatch.text import plural, size_words

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed
    from flowwatch.history.attempts.listeners import Listeners

MINUTE = 60_000_000_000
"""Nanoseconds."""


def run(parsed: Parsed) -> int:
    """0, or 1 where files are damaged."""
    verb = parsed.verb.name
    if verb == "history ask":
        return _ask(parsed)
    if len(parsed.rest) != 1:
        raise UsageError(f"flowwatch {verb} is about one history", f"flowwatch {verb} DIR")
    return _VERBS[verb](parsed, kept_at(parsed.rest[0], listeners=_listeners(verb)))


def _listeners(verb: str) -> Listeners:
    """Who counts more where attempts are made: loaded for these verbs alone."""
    if verb not in _MAKING:
        return ()
    from flowwatch.marks.keeping import Keeping

    return (Keeping,)


def _ask(parsed: Parsed) -> int:
    # Loaded by who asks alone.
    from flowwatch.history.attempts.asking import Limits, ask_of, question_of
    from flowwatch.report.answer import question_lines, told_lines, write_answer

    if parsed.switch("list"):
        put("".join(f"{line}\n" for line in question_lines()))
        return 0
    if len(parsed.rest) != 2:
        raise UsageError("a question, and a history", "flowwatch history ask QUESTION DIR; --list")
    name, where = parsed.rest
    question = question_of(name)
    engine = parsed.text("engine") if parsed.was_set("engine") else ""
    attempts = kept_at(where).attempts(engine)
    limits = Limits(
        _moment(parsed, "since"),
        _moment(parsed, "until"),
        parsed.text("direction").lower(),
        tuple(parsed.list("namespace")),
        tuple(parsed.list("workload")),
        parsed.text("peer"),
        parsed.number("limit"),
    )
    told = ask_of(attempts, question, limits)
    form = parsed.text("output")
    with open_output(None, form) as out:
        write_answer(told, form, out, columns=columns())
    if form != "json":  # which has them
        for line in told_lines(told):
            say(line)
    return 0


def _moment(parsed: Parsed, flag: str) -> int | None:
    """A time; one so long ago is that of a whole minute, as such are answered soonest."""
    text = parsed.text(flag)
    if not text:
        return None
    time = parse_time(text, flag)
    return time if text[:4].isdigit() and "-" in text else time // MINUTE * MINUTE


def _info(parsed: Parsed, kept: Kept) -> int:
    found = kept.info()
    form = parsed.text("output")
    with open_output(None, form) as out:
        write_info(found, form, out)
    return int(bool(found.left_out))


def _compact(_parsed: Parsed, kept: Kept) -> int:
    done = kept.compact()
    if done.merged_by:
        put(f"nothing to merge: {done.merged_by}\n")
    elif done.files:
        put(
            f"{plural(done.files, 'file')} of {size_words(done.before)} merged into "
            f"{done.made:,} of {size_words(done.after)}\n"
        )
    else:
        put("nothing to merge\n")
    if done.attempts is not None:
        put(f"{plural(done.attempts, 'attempt')} made of the records\n")
    if done.how:
        put(f"{done.how}\n")
    return _problems(done.problems)


def _verify(_parsed: Parsed, kept: Kept) -> int:
    done = kept.verify()
    attempts = f" and {plural(done.attempts, 'attempt')}" if done.attempts is not None else ""
    sound = "is sound" if done.files == 1 else "are sound"
    put(
        f"{plural(done.files, kept.unit)} {sound}: {plural(done.rows, 'record')}{attempts}, "
        f"{size_words(done.before)}\n"
    )
    _problems([*done.problems, *done.made_wrong])
    if done.problems and kept.unit == "file":
        say("what is named is left out of every answer: bring it back from a copy, or delete it")
    if done.made_wrong:
        say("attempts can be made anew: delete made/ there, then flowwatch history compact")
    return int(bool(done.problems or done.made_wrong))


def _forget(parsed: Parsed, kept: Kept) -> int:
    before = parsed.text("before")
    pods = []
    for text in parsed.list("pod"):
        namespace, slash, name = text.partition("/")
        if not (slash and namespace and name):
            raise UsageError(f"invalid pod: {text}", "as namespace/name, whole")
        pods.append((namespace, name))
    unwanted = Unwanted(
        parse_time(before, "before") if before else 0,
        tuple(parsed.list("namespace")),
        tuple(pods),
    )
    if not unwanted.words:
        raise UsageError("nothing says what to forget", "--before, --namespace or --pod")
    done = kept.forget(unwanted)
    if done.rows:
        put(f"{plural(done.rows, 'record')} {' or '.join(unwanted.words)} deleted\n")
    else:
        put(f"no record {' or '.join(unwanted.words)}\n")
    return 0


def _problems(lines: list[str]) -> int:
    for line in lines:
        say(line)
    return int(bool(lines))


_MAKING = ("history compact", "history forget")
_VERBS: dict[str, Callable[[Parsed, Kept], int]] = {
    "history info": _info,
    "history compact": _compact,
    "history verify": _verify,
    "history forget": _forget,
}
