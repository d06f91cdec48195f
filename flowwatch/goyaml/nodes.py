"""YAML (and JSON, which is YAML) as a tree that knows the line of everything in it.

A plain loader forgets where a value stood, takes the last of two equal keys, and turns ``on`` into
``true`` without a word. A policy decides what may reach what, so each of these is an error here, with its
line. Scalars, and mappings that ``<<`` merges, are read as Go reads them for Kubernetes (scalars.py).
"""

from __future__ import annotations

from collections.abc import Collection as Collected
from collections.abc import Iterator
from typing import Any, TypeAlias, cast

from flowwatch.goyaml.scalars import (
    BOOL,
    FLOAT,
    INT,
    MERGE,
    NULL,
    STR,
    ScalarError,
    key_text,
    number,
    truth,
)
from flowwatch.goyaml.tree import Collection, DocumentError, Node, Scalar, compose

__all__ = ["TEMPLATE", "DocumentError", "Value", "read_nodes"]

_STRINGS = (STR, MERGE)
"""``<<`` is only a key of its own kind; as a value it is a word."""
_KIND = {STR: "a string", NULL: "null", BOOL: "a boolean", INT: "a number", FLOAT: "a number"}
TEMPLATE = "a Helm template that isn't rendered: give the output of `helm template`"


Place: TypeAlias = "tuple[Place | None, str | int]"
"""Where a value is: the place of what it is in, and its name or number there."""


def _path(place: Place) -> str:
    before = _path(place[0]) if place[0] is not None else ""
    at = place[1]
    if isinstance(at, int):
        return f"{before}[{at}]"
    return f"{before}.{at}" if before and at else before or at


