"""Adding to a YAML text by a person: all else stays as it is, to the byte.

The places are found by ruamel.yaml's nodes, which know where in the text they begin and end; what is added
is written in the style of what stands around it.
"""

from __future__ import annotations

import io
import json
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

Path = tuple[str | int, ...]
"""The number of the document, then keys and numbers of items."""

_WIDE = 1 << 20
_EMPTY = ("", "null", "~")


class PlacingError(ValueError):
    """What keeps an addition from being made, in words."""


def nodes(text: str) -> list[Node | None]:
    """The documents of a text. Raises PlacingError."""
    try:
        return list(YAML(typ="safe", pure=True).compose_all(text))
    except YAMLError as error:
        raise PlacingError(" ".join(str(error).split())) from None


def plain(node: Node | None) -> Any:
    """A node as lists, dictionaries and texts."""
    if isinstance(node, MappingNode):
        return {key.value: plain(value) for key, value in node.value}
    if isinstance(node, SequenceNode):
        return [plain(one) for one in node.value]
    return node.value if node is not None else None


def child(node: Node | None, key: str | int) -> Node | None:
    """What stands under a key, or is the item of a number."""
    if isinstance(node, MappingNode):
        return next((value for name, value in node.value if name.value == key), None)
    if isinstance(node, SequenceNode) and isinstance(key, int) and key < len(node.value):
        found: Node = node.value[key]
        return found
    return None


def follow(documents: Sequence[Node | None], path: Path) -> Node | None:
    """The node at a path."""
    node = documents[int(path[0])]
    for key in path[1:]:
        node = child(node, key)
    return node


def appended(text: str, path: Path, value: Any, comment: str = "") -> str:
    """``text`` with ``value`` as the last item of the sequence at ``path``, made where there is none.

    ``comment`` stands above it, where a comment may. Raises PlacingError.
    """
    documents = nodes(text)
    parent, key = follow(documents, path[:-1]), str(path[-1])
    node = child(parent, key)
    if not isinstance(parent, MappingNode):
        raise PlacingError(f"no {'.'.join(map(str, path[1:-1]))} to add to")
    if node is not None and _shared(documents, node):
        raise PlacingError(f"{key} is an alias, used elsewhere too")
    style = _Style(text, documents[int(path[0])])
    if isinstance(node, SequenceNode) and node.value:
        if node.flow_style:
            at = node.value[-1].end_mark.index
            return f"{text[:at]}, {_flow(value)}{text[at:]}"
        return style.after(node, style.item(value, comment, node.start_mark.column))
    if node is not None and not _is_empty(node):
        raise PlacingError(f"{key} is no list")
    if parent.flow_style:
        written = f"[{_flow(value)}]"
        if node is not None:
            return text[: node.start_mark.index] + written + text[node.end_mark.index :]
        at = parent.value[-1][1].end_mark.index
        return f'{text[:at]}, "{key}": {written}{text[at:]}'
    column = parent.start_mark.column
    item = style.item(value, comment, column + style.offset)
    if node is None:
        return style.after(parent, f"{' ' * column}{key}:{style.newline}{item}")
    before, behind = text[: node.start_mark.index].rstrip(" "), text[node.end_mark.index :]
    rest, line, more = behind.partition("\n")
    return f"{before}{rest.rstrip()}{style.newline}{item}{line if more else style.newline}{more}"


def _is_empty(node: Node) -> bool:
    if isinstance(node, SequenceNode):
        return not node.value
    return isinstance(node, ScalarNode) and node.value in _EMPTY and node.style is None


def _shared(documents: Sequence[Node | None], wanted: Node) -> bool:
    """Whether a node stands at more than one place, by an alias."""
    places = sum(one is wanted for document in documents for one in _every(document))
    return places > 1


def _every(node: Node | None) -> Iterator[Node]:
    if node is None:
        return
    yield node
    if isinstance(node, MappingNode):
        for _, value in node.value:
            yield from _every(value)
    elif isinstance(node, SequenceNode):
        for one in node.value:
            yield from _every(one)


def _flow(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


class _Style:
    """How a document is laid out."""

    def __init__(self, text: str, document: Node | None) -> None:
        self._text = text
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.offset = 2
        """Columns of a list's dashes to the right of its key."""
        for one in _every(document):
            if not isinstance(one, MappingNode) or one.flow_style:
                continue
            for key, value in one.value:
                if isinstance(value, SequenceNode) and not value.flow_style:
                    self.offset = max(value.start_mark.column - key.start_mark.column, 0)

    def item(self, value: Any, comment: str, column: int) -> str:
        """``value`` as an item whose dash stands in ``column``, without an end of line."""
        yaml = YAML()
        yaml.width = _WIDE
        yaml.indent(mapping=2, sequence=self.offset + 2, offset=self.offset)
        out = io.StringIO()
        yaml.dump(CommentedSeq([value]), out)
        lines = textwrap.dedent(out.getvalue()).splitlines()
        if comment:
            lines.insert(0, f"# {comment}")
        return self.newline.join(" " * column + line for line in lines)

    def after(self, node: Node, block: str) -> str:
        """The text with lines behind those of ``node`` and the comments that are indented under it."""
        end = max(_end(self._text, one) for one in _every(node))
        at = self._line_end(end)
        while at < len(self._text):
            line = self._text[at + 1 : self._line_end(at + 1)]
            told = line.lstrip(" ")
            if not told.startswith("#") or len(line) - len(told) <= node.start_mark.column:
                break
            at = self._line_end(at + 1)
        before = self._text[:at].removesuffix("\r")
        behind = self._text[len(before) :]
        return f"{before}{self.newline}{block}{behind or self.newline}"

    def _line_end(self, at: int) -> int:
        found = self._text.find("\n", at)
        return len(self._text) if found < 0 else found


def _end(text: str, node: Node) -> int:
    """Where the last character of a scalar, or a bracket, stands: of blocks their items tell it."""
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style:
        return int(node.start_mark.index)
    return len(text[: node.end_mark.index].rstrip())
