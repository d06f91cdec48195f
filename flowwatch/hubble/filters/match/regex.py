"""Go's regular expressions (RE2) with Python's ``re``: which texts contain a match.

A pattern is read by RE2's grammar, with its errors, and written anew for Python, with every
difference spelt out ($ and \\z, ASCII classes, flags in the middle, {,2}, possessive quantifiers that
Python has and RE2 hasn't). Only whether there is a match counts, so greediness and captures don't.

Not done: Unicode classes (``\\pL``), whose tables differ; they are refused. And Python backtracks where
RE2 can't: a pattern like ``(a+)+$`` is as slow here as it was written.

Facts: Go 1.26, regexp/syntax.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_PERL = {"d": "0-9", "s": r"\t\n\f\r ", "w": "0-9A-Za-z_"}
_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"!-~",
    "lower": "a-z",
    "print": r" -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t-\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_ASSERTIONS = {"A": r"\A", "z": r"\Z", "b": r"(?a:\b)", "B": r"(?!(?a:\b))"}
_ANY = r"[\x00-\U0010ffff]"
_INTEGER = r"(0|[1-9][0-9]*)"
_REPEAT = re.compile(rf"\{{{_INTEGER}(?:(,){_INTEGER}?)?\}}")
_HEX = re.compile(r"\\x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2}))")
_OCTAL = re.compile(r"\\(0[0-7]{0,2}|[1-7][0-7]{1,2})")
_NAMED = re.compile(r"\(\?P?<(\w+)>", re.ASCII)
_MAX_REPEAT = 1000


class GoRegexError(ValueError):
    """A pattern that RE2 refuses, or that can't be evaluated here as RE2 would."""

    def __init__(self, problem: str, part: str) -> None:
        super().__init__(f"error parsing regexp: {problem}: `{part}`")


class _Flags(NamedTuple):
    i: bool = False
    m: bool = False
    s: bool = False


class _Item(NamedTuple):
    text: str
    times: int = 1
    """The largest product of the counts of nested repetitions."""


class _Group:
    """An open parenthesis, or the whole pattern."""

    def __init__(self, flags: _Flags) -> None:
        self.outer = flags
        self.items: list[_Item] = []
        self.before: list[str] = []
        self.times = 1

    def alternative(self) -> None:
        self.before.append("".join(item.text for item in self.items))
        self.times = max([self.times, *(item.times for item in self.items)])
        self.items = []

    def closed(self) -> _Item:
        self.alternative()
        return _Item(f"(?:{'|'.join(self.before)})", self.times)


def compile_go(pattern: str) -> re.Pattern[str]:
    """``pattern`` (RE2 syntax) as a Python expression that finds a match in the same texts.

    Raises GoRegexError, with Go's own words where Go refuses it too.
    """
    try:
        return re.compile(_Translator(pattern).translate())
    except (re.error, RecursionError, OverflowError):
        raise GoRegexError("expression nests too deeply", pattern) from None


