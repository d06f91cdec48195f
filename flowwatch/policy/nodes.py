"""YAML (and JSON, which is YAML) as a tree that knows the line of everything in it.

A plain loader forgets where a value stood, takes the last of two equal keys, and turns ``on`` into
``true`` without a word. A policy decides what may reach what, so each of these is an error here, with its
line. The scalars are read as Kubernetes reads them (YAML 1.1 with the bare words of Go's yaml.v2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

_MAX_NODES_PER_ALIAS = 100_000
"""Nodes that aliases may stand for, all together: a real policy repeats a few, a YAML bomb billions."""
_MAX_DEPTH = 100

_STR = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"

_KIND = {_STR: "a string", _NULL: "null", _BOOL: "a boolean", _INT: "a number", _FLOAT: "a number"}
_TRUE = frozenset({"y", "yes", "true", "on"})

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """Scalars as Go's yaml reads them: ``y`` and ``n`` are booleans too."""


_Loader.add_implicit_resolver(_BOOL, re.compile(r"^[yYnN]$"), list("yYnN"))


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


class Value:
    """One node of a document: its path in the document (``spec.egress[0]``), its line, its value."""

    __slots__ = ("_node", "path")

    def __init__(self, node: yaml.Node, path: str) -> None:
        self._node = node
        self.path = path

    @property
    def line(self) -> int:
        """The line in the file, from 1."""
        return int(self._node.start_mark.line) + 1

    @property
    def is_null(self) -> bool:
        """Whether it is ``null``, ``~`` or nothing at all."""
        return self._node.tag == _NULL and isinstance(self._node, yaml.ScalarNode)

    @property
    def is_map(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self._node, yaml.MappingNode)

    def fault(self, reason: str) -> DocumentError:
        """An error about this place."""
        return DocumentError(reason, self.line, int(self._node.start_mark.column) + 1)

    def _wrong(self, wanted: str) -> DocumentError:
        is_a = (
            "a mapping"
            if isinstance(self._node, yaml.MappingNode)
            else "a list"
            if isinstance(self._node, yaml.SequenceNode)
            else _KIND.get(self._node.tag, "something else")
        )
        quote = (
            f' (quote it: "{self._node.value}")'
            if wanted == "a string" and isinstance(self._node, yaml.ScalarNode) and not self.is_null
            else ""
        )
        return self.fault(f"{self.path or 'the document'}: {wanted} is wanted, not {is_a}{quote}")

    def fields(self) -> dict[str, Value]:
        """The fields of a mapping, nulls included; none for null.

        Raises:
            DocumentError: no mapping, a key twice, or a key that is no word.
        """
        if self.is_null:
            return {}
        if not isinstance(self._node, yaml.MappingNode):
            raise self._wrong("a mapping")
        fields: dict[str, Value] = {}
        prefix = f"{self.path}." if self.path else ""
        for key, value in self._node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Value(key, self.path)._wrong("a word as key")
            if key.tag not in (_STR, _INT, _FLOAT):
                # A bare on: or y: is a boolean; Kubernetes' own JSON says "true" then.
                raise Value(key, prefix + key.value)._wrong("a string")
            if key.value in fields:
                raise Value(key, "").fault(f'key "{prefix}{key.value}" is there twice')
            fields[key.value] = Value(value, prefix + key.value)
        return fields

    def known(self, names: frozenset[str]) -> dict[str, Value]:
        """As :meth:`fields`, without those that are null; a name that isn't among ``names`` is an error."""
        fields = self.fields()
        for name, value in fields.items():
            if name not in names:
                raise value.fault(f'unknown field "{value.path}"{_did_you_mean(name, names)}')
        return {name: value for name, value in fields.items() if not value.is_null}

    def items(self) -> list[Value]:
        """The items of a list; none for null."""
        if self.is_null:
            return []
        if not isinstance(self._node, yaml.SequenceNode):
            raise self._wrong("a list")
        return [Value(item, f"{self.path}[{at}]") for at, item in enumerate(self._node.value)]

    def text(self) -> str:
        """A string; "" for null."""
        if self.is_null:
            return ""
        if not isinstance(self._node, yaml.ScalarNode) or self._node.tag != _STR:
            raise self._wrong("a string")
        return str(self._node.value)

    def integer(self) -> int:
        """A whole number."""
        if isinstance(self._node, yaml.ScalarNode) and self._node.tag == _INT:
            try:
                return int(self._node.value.replace("_", ""), 0)
            except ValueError:
                pass
        raise self._wrong("a whole number")

    def number_or_text(self) -> int | str:
        """What Kubernetes calls IntOrString."""
        if isinstance(self._node, yaml.ScalarNode) and self._node.tag == _INT:
            return self.integer()
        return self.text()

    def boolean(self) -> bool:
        """``true`` or ``false``."""
        if not isinstance(self._node, yaml.ScalarNode) or self._node.tag != _BOOL:
            raise self._wrong("true or false")
        return str(self._node.value).lower() in _TRUE


def read_nodes(text: str) -> Iterator[Value]:
    """The documents of a YAML text one by one; those that hold nothing are left out.

    Raises:
        DocumentError: not YAML, or aliases that unfold to too much.
    """
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            if loader_has_alias(text):
                _count(node, 0, [0])
            value = Value(node, "")
            if not value.is_null:
                yield value
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = (error.problem or "not YAML").replace("found character '\\t'", "found a tab")
        if mark is None:
            raise DocumentError(f"not YAML: {reason}", 1) from None
        raise DocumentError(f"not YAML: {reason}", mark.line + 1, mark.column + 1) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if isinstance(error.position, int) else 1
        raise DocumentError(f"not YAML: {error.reason}", line) from None
    except RecursionError:
        raise DocumentError("nested too deeply", 1) from None
    finally:
        loader.dispose()


def loader_has_alias(text: str) -> bool:
    """Whether the text may hold a YAML alias, so that its size in memory tells nothing."""
    return "*" in text and "&" in text


def _count(node: yaml.Node, depth: int, seen: list[int]) -> None:
    """Refuse a document whose aliases unfold to too much, or into themselves."""
    seen[0] += 1
    if seen[0] > _MAX_NODES_PER_ALIAS:
        line = int(node.start_mark.line) + 1
        raise DocumentError("its aliases unfold to more than 100,000 values: not a policy", line)
    if depth > _MAX_DEPTH:
        raise DocumentError("nested too deeply", int(node.start_mark.line) + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _count(key, depth + 1, seen)
            _count(value, depth + 1, seen)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _count(item, depth + 1, seen)


def _did_you_mean(name: str, names: frozenset[str]) -> str:
    import difflib  # only for the message

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f' (did you mean "{near[0]}"?)' if near else ""
