"""YAML (and JSON, which is YAML) as a tree that knows the line of everything in it.

A plain loader forgets where a value stood, takes the last of two equal keys, and turns ``on`` into
``true`` without a word. A policy decides what may reach what, so each of these is an error here, with its
line. The scalars are read as Kubernetes reads them (YAML 1.1 with the bare words of Go's yaml.v2).
"""

from __future__ import annotations

from collections.abc import Iterator

from flowwatch.goyaml.tree import (
    BOOL,
    FLOAT,
    INT,
    MERGE,
    NULL,
    STR,
    Collection,
    DocumentError,
    Node,
    Scalar,
    compose,
)

__all__ = ["TEMPLATE", "DocumentError", "Value", "read_nodes"]

# As Go's yaml: a date, or a lone equals sign, is a string.
_STRINGS = (STR, "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
_KIND = {STR: "a string", NULL: "null", BOOL: "a boolean", INT: "a number", FLOAT: "a number"}
_TRUE = frozenset({"y", "yes", "true", "on"})
TEMPLATE = "a Helm template that isn't rendered: give the output of `helm template`"


class Value:
    """One node of a document: its path in the document (``spec.egress[0]``), its line, its value."""

    __slots__ = ("_key", "_node", "path")

    def __init__(self, node: Node, path: str, key: Node | None = None) -> None:
        self._node = node
        self._key = key or node
        self.path = path

    @property
    def line(self) -> int:
        """The line in the file, from 1."""
        return self._node.line

    @property
    def is_null(self) -> bool:
        """Whether it is ``null``, ``~`` or nothing at all."""
        return self._node.tag == NULL and isinstance(self._node, Scalar)

    @property
    def is_map(self) -> bool:
        """Whether it is a mapping."""
        return isinstance(self._node, Collection) and self._node.is_map

    def fault(self, reason: str) -> DocumentError:
        """An error about this place."""
        return DocumentError(reason, self._node.line, self._node.column)

    @property
    def is_template(self) -> bool:
        """Whether it is what YAML makes of ``{{ .Values.name }}``: a mapping whose key is one."""
        node = self._node
        if not isinstance(node, Collection) or not node.is_map or not node.children:
            return False
        inner = node.children[0]
        return isinstance(inner, Collection) and (
            inner.is_map and (inner.line, inner.column) == (node.line, node.column + 1)
        )

    def _wrong(self, wanted: str) -> DocumentError:
        if self.is_template:
            return self.fault(TEMPLATE)
        node = self._node
        quote = ""
        if isinstance(node, Collection):
            is_a = "a mapping" if node.is_map else "a list"
        else:
            is_a = _KIND.get(node.tag, f"a value tagged {node.tag}")
            if (
                wanted == "a string"
                and node.tag in _KIND
                and isinstance(node, Scalar)
                and node.text
            ):
                quote = f' (quote it: "{node.text}")'
        return self.fault(f"{self.path or 'the document'}: {wanted} is wanted, not {is_a}{quote}")

    def fields(self, *, twice: bool = False) -> dict[str, Value]:
        """The fields of a mapping, nulls included; none for null.

        What ``<<`` merges in comes behind the mapping's own fields, and gives way to them.

        Args:
            twice: any word is a key, and may be there again: the last counts, as for Go's yaml.

        Raises:
            DocumentError: no mapping, a key twice, or a key that is no word.
        """
        if self.is_null:
            return {}
        node = self._node
        if not isinstance(node, Collection) or not node.is_map or self.is_template:
            raise self._wrong("a mapping")
        fields: dict[str, Value] = {}
        merged: dict[str, Value] = {}
        prefix = f"{self.path}." if self.path else ""
        for key, value in node.pairs():
            if not isinstance(key, Scalar):
                raise Value(key, self.path)._wrong("a word as key")
            if key.tag == MERGE:
                several = (
                    value.children
                    if isinstance(value, Collection) and not value.is_map
                    else [value]
                )
                for one in several:
                    merged = Value(one, self.path).fields(twice=twice) | merged
                continue
            if key.tag not in (*_STRINGS, INT, FLOAT) and not twice:
                # A bare on: or y: is a boolean; Kubernetes' own JSON says "true" then.
                raise Value(key, prefix + key.text)._wrong("a string")
            if key.text in fields and not twice:
                raise Value(key, "").fault(f'key "{prefix}{key.text}" is there twice')
            fields[key.text] = Value(value, prefix + key.text, key)
        return fields | {name: one for name, one in merged.items() if name not in fields}

    def known(self, names: frozenset[str]) -> dict[str, Value]:
        """As :meth:`fields`, without those that are null; a name that isn't among ``names`` is an error."""
        fields = self.fields()
        for name, value in fields.items():
            if name not in names:
                reason = f'unknown field "{value.path}"{_did_you_mean(name, names)}'
                raise DocumentError(reason, value._key.line, value._key.column)
        return {name: value for name, value in fields.items() if not value.is_null}

    def items(self) -> list[Value]:
        """The items of a list; none for null."""
        if self.is_null:
            return []
        node = self._node
        if not isinstance(node, Collection) or node.is_map:
            raise self._wrong("a list")
        return [Value(item, f"{self.path}[{at}]") for at, item in enumerate(node.children)]

    def text(self) -> str:
        """A string; "" for null."""
        if self.is_null:
            return ""
        if not isinstance(self._node, Scalar) or self._node.tag not in _STRINGS:
            raise self._wrong("a string")
        return self._node.text

    def integer(self) -> int:
        """A whole number."""
        if isinstance(self._node, Scalar) and self._node.tag == INT:
            try:
                return int(self._node.text.replace("_", ""), 0)
            except ValueError:
                pass
        raise self._wrong("a whole number")

    def number_or_text(self) -> int | str:
        """What Kubernetes calls IntOrString."""
        if isinstance(self._node, Scalar) and self._node.tag == INT:
            return self.integer()
        return self.text()

    def boolean(self) -> bool:
        """``true`` or ``false``."""
        if not isinstance(self._node, Scalar) or self._node.tag != BOOL:
            raise self._wrong("true or false")
        return self._node.text.lower() in _TRUE


def read_nodes(text: str) -> Iterator[Value]:
    """The documents of a YAML text one by one; those that hold nothing are left out.

    Raises:
        DocumentError: not YAML, nested too deeply, or aliases that unfold to too much.
    """
    for node in compose(text):
        value = Value(node, "")
        if not value.is_null:
            yield value


def _did_you_mean(name: str, names: frozenset[str]) -> str:
    import difflib  # only for the message

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f' (did you mean "{near[0]}"?)' if near else ""