class Value:
    """One node of a document: its path in the document (``spec.egress[0]``), its line, its value."""

    __slots__ = ("_inside", "_key", "_node", "_place")

    def __init__(
        self,
        node: Node,
        inside: Place | None = None,
        at: str | int = "",
        key: Node | None = None,
    ) -> None:
        self._node = node
        self._key = key or node
        # Not the value it is in: that one knows this one, and circles wait for the garbage collector.
        self._place: Place = (inside, at)
        self._inside: Any = None
        """The fields or items, once somebody asked for them."""

    @property
    def path(self) -> str:
        """Where it is in its document; made only for messages."""
        return _path(self._place)

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

        What ``<<`` merges in takes the place of what stands before it, and gives way to what follows.

        Args:
            twice: any word is a key, and may be there again: the last counts, as for Go's yaml.

        Raises:
            DocumentError: no mapping, a key twice, or a key that is no word.
        """
        if self._inside is not None and not twice:
            return cast("dict[str, Value]", self._inside)
        if self.is_null:
            return {}
        node = self._node
        if not isinstance(node, Collection) or not node.is_map or self.is_template:
            raise self._wrong("a mapping")
        fields: dict[str, Value] = {}
        merged: set[str] = set()
        place = self._place
        for key, value in node.pairs():
            if key.tag == MERGE:
                brought = self._merged(value, twice=twice)
                merged.update(brought)
                fields.update(brought)
                continue
            text = isinstance(key, Scalar) and key.tag == STR and key.text
            name = text if isinstance(text, str) else self._name(key, any_word=twice)
            if name in fields and name not in merged and not twice:
                raise Value(key).fault(f'key "{Value(key, place, name).path}" is there twice')
            merged.discard(name)
            fields[name] = Value(value, place, name, key)
        if not twice:
            self._inside = fields
        return fields

    def _name(self, key: Node, *, any_word: bool) -> str:
        """What a key is called that is no string."""
        if not isinstance(key, Scalar):
            raise Value(key, self._place)._wrong("a word as key")
        if key.tag not in (INT, FLOAT):
            if any_word:
                return str(truth(key.text)).lower() if key.tag == BOOL else key.text
            # A bare on: or y: is a boolean; Kubernetes' own JSON says "true" then.
            raise Value(key, self._place, key.text)._wrong("a string")
        try:
            return key_text(key.text)
        except ScalarError as error:
            raise Value(key, self._place).fault(
                f"{Value(key, self._place).path}: {error}"
            ) from None

    def _merged(self, node: Node, *, twice: bool) -> dict[str, Value]:
        """What ``<<`` brings in; of several mappings the first counts."""
        several = node.children if isinstance(node, Collection) and not node.is_map else [node]
        merged: dict[str, Value] = {}
        for one in reversed(several):
            if not isinstance(one, Collection) or not one.is_map:
                raise Value(one, self._place, "<<")._wrong("a mapping")
            merged.update(Value(one, self._place).fields(twice=twice))
        return merged

    def given(self) -> dict[str, Value]:
        """As :meth:`fields`, without those that are null."""
        fields = self.fields()
        for value in fields.values():
            if value.is_null:
                return {name: one for name, one in fields.items() if not one.is_null}
        return fields

    def known(self, names: Collected[str]) -> dict[str, Value]:
        """As :meth:`given`; a name that isn't among ``names`` is an error."""
        for name, value in self.fields().items():
            if name not in names:
                raise value.unknown(names)
        return self.given()

    def unknown(self, names: Collected[str]) -> DocumentError:
        """The error of a field that isn't among ``names``, at its key."""
        reason = f'unknown field "{self.path}"{did_you_mean(str(self._place[1]), names)}'
        return DocumentError(reason, self._key.line, self._key.column)

    def items(self) -> list[Value]:
        """The items of a list; none for null."""
        if self._inside is not None:
            return cast("list[Value]", self._inside)
        if self.is_null:
            return []
        node = self._node
        if not isinstance(node, Collection) or node.is_map:
            raise self._wrong("a list")
        place = self._place
        items = [Value(item, place, at) for at, item in enumerate(node.children)]
        self._inside = items
        return items

    def text(self) -> str:
        """A string; "" for null."""
        if self.is_null:
            return ""
        if not isinstance(self._node, Scalar) or self._node.tag not in _STRINGS:
            raise self._wrong("a string")
        return self._node.text

    @property
    def written(self) -> str:
        """All of it in one form: the same for the same values, whatever the style and the order of keys."""
        node = self._node
        if isinstance(node, Scalar):
            return f"{node.tag} {node.text!r}"
        if self.is_map:
            inner = sorted(f"{key!r}: {one.written}" for key, one in self.given().items())
            return f"{{{', '.join(inner)}}}"
        return f"[{', '.join(one.written for one in self.items())}]"

    def integer(self) -> int:
        """A whole number."""
        if isinstance(self._node, Scalar) and self._node.tag == INT:
            value = number(self._node.text)
            if isinstance(value, int):
                return value
        raise self._wrong("a whole number")

    def decimal(self) -> float:
        """A number, whole or not."""
        if isinstance(self._node, Scalar) and self._node.tag in (INT, FLOAT):
            value = number(self._node.text)
            if value is not None:
                return float(value)
        raise self._wrong("a number")

    def number_or_text(self) -> int | str:
        """What Kubernetes calls IntOrString."""
        if isinstance(self._node, Scalar) and self._node.tag == INT:
            return self.integer()
        return self.text()

    def boolean(self) -> bool:
        """``true`` or ``false``."""
        if not isinstance(self._node, Scalar) or self._node.tag != BOOL:
            raise self._wrong("true or false")
        return truth(self._node.text)


def read_nodes(text: str) -> Iterator[Value]:
    """The documents of a YAML text one by one; those that hold nothing are left out.

    Raises:
        DocumentError: not YAML, nested too deeply, or aliases that unfold to too much.
    """
    for node in compose(text):
        value = Value(node)
        if not value.is_null:
            yield value


def did_you_mean(name: str, names: Collected[str]) -> str:
    """A question that ends a message, if one of ``names`` is near to ``name``."""
    import difflib  # only for the message

    near = difflib.get_close_matches(name, names, n=1, cutoff=0.75)
    return f' (did you mean "{near[0]}"?)' if near else ""
