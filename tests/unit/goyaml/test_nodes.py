"""YAML as a tree that knows its lines: what Kubernetes reads, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flowwatch.goyaml.nodes import TEMPLATE, DocumentError, Value, read_nodes
from flowwatch.goyaml.tree import Node, Scalar, compose
from tests.unit.audits.planted import CORRECT

BITS = ["{", "}", "[", "]", ": ", "- ", "\t", '"', "'", "*a", "&a ", "|", ">", "!!str ", "~", "on", "\n",
        "  ", "1e9", "? ", "---\n", "\u202e", "\x85", "é", ""]  # fmt: skip


def ours(node: Node) -> Any:
    if isinstance(node, Scalar):
        return node.text, node.line, node.column
    return node.line, node.column, [ours(child) for child in node.children]  # type: ignore[attr-defined]


def theirs(node: Any) -> Any:
    place = node.start_mark.line + 1, node.start_mark.column + 1
    if isinstance(node, yaml.ScalarNode):
        return node.value, *place
    mapping = isinstance(node, yaml.MappingNode)
    children = [part for pair in node.value for part in pair] if mapping else node.value
    return *place, [theirs(child) for child in children]


@given(st.lists(st.tuples(st.integers(0, len(CORRECT)), st.sampled_from(BITS)), max_size=3))
def test_the_tree_is_that_of_pyyaml(changes: list[tuple[int, str]]) -> None:
    text = CORRECT
    for at, bit in changes:
        text = text[:at] + bit + text[at:]
    loader = yaml.CSafeLoader(text)
    expected = []
    try:
        while loader.check_node():
            expected.append(theirs(loader.get_node()))
    except yaml.MarkedYAMLError as error:
        if "duplicate anchor" in str(error):
            return  # Go's yaml allows it, and so do we
        place = error.problem_mark
        assert place is not None
        with pytest.raises(DocumentError) as caught:
            list(compose(text))
        assert (caught.value.line, caught.value.column) == (place.line + 1, place.column + 1)
    else:
        assert [ours(root) for root in compose(text)] == expected


def one(text: str) -> Value:
    (value,) = read_nodes(text)
    return value


def fault(text: str) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        list(read_nodes(text))
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "[" * 50_000,
        "{a: " * 50_000,
        "- " * 500_000,
        "? " * 50_000,
        "[{a: " * 50_000 + "}]" * 50_000,
        "\n".join(" " * depth + "a:" for depth in range(1200)),
    ],
    ids=["brackets", "braces", "dashes", "questions", "closed", "indented"],
)
def test_deep_nesting_is_refused_before_it_can_exhaust_the_stack(text: str) -> None:
    assert fault(text).reason == "nested too deeply"


def test_many_brackets_that_are_not_nested_are_read() -> None:
    assert len(one("[" + "[a], {b: [c]}, " * 2000 + "]").items()) == 4000


def test_a_yaml_bomb_is_refused() -> None:
    levels = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert fault("\n".join(levels)).reason == "aliases repeat nearly all of its values"
    long = "long: [" + "x, " * 10_000 + "]\n"
    assert "aliases repeat more than 100,000 values" in fault(long + "\n".join(levels)).reason


@pytest.mark.parametrize("text", ["a: &a [*a]", "&a {b: {c: *a}}"])
def test_an_alias_inside_itself_is_refused(text: str) -> None:
    assert "alias inside" in fault(text).reason


def test_a_large_document_with_one_alias_is_no_bomb() -> None:
    text = "a: &a [1, 2]\nb: *a\nlong:\n" + "".join(f"- {n}\n" for n in range(150_000))
    assert len(one(text).fields()["long"].items()) == 150_000


@pytest.mark.parametrize(
    ("mine", "expected"),
    [
        ("{<<: *base, a: own}", {"a": "own", "b": "base"}),
        ("{a: own, <<: *base}", {"a": "old", "b": "base"}),
        ("{<<: [*base, {b: second, c: third}]}", {"a": "old", "b": "base", "c": "third"}),
    ],
)
def test_of_what_is_merged_and_what_is_written_the_later_counts(
    mine: str, expected: dict[str, str]
) -> None:
    """As in Go's yaml, v2; of several mappings merged at once the first counts."""
    fields = one(f"base: &base {{a: old, b: base}}\nmine: {mine}\n").fields()["mine"].fields()
    assert {name: value.text() for name, value in fields.items()} == expected


