"""The same by RE2 itself (google-re2), where it is installed (the extra ``re2``): for long texts, and where
the automaton gives up.

It gets the tree that :mod:`flowwatch.re2.syntax` read, not the text: what RE2 reads differently from Go
(``\\C``, names of groups, Unicode's newer classes) is never asked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from flowwatch.re2 import syntax
from flowwatch.re2.classes import pairs
from flowwatch.re2.syntax import Chars, Either, Look, Node, Repeat, Tree

MOST_WORK = 100_000_000
"""Size of an expression times length of a text: half a second at worst."""
_LOOKS = {
    syntax.BEGIN_LINE: "(?m:^)",
    syntax.END_LINE: "(?m:$)",
    syntax.BEGIN_TEXT: r"\A",
    syntax.END_TEXT: r"\z",
    syntax.WORD_BOUNDARY: r"\b",
    syntax.NO_WORD_BOUNDARY: r"\B",
}
_NONE = r"[^\x{0}-\x{10ffff}]"


def matcher(tree: Tree, *, anywhere: bool) -> Callable[[str], bool] | None:
    """What tells whether an expression matches; None where RE2 isn't there, or can't have it.

    RE2 goes by bytes: it would find the middle of ``é`` to be no boundary of a word. So there is none for
    an expression that asks for one.
    """
    re2 = _module()
    text = _written(tree) if re2 is not None else None
    if re2 is None or text is None:
        return None
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(text, options)
    except re2.error:
        return None  # too large for its memory; the automaton says what it can do
    find = compiled.search if anywhere else compiled.fullmatch
    return lambda wanted: find(wanted) is not None


@cache
def _module() -> Any:
    try:
        import re2
    except ImportError:
        return None
    # Other packages have a module of this name.
    return re2 if hasattr(re2, "Options") and hasattr(re2, "error") else None


def _written(tree: Tree) -> str | None:
    """The tree as an expression again, without flags and names; None where it asks for words."""
    parts: list[str] = []
    left: list[Node | str] = [tree.node]
    while left:
        node = left.pop()
        if isinstance(node, str):
            parts.append(node)
        elif isinstance(node, Chars):
            parts.append(_set(node))
        elif isinstance(node, Look):
            if node.kind in (syntax.WORD_BOUNDARY, syntax.NO_WORD_BOUNDARY):
                return None
            parts.append(_LOOKS[node.kind])
        elif isinstance(node, Repeat):
            most = "" if node.most < 0 else node.most
            left += [f"){{{node.least},{most}}}", node.item, "(?:"]
        else:
            bar = ["|"] if isinstance(node, Either) else []
            joined = [one for item in reversed(node.items) for one in (*bar, item)]
            left += [")", *joined[len(bar) :], "(?:"]
    return "".join(parts)


def _set(node: Chars) -> str:
    ranges = "".join(f"\\x{{{start:x}}}-\\x{{{stop - 1:x}}}" for start, stop in pairs(node.bounds))
    return f"[{ranges}]" if ranges else _NONE
