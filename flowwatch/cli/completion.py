"""``flowwatch completion bash|zsh|fish``, and what completes a word: made from the table of flags.

The scripts ask ``flowwatch __complete WORD…`` at each TAB, as those of kubectl and hubble do; the last
word is the one to complete. The answer is cobra's: a candidate a line, with its description behind a
tab, and at the end ``:`` and a number that says what else the shell may do (spf13/cobra 1.10,
completions.go). So kubectl's own completion can ask for ``kubectl flowwatch``, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from flowwatch.cli.flag_kinds import FILTER, LIST, Flag
from flowwatch.cli.flag_table import VERBS, Verb
from flowwatch.cli.flags import find_verb
from flowwatch.cli.values import SHELL, Choices
from flowwatch.errors import UsageError
from flowwatch.output import put
from flowwatch.text import safe

if TYPE_CHECKING:
    from flowwatch.cli.flags import Parsed

FILES, NOTHING_ELSE, FOLDERS = 0, 4, 16
"""What the shell may add: file names, nothing, names of folders (cobra's ShellCompDirective)."""

_ADDS = {"FILE": FILES, "FILES": FILES, "DIR": FOLDERS, "FOLDER": FOLDERS}
"""By what a flag's value is called in ``--help``."""

_GLOBAL = (("--help", "the words of a verb"), ("--version", "flowwatch's version"))


class Completions(NamedTuple):
    """Candidates, each with its description, and what the shell may add."""

    candidates: list[tuple[str, str]]
    adds: int = NOTHING_ELSE

    @property
    def text(self) -> str:
        """As cobra prints it."""
        lines = [f"{word}\t{about}" if about else word for word, about in self.candidates]
        return "\n".join([*lines, f":{self.adds}"]) + "\n"


def run(parsed: Parsed) -> int:
    """Print the script for a shell."""
    shell, *more = parsed.rest or [""]
    if not shell:
        raise UsageError('"flowwatch completion" needs to know the shell', "bash, zsh or fish")
    if not SHELL.takes(shell):
        raise UsageError(f"{SHELL.refusal}: {safe(shell)}", SHELL.advice(shell))
    if more:
        raise UsageError("only one shell at a time", "bash, zsh or fish")
    import importlib.resources

    script = importlib.resources.files("flowwatch.cli").joinpath(f"completion.{shell}")
    put(script.read_text("utf-8"))
    return 0


def ask(words: Sequence[str]) -> int:
    """Print what completes the last of ``words``, which stand behind the program's name."""
    put(complete(words).text)
    return 0


def complete(words: Sequence[str]) -> Completions:
    """What completes the last of ``words``."""
    *before, word = [_unquoted(each) for each in words] or [""]
    if "--" in before:
        return Completions([])
    verb, rest = find_verb(list(before))
    line = _Line(verb, rest)
    if line.waits is not None:
        return _values(line.waits, word, line.given)
    name, equals, value = word.partition("=")
    if word.startswith("-") and equals:
        flag = line.named(name)
        return _values(flag, value, line.given) if flag is not None else Completions([])
    if word.startswith("-"):
        return _starting(word, line.offered())
    if verb.files and (verb.words is None or line.plain):
        return Completions([], FILES)
    return _starting(word, _words(verb, line.plain))


def _unquoted(word: str) -> str:
    """A word as the shell has it on its line, perhaps with a quote that isn't closed yet."""
    if word[:1] in ("'", '"'):
        return word[1:].removesuffix(word[0])
    return word


def _starting(word: str, found: Iterator[tuple[str, str]]) -> Completions:
    return Completions([(one, about) for one, about in found if one.startswith(word)])


def _words(verb: Verb, plain: list[str]) -> Iterator[tuple[str, str]]:
    """Verbs, or what may stand behind one, after the words ``plain``."""
    names = [(each.name, each.help) for each in VERBS if each.name]
    if verb.name and verb.words is None:
        # "web" is a verb, and so is "web demo".
        begins = f"{verb.name} "
        yield from [
            (one.removeprefix(begins), about)
            for one, about in names
            if one.startswith(begins) and not plain
        ]
        return
    if verb.name not in ("", "help"):
        names = [] if plain or verb.words is None else [(one, "") for one in verb.words.all()]
    seen = set()
    for name, about in names:
        parts = name.split()
        depth = len(plain)
        if parts[:depth] == plain and len(parts) > depth and parts[depth] not in seen:
            seen.add(parts[depth])
            yield parts[depth], about if len(parts) == depth + 1 else ""


def _values(flag: Flag, text: str, given: Mapping[str, str]) -> Completions:
    choices = flag.choices
    if choices is None:
        return Completions([], _ADDS.get(flag.metavar, NOTHING_ELSE))
    before, found = choices.within(text, given)
    after = text[len(before) :]
    return Completions([(before + one, "") for one in found if _begins(one, after, choices)])


def _begins(one: str, text: str, choices: Choices) -> bool:
    return one.lower().startswith(text.lower()) if choices.any_case else one.startswith(text)


class _Line:
    """The words before the one to complete, as far as they tell what may come."""

    def __init__(self, verb: Verb, words: list[str]) -> None:
        self.flags = {flag.name: flag for group in verb.groups for flag in group.flags}
        self.waits: Flag | None = None
        """The flag whose value comes next."""
        self.plain: list[str] = []
        """What is no flag."""
        self.given: dict[str, str] = {}
        """Values by the names of flags; "" of those that have none."""
        self._shorts = {flag.short: flag for flag in self.flags.values() if flag.short}
        for word in words:
            if self.waits is not None:
                self.given[self.waits.name] = word
                self.waits = None
            elif word.startswith("--"):
                name, equals, value = word.partition("=")
                self._take(self.named(name), value if equals else None)
            elif word.startswith("-") and word != "-":
                self._letters(word[1:])
            else:
                self.plain.append(word)

    def named(self, word: str) -> Flag | None:
        """The flag that is written ``--name`` or ``-n``."""
        return self.flags.get(word[2:]) if word.startswith("--") else self._shorts.get(word[1:])

    def _letters(self, letters: str) -> None:
        for at, letter in enumerate(letters, 1):
            flag = self._shorts.get(letter)
            if flag is not None and flag.takes_next:
                self._take(flag, letters[at:].removeprefix("=") or None)
                return
            self._take(flag, "")

    def _take(self, flag: Flag | None, value: str | None) -> None:
        if flag is None:
            return
        self.given[flag.name] = value or ""
        if flag.takes_next and value is None:
            self.waits = flag

    def offered(self) -> Iterator[tuple[str, str]]:
        """Flags that may still be given."""
        for flag in self.flags.values():
            again = flag.kind in (FILTER, LIST) or flag.name == "server"
            if again or flag.name not in self.given:
                yield f"--{flag.name}", flag.words
        yield from _GLOBAL
