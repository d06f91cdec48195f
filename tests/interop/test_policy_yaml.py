"""YAML as Go reads it for Kubernetes: words, keys, and whole policies with something odd put in."""

import random
from collections import Counter
from typing import Any

import pytest

from flowwatch.goyaml.nodes import DocumentError, Value, read_nodes
from flowwatch.goyaml.scalars import BOOL, FLOAT, INT, NULL, number
from flowwatch.goyaml.tree import Collection, Scalar
from tests.interop.judged_documents import OWN
from tests.interop.oracle import Oracle

WORDS, TEXTS = 6_000, 1_200

PARTS = (
    *("0", "1", "7", "8", "17", "10", "0x", "0X", "0o", "0O", "0b", "e", "E", "e3", "e+3", "e-7", ".", "_"),
    *("+", "-", ":", "inf", ".inf", ".NaN", "a", "F", "y", "Y", "yes", "no", "on", "off", "true", "False"),
    *("null", "~", "=", "<<", "2001", "-01", "T", "Z", "99999999999999999999", "18446744073709551615"),
    *("9223372036854775807", "x", "é"),
)  # fmt: skip
TAGS = ("", "", "", "", "!!int ", "!!float ", "!!str ", "!!bool ", "!!null ")
PIECES = ("{", "}", "[", "]", ": ", "- ", "\t", '"', "'", "*a ", "&a ", "|", "|-\n", ">", "!!str ", "~",
          "on", "\n", "\n\n", "  ", "1e9", "---\n", "...\n", "\x85", "é", "#", " #", "<<: ", "%", "@", "`",
          ",", "\r\n", "\u2028", "!", "\\", "::", "a: b\n", "x: &b {a: b}\n<<: *b\n",
          "<<: {kind: x}\n")  # fmt: skip


def plain(value: Value) -> Any:
    """What a value is in JSON; numbers as Go's JSON has them."""
    node = value._node
    if isinstance(node, Collection):
        if node.is_map:
            return {name: plain(one) for name, one in value.fields().items()}
        return [plain(one) for one in value.items()]
    assert isinstance(node, Scalar)
    if node.tag == NULL:
        return None
    if node.tag == BOOL:
        return value.boolean()
    if node.tag in (INT, FLOAT):
        found = number(node.text)
        if found is None or not abs(found) < float("inf"):
            raise DocumentError("JSON has no such number", node.line)
        return _number(found)
    return value.text()


def _number(found: float) -> float:
    """Large ones with as many digits as a float has."""
    return found if abs(found) < 1 << 53 else float(found)


def theirs_of(value: Any) -> Any:
    """Go's answer, with such numbers alike."""
    if isinstance(value, dict):
        return {name: theirs_of(one) for name, one in value.items()}
    if isinstance(value, list):
        return [theirs_of(one) for one in value]
    return _number(value) if type(value) in (int, float) else value


def ours(text: str) -> list[Any] | None:
    """The documents of a text; None if it can't be read."""
    try:
        return [plain(value) for value in read_nodes(text)]
    except DocumentError:
        return None


def test_words_are_what_go_makes_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(1)
    counts: Counter[str] = Counter()
    with Oracle() as oracle:
        for _ in range(WORDS):
            word = chance.choice(TAGS) + "".join(chance.choices(PARTS, k=chance.randint(1, 4)))
            as_key = chance.random() < 0.3
            text = f"{word}: 1\nb: x\n" if as_key else f"a: {word}\n"
            theirs, mine = theirs_of(oracle.as_json(text)), ours(text)
            if mine is None:
                # A boolean or a tag of its own as a key is an error here: nobody means it.
                counts["refused by both" if theirs is None else "refused here alone"] += 1
            else:
                assert mine == theirs, (text, theirs, mine)
                counts["equal"] += 1
    with capsys.disabled():
        print(f"\nwords of YAML against Go: {dict(counts)}")
    assert counts["equal"] > WORDS // 3


def test_texts_are_what_go_makes_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    """A text that Go can't read isn't read here, and what both read is the same."""
    chance = random.Random(1)
    counts: Counter[str] = Counter()
    documents = OWN.read_text(encoding="utf-8").split("\n---\n")
    with Oracle() as oracle:
        for _ in range(TEXTS):
            text = chance.choice(documents)
            for _ in range(chance.randint(1, 2)):
                at = chance.randrange(len(text))
                text = text[:at] + chance.choice(PIECES) + text[at:]
            theirs, mine = theirs_of(oracle.as_json(text)), ours(text)
            if mine is None:
                counts["refused by both" if theirs is None else "refused here alone"] += 1
            else:
                assert mine == theirs, text
                counts["equal"] += 1
    with capsys.disabled():
        print(f"\ntexts of YAML against Go: {dict(counts)}")
    assert counts["equal"] > TEXTS // 20
