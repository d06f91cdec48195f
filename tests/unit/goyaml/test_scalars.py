"""Words of YAML as Go reads them; tests/interop/test_policy_yaml.py has Go's own answers."""

from __future__ import annotations

import pytest

from flowwatch.goyaml.nodes import DocumentError, Value, read_nodes
from flowwatch.goyaml.scalars import BOOL, FLOAT, INT, MERGE, NULL, STR, number, resolve


def value(word: str) -> Value:
    (document,) = read_nodes(f"a: {word}\n")
    return document.fields()["a"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("80", 80), ("017", 15), ("0o17", 15), ("0O17", 15), ("0x50", 80), ("-0b11", -3), ("+5", 5),
        ("1_000", 1000), ("1e3", 1000), (".5e1", 5), ("80.0", 80), ("08", 8), ("0b+1", 1),
        ("1e20", 10**20), ("1.5", 1.5), ("18446744073709551615", 2**64 - 1),
    ],
)  # fmt: skip
def test_numbers(word: str, expected: float) -> None:
    assert number(word) == expected
    assert resolve(word) == (INT if isinstance(expected, int) else FLOAT)


@pytest.mark.parametrize(
    "word",
    ["1:30", "2024-01-31", "1e400", "0o8", "0xg", "_1", "--", ".", "1.2.3", "=", "0x1.8p1", "yEs", "nULL",
     "0xfffffffffffffffff", "１", "+-1"],
)  # fmt: skip
def test_words_that_look_like_something_else_are_strings(word: str) -> None:
    assert resolve(word) == STR
    assert value(word).text() == word


def test_words_that_are_something_else() -> None:
    assert {resolve(word) for word in ("y", "Y", "n", "on", "Off", "YES", "no", "True")} == {BOOL}
    assert {resolve(word) for word in ("", "~", "null", "NULL")} == {NULL}
    assert resolve("<<") == MERGE
    assert resolve(".inf") == resolve(".NaN") == resolve("-.Inf") == FLOAT
    assert value("on").boolean()
    assert not value("n").boolean()


@pytest.mark.parametrize(
    ("key", "name"),
    [("0x10", "16"), ("1.50", "1.5"), ("1e3", "1000"), ("1e6", "1e+06"), ("123456789.0", "1.2345679e+08"),
     ("1e-7", "1e-07"), ("010", "8"), ("-0.0", "-0"), (".inf", ".inf"), ('"0x10"', "0x10")],
)  # fmt: skip
def test_a_number_as_a_key_is_called_as_in_json(key: str, name: str) -> None:
    (document,) = read_nodes(f"{key}: a\n")
    assert list(document.fields()) == [name]


def test_a_key_twice_is_seen_behind_its_spelling() -> None:
    (document,) = read_nodes("16: a\n0x10: b\n")
    with pytest.raises(DocumentError, match='key "16" is there twice'):
        document.fields()


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("!!int abc", "not what its tag says"),
        ("!!float yes", "not what its tag says"),
        ("!!null x", "not what its tag says"),
        ("!!binary é", "no text in base64"),
    ],
)
def test_a_tag_that_is_wrong_is_refused(word: str, reason: str) -> None:
    with pytest.raises(DocumentError, match=reason):
        value(word)


def test_a_tag_that_is_right_is_obeyed() -> None:
    assert value("!!str 80").text() == "80"
    assert value('!!int "80"').integer() == 80
    assert value("!!float 80").integer() == 80
    assert value("!!binary aGk=").text() == "hi"
    assert value('!!bool "y"').boolean()


def test_millions_of_digits_cost_nothing() -> None:
    assert resolve("9" * 1_000_000) == STR
    assert resolve("0" * 1_000_000 + "9") == INT
