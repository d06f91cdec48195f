"""Policy documents with one thing changed: the mistakes of people, of templates and of other tools.

`mutants(documents, seed)` goes on without end, the same for the same seed. What is changed is one node of
the tree: its value (another type, a scalar that YAML readers disagree about, a value from elsewhere),
its key (missing, unknown, in another case, twice), or a list's items.
"""

import difflib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import yaml

Place: TypeAlias = tuple[str | int, ...]

# As written in YAML. Several are a number, a boolean or null to one reader of YAML and text to another.
SCALARS = (
    *("null", "~", "''", "' '", "true", "yes", "on", "'true'", "TRUE"),
    *("0", "1", "-1", "1.0", "1.5", "1e3", "0o17", "017", "0x1F", "0b11", "1_000", "+1", "'1'", "'01'"),
    *("65535", "65536", "2147483648", "12345678901234567890", ".inf", ".nan", "1e400"),
    *("2001-01-01", "12:30", "!!str 5", "!!binary aGk=", "!!int '7'"),
    *("x", "X", "a b", "a/b", "/", "-", "*", "é", "x_y", "x.y", "'x.'", "-x", "x-"),
    *("http", "HTTP", "TCP", "tcp", "10.0.0.1", "10.0.0.0/8", "10.0.0.1/8", "::1", "fe80::1%eth0/64"),
    *("::ffff:10.0.0.0/104", "10.0.0.0/33", "010.0.0.0/8", "world", "World", "x" * 64, "x" * 254),
)  # fmt: skip
TAGS = (
    *("&a x", "*a", "! x", "!foo x", "!!str 1", "!!str x", "!!float 1", "!!null x", "!!map {}", "!!set {x}"),
    *("!!bool 'true'", "!!timestamp 2001-01-01", '"\\0"', '"\\x41"', '"\\ud800"', "x # y", "=", "<<"),
)  # fmt: skip
KEYS = (
    *("1", "1.5", "true", "yes", "null", "~", "''", "!!str x", "!!int 1", "2001-01-01", "<<", "=", "*a"),
    *('"\\x73pec"', "'spec '", "Spec", "é", "!!binary c3BlYw=="),
)  # fmt: skip
"""Keys that are no text, or not the text that they look like."""
SHAPES = (
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "[{}]",
    "[x]",
    "[1]",
    "{a: b}",
    "{a: 1}",
    "{a: {}}",
    "{a: null}",
)


@dataclass(frozen=True)
class Mutant:
    """A changed document."""

    text: str
    place: str
    """Where, such as `spec.egress[].toPorts`."""
    change: str
    before: str
    """The document without it."""

    @property
    def lines(self) -> str:
        """The lines that differ, as `diff -U0` shows them."""
        before, after = self.before.splitlines(), self.text.splitlines()
        shown = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]
        return "\n".join(line[:200] for line in shown if not line.startswith("@@"))


class _Written:
    """Pieces of YAML that stand in a tree by a name until it is text."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def put(self, piece: str) -> str:
        self._pieces.append(piece)
        return f"piece{len(self._pieces) - 1}piece"

    def text(self, tree: Any) -> str:
        dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
        text = yaml.dump(tree, Dumper=dumper, width=1 << 20, sort_keys=False, allow_unicode=True)
        for number, piece in enumerate(self._pieces):
            text = text.replace(f"piece{number}piece", piece)
        return text


class _Corpus:
    """What the documents have in them: every place, and values and keys to take elsewhere."""

    def __init__(self, documents: Sequence[Any]) -> None:
        self.documents = documents
        self.texts = [_Written().text(document) for document in documents]
        self.places = [[place for place, _ in _nodes(document)] for document in documents]
        found = [node for document in documents for node in _nodes(document)]
        self.values = [value for _, value in found if len(str(value)) < 200]
        self.keys = sorted({place[-1] for place, _ in found if isinstance(place[-1], str)})


def _nodes(value: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Everything in a document but the whole, with where it is."""
    if place:
        yield place, value
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, one in items:
        yield from _nodes(one, (*place, key))


def mutants(documents: Sequence[Any], seed: int) -> Iterator[Mutant]:
    """Change one of the documents after the other, chosen at random."""
    chance = random.Random(seed)
    corpus = _Corpus(documents)
    while True:
        number = chance.randrange(len(documents))
        place = chance.choice(corpus.places[number])
        change = chance.choice(_CHANGES)
        written = _Written()
        tree = _copy(documents[number])
        parent = tree
        for step in place[:-1]:
            parent = parent[step]
        said = change(parent, place[-1], written, chance, corpus)
        if said:
            shown = "".join("[]" if isinstance(p, int) else f".{p}" for p in place).lstrip(".")
            yield Mutant(written.text(tree), shown, said, corpus.texts[number])


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(one) for key, one in value.items()}
    return [_copy(one) for one in value] if isinstance(value, list) else value


# Each changes `parent[key]` in place and says what it did; "" where it can't.
Change: TypeAlias = Callable[[Any, Any, _Written, random.Random, _Corpus], str]


