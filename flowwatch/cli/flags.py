"""The command line, read as cobra and pflag read hubble's: same forms, same words when it is wrong.

    parsed = parse(["summary", "-n", "weather", "--last=100"])
    parsed.verb, parsed.get("last"), parsed.filters

A parser of our own, because the order of filters matters (``--not`` is about the flag that comes
next) and libraries gather the values of a flag; and because importing one costs more than the whole
``--help`` may take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flowwatch.cli import program
from flowwatch.cli.flag_kinds import FILTER, LIST, NUMBER, SWITCH, Flag
from flowwatch.cli.flag_table import VERBS, Verb
from flowwatch.errors import UsageError
from flowwatch.gotext import comma_list, parse_uint, quote, quote_rune
from flowwatch.text import safe

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


class Parsed:
    """A command line taken apart; values by flag name without dashes."""

    def __init__(self, verb: Verb) -> None:
        self.verb = verb
        self.flags = {flag.name: flag for group in verb.groups for flag in group.flags}
        self.servers: list[str] = []
        """Every ``--server``, in order; the flag's own value is the last, as with hubble."""
        self.filters: list[tuple[str, str]] = []
        """Name and value of each filter flag, in the order of the command line."""
        self.help = False
        self.version = False
        self.rest: list[str] = []
        """What is neither verb nor flag."""
        self.given: list[tuple[str, str]] = []
        """Every flag that stood there and its value, in their order."""
        self._values: dict[str, str | list[str]] = {}

    def was_set(self, name: str) -> bool:
        """Whether the flag stood on the command line."""
        return name in self._values

    def get(self, name: str) -> str | int | bool | list[str]:
        """The flag's value, of its kind; its default when it wasn't set or the verb has none."""
        flag = self.flags.get(name) or _EVERY[name]
        value = self._values.get(name)
        if flag.kind == LIST:
            return value if isinstance(value, list) else []
        text = flag.default if value is None else str(value)
        if flag.kind == SWITCH:
            return text in _TRUE
        if flag.kind == NUMBER:
            return parse_uint(text or "0", 64, base=0)
        return text

    def text(self, name: str) -> str:
        return str(self.get(name))

    def number(self, name: str) -> int:
        return int(str(self.get(name)))

    def switch(self, name: str) -> bool:
        return self.get(name) is True

    def list(self, name: str) -> list[str]:
        value = self.get(name)
        return value if isinstance(value, list) else []

    def check(self) -> None:
        """Raise UsageError for the first value that its flag doesn't take."""
        for name, value in self._values.items():
            flag = self.flags[name]
            for one in value if isinstance(value, list) else [value]:
                if refusal := _refusal(flag, one):
                    raise UsageError(*refusal)

    def advice(self, name: str, text: str) -> str:
        """What to write instead of ``text``, which the flag ``name`` was refused with; may be ""."""
        choices = self.flags[name].choices
        return safe(choices.advice(text)) if choices is not None else ""

    def set(self, flag: Flag, value: str, written: str) -> None:
        """Take in one occurrence; raises UsageError in pflag's words when the value is no good."""
        self.given.append((flag.name, value))
        if flag.name == "history" and self._values.get("history", value) != value:
            raise UsageError("cannot set --history twice", "ask one history after the other")
        if flag.kind == FILTER:
            self.filters.append((flag.name, value))
            return
        try:
            if flag.kind == LIST:
                values = self._values.setdefault(flag.name, [])
                assert isinstance(values, list)
                values += comma_list(value) if flag.name in _COMMAS else [value]
                return
            if flag.kind == SWITCH and value not in _TRUE + _FALSE:
                raise ValueError(f"strconv.ParseBool: parsing {quote(value)}: invalid syntax")
            if flag.kind == NUMBER:
                parse_uint(value, 16 if flag.metavar == "PORT" else 64, base=0)
        except ValueError as error:
            raise UsageError(
                f'invalid argument {quote(value)} for "{written}" flag: {error}'
            ) from None
        if flag.name == "server" and value not in self.servers:
            self.servers.append(value)
        self._values[flag.name] = value


