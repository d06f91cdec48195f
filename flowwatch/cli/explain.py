"""``flowwatch explain``: what policies say about a connection, without any traffic."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from flowwatch.api.policy_files import read_policies, shown, standard_input
from flowwatch.cli.shared.policies import agent_options
from flowwatch.cli.shared.reading import telling_apart
from flowwatch.errors import UsageError
from flowwatch.output import columns, open_output, say
from flowwatch.report.explain import together, write_explanation
from flowwatch.report.jsontext import to_json
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.audits.seen_ends import SeenEnds
    from flowwatch.cli.flags import Parsed
    from flowwatch.policy.engine import PolicySet

_USAGE = 2
_CODES = {"allowed": 0, "denied": 1, "can't tell": 3}
"""Exit codes by the answer."""
_LONGEST = 1 << 20
"""Bytes of a question; one with a thousand labels takes 50 KB."""


def run(parsed: Parsed) -> int:
    """Answer the question: 0 allowed, 1 denied, 3 can't tell. Or each line of ``--queries``: 0, or 2
    when some of it could not be read."""
    with telling_apart():
        return _run(parsed)


def _run(parsed: Parsed) -> int:
    paths = parsed.list("filename")
    if parsed.was_set("reason"):
        return _reason(parsed)
    if not paths:
        raise UsageError("no policy was given", "-f FILE, a folder, or - for standard input")
    if parsed.text("queries"):
        for flag in ("from", "to", "from-labels", "to-labels", "request", "input-file", "demo"):
            if parsed.was_set(flag):
                raise UsageError(f"cannot set both --queries and --{flag}")
        if parsed.text("output") != "json" and parsed.was_set("output"):
            raise UsageError("the answers to --queries are JSON lines", "leave out --output")
        if parsed.text("queries") == "-" and "-" in paths:
            raise UsageError("policies and queries can't both come from standard input")
        options = agent_options(parsed)
        policies = read_policies(paths, say, keep_going=True, options=options)
        return _queries(policies, parsed.text("queries"))
    from flowwatch.policy.explain import QuestionError, explain, read_end

    form = parsed.text("output")
    protocol = parsed.text("protocol") if parsed.was_set("protocol") else ""
    options = agent_options(parsed)
    try:
        subject = read_end(parsed.text("from"), parsed.text("from-labels"), options.cluster)
        peer = read_end(parsed.text("to"), parsed.text("to-labels"), options.cluster)
        if "-" in paths and "-" in parsed.list("input-file"):
            raise UsageError("policies and flows can't both come from standard input")
        policies = read_policies(paths, say, options=options)
        if seen := _seen(parsed):
            subject, peer = seen.known(subject), seen.known(peer)
        answers = explain(policies, subject, peer, protocol, parsed.text("request"))
    except QuestionError as error:
        raise UsageError(safe(str(error)), "see flowwatch explain --help") from None
    with open_output(None, form) as out:
        write_explanation(answers, form, out, columns=columns())
    return _CODES[together(answers)]


_ASKED = (
    "filename",
    "cilium-config",
    "from",
    "to",
    "from-labels",
    "to-labels",
    "request",
    "input-file",
    "demo",
    "queries",
)


def _reason(parsed: Parsed) -> int:
    """What a drop reason means, by its name in any case, or its number. Raises UsageError."""
    from flowwatch.flows.reasons import by_name
    from flowwatch.report.reasons import write_reason

    for flag in _ASKED:
        if parsed.was_set(flag):
            raise UsageError(f"cannot set both --reason and --{flag}")
    text = parsed.text("reason")
    found = by_name(text.upper())
    if found is None:
        raise UsageError(f"invalid --reason: {safe(text)}", parsed.advice("reason", text.upper()))
    form = parsed.text("output")
    with open_output(None, form) as out:
        write_reason(found, form, out, columns=columns())
    return 0


def _seen(parsed: Parsed) -> SeenEnds | None:
    """Who the traffic shows, where some is named. Raises InputError."""
    if not (parsed.was_set("demo") or parsed.list("input-file")):
        return None
    from flowwatch.audits.seen_ends import SeenEnds
    from flowwatch.cli.shared.traffic import demo_traffic
    from flowwatch.sources.files import FileSource

    if parsed.was_set("demo"):
        with demo_traffic(parsed.text("demo") or "all", parsed) as source:
            return SeenEnds(source.batches())
    return SeenEnds(FileSource(parsed.list("input-file")).batches())


def _queries(policies: PolicySet, path: str) -> int:
    """One answer a line, in the order of the questions; what is no question is told and counted."""
    from flowwatch.policy.queries import Queries, QueryError

    queries = Queries(policies)
    bad = 0
    with _opened(path) as file, open_output(None, "jsonl") as out:
        for number, line in _lines(file, path):
            if not line.strip():
                continue
            try:
                out.write(to_json(queries.answer(line)) + "\n")
            except QueryError as error:
                bad += 1
                say(f"{shown(path)}:{number}: {safe(str(error))}")
    if bad:
        lines_were = (
            "lines were no questions and have" if bad > 1 else "line was no question and has"
        )
        say(f"{bad:,} {lines_were} no answer")
    return _USAGE if bad or policies.documents.unread else 0


def _lines(file: IO[bytes], path: str) -> Iterator[tuple[int, bytes]]:
    """Number and text of each line. Raises UsageError where there are no lines, as in a device."""
    number = 0
    while True:
        number += 1
        try:
            line = file.readline(_LONGEST + 1)
        except OSError as error:
            raise UsageError(f"cannot read {shown(path)}: {error.strerror}") from None
        if not line:
            return
        if len(line) > _LONGEST:
            raise UsageError(
                f"{shown(path)}:{number}: the line is longer than {_LONGEST >> 20} MiB",
                "give one question a line, as JSON",
            )
        yield number, line.removeprefix(codecs.BOM_UTF8) if number == 1 else line


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield standard_input("questions")
        return
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below, where errors of reading are not ours
    except OSError as error:
        raise UsageError(f"cannot read {safe(path)}: {error.strerror}") from None
    with file:
        yield file
