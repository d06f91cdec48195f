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

_MAX_REPEATED = 100_000
"""Nodes that aliases may repeat, all together: a real policy repeats a few, a YAML bomb billions."""
_MAX_DEPTH = 100
_SURE = 1000
"""Brackets, or columns before a line's first word, up to which nothing can be nested dangerously."""

_STR = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_INT = "tag:yaml.org,2002:int"
_FLOAT = "tag:yaml.org,2002:float"
_MERGE = "tag:yaml.org,2002:merge"
# As Go's yaml: a date, or a lone equals sign, is a string.
_STRINGS = (_STR, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")

_KIND = {_STR: "a string", _NULL: "null", _BOOL: "a boolean", _INT: "a number", _FLOAT: "a number"}
_TRUE = frozenset({"y", "yes", "true", "on"})
TEMPLATE = "a Helm template that isn't rendered: give the output of `helm template`"

_ANCHOR = re.compile(r"(?:^|[\s,\[{:?-])&[^\s,\[\]{}]")
_DEEP = re.compile(rf"^[ \t?:-]{{{_SURE},}}", re.MULTILINE)

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

    @property
    def is_template(self) -> bool:
        """Whether it is what YAML makes of ``{{ .Values.name }}``: a mapping whose key is one."""
        node = self._node
        if not isinstance(node, yaml.MappingNode) or not node.value:
            return False
        inner, outer = node.value[0][0], node.start_mark
        return isinstance(inner, yaml.MappingNode) and (
            (inner.start_mark.line, inner.start_mark.column) == (outer.line, outer.column + 1)
        )

    def _wrong(self, wanted: str) -> DocumentError:
        if self.is_template:
            return self.fault(TEMPLATE)
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

        What ``<<`` merges in comes behind the mapping's own fields, and gives way to them.

        Raises:
            DocumentError: no mapping, a key twice, or a key that is no word.
        """
        if self.is_null:
            return {}
        if not isinstance(self._node, yaml.MappingNode) or self.is_template:
            raise self._wrong("a mapping")
        fields: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        prefix = f"{self.path}." if self.path else ""
        for key, value in self._node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Value(key, self.path)._wrong("a word as key")
            if key.tag == _MERGE:
                several = isinstance(value, yaml.SequenceNode)
                for one in value.value if several else [value]:
                    merged = Value(one, self.path).fields() | merged
                continue
            if key.tag not in (*_STRINGS, _INT, _FLOAT):
                # A bare on: or y: is a boolean; Kubernetes' own JSON says "true" then.
                raise Value(key, prefix + key.value)._wrong("a string")
            if key.value in fields:
                raise Value(key, "").fault(f'key "{prefix}{key.value}" is there twice')
            fields[key.value] = Value(value, prefix + key.value)
        return fields | {name: one for name, one in merged.items() if name not in fields}

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
        if not isinstance(self._node, yaml.ScalarNode) or self._node.tag not in _STRINGS:
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
        DocumentError: not YAML, nested too deeply, or aliases that unfold to too much.
    """
    loader: Any = None
    try:
        _check_depth(text)
        loader = _Loader(text)
        aliases = "*" in text and _ANCHOR.search(text) is not None
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            if aliases:
                _check_aliases(node)
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
        # libyaml counts bytes.
        before = text.encode()[: error.position] if isinstance(error.position, int) else b""
        line = before.count(b"\n") + 1
        raise DocumentError(f"not YAML: {error.reason}", line) from None
    finally:
        if loader is not None:
            loader.dispose()


def _check_depth(text: str) -> None:
    """Refuse what is nested too deeply, before the loader does: it is recursive, and in C.

    A level of nesting needs a bracket, or a column at the start of a line. Only where there are enough of
    either is the depth counted.
    """
    if text.count("[") + text.count("{") < _SURE and _DEEP.search(text) is None:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                mark: Any = event.start_mark
                raise DocumentError("nested too deeply", mark.line + 1, mark.column + 1)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_aliases(root: yaml.Node) -> None:
    """Refuse a document whose aliases unfold to too much, or into themselves."""
    sizes: dict[int, int] = {}
    pending = [root]
    entered: set[int] = set()
    while pending:
        node = pending[-1]
        children = _children(node)
        if id(node) not in entered:
            entered.add(id(node))
            for child in children:
                if id(child) in sizes:
                    continue
                if id(child) in entered:
                    raise Value(child, "").fault("an alias inside what it stands for")
                pending.append(child)
            continue
        pending.pop()
        if any(id(child) not in sizes for child in children):
            raise Value(node, "").fault("an alias inside what it stands for")
        sizes[id(node)] = 1 + sum(sizes[id(child)] for child in children)
    if sizes[id(root)] - len(sizes) > _MAX_REPEATED:
        reason = f"its aliases repeat more than {_MAX_REPEATED:,} values: not a policy"
        raise Value(root, "").fault(reason)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _did_you_mean(name: str, names: frozenset[str]) -> str:
    import difflib  # only for the message

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f' (did you mean "{near[0]}"?)' if near else ""