def _other_scalar(
    parent: Any, key: Any, written: _Written, chance: random.Random, _: _Corpus
) -> str:
    piece = chance.choice(SCALARS)
    parent[key] = written.put(piece)
    return piece if len(piece) < 40 else f"{piece[:8]}… ({len(piece)} letters)"


def _other_shape(
    parent: Any, key: Any, written: _Written, chance: random.Random, _: _Corpus
) -> str:
    piece = chance.choice(SHAPES)
    parent[key] = written.put(piece)
    return piece


def _from_elsewhere(
    parent: Any, key: Any, _: _Written, chance: random.Random, corpus: _Corpus
) -> str:
    parent[key] = _copy(chance.choice(corpus.values))
    return "a value from elsewhere"


def _tagged(parent: Any, key: Any, written: _Written, chance: random.Random, _: _Corpus) -> str:
    piece = chance.choice(TAGS)
    parent[key] = written.put(piece)
    return piece


def _odd_key(parent: Any, key: Any, written: _Written, chance: random.Random, _: _Corpus) -> str:
    if not isinstance(parent, dict):
        return ""
    piece = chance.choice(KEYS)
    parent[written.put(piece)] = parent.pop(key) if chance.random() < 0.5 else _copy(parent[key])
    return f"the key {piece}"


def _missing(parent: Any, key: Any, *_: Any) -> str:
    del parent[key]
    return "missing"


def _unknown_key(
    parent: Any, key: Any, written: _Written, chance: random.Random, _: _Corpus
) -> str:
    inside = parent[key]
    into = inside if isinstance(inside, dict) else parent
    if not isinstance(into, dict):
        return ""
    into["unknown"] = written.put(chance.choice(("x", "null", "[]", "{}", "1")))
    return "an unknown key beside or inside"


def _key_from_elsewhere(
    parent: Any, key: Any, written: _Written, chance: random.Random, corpus: _Corpus
) -> str:
    inside = parent[key]
    into = inside if isinstance(inside, dict) else parent
    if not isinstance(into, dict):
        return ""
    added = chance.choice(corpus.keys)
    into[added] = written.put(chance.choice((*SHAPES, "null", "x", "1")))
    return f"{added} beside or inside"


def _renamed(parent: Any, key: Any, change: Callable[[str], str], said: str) -> str:
    if not isinstance(parent, dict) or not isinstance(key, str) or change(key) == key:
        return ""
    items = [(change(name) if name == key else name, value) for name, value in parent.items()]
    parent.clear()
    parent.update(items)
    return said


def _key_in_another_case(
    parent: Any, key: Any, __: _Written, chance: random.Random, _: _Corpus
) -> str:
    way = chance.choice((str.upper, str.lower, str.capitalize, str.swapcase))
    return _renamed(parent, key, way, "key in another case")


def _key_twice(parent: Any, key: Any, written: _Written, *_: Any) -> str:
    if not isinstance(parent, dict) or not isinstance(key, str):
        return ""
    parent[written.put(key)] = _copy(parent[key])
    return "key twice"


def _items(parent: Any, key: Any, _: _Written, chance: random.Random, __: _Corpus) -> str:
    value = parent[key]
    if not isinstance(value, list):
        parent[key] = [value]
        return "in a list"
    ways: dict[str, list[Any]] = {
        "no items": [],
        "items twice": [_copy(one) for one in [*value, *value]],
        "an item null": [*value, None],
        "an item {}": [*value, {}],
        "many items": [_copy(one) for _ in range(41) for one in value],
    }
    said = chance.choice(list(ways))
    parent[key] = ways[said]
    return said


def _other_text(parent: Any, key: Any, _: _Written, chance: random.Random, __: _Corpus) -> str:
    value = parent[key]
    if not isinstance(value, str):
        return ""
    ways: dict[str, Callable[[str], str]] = {
        "upper case": str.upper,
        "lower case": str.lower,
        "swapped case": str.swapcase,
        "a space after": lambda text: text + " ",
        "a line's end after": lambda text: text + "\n",
        "a slash after": lambda text: text + "/",
        "a dot after": lambda text: text + ".",
        "an underscore before": lambda text: "_" + text,
        "a star before": lambda text: "*" + text,
        "a letter less": lambda text: text[:-1],
        "a zero before": lambda text: "0" + text,
        "a prefix": lambda text: "k8s:" + text,
        "long": lambda text: text + "a" * 300,
        "a bracket": lambda text: text + "(",
    }
    said = chance.choice(list(ways))
    parent[key] = ways[said](value)
    return said


def _other_number(parent: Any, key: Any, _: _Written, chance: random.Random, __: _Corpus) -> str:
    value = parent[key]
    if isinstance(value, bool) or not isinstance(value, int):
        return ""
    parent[key] = chance.choice(
        (value + 1, value - 1, -value, value * 1000, float(value) + 0.5, str(value))
    )
    return "another number"


_CHANGES: tuple[Change, ...] = (
    *(_other_scalar, _other_scalar, _other_shape, _other_shape, _tagged, _odd_key),
    *(_from_elsewhere, _from_elsewhere, _missing, _unknown_key, _key_from_elsewhere),
    *(_key_in_another_case, _key_twice, _items, _other_text, _other_text, _other_number),
)
