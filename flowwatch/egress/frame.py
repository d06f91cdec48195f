"""The rows as a pandas frame: the same rows that the screen, the CSV and the JSON show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flowwatch.egress.schema import ROW, Column, Kind, Policies, carried

if TYPE_CHECKING:
    import pandas as pd

# Text is as pandas has it. Times are objects at first: beside a missing one they would become floats, which
# lose nanoseconds.
_TYPES: dict[Kind, str | None] = {
    "int": "int64",
    "uint": "uint64",
    "float": "float64",
    "text": None,
}


def _policies(values: Policies) -> tuple[str, ...]:
    # Allowing ones first.
    return tuple(
        [f"{effect} {policy}" for effect, policy in sorted(values, key=lambda one: one[0])]
    )


_VALUES: dict[Kind, Callable[[Any], Any]] = {
    "policies": _policies,
    "time": lambda value: value or None,
}


def frame(items: Iterable[Any], columns: tuple[Column[Any], ...] = ROW) -> pd.DataFrame:
    """One line per item, in their order: rows, or what ``columns`` are declared for.

    Numbers are exact, times UTC timestamps (missing where no record had one), counts dicts of attempts by
    name, texts tuples, policies tuples of text as ``deny weather/deny-world (CiliumNetworkPolicy)``.
    """
    import pandas as pd

    given = list(items)

    def series(column: Column[Any]) -> pd.Series[Any]:
        form = _VALUES.get(column.kind)
        values = [column.value(item) for item in given]
        if form is not None:
            values = [form(value) for value in values]
        made = pd.Series(values, dtype=_TYPES.get(column.kind, "object"))
        if column.kind != "time":
            return made
        return pd.to_datetime(made, unit="ns", utc=True).astype("datetime64[ns, UTC]")

    return pd.DataFrame({one.name: series(one) for one in carried(columns, "frame")})
