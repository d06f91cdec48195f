"""Columns as cells of CSV and keys of JSON: what becomes of each kind.

The declarations are :mod:`flowwatch.egress.schema`'s; docs/formats.md has the kinds in a table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from flowwatch.egress.schema import Column, Format, Kind, Policies, carried
from flowwatch.flows.model import PolicyRef
from flowwatch.report.goformat import TimeFormat
from flowwatch.text import cell

Item = TypeVar("Item")


def _policy_text(effect: str, policy: PolicyRef) -> str:
    owner = f"{policy.namespace}/{policy.name}" if policy.namespace else policy.name
    return " ".join(part for part in (effect, policy.kind, owner) if part)


def _texts(values: tuple[str, ...]) -> str:
    return cell("; ".join(values))


def _counts(values: dict[str, int]) -> str:
    return cell("; ".join([f"{name}={count}" for name, count in values.items()]))


def _policies(values: Policies) -> str:
    return cell("; ".join([_policy_text(effect, policy) for effect, policy in values]))


def _policies_json(values: Policies) -> list[dict[str, str]]:
    return [
        {"effect": effect, "kind": p.kind, "namespace": p.namespace, "name": p.name}
        for effect, p in values
    ]


def _time(times: TimeFormat, value: int) -> str | None:
    return times.nanoseconds(value) if value else None


def _rounded(value: float) -> float:
    return round(value, 3)


def _same(value: Any) -> Any:
    return value


_BOOLS = {True: "true", False: "false", None: ""}
_CSV: dict[Kind, Callable[[Any], Any]] = {
    "text": cell,
    "int": _same,
    "uint": _same,
    "float": _rounded,
    "bool": _BOOLS.__getitem__,
    "texts": _texts,
    "counts": _counts,
    "policies": _policies,
}
_JSON: dict[Kind, Callable[[Any], Any]] = {
    "float": _rounded,
    "policies": _policies_json,
    "texts": list,
}


def csv_cells(columns: tuple[Column[Item], ...]) -> Callable[[Item], list[Any]]:
    """A function from an item to the cells of its CSV line. Keep it: it remembers seconds."""
    getters = [(c.value, _CSV.get(c.kind) or _times()) for c in carried(columns, "csv")]
    return lambda item: [shown(value(item)) for value, shown in getters]


def json_object(
    columns: tuple[Column[Item], ...], by: Format = "json"
) -> Callable[[Item], dict[str, Any]]:
    """A function from an item to its JSON object, as a format has it. Keep it, as with :func:`csv_cells`."""
    getters = [
        (c.name, c.value, _times() if c.kind == "time" else _JSON.get(c.kind, _same))
        for c in carried(columns, by)
    ]
    return lambda item: {name: shown(value(item)) for name, value, shown in getters}


def _times() -> Callable[[int], str | None]:
    return partial(_time, TimeFormat.iso())
