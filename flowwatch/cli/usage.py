"""``--help``: made from the table of flags, for 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

from flowwatch.cli import program
from flowwatch.cli.flag_kinds import Flag, Group
from flowwatch.cli.flag_table import VERBS, Verb
from flowwatch.cli.flow_flags import FILTERS, SERVER
from flowwatch.errors import UsageError
from flowwatch.text import safe

WIDTH = 80
_COLUMN = 30

EXIT_CODES = (
    "Exit codes: 0 done, 1 failed (audit: findings), 2 the command line, or input that can't be "
    "read, 70 a defect of flowwatch (please report; --debug shows the traceback), 128 + the "
    "signal that ended it, 141 nobody reads the output any more."
)


def usage(verb: Verb, words: list[str]) -> str:
    """The help of ``verb``; ``flowwatch help WORDS`` shows that of the verb they name.

    Half of a verb's name (``list``) shows which verbs begin so.
    """
    name = " ".join(words)
    begun = [v for v in VERBS if name and v.name.startswith(f"{name} ")]
    if begun and verb.name in ("", "help"):
        return "\n".join(_begun(name, begun))
    if verb.name == "help":
        found = [v for v in VERBS if v.name == name]
        if not found:
            raise UsageError(f'no help for "{safe(name)}"', f"see {program.name()} --help")
        verb = found[0]
    return "\n".join(_overview(verb) if not verb.name else _of_verb(verb))


def _overview(verb: Verb) -> Iterator[str]:
    yield from wrap(verb.help, WIDTH)
    yield ""
    me = program.name()
    yield "Usage:"
    yield f"  {me} [filters]        the live dashboard"
    yield from _verbs([each for each in VERBS if each.name])
    yield ""
    yield from wrap(f"{me} VERB --help has a verb's flags, --version the version.", WIDTH)
    yield ""
    yield f"Try it without a cluster:  {me} demo"
    yield f"Your own:                  {me} --namespace weather"
    for group in verb.groups:
        if group not in (FILTERS, SERVER):
            yield from _group(group)
    yield ""
    yield from wrap(
        "Filters (--namespace, --from-pod, --to-fqdn, --verdict, --not …) and server flags "
        f"(--server, --tls …) are hubble's own: {me} observe --help lists them.",
        WIDTH,
    )
    yield ""
    yield from wrap(EXIT_CODES, WIDTH)


def _begun(name: str, verbs: list[Verb]) -> Iterator[str]:
    yield "Usage:"
    yield from _verbs(verbs)
    yield ""
    yield f"{program.name()} {name} WHAT --help has its flags."


def _verbs(verbs: list[Verb]) -> Iterator[str]:
    for each in verbs:
        left = f"  {program.name()} {each.name:<16} "
        first, *rest = wrap(each.help, WIDTH - len(left))
        yield left + first
        yield from (" " * len(left) + line for line in rest)


def _of_verb(verb: Verb) -> Iterator[str]:
    end = "" if verb.help.endswith("?") else "."
    yield f"{verb.help[0].upper()}{verb.help[1:]}{end}"
    yield ""
    me = program.name()
    behind = "|".join(verb.words.all()) if verb.words is not None else "[flags]"
    if verb.files:
        behind = f"{verb.files} [flags]"
    yield f"Usage:  {me} {verb.name} {behind if verb.name != 'help' else 'VERB'}"
    if verb.example:
        yield f"Example:  {verb.example.replace('flowwatch', me, 1)}"
    for group in verb.groups:
        yield from _group(group)
    if verb.more:
        yield ""
        yield from verb.more


def _group(group: Group) -> Iterator[str]:
    yield ""
    yield f"{group.title}:"
    for flag in group.flags:
        yield from _flag(flag)


def _flag(flag: Flag) -> Iterator[str]:
    short = f"-{flag.short}, " if flag.short else "    "
    left = f"  {short}--{flag.name}"
    if flag.metavar and flag.alone:
        left += f"[={flag.metavar}]"
    elif flag.metavar:
        left += f" {flag.metavar}"
    words = flag.words
    if flag.default and flag.kind != "switch":
        words += f" (default {flag.default})"
    elif flag.default == "true":
        words += " (default on)"
    lines = wrap(words, WIDTH - _COLUMN)
    if len(left) >= _COLUMN - 1:
        yield left
    else:
        yield f"{left:<{_COLUMN}}{lines.pop(0)}"
    for line in lines:
        yield " " * _COLUMN + line
