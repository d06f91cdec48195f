"""What is written, as far as an output must know: for whom, and how it spells a character.

A CI runner reads what a job prints, and takes some of it for commands: GitHub ``::add-mask::`` and, in
the middle of a line too, ``##[add-mask]`` (runner, src/Runner.Common/ActionCommand.cs), Azure
``##vso[…]``, TeamCity ``##teamcity[…]``. A pod's name, a DNS name, a URL must not be one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

RUNNERS = ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION")
"""Variables of the runners that take commands from what is printed: GitHub's (and those that are like
it), Azure's, TeamCity's."""

# The second "#" or ":" of what begins a command. What follows two colons in an IPv6 address has no
# letter beyond f, and the name of every command has one, or a dash.
_ANYWHERE = r"(?<=#)#(?=\w*\[)"
_EITHER = _ANYWHERE + r"|(?<=:):(?=[0-9a-fA-F]*[g-zG-Z_-])"


def break_up(text: str, spelling: str = "\\x{:02x}", *, within: bool = False) -> str:
    r"""``text`` with one character of each runner's command spelt out: ``#\x23[add-mask]``.

    ``within``: the text never begins a line, where alone ``::`` means something.
    """
    if not _may_command(text):
        return text
    found = _ANYWHERE if within else _EITHER
    # Compiled when first met: few outputs hold what may be one. re remembers it.
    return re.sub(found, lambda match: spelling.format(ord(match[0])), text)


def _may_command(text: str) -> bool:
    return "##" in text or "::" in text


class Form(NamedTuple):
    """How results of one kind leave."""

    words: bool
    """For people, so in their encoding; data is UTF-8."""
    spelling: str
    """Of a character by its number, in what a CI runner would take for a command; "" as it is."""

    def broken_up(self, text: str, environ: Mapping[str, str] = os.environ) -> str:
        """``text`` without commands, when a CI runner may be reading."""
        # Asked last: the environment takes 3 µs, and few lines hold what may be one.
        if not self.spelling or not _may_command(text):
            return text
        reads = any(environ.get(name) for name in RUNNERS)
        return break_up(text, self.spelling) if reads else text


_TEXT = Form(words=True, spelling="\\x{:02x}")
_JSON = Form(words=False, spelling="\\u{:04x}")
_MARKUP = Form(words=False, spelling="&#{};")

_FORMS = {
    **dict.fromkeys(("json", "JSON", "jsonpb", "jsonl", "sarif"), _JSON),
    **dict.fromkeys(("junit", "html"), _MARKUP),
    "csv": Form(words=False, spelling="\\x{:02x}"),
    # Such text stands in comments and in double quotes alone, which have these escapes.
    "yaml": Form(words=False, spelling="\\x{:02x}"),
    "markdown": Form(words=False, spelling="\\x{:02x}"),
    # These are commands: what they say is broken up where they are made.
    "github": Form(words=False, spelling=""),
    **dict.fromkeys(("parquet", "zip"), Form(words=False, spelling="")),
}


def form_of(name: str) -> Form:
    """The form of the format that ``-o`` or ``--format`` calls so; any other is text for people."""
    return _FORMS.get(name, _TEXT)
