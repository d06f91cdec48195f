"""YAML in block style: what is written is read back as it was, by Python's reader and as Go reads it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from flowwatch.drafts.blocks import block_text
from flowwatch.goyaml.nodes import read_nodes

TEXTS = (
    "", "plain", "yes", "1", "a: b", "a #b", '"', "\\", "\\n", "a\nb", "\t", "\x00", "\x1b[31m", "\x7f",
    "\x85", "b\u00fccher", "\u202e", "\u2028", "\ufeff", "\U0001f600", "{}", "- x", "...", "---",
)  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_the_same_when_it_is_read(text: str) -> None:
    quoted = DoubleQuotedScalarString(text)
    written = block_text({"a": quoted, "b": [quoted, {quoted: quoted}]})

    assert written.isascii()
    assert yaml.safe_load(written) == {"a": text, "b": [text, {text: text}]}
    (document,) = read_nodes(written)
    assert document.fields()["a"].text() == text


@pytest.mark.parametrize(
    "document",
    [
        {"a": {}, "b": [], "c": True, "d": False, "e": 7},
        {"a": [{}, {"b": [{"c": "d", "e": {"f": "g"}}, {"h": []}]}]},
        {"a": {"b": {"c": ["d", "e"]}, "f": [{"g": {"h": "i"}}]}},
    ],
)
def test_a_document_is_the_same_when_it_is_read(document: dict[str, Any]) -> None:
    assert yaml.safe_load(block_text(document)) == document


def test_comments_stand_above_it() -> None:
    assert block_text({"a": "b"}, ["one", "", "two"]) == "# one\n#\n# two\na: b\n"