def _refusal(flag: Flag, value: str) -> tuple[str, str] | None:
    """What to say of a value that ``flag`` doesn't take: what is wrong, and what to write instead."""
    choices, check = flag.choices, flag.check
    if choices is not None and choices.refusal is not None and not choices.takes(value):
        return f"{choices.refusal}: {safe(value)}", safe(choices.advice(value))
    if check is not None and not check.holds(value):
        return f"invalid {check.what or flag.name}: {safe(value)}", check.expected
    return None


_ALSO = {"policies": "filename"}
"""Policy files have one flag on every verb; where -f isn't --follow, that is theirs too."""

_PLAIN = {"observe": "flows"}
"""By verb, the subcommand of hubble's that is the verb itself."""

# Comma lists, as hubble's first two are; JSON and file names may hold commas.
_COMMAS = ("tls-ca-cert-files", "field-mask", "outcome")

_EVERY: dict[str, Flag] = {
    flag.name: flag for verb in VERBS for group in verb.groups for flag in group.flags
}


_SHORTS: dict[str, list[Flag]] = {}
for _verb_flags in (group.flags for verb in VERBS for group in verb.groups):
    for _flag in _verb_flags:
        if _flag.short:
            _SHORTS.setdefault(_flag.short, []).append(_flag)


def parse(arguments: Sequence[str]) -> Parsed:
    """Take ``arguments`` apart (without the program's name). Raises UsageError.

    Flags may stand before, within and after the verb, as with cobra; ``--`` ends them.
    """
    verb, words = find_verb(list(arguments))
    parsed = Parsed(verb)
    shorts = {flag.short: flag for flag in parsed.flags.values() if flag.short}
    while words:
        word = words.pop(0)
        if word == "--":
            parsed.rest += words
            break
        if word in ("--help", "-h"):
            parsed.help = True
        elif word == "--version":
            parsed.version = True
        elif word.startswith("--"):
            _long(parsed, word, words)
        elif word.startswith("-") and word != "-":
            _short(parsed, shorts, word, words)
        else:
            parsed.rest.append(word)
    if parsed.rest and parsed.rest[0] == _PLAIN.get(verb.name):
        del parsed.rest[0]
    if not parsed.help and not parsed.version:
        if parsed.rest and verb.words is None and not verb.files:
            raise _meant_policies(parsed) or _unknown_word(parsed, parsed.rest[0])
        parsed.check()
    return parsed


def find_verb(words: list[str]) -> tuple[Verb, list[str]]:
    """The verb, and the words without it. A word after a flag that takes a value isn't one."""
    by_name = {verb.name: verb for verb in VERBS}
    at = 0
    while at < len(words) and words[at] != "--":
        word = words[at]
        if word.startswith("-") and word != "-":
            following = words[at + 1] if at + 1 < len(words) else ""
            at += 2 if _takes_next(word, is_verb=following in by_name) else 1
            continue
        two = " ".join(words[at : at + 2])
        if two in by_name:
            return by_name[two], words[:at] + words[at + 2 :]
        if word in by_name:
            return by_name[word], words[:at] + words[at + 1 :]
        break
    return by_name[""], words


def _takes_next(word: str, *, is_verb: bool) -> bool:
    """Whether the next word is the flag's value; ``is_verb``: it could be the verb, too."""
    if word.startswith("--"):
        flag = _EVERY.get(word[2:])
        return flag is not None and flag.takes_next
    if len(word) != 2:
        return False
    # -f is a switch for some verbs, and takes a file for others.
    meant = {flag.takes_next for flag in _SHORTS.get(word[1], ())}
    return True in meant and (False not in meant or not is_verb)


def _long(parsed: Parsed, word: str, words: list[str]) -> None:
    name, equals, value = word[2:].partition("=")
    flag = parsed.flags.get(name) or parsed.flags.get(_ALSO.get(name, ""))
    if not name or name.startswith(("-", "=")):
        raise UsageError(f"bad flag syntax: {safe(word)}")
    if flag is None:
        raise _unknown_flag(parsed, name)
    if not equals:
        if flag.kind == SWITCH:
            value = "true"
        elif flag.alone:
            value = _optional(flag, words)
        elif words:
            value = words.pop(0)
        else:
            raise UsageError(f"flag needs an argument: --{name}")
    parsed.set(flag, value, _written(flag))