@pytest.mark.parametrize("merged", ["x", "null", "[1]", "*list"])
def test_only_mappings_can_be_merged(merged: str) -> None:
    text = f"list: &list [{{a: b}}]\nmine:\n  <<: {merged}\n"
    with pytest.raises(DocumentError, match=r"a mapping is wanted|an alias of a mapping"):
        one(text).fields()["mine"].fields()


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("a: b\n\tc: d\n", 2, 1, "found a tab: indent with spaces"),
        ("a:\n  b: c\n\td: e\n", 3, 1, "found a tab: indent with spaces"),
        ('{"a": "b"}\n{"c": "d"}\n', 2, 1, "put several into a List"),
        ("a: [b\nc: d\n", 2, 2, "not YAML"),
        ("a: é\x00\n", 1, 5, "control characters"),
        ("é: é\n\nb: \x07\n", 3, 4, "control characters"),
        ("a: *b\n", 1, 4, "alias"),
    ],
)
def test_a_text_that_is_no_yaml_is_refused_at_its_place(
    text: str, line: int, column: int, reason: str
) -> None:
    error = fault(text)
    assert (error.line, error.column) == (line, column)
    assert reason in error.reason


def test_a_key_twice_is_refused_at_the_second() -> None:
    with pytest.raises(DocumentError, match='key "a" is there twice') as caught:
        one("a: 1\nb: 2\na: 3\n").fields()
    assert (caught.value.line, caught.value.column) == (3, 1)


def test_an_unknown_field_is_refused_where_its_name_stands() -> None:
    with pytest.raises(DocumentError, match='unknown field "b"') as caught:
        one("a: 1\nb:\n  - c\n").known(frozenset({"a"}))
    assert (caught.value.line, caught.value.column) == (2, 1)


def test_an_alias_stands_for_what_its_anchor_last_named() -> None:
    """As in Go's yaml, an anchor may be given anew."""
    fields = one("a: &x 1\nb: *x\nc: &x [two]\nd: *x\n").fields()
    assert fields["b"].integer() == 1
    assert [item.text() for item in fields["d"].items()] == ["two"]
    assert "stands for nothing" in fault("a: &x 1\n---\nb: *x\n").reason


def test_a_tag_of_its_own_is_called_by_its_name() -> None:
    with pytest.raises(DocumentError, match=r"a string is wanted, not a value tagged !secret$"):
        one("a: !secret b\n").fields()["a"].text()
    assert one("a: !!str 80\n").fields()["a"].text() == "80"


def test_words_that_yaml_makes_booleans_must_be_quoted() -> None:
    with pytest.raises(DocumentError, match='quote it: "on"'):
        one("a: on\n").fields()["a"].text()
    with pytest.raises(DocumentError, match="a string is wanted, not a number"):
        one("a: 80\n").fields()["a"].text()


def test_a_date_is_a_string_as_in_kubernetes() -> None:
    assert one("a: 2024-01-31\n").fields()["a"].text() == "2024-01-31"


def test_json_with_tabs_and_windows_lines_is_read() -> None:
    assert one('{\r\n\t"a": "b\\/c"\r\n}\r\n').fields()["a"].text() == "b/c"
    assert one("a: b\r\nc: d\r\n").fields()["c"].line == 2


def test_documents_that_hold_nothing_are_left_out() -> None:
    assert [value.line for value in read_nodes("---\n---\na: b\n---\n# no\n---\nc: d\n")] == [3, 7]


@pytest.mark.parametrize("text", ["a: {{ .Values.a }}", "{{ .Values.a }}: b"])
def test_a_template_is_called_by_its_name(text: str) -> None:
    with pytest.raises(DocumentError) as caught:
        one(text).fields()["a"].text()
    assert caught.value.reason == TEMPLATE