class _Translator:
    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.flags = _Flags()
        self.groups = [_Group(self.flags)]
        # Where the repetition starts that ends right before here, or -1.
        self.repeated = -1

    def translate(self) -> str:
        while self.at < len(self.text):
            start = self.at
            repeats = self._step(self.text[start])
            self.repeated = start if repeats else -1
        if len(self.groups) > 1:
            raise GoRegexError("missing closing )", self.text)
        return self.groups[0].closed().text

    def _step(self, char: str) -> bool:
        """Read one piece; whether it was a repetition."""
        if char in "*+?":
            self.at += 1
            self._repeat(char, self.at - 1, 1)
            return True
        if char == "{" and (found := _REPEAT.match(self.text, self.at)):
            self._count(found)
            return True
        if char == "(":
            self._open()
        elif char == ")":
            self._close()
        elif char == "|":
            self.at += 1
            self.groups[-1].alternative()
        elif char == "[":
            self._class()
        elif char == "\\":
            self._escape()
        else:
            self.at += 1
            self._push(self._single(char))
        return False

    def _single(self, char: str) -> str:
        if char == "^":
            return r"(?m:^)" if self.flags.m else r"\A"
        if char == "$":
            return r"(?m:$)" if self.flags.m else r"\Z"
        if char == ".":
            return _ANY if self.flags.s else r"[^\n]"
        return self._literal(char)

    def _literal(self, char: str) -> str:
        return self._folded(re.escape(char))

    def _folded(self, text: str) -> str:
        return f"(?i:{text})" if self.flags.i else text

    def _push(self, text: str) -> None:
        self.groups[-1].items.append(_Item(text))

    # Repetition

    def _count(self, found: re.Match[str]) -> None:
        # Numbers of nine digits and more are all the same: too many.
        least = int(found[1][:9])
        most = least
        if found[2]:
            most = int(found[3][:9]) if found[3] else -1
        self.at = found.end()
        if least > _MAX_REPEAT or most > _MAX_REPEAT or 0 <= most < least:
            raise GoRegexError("invalid repeat count", found[0])
        factor = most if most >= 0 else max(least, 1)
        self._repeat(found[0], found.start(), factor)

    def _repeat(self, operator: str, start: int, factor: int) -> None:
        if self.text.startswith("?", self.at):
            self.at += 1
        if self.repeated >= 0:
            part = self.text[self.repeated : self.at]
            raise GoRegexError("invalid nested repetition operator", part)
        items = self.groups[-1].items
        part = self.text[start : self.at]
        if not items:
            raise GoRegexError("missing argument to repetition operator", part)
        item = items.pop()
        times = item.times * factor
        if factor > 1 and times > _MAX_REPEAT:
            raise GoRegexError("invalid repeat count", part)
        items.append(_Item(f"(?:{item.text}){operator}", times))

    # Groups and flags

    def _open(self) -> None:
        text = self.text
        if not text.startswith("(?", self.at):
            self.at += 1
            self.groups.append(_Group(self.flags))
            return
        if re.match(r"\(\?P?<.", text[self.at :], re.DOTALL) is not None:
            end = text.find(">", self.at)
            if end < 0:
                raise GoRegexError("invalid named capture", text[self.at :])
            found = _NAMED.match(text, self.at)
            if found is None or found.end() != end + 1:
                raise GoRegexError("invalid named capture", text[self.at : end + 1])
            self.at = end + 1
            self.groups.append(_Group(self.flags))
            return
        self._flag_group()

    def _flag_group(self) -> None:
        start = self.at
        self.at += 2
        flags, value, saw = self.flags, True, True
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char in "imsU":
                saw = True
                if char != "U":
                    flags = flags._replace(**{char: value})
            elif char == "-" and value:
                value = saw = False
            elif char in ":)" and saw:
                if char == ":":
                    self.groups.append(_Group(self.flags))
                self.flags = flags
                return
            else:
                break
        raise GoRegexError("invalid or unsupported Perl syntax", self.text[start : self.at])

    def _close(self) -> None:
        self.at += 1
        if len(self.groups) == 1:
            raise GoRegexError("unexpected )", self.text)
        group = self.groups.pop()
        self.flags = group.outer
        self.groups[-1].items.append(group.closed())

    # Escapes

    def _escape(self) -> None:
        kind = self.text[self.at + 1 : self.at + 2]
        if kind in _ASSERTIONS and kind:
            self.at += 2
            self._push(_ASSERTIONS[kind])
        elif kind == "C":
            raise GoRegexError("invalid escape sequence", r"\C")
        elif kind == "Q":
            literal, _, rest = self.text[self.at + 2 :].partition(r"\E")
            self.at = len(self.text) - len(rest)
            for char in literal:
                self._push(self._literal(char))
        elif kind in ("p", "P"):
            raise self._unicode()
        elif kind and kind.lower() in _PERL:
            self.at += 2
            negated = "^" if kind.isupper() else ""
            self._push(self._folded(f"[{negated}{_PERL[kind.lower()]}]"))
        else:
            self._push(self._literal(self._character()))

    def _unicode(self) -> GoRegexError:
        found = re.compile(r"\\[pP](\{[^}]*\}|.)?", re.DOTALL).match(self.text, self.at)
        part = found[0] if found else self.text[self.at :]
        return GoRegexError("Unicode classes can be evaluated by a Hubble server only", part)

    def _character(self) -> str:
        """The character that an escape stands for."""
        text, start = self.text, self.at
        kind = text[start + 1 : start + 2]
        if not kind:
            raise GoRegexError("trailing backslash at end of expression", "")
        if found := _HEX.match(text, start):
            code = int(found[1] or found[2], 16)
            if code <= 0x10FFFF:
                self.at = found.end()
                return chr(code)
        if found := _OCTAL.match(text, start):
            self.at = found.end()
            return chr(int(found[1], 8))
        self.at = start + 2
        if kind in _CONTROL:
            return _CONTROL[kind]
        if kind.isascii() and not kind.isalnum():
            return kind
        raise GoRegexError("invalid escape sequence", self._bad_escape(start))

    def _bad_escape(self, start: int) -> str:
        # RE2 shows as much as it had read when it gave up.
        text = self.text
        if text.startswith(r"\x{", start):
            found = re.compile(r"\\x\{[0-9A-Fa-f]*").match(text, start)
            assert found is not None
            digits = text[start + 3 : found.end()]
            for length in range(1, len(digits) + 1):
                if int(digits[:length], 16) > 0x10FFFF:
                    return text[start : start + 3 + length]
            return text[start : found.end() + 1]
        return text[start : start + (4 if text.startswith(r"\x", start) else 2)]

    # Classes

    def _class(self) -> None:
        start = self.at
        self.at += 1
        negate = self.text.startswith("^", self.at)
        self.at += negate
        ranges: list[str] = []
        complements: list[str] = []
        first = True
        while first or not self.text.startswith("]", self.at):
            first = False
            group = self._class_group()
            if group is None:
                ranges.append(self._range(start))
            elif group[1]:
                complements.append(f"[^{group[0]}]")
            else:
                ranges.append(group[0])
        self.at += 1
        self._push(self._written(ranges, complements, negate))

    def _written(self, ranges: list[str], complements: list[str], negate: bool) -> str:
        joined = "".join(ranges)
        if negate and not complements:
            return self._folded(f"[^{joined}]")
        parts = ([f"[{joined}]"] if joined else []) + complements
        either = self._folded(f"(?:{'|'.join(parts)})")
        return f"(?:(?!{either}){_ANY})" if negate else either

    def _class_group(self) -> tuple[str, bool] | None:
        """``[:alpha:]`` or ``\\d`` within a class: its members, and whether all others are meant."""
        text = self.text
        if text.startswith("[:", self.at) and (end := text.find(":]", self.at + 2)) >= 0:
            name = text[self.at + 2 : end]
            members = _POSIX.get(name.removeprefix("^"))
            if members is None:
                raise GoRegexError("invalid character class range", text[self.at : end + 2])
            self.at = end + 2
            return members, name.startswith("^")
        if text.startswith("\\", self.at):
            kind = text[self.at + 1 : self.at + 2]
            if kind in ("p", "P"):
                raise self._unicode()
            if kind and kind.lower() in _PERL:
                self.at += 2
                return _PERL[kind.lower()], kind.isupper()
        return None

    def _range(self, opened: int) -> str:
        start = self.at
        low = high = self._member(opened)
        if self.text.startswith("-", self.at) and self.text[self.at + 1 : self.at + 2] not in (
            "",
            "]",
        ):
            self.at += 1
            high = self._member(opened)
            if high < low:
                raise GoRegexError("invalid character class range", self.text[start : self.at])
        return f"{_code(low)}-{_code(high)}" if high != low else _code(low)

    def _member(self, opened: int) -> str:
        if self.at >= len(self.text):
            raise GoRegexError("missing closing ]", self.text[opened:])
        if self.text[self.at] == "\\":
            return self._character()
        self.at += 1
        return self.text[self.at - 1]


def _code(char: str) -> str:
    return f"\\U{ord(char):08x}"
