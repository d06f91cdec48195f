"""Go's regular expressions (RE2), read into a tree; what Go refuses is refused in its words.

Only whether there is a match counts here, so greediness, captures and their names leave nothing behind.
Case is spelt out: a tree knows sets of characters, and no flags.

Facts: Go 1.26, regexp/syntax/parse.go.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from flowwatch.re2.classes import (
    ALL,
    END,
    NOT_NEWLINE,
    PERL,
    POSIX,
    Bounds,
    complement,
    folded,
    named,
    union,
)

_CONTROL = {"a": "\a", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_INTEGER = r"(0|[1-9][0-9]*+)"
_REPEAT = re.compile(rf"\{{{_INTEGER}(?:(,){_INTEGER}?)?\}}")
_HEX = re.compile(r"\\x(?:\{([0-9A-Fa-f]++)\}|([0-9A-Fa-f]{2}))")
_OCTAL = re.compile(r"\\(0[0-7]{0,2}|[1-7][0-7]{1,2})")
_NAME = re.compile(r"\(\?(?:P<(?=.)|<(?=.))", re.DOTALL)
_CAPTURE_NAME = re.compile("[0-9A-Za-z_]+")
_UNICODE = re.compile(r"\\[pP](\{[^}]*\}|[^{])?", re.DOTALL)
_MAX_REPEAT = 1000
_MAX_HEIGHT = 1000
_MAX_SIZE = (128 << 20) // 40
"""Instructions; Go gives up beyond (maxSize)."""
_MAX_EFFORT = 2_000_000
"""Code points looked at, or copied from table to table, for one expression: seconds, and 100 MB. Go's own
limit (maxRunes) is 16 times as high."""

BEGIN_LINE, END_LINE, BEGIN_TEXT, END_TEXT, WORD_BOUNDARY, NO_WORD_BOUNDARY = 1, 2, 4, 8, 16, 32
_ASSERTIONS = {"A": BEGIN_TEXT, "z": END_TEXT, "b": WORD_BOUNDARY, "B": NO_WORD_BOUNDARY}


class RegexError(ValueError):
    """An expression that Go refuses; the message is Go's."""

    def __init__(self, problem: str, part: str) -> None:
        super().__init__(f"error parsing regexp: {problem}: `{part}`")


class TooCostly(Exception):
    """Go would take the expression, or go on matching; here that would take too long, or too much memory."""


class Chars(NamedTuple):
    """One character of a set."""

    bounds: Bounds


class Look(NamedTuple):
    """Nothing, where one of the assertions above holds."""

    kind: int


class Sequence(NamedTuple):
    """One after the other; without any, the empty text."""

    items: tuple[Node, ...]


class Either(NamedTuple):
    """One of them."""

    items: tuple[Node, ...]


class Repeat(NamedTuple):
    """``least`` to ``most`` times; -1 is any number."""

    item: Node
    least: int
    most: int


Node = Chars | Look | Sequence | Either | Repeat


class _Flags(NamedTuple):
    i: bool = False
    m: bool = False
    s: bool = False


class _Item(NamedTuple):
    """A part that is read, and what Go measures of it before it takes it."""

    node: Node
    size: int = 1
    height: int = 1
    times: int = 1
    """The largest product of the counts of nested repetitions."""
    within: int = 0
    """The height of the parts of a Sequence or Either, which Go joins with one of the same kind around it."""


class _Group:
    """An open parenthesis, or the whole expression."""

    def __init__(self, flags: _Flags, *, captures: bool = False) -> None:
        self.outer = flags
        self.captures = captures
        self.items: list[_Item] = []
        self.before: list[_Item] = []

    def alternative(self) -> None:
        self.before.append(_joined(self.items, Sequence))
        self.items = []

    def closed(self) -> _Item:
        self.alternative()
        item = _joined(self.before, Either)
        if self.captures:
            return item._replace(size=item.size + 2, height=item.height + 1, within=0)
        return item


def _joined(items: list[_Item], kind: type[Sequence | Either]) -> _Item:
    if len(items) == 1:
        return items[0]
    nodes = tuple(item.node for item in items)
    # Go holds a run of characters as one.
    within = (
        0
        if all(isinstance(node, Chars) for node in nodes)
        else max(
            item.within if isinstance(item.node, kind) and item.within else item.height
            for item in items
        )
    )
    bars = len(items) - 1 if kind is Either else 0
    return _Item(
        kind(nodes),
        max(1, sum(item.size for item in items) + bars),
        1 + within,
        max((item.times for item in items), default=1),
        within,
    )


class Tree(NamedTuple):
    """An expression that Go takes."""

    node: Node
    size: int
    """Go's estimate of its instructions."""


