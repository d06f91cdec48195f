"""What the API server takes: the fields of each kind, their types and bounds.

``schema.json`` has the facts, made by tests/interop/policy_schema.py from the CRDs of Cilium 1.20.2 and
network-policy-api 0.2.0, and from Kubernetes 1.36's own schema of NetworkPolicy and ObjectMeta. What is asked
here is what that API server asks of a new object when kubectl wants strict validation.

Two kinds of fault: a type or a field that Cilium couldn't read either is raised; what only the API server
refuses (an enum, a pattern, a bound) is returned, as policies that got past it still decide.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import Any, TypeAlias

from flowwatch.goyaml.nodes import DocumentError, Value
from flowwatch.policy.checks import Test, tests

Facts: TypeAlias = dict[str, Any]
Found: TypeAlias = list[DocumentError]
"""The first fault that only the API server minds; looking for others stops then."""


_TIME = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)([.,]\d+)?(Z|[-+]([01]\d|2[0-4]):[0-5]\d)\Z", re.ASCII
)


class _Any:
    """A value of whatever type."""

    __slots__ = ("tests",)

    def __init__(self, tests: tuple[Test, ...] = ()) -> None:
        self.tests = tests

    def link(self, facts: Facts, types: dict[str, _Any]) -> None:
        """Find the types inside, once all are made."""

    def check(self, value: Value, found: Found) -> None:
        """Raise what nobody could read; add what only the API server refuses."""

    def test(self, value: Value, found: Found) -> None:
        """Add the first thing that is wrong with a value of the right type."""
        if found:
            return
        for test in self.tests:
            if reason := test(value):
                found.append(value.fault(f"{value.path or 'the document'}: {reason}"))
                return


class _String(_Any):
    __slots__ = ()

    def check(self, value: Value, found: Found) -> None:
        value.text()
        if self.tests:
            self.test(value, found)


class _Integer(_Any):
    __slots__ = ()

    def check(self, value: Value, found: Found) -> None:
        value.integer()
        self.test(value, found)


class _Boolean(_Any):
    __slots__ = ()

    def check(self, value: Value, found: Found) -> None:
        value.boolean()


class _IntOrString(_Any):
    __slots__ = ()

    def check(self, value: Value, found: Found) -> None:
        value.number_or_text()
        self.test(value, found)


class _Time(_Any):
    """RFC 3339, as Go's metav1.Time reads it."""

    __slots__ = ()

    def check(self, value: Value, found: Found) -> None:
        parts = _TIME.match(value.text())
        try:
            if parts:
                datetime.fromisoformat(parts[1])
                return
        except ValueError:
            pass
        raise value.fault(f"{value.path}: a time like 2024-01-31T12:00:00Z is wanted")


class _List(_Any):
    __slots__ = ("item", "nulls")

    item: _Any
    nulls: bool
    """Whether null is an empty item: it is to Go, and not to a CRD."""

    def link(self, facts: Facts, types: dict[str, _Any]) -> None:
        self.item = types[facts["items"]]
        self.nulls = facts.get("nulls", False)

    def check(self, value: Value, found: Found) -> None:
        check = self.item.check
        for one in value.items():
            if self.nulls or not one.is_null:
                check(one, found)
            elif not found:
                found.append(one.fault(f"{one.path}: an item is wanted, not null"))
        if self.tests:
            self.test(value, found)


class _Map(_Any):
    __slots__ = ("nulls", "values")

    values: _Any
    nulls: bool

    def link(self, facts: Facts, types: dict[str, _Any]) -> None:
        self.values = types[facts["values"]]
        self.nulls = facts.get("nulls", False)

    def check(self, value: Value, found: Found) -> None:
        for one in value.fields().values():
            if self.nulls or not one.is_null:
                self.values.check(one, found)
            else:
                # The API server would drop the key: a selector would select more than is written.
                raise one.fault(f"{one.path}: a value is wanted, not null")
        if self.tests:
            self.test(value, found)


class _Object(_Any):
    __slots__ = ("fields",)

    fields: dict[str, _Any]

    def link(self, facts: Facts, types: dict[str, _Any]) -> None:
        self.fields = {name: types[of] for name, of in facts["fields"].items()}

    def check(self, value: Value, found: Found) -> None:
        known = self.fields
        for name, one in value.fields().items():
            of = known.get(name)
            if of is None:
                raise one.unknown(known)
            if not one.is_null:
                of.check(one, found)
        if self.tests:
            self.test(value, found)


class _Top(_Object):
    """A whole document. Its status is the server's own: what else is sent there is thrown away."""

    __slots__ = ()

    def check(self, value: Value, found: Found) -> None:
        for name, one in value.fields().items():
            of = self.fields.get(name)
            if name == "status":
                try:
                    if of is None:
                        raise one.unknown(self.fields)
                    if not one.is_null:
                        of.check(one, found)
                except DocumentError as error:
                    found.append(error)
            elif of is None:
                raise one.unknown(self.fields)
            elif not one.is_null:
                of.check(one, found)
        self.test(value, found)


_KINDS: dict[str, type[_Any]] = {
    "any-object": _Any,
    "array": _List,
    "boolean": _Boolean,
    "int-or-string": _IntOrString,
    "integer": _Integer,
    "map": _Map,
    "object": _Object,
    "string": _String,
    "time": _Time,
}


@lru_cache(maxsize=1)
def _kinds() -> dict[str, _Any]:
    """By apiVersion and kind."""
    text = resources.files("flowwatch.policy").joinpath("schema.json").read_text("utf-8")
    table = json.loads(text)
    all_facts: dict[str, Facts] = table["types"]
    tops = set(table["kinds"].values())
    types = {
        name: (_Top if name in tops else _KINDS[facts["type"]])(tuple(tests(facts)))
        for name, facts in all_facts.items()
    }
    for name, facts in all_facts.items():
        types[name].link(facts, types)
    return {kind: types[name] for kind, name in table["kinds"].items()}


def versions() -> dict[str, tuple[str, ...]]:
    """The apiVersions of each kind, the one to write in front."""
    found: dict[str, tuple[str, ...]] = {}
    for name in _kinds():
        version, _, kind = name.partition(" ")
        found[kind] = (*found.get(kind, ()), version)
    return found


def check(version: str, kind: str, document: Value) -> DocumentError | None:
    """What only the API server has against a document; None for nothing.

    Raises:
        DocumentError: a type or a field that nobody could read.
    """
    found: Found = []
    _kinds()[f"{version} {kind}"].check(document, found)
    return found[0] if found else None
