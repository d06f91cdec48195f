"""YAML as a small tree: of each value its tag, its text and its place, and nothing else.

PyYAML's own nodes take 700 bytes each, and composing them recurses in C: a file of a few megabytes
would take gigabytes, and one of brackets alone the stack. This tree is made from the parser's events, with
bounds on depth and on what aliases repeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from flowwatch.goyaml.scalars import MERGE, STR, ScalarError, resolve, resolve_tagged

MAX_REPEATED = 100_000
"""Values that aliases may repeat, all together: a real policy repeats a few, a YAML bomb billions."""
MAX_DEPTH = 100

_MOST_REPEATED = 0.99
"""The share of a document that aliases may repeat, once it has ``_FEW`` values; Go's yaml, decode.go."""
_FEW = 1_000

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class DocumentError(ValueError):
    """What is wrong in a document, and where.

    Attributes:
        reason: one sentence, without the place.
        line: the line in the file, from 1.
        column: from 1; 0 when only the line is known.
    """

    def __init__(self, reason: str, line: int, column: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line
        self.column = column


class Node:
    """One value. ``line`` and ``column`` count from 1, ``column`` in characters."""

    __slots__ = ("column", "line", "tag")

    def __init__(self, tag: str, line: int, column: int) -> None:
        self.tag = tag
        self.line = line
        self.column = column


class Scalar(Node):
    """A word, with the tag that YAML gives it."""

    __slots__ = ("text",)

    def __init__(self, tag: str, line: int, column: int, text: str) -> None:
        super().__init__(tag, line, column)
        self.text = text


class Collection(Node):
    """A list, or a mapping: then keys and values by turns."""

    __slots__ = ("children", "is_map")

    def __init__(self, tag: str, line: int, column: int, *, is_map: bool) -> None:
        super().__init__(tag, line, column)
        self.is_map = is_map
        self.children: list[Node] = []

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """Keys and values of a mapping."""
        return zip(self.children[::2], self.children[1::2], strict=True)


def compose(text: str) -> Iterator[Node]:
    """The root of each document of a text.

    Raises:
        DocumentError: not YAML, nested too deeply, or aliases that unfold to too much or into themselves.
    """
    try:
        yield from _Composer().roots(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        raise _marked(error, text) from None
    except yaml.reader.ReaderError as error:
        # libyaml counts bytes.
        at = error.position if isinstance(error.position, int) else 0
        before = text.encode("utf-8", "surrogatepass")[:at].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise DocumentError(f"not YAML: {error.reason}", line, column) from None


def _marked(error: yaml.MarkedYAMLError, text: str) -> DocumentError:
    reason = error.problem or "no document"
    mark: Any = error.problem_mark or error.context_mark
    if mark is None:
        return DocumentError(f"not YAML: {reason}", 1)
    lines = text.splitlines()[mark.line : mark.line + 1]
    if lines and lines[0][mark.column : mark.column + 1] == "\t":
        reason = "found a tab: indent with spaces"
    elif text.lstrip().startswith("{") and "<document start>" in reason:
        reason = "something follows the JSON object: put several into a List, or a file each"
    return DocumentError(f"not YAML: {reason}", mark.line + 1, mark.column + 1)


class _Open:
    """A collection whose end hasn't come."""

    __slots__ = ("anchor", "node", "size")

    def __init__(self, node: Collection, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.size = 1
        """Values in it, aliases unfolded."""


class _Composer:
    """Makes trees of events. Equal words are one string: most words of policies are repeated."""

    def __init__(self) -> None:
        self._words: dict[str, str] = {}
        self._tags: dict[str, str] = {}
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._open: list[_Open] = []
        self._written = self._repeated = 0

    def roots(self, events: Iterator[yaml.Event]) -> Iterator[Node]:
        """The root of each document."""
        for event in events:
            done = self._take(event)
            if done is not None and not self._open:
                self._anchors.clear()
                self._written = self._repeated = 0
                yield done

    def _take(self, event: Any) -> Node | None:
        """The value that an event completes."""
        if isinstance(event, yaml.ScalarEvent):
            mark: Any = event.start_mark
            line, column = mark.line + 1, mark.column + 1
            tag, word = self._resolved(event, line, column)
            text = self._words.setdefault(word, word)
            self._written += 1
            return self._put(Scalar(tag, line, column, text), 1, event)
        if isinstance(event, yaml.CollectionStartEvent):
            mark = event.start_mark
            node = Collection(
                event.tag or "", mark.line + 1, mark.column + 1,
                is_map=isinstance(event, yaml.MappingStartEvent),
            )  # fmt: skip
            if len(self._open) >= MAX_DEPTH:
                raise DocumentError("nested too deeply", node.line, node.column)
            self._open.append(_Open(node, event.anchor))
            self._written += 1
            if event.anchor:
                # Open: an alias that comes before its end is inside what it stands for.
                self._anchors[event.anchor] = (node, 0)
            return None
        if isinstance(event, yaml.CollectionEndEvent):
            ended = self._open.pop()
            if ended.anchor:
                self._anchors[ended.anchor] = (ended.node, ended.size)
            return self._put(ended.node, ended.size)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        return None

    def _put(self, node: Node, size: int, event: Any = None) -> Node:
        if event is not None and event.anchor:
            self._anchors[event.anchor] = (node, size)
        if self._open:
            self._open[-1].node.children.append(node)
            self._open[-1].size += size
        return node

    def _alias(self, event: Any) -> Node:
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if event.anchor not in self._anchors:
            raise DocumentError(f"not YAML: alias *{event.anchor} stands for nothing", line, column)
        node, size = self._anchors[event.anchor]
        if not size:
            raise DocumentError("an alias inside what it stands for", line, column)
        if self._merges() and not (isinstance(node, Collection) and node.is_map):
            raise DocumentError("<<: an alias of a mapping is wanted", line, column)
        self._repeated += size
        self._written += 1
        if self._repeated > MAX_REPEATED:
            reason = f"aliases repeat more than {MAX_REPEATED:,} values"
            raise DocumentError(reason, line, column)
        values = self._written + self._repeated
        if values > _FEW and self._repeated > _MOST_REPEATED * values:
            raise DocumentError("aliases repeat nearly all of its values", line, column)
        return self._put(node, size)

    def _merges(self) -> bool:
        """Whether what comes next is the value of a ``<<``."""
        if not self._open:
            return False
        parent = self._open[-1].node
        children = parent.children
        return parent.is_map and len(children) % 2 == 1 and children[-1].tag == MERGE

    def _resolved(self, event: Any, line: int, column: int) -> tuple[str, str]:
        """The tag and the text of a word."""
        word: str = event.value
        if event.tag is not None and event.tag != "!":
            try:
                return resolve_tagged(str(event.tag), word)
            except ScalarError as error:
                raise DocumentError(f"not YAML: {error}", line, column) from None
        if not event.implicit[0]:
            return STR, word
        tag = self._tags.get(word)
        if tag is None:
            tag = self._tags[word] = resolve(word)
        return tag, word