def parse(pattern: str) -> Tree:
    """Read an expression.

    Raises:
        RegexError: Go refuses it.
        TooCostly: it names Unicode classes so often that reading it would take seconds.
    """
    return _Parser(pattern).parse()


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self.at = 0
        self.flags = _Flags()
        self.groups = [_Group(self.flags)]
        # Where the repetition starts that ends right before here, or -1.
        self.repeated = -1
        self.effort = 0
        # Up to where no ":]" follows: looked for once, however many "[:" there are.
        self.unnamed = -1

    def parse(self) -> Tree:
        text = self.text
        if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
            raise RegexError("invalid UTF-8", text)
        while self.at < len(text):
            start = self.at
            repeats = self._step(text[start])
            self.repeated = start if repeats else -1
        if len(self.groups) > 1:
            raise RegexError("missing closing )", text)
        whole = self._checked(self.groups[0].closed())
        return Tree(whole.node, whole.size)

    def _step(self, char: str) -> bool:
        """Read one piece; whether it was a repetition."""
        if char in "*+?":
            self.at += 1
            least, most = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}[char]
            self._repeat(self.at - 1, least, most, 1)
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

    def _single(self, char: str) -> Node:
        if char == "^":
            return Look(BEGIN_LINE if self.flags.m else BEGIN_TEXT)
        if char == "$":
            return Look(END_LINE if self.flags.m else END_TEXT)
        if char == ".":
            return Chars(ALL if self.flags.s else NOT_NEWLINE)
        return self._literal(char)

    def _literal(self, char: str) -> Node:
        code = ord(char)
        return Chars(self._folded((code, code + 1)))

    def _folded(self, bounds: Bounds) -> Bounds:
        if not self.flags.i:
            return bounds
        found = folded(bounds)
        self._spend(len(found))
        return found

    def _spend(self, effort: int) -> None:
        self.effort += effort
        if self.effort > _MAX_EFFORT:
            raise TooCostly("it names too many characters")

    def _push(self, node: Node) -> None:
        self.groups[-1].items.append(_Item(node))

    def _checked(self, item: _Item) -> _Item:
        if item.size > _MAX_SIZE:
            raise RegexError("expression too large", self.text)
        if item.height > _MAX_HEIGHT:
            raise RegexError("expression nests too deeply", self.text)
        return item

    # Repetition

    def _count(self, found: re.Match[str]) -> None:
        # Numbers of nine digits and more are all the same: too many.
        least = int(found[1][:9])
        most = least
        if found[2]:
            most = int(found[3][:9]) if found[3] else -1
        self.at = found.end()
        if least > _MAX_REPEAT or most > _MAX_REPEAT or 0 <= most < least:
            raise RegexError("invalid repeat count", found[0])
        self._repeat(found.start(), least, most, most if most >= 0 else max(least, 1))

    def _repeat(self, start: int, least: int, most: int, factor: int) -> None:
        if self.text.startswith("?", self.at):
            self.at += 1
        if self.repeated >= 0:
            part = self.text[self.repeated : self.at]
            raise RegexError("invalid nested repetition operator", part)
        items = self.groups[-1].items
        part = self.text[start : self.at]
        if not items:
            raise RegexError("missing argument to repetition operator", part)
        item = items.pop()
        times = item.times * factor
        if factor > 1 and times > _MAX_REPEAT:
            raise RegexError("invalid repeat count", part)
        size = _repeated_size(item.size, least, most, counted=self.text[start] == "{")
        node = Repeat(item.node, least, most)
        items.append(self._checked(_Item(node, size, item.height + 1, times)))

    # Groups and flags

    def _open(self) -> None:
        text = self.text
        if not text.startswith("(?", self.at):
            self.at += 1
            self.groups.append(_Group(self.flags, captures=True))
            return
        if found := _NAME.match(text, self.at):
            end = text.find(">", self.at)
            if end < 0:
                raise RegexError("invalid named capture", text[self.at :])
            if not _CAPTURE_NAME.fullmatch(text, found.end(), end):
                raise RegexError("invalid named capture", text[self.at : end + 1])
            self.at = end + 1
            self.groups.append(_Group(self.flags, captures=True))
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
        raise RegexError("invalid or unsupported Perl syntax", self.text[start : self.at])

    def _close(self) -> None:
        self.at += 1
        if len(self.groups) == 1:
            raise RegexError("unexpected )", self.text)
        group = self.groups.pop()
        self.flags = group.outer
        self.groups[-1].items.append(self._checked(group.closed()))

    # Escapes

    def _escape(self) -> None:
        kind = self.text[self.at + 1 : self.at + 2]
        if kind in _ASSERTIONS:
            self.at += 2
            self._push(Look(_ASSERTIONS[kind]))
        elif kind == "C":
            raise RegexError("invalid escape sequence", r"\C")
        elif kind == "Q":
            end = self.text.find(r"\E", self.at + 2)
            literal = self.text[self.at + 2 : end if end >= 0 else len(self.text)]
            self.at = end + 2 if end >= 0 else len(self.text)
            for char in literal:
                self._push(self._literal(char))
        elif (group := self._escaped_group()) is not None:
            self._push(Chars(group))
        else:
            self._push(self._literal(self._character()))

    def _escaped_group(self) -> Bounds | None:
        r"""``\d`` or ``\pL``, in a class or alone; None where neither stands."""
        kind = self.text[self.at + 1 : self.at + 2]
        if kind in ("p", "P"):
            return self._unicode(negated=kind == "P")
        if kind.lower() not in PERL:
            return None
        self.at += 2
        bounds = self._folded(PERL[kind.lower()])
        return complement(bounds) if kind.isupper() else bounds

    def _unicode(self, *, negated: bool) -> Bounds:
        found = _UNICODE.match(self.text, self.at)
        assert found is not None
        name = found[1] or ""
        if not name:
            rest = self.text[self.at :]
            raise RegexError("invalid character class range", rest)
        bare = name[1:-1] if name[0] == "{" else name
        bounds = named(bare.removeprefix("^"), fold=self.flags.i)
        if bounds is None:
            raise RegexError("invalid character class range", found[0])
        self.at = found.end()
        self._spend(len(bounds))
        return complement(bounds) if negated != bare.startswith("^") else bounds

    def _character(self) -> str:
        """The character that an escape stands for."""
        text, start = self.text, self.at
        kind = text[start + 1 : start + 2]
        if not kind:
            raise RegexError("trailing backslash at end of expression", "")
        # Python's int() is quadratic, and more than six digits are too many, but for zeros.
        if (found := _HEX.match(text, start)) and len(digits := _digits(found)) < 7:
            code = int(digits, 16)
            if code < END:
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
        raise RegexError("invalid escape sequence", self._bad_escape(start))

    def _bad_escape(self, start: int) -> str:
        # Go shows as much as it had read when it gave up.
        text = self.text
        if text.startswith(r"\x{", start):
            value, at = 0, start + 3
            while at < len(text) and text[at] in "0123456789abcdefABCDEF" and value < END:
                value = value * 16 + int(text[at], 16)
                at += 1
            return text[start : at if value >= END else at + 1]
        return text[start : start + (4 if text.startswith(r"\x", start) else 2)]

    # Classes

    def _class(self) -> None:
        start = self.at
        self.at += 1
        negate = self.text.startswith("^", self.at)
        self.at += negate
        parts: list[Bounds] = []
        first = True
        while first or not self.text.startswith("]", self.at):
            first = False
            group = self._class_group()
            parts.append(self._range(start) if group is None else group)
        self.at += 1
        bounds = union(parts)
        self._spend(sum(map(len, parts)))
        self._push(Chars(complement(bounds) if negate else bounds))

    def _class_group(self) -> Bounds | None:
        """``[:alpha:]``, ``\\d`` or ``\\pL`` within a class."""
        text = self.text
        if text.startswith("[:", self.at) and (end := self._name_end()) >= 0:
            name = text[self.at + 2 : end]
            members = POSIX.get(name.removeprefix("^"))
            if members is None:
                raise RegexError("invalid character class range", text[self.at : end + 2])
            self.at = end + 2
            members = self._folded(members)
            return complement(members) if name.startswith("^") else members
        return self._escaped_group() if text.startswith("\\", self.at) else None

    def _name_end(self) -> int:
        if self.unnamed >= 0:
            return -1
        end = self.text.find(":]", self.at + 2)
        if end < 0:
            self.unnamed = self.at
        return end

    def _range(self, opened: int) -> Bounds:
        start = self.at
        low = high = self._member(opened)
        after = self.text[self.at : self.at + 2]
        if after[:1] == "-" and after[1:] not in ("", "]"):
            self.at += 1
            high = self._member(opened)
            if high < low:
                raise RegexError("invalid character class range", self.text[start : self.at])
        return self._folded((ord(low), ord(high) + 1))

    def _member(self, opened: int) -> str:
        if self.at >= len(self.text):
            raise RegexError("missing closing ]", self.text[opened:])
        if self.text[self.at] == "\\":
            return self._character()
        self.at += 1
        return self.text[self.at - 1]


def _digits(found: re.Match[str]) -> str:
    return (found[1] or found[2]).lstrip("0") or "0"


def _repeated_size(size: int, least: int, most: int, *, counted: bool) -> int:
    """Go's estimate (calcSize)."""
    if not counted:
        return size + (2 if (least, most) == (0, -1) else 1)
    if most < 0:
        return 2 + size if least == 0 else 1 + least * size
    return max(1, most * size + most - least)
