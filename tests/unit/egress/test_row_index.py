"""The index of rows holds no keys: it finds what a dict of them would, whatever collides."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from flowwatch.egress.row_index import RowIndex

_KEYS = st.tuples(st.integers(0, 3), st.integers(0, 2**32 - 1), st.integers(0, 5))


def _columns() -> tuple[array[int], ...]:
    return array("I"), array("I"), array("H")


def _row(index: RowIndex, columns: tuple[array[int], ...], key: tuple[int, ...]) -> int:
    row = index.row(columns, key)
    if row == len(columns[0]):
        for column, part in zip(columns, key, strict=True):
            column.append(part)
    return row


@given(st.lists(_KEYS))
def test_it_gives_each_key_the_row_that_a_dict_would(keys: list[tuple[int, int, int]]) -> None:
    index, columns = RowIndex(), _columns()
    expected: dict[tuple[int, int, int], int] = {}
    for key in keys:
        assert _row(index, columns, key) == expected.setdefault(key, len(expected))


def test_it_grows_and_finds_all_again() -> None:
    index, columns = RowIndex(), _columns()
    keys = [(number % 7, number, number % 5) for number in range(20_000)]
    assert [_row(index, columns, key) for key in keys] == list(range(20_000))
    assert [_row(index, columns, key) for key in reversed(keys)] == list(reversed(range(20_000)))


class _Alike(int):
    """A number whose hash is that of all others."""

    def __hash__(self) -> int:
        return 1


def test_keys_of_one_hash_are_told_apart_by_the_columns() -> None:
    index, columns = RowIndex(), _columns()
    keys = [(_Alike(number), _Alike(number), _Alike(0)) for number in range(50)]
    assert [_row(index, columns, key) for key in keys] == list(range(50))
    assert [_row(index, columns, key) for key in keys] == list(range(50))
