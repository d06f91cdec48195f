"""Secrets kept out of what is shown: messages, the doctor's steps, banners, tracebacks.

Two nets, as neither catches all. What was read as a secret is remembered (:func:`remember`), and hidden
wherever it turns up: a plugin may repeat its token, a library the URL that it was given. And some
text is secret by its form: the user part of a URL, a bearer token, a JWT, a key.

Every FlowwatchError, every warning of the settings, every step of the doctor and all that goes to
standard error passes through here.
"""

from __future__ import annotations

import functools
import re
import threading

from flowwatch.text import safe

HIDDEN = "***"

SHORTEST = 8
"""Characters: what is shorter is part of too many words to be hidden wherever it stands."""
_MOST = 1000
"""Remembered at most: a run reads a few."""

_NAMES = r"(?:access|refresh|id)?[_-]?token|passw(?:or)?d|pass|(?:client)?[_-]?secret|api[_-]?key"
_FORMS = (
    (r"(?i)\b(bearer\s+)(?=\S*[\d.])[\w.~+/=-]{8,}", rf"\1{HIDDEN}"),
    (r"(?i)\b(authorization\s*[:=]\s*(?:basic\s+|bearer\s+)?)\S+", rf"\1{HIDDEN}"),
    (r"\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?", HIDDEN),
    (r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*-----|$)", HIDDEN),
    # As a query of a URL, or a field of JSON. "token: " is left alone: our own messages say so.
    (rf"""(?i)((?:\b|_)(?:{_NAMES})(?:=|["']\s*:\s*)["']?)[^\s"',;&}}]+""", rf"\1{HIDDEN}"),
)
_SAID = (rf"""(?i)((?:\b|_)(?:{_NAMES})\s*[:=]\s*["']?)[^\s"',;&}}]+""", rf"\1{HIDDEN}")
# Of a parser's words: one character (',' or ']') and what it calls its own ('<scalar>') tell nothing.
_HARMLESS = r"'(?:[^\w\s]|<[a-z ]+>)'"
_QUOTED = r"""(?s)(["']).*\1"""
_NAMED = r"\b(tagged |alias \*)\S+"

_SECRET_NAME = r"(?i)token|secret|passw|pass$|pwd|key|credential|auth"

_lock = threading.Lock()
_known: dict[str, None] = {}


def remember(*values: str | bytes) -> None:
    """Hide these from now on, as they are, as shown, and as in a URL; "" and short ones are not."""
    for value in values:
        if not value:
            continue
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        with _lock:
            for form in (text.strip(), safe(text), *_in_urls(text)):
                if len(form) >= SHORTEST and len(_known) < _MOST:
                    _known[form] = None


def _in_urls(text: str) -> tuple[str, str]:
    # Not at the start of the program: it takes longer than all of this file.
    from urllib.parse import quote, unquote

    return quote(text.encode("utf-8", "surrogatepass"), safe=""), unquote(text)


def user_part(url: str) -> tuple[str, ...]:
    """What stands before the ``@`` of a URL or address, whole and by halves: for :func:`remember`."""
    before, at, _ = url.partition("://")[2].rpartition("@")
    if not at:
        before, at, _ = url.rpartition("@")
    return (before, *before.split(":", 1)[1:]) if at else ()


def is_secret_name(name: str) -> bool:
    """Whether what a variable or a flag of that name holds is better not shown."""
    return re.search(_SECRET_NAME, name) is not None


def redact(text: str) -> str:
    """``text`` without what is secret in it."""
    with _lock:
        known = sorted(_known, key=len, reverse=True)
    for secret in known:
        text = text.replace(secret, HIDDEN)
    if "://" in text and "@" in text:
        text = re.sub(r'[^\s"]+', _without_user, text)
    for form, by in _compiled():
        text = form.sub(by, text)
    return text


def _without_user(word: re.Match[str]) -> str:
    """A URL; "@" may stand in a password that nobody encoded, so the last one counts."""
    scheme, slashes, rest = word[0].partition("://")
    _, at, place = rest.rpartition("@")
    return f"{scheme}{slashes}{HIDDEN}@{place}" if at else word[0]


@functools.cache
def _compiled() -> list[tuple[re.Pattern[str], str]]:
    # Not at the start of the program: most runs have nothing to say.
    return [(re.compile(form), by) for form, by in _FORMS]


def said(text: str) -> str:
    """:func:`redact` for what another program said: there ``password: x`` holds one too."""
    return re.sub(*_SAID, redact(text))


def address(text: str) -> str:
    """:func:`redact` for a server's address, which may have a user part without ``scheme://``."""
    return re.sub(r"^\S*@", f"{HIDDEN}@", redact(text))


def unquoted(reason: str) -> str:
    """A parser's words about a file of secrets, without what they quote of it."""
    reason = re.sub(_NAMED, r"\1…", reason)
    marks = re.findall(_HARMLESS, reason)
    bare = re.sub(_QUOTED, '"…"', re.sub(_HARMLESS, "\0", reason))
    for mark in marks[: bare.count("\0")]:
        bare = bare.replace("\0", mark, 1)
    return bare