def _optional(flag: Flag, words: list[str]) -> str:
    # pflag takes no next word here; only an address can follow --serve without being a verb.
    if flag.name == "serve" and words and ":" in words[0] and not words[0].startswith("-"):
        return words.pop(0)
    return flag.alone


def _short(parsed: Parsed, shorts: dict[str, Flag], word: str, words: list[str]) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = shorts.get(letter)
        if letter == "h" and flag is None:
            parsed.help = True
            continue
        if flag is None:
            raise UsageError(
                f"unknown shorthand flag: {quote_rune(letter)} in -{safe(letter + letters)}",
                _try(parsed),
            )
        if letters.startswith("="):
            value, letters = letters[1:], ""
        elif flag.kind == SWITCH:
            value = "true"
        elif flag.alone:
            value = flag.alone
        elif letters:
            value, letters = letters, ""
        elif words:
            value = words.pop(0)
        else:
            raise UsageError(f"flag needs an argument: '{letter}' in -{letter}")
        parsed.set(flag, value, _written(flag))


def _written(flag: Flag) -> str:
    return f"-{flag.short}, --{flag.name}" if flag.short else f"--{flag.name}"


def _try(parsed: Parsed) -> str:
    return f"see {' '.join([program.name(), *parsed.verb.name.split(), '--help'])}"


def _nearest(word: str, known: Iterable[str], likeness: float) -> list[str]:
    from difflib import get_close_matches

    return get_close_matches(word, known, 1, likeness)


def _unknown_flag(parsed: Parsed, name: str) -> UsageError:
    if name == _ALSO["policies"] and "policies" in parsed.flags:
        return UsageError("unknown flag: --filename", "--policies FILE names policies here")
    near = _nearest(name, parsed.flags, 0.7)
    hint = f"did you mean --{near[0]}?" if near else _try(parsed)
    if name in _EVERY and not near:
        meant = {name, _ALSO.get(name, name)}
        verbs = [v.name or "flowwatch" for v in VERBS if not meant.isdisjoint(Parsed(v).flags)]
        hint = f"it belongs to {', '.join(verbs)}"
    return UsageError(f"unknown flag: --{safe(name)}", hint)


def _meant_policies(parsed: Parsed) -> UsageError | None:
    """``-f policy.yaml`` of a verb whose -f follows."""
    word = parsed.rest[0]
    if (
        "policies" not in parsed.flags
        or "follow" not in parsed.flags
        or not parsed.switch("follow")
    ):
        return None
    if not word.endswith((".yaml", ".yml", ".json", "/")):
        return None
    name = " ".join(filter(None, ("flowwatch", parsed.verb.name)))
    return UsageError(f"-f follows, of {name}", f"--policies {safe(word)} names policies")


_FILES = (
    ((".yaml", ".yml"), {"policies", "filename"}, "--policies {} names policies"),
    ((".json", ".jsonl", ".ndjson", ".gz"), {"input-file"}, "--input-file {} reads a capture"),
)
"""What a file without its flag is taken for: by how it ends, where the verb has one of these flags."""


def _meant_file(parsed: Parsed, word: str) -> str:
    for ends, flags, hint in _FILES:
        if word.endswith(ends) and not flags.isdisjoint(parsed.flags):
            return hint.format(safe(word))
    return ""


def _unknown_word(parsed: Parsed, word: str) -> UsageError:
    verb, meant = parsed.verb, _meant_file(parsed, word)
    if verb.name:
        return UsageError(f'unexpected argument "{safe(word)}" for "flowwatch {verb.name}"', meant)
    names = [v.name for v in VERBS if v.name]
    within = [name for name in names if name.startswith(f"{word} ")]
    near = _nearest(word, [*names, "list"], 0.6)
    if within:
        return UsageError(
            f'"flowwatch {safe(word)}" needs to know what',
            f"{', '.join(within[:-1])}, or {within[-1]}".removeprefix(", or "),
        )
    hint = meant or (f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}")
    return UsageError(f'unknown command "{safe(word)}" for "flowwatch"', hint)
