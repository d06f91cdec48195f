"""Go's regular expressions (RE2) with Python's ``re``: the common part of both, or a clear no.

Where the two read a pattern differently it is rewritten ($, \\z, ASCII classes, [[:alpha:]]); what
only one of them knows is refused, as RE2 refuses it, or because we can't do it faithfully.
"""

from __future__ import annotations

import re

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7F",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1F\x7F",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_TOKEN = re.compile(
    r"\\x\{[0-9A-Fa-f]+\}|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\]|\(\?[^)]?[^)]?|\$|[*+?}]\+|.",
    re.DOTALL,
)
_GROUPS = re.compile(r"\(\?(?::|P<|<[A-Za-z_]|[imsU-]+[:)]?)")


class GoRegexError(ValueError):
    """A pattern that RE2 refuses, or that can't be evaluated here as RE2 would."""


def compile_go(pattern: str) -> re.Pattern[str]:
    """``pattern`` (RE2 syntax) as a compiled Python expression with the same matches.

    Raises GoRegexError.
    """
    try:
        return re.compile("".join(_token(m[0]) for m in _TOKEN.finditer(pattern)), re.ASCII)
    except re.error as error:
        raise GoRegexError(f"error parsing regexp: {error}") from None


def _token(token: str) -> str:
    if token == "$":
        return r"\Z"
    if token.startswith("\\x{"):
        return re.escape(chr(min(int(token[3:-1], 16), 0x10FFFF)))
    if token.startswith("\\"):
        if token[1] == "z":
            return r"\Z"
        if token[1] in "123456789Z":
            raise GoRegexError(f"error parsing regexp: invalid escape sequence: `{token}`")
        if token[1] in "pPQEC":
            raise GoRegexError(f"`{token}` can be evaluated by a Hubble server only")
        return token
    if token.startswith("[") and len(token) > 1:
        return re.sub(r"\[:(\^?)(\w+):\]", _posix, token)
    if token.startswith("(?"):
        if not _GROUPS.match(token):
            raise GoRegexError(
                f"error parsing regexp: invalid or unsupported Perl syntax: `{token}`"
            )
        if "U" in token:
            raise GoRegexError("the flag U can be evaluated by a Hubble server only")
        # Go 1.22 also takes Python's and .NET's way to name a group.
        return "(?P<" + token[3:] if token.startswith("(?<") else token
    if len(token) == 2 and token[1] == "+" and token[0] in "*+?}":
        raise GoRegexError(f"error parsing regexp: invalid nested repetition operator: `{token}`")
    return token


def _posix(match: re.Match[str]) -> str:
    members = _POSIX.get(match[2])
    if members is None or match[1]:
        raise GoRegexError(f"error parsing regexp: invalid character class range: `{match[0]}`")
    return members
