"""Expressions, names with stars and URLs: ours beside Go's regexp, Cilium's selectors, Hubble's filters."""

import os
from collections import Counter
from collections.abc import Iterator
from random import Random
from urllib.parse import unquote

import pytest

from flowwatch import re2
from flowwatch.goyaml.nodes import DocumentError, read_nodes
from flowwatch.hubble.filters.flags import Filters
from flowwatch.hubble.filters.match import FilterError, compile_filters
from flowwatch.hubble.wire.pb.flow.flow_pb2 import Flow, FlowFilter
from flowwatch.policy.l7 import HeaderRule
from flowwatch.policy.names import read_name
from flowwatch.policy.requests import requested
from flowwatch.re2 import expression, google
from tests.interop.regexps import UNICODE, Regexps, compare, describe, run, unicode_table

EXPRESSIONS = int(os.environ.get("FLOWWATCH_REGEXPS", "1500"))
NAMES = 2500
URLS = 3000


@pytest.fixture(scope="module")
def regexps() -> Iterator[Regexps]:
    with Regexps() as running:
        yield running


@pytest.fixture(params=["ours", "google-re2"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    if name == "ours":
        monkeypatch.setattr(google, "_module", lambda: None)
    else:
        pytest.importorskip("re2", reason="the extra re2 is not installed")
        monkeypatch.setattr(expression, "MOST_OURS", -1)
    return name


def test_unicode_is_gos(regexps: Regexps) -> None:
    """When Go has newer tables: python -m tests.interop.regexps."""
    assert UNICODE.read_text() == unicode_table(regexps)


def test_random_expressions_are_gos(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    total = run(EXPRESSIONS, seed=1)
    with capsys.disabled():
        print(f"\n{engine} beside Go: {describe(total)}")
    assert total["taken"] > EXPRESSIONS // 2
    assert total["refused"] > EXPRESSIONS // 10
    assert total["matched"] > total["compared"] // 10
    assert total["too costly"] == 0


EVERY_CLASS = """
L Lu Ll Lt LC Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Cs Co Cn
Any ASCII Assigned
"""


@pytest.mark.parametrize("flags", ["", "(?i)"])
def test_every_class_has_gos_characters(flags: str, engine: str, regexps: Regexps) -> None:
    """A sample of all code points, the ends of each range among them."""
    from flowwatch.re2 import classes

    lines = [line.split() for line in UNICODE.read_text().splitlines()]
    edges = [int(item.partition("=")[0], 16) for line in lines[3:5] for item in line[1:]]
    folds = [int(item.partition("=")[0], 16) for item in lines[6][1:]]
    codes = sorted({code + step for code in edges for step in (-1, 0)} | set(folds))
    sample = [chr(code) for code in codes if code >= 0 and not 0xD800 <= code < 0xE000]
    scripts = [name for name in classes._partition("script") if name != "-"]
    compared = 0
    for name in (*EVERY_CLASS.split(), *scripts[:: 20 if flags else 5]):
        for kind in ("p", "P"):
            compared += compare(regexps, rf"{flags}\{kind}{{{name}}}", sample)["compared"]
    assert compared > 500_000


ODD = (
    ("a{1000}" * 3400, "expression too large"),
    ("(" * 1000 + "a" + ")" * 1000, "expression nests too deeply"),
    ("(" * 999 + "a" + ")" * 999, ""),
    ("(?:" * 3000 + "a" + ")" * 3000, ""),
    ("(?:a|" * 1500 + "b" + ")" * 1500, ""),
    ("(?:a" * 1500 + ")" * 1500, ""),
    ("(?:(?:(?:a{10}){10}){10}){0}b", ""),
    ("((a{10}){10}){11}", "invalid repeat count"),
    ("[" + "[:a" * 5000 + "]", ""),
    (r"\x{" + "0" * 5000 + "61}", ""),
    (r"\p{" + "L" * 5000, "invalid character class range"),
)


@pytest.mark.parametrize(("wanted", "problem"), ODD, ids=lambda text: str(text)[:20])
def test_where_go_stops_ours_stops(wanted: str, problem: str, regexps: Regexps) -> None:
    counts = compare(regexps, wanted, ["a", "b", "[:"])
    assert counts["refused"] == bool(problem)
    if problem:
        with pytest.raises(re2.RegexError, match=problem):
            re2.Expression(wanted)


# Names


def _name(random: Random, letters: str) -> str:
    return "".join(random.choice(letters) for _ in range(random.choice((0, 1, 2, 3, 5, 8, 13))))


def test_names_in_policies_are_ciliums(
    regexps: Regexps, capsys: pytest.CaptureFixture[str]
) -> None:
    random = Random(3)
    counts: Counter[str] = Counter()
    for _ in range(NAMES):
        # Few letters, so that they meet.
        wanted = random.choice(("", "*.", "**.", "***.")) + _name(random, "aab*.*-_A")
        wanted += random.choice(("", "", "", ".", "é", " ", "$"))
        names = [_name(random, "aab...-_A") for _ in range(20)] + [".", "", "a.é", "a\\.b"]
        key = random.choice(("matchName", "matchPattern"))
        stars = key == "matchPattern"
        text = f"{key}: '{wanted}'"
        # Cilium lowers the names that it sees, and has them with their final dot.
        asked = [name.lower() if name.endswith(".") else f"{name.lower()}." for name in names]
        theirs = regexps.ask(**{"stars" if stars else "name": wanted}, texts=asked)
        [value] = read_nodes(text)
        try:
            rule = read_name(value)
        except DocumentError:
            assert "error" in theirs, text
            counts["refused"] += 1
            continue
        if rule is None:
            continue
        assert "error" not in theirs, (text, theirs)
        assert [rule.matches(name) for name in names] == theirs["found"], (text, names)
        counts.update(compared=len(names), matched=sum(theirs["found"]))
    with capsys.disabled():
        print(f"\nnames in policies beside Cilium's: {dict(counts)}, different 0")
    assert counts["matched"] > counts["compared"] // 30
    assert counts["refused"] > NAMES // 20


@pytest.mark.parametrize("kind", ["fqdns", "nodes"])
def test_names_in_filters_are_hubbles(
    kind: str, regexps: Regexps, capsys: pytest.CaptureFixture[str]
) -> None:
    random = Random(4)
    counts: Counter[str] = Counter()
    letters = "aab*.*-_A/" if kind == "nodes" else "aab*.*-_A"
    for _ in range(NAMES):
        wanted = [_name(random, letters) for _ in range(random.choice((1, 1, 2)))]
        wanted[0] += random.choice(("", "", "", ".", "é", "$"))
        names = [_name(random, letters.replace("*", "") + "é"[: random.random() < 0.1])
                 for _ in range(20)] + ["default/a", "", "a/", "/", "a\n"]  # fmt: skip
        theirs = regexps.ask(**{kind: wanted}, texts=names)
        field = {"fqdns": "destination_fqdn", "nodes": "node_name"}[kind]
        filters = Filters([FlowFilter(**{field: wanted})])  # type: ignore[arg-type]
        if "error" in theirs:
            with pytest.raises(FilterError) as refused:
                compile_filters(filters)
            assert str(refused.value) == theirs["error"]
            counts["refused"] += 1
            continue
        match = compile_filters(filters)
        flows = [Flow(destination_names=[name], node_name=name) for name in names]
        assert [match(flow) for flow in flows] == theirs["found"], (wanted, names)
        counts.update(compared=len(names), matched=sum(theirs["found"]))
    with capsys.disabled():
        print(f"\n{kind} in filters beside Hubble's: {dict(counts)}, different 0")
    assert counts["matched"] > counts["compared"] // 30
    assert counts["refused"] > NAMES // 20


# URLs

HOSTS = (
    *("h", "x.io:80", "1.2.3.4", "[::1]", "[::1]:8080", "[fe80::1%25eth0]", "u@h", "u:p@h", "h:x"),
    # Not those with / ? or #, which no proxy takes for a host.
    *("[", "]", "a[b", "\u2100", "b\u00fccher.example", "a b", "{h}", "%41", ""),
)


def test_urls_are_read_as_the_agent_writes_them(
    regexps: Regexps, capsys: pytest.CaptureFixture[str]
) -> None:
    """What was sent is among what ours says may have been sent, or ours says that nobody knows."""
    random = Random(5)
    counts: Counter[str] = Counter()
    for _ in range(URLS):
        host = random.choice(HOSTS)
        path = "/" + _name(random, "ab/.%?{é ٣~$")
        url = regexps.ask(request={"scheme": "http", "host": host, "path": path})["url"]
        asked = requested(url)
        if asked.no_path:
            counts["can't tell"] += 1
            continue
        counts["read"] += 1
        # An escape beside what Go escapes is lost in the record; no single text is right then.
        ambiguous = path not in asked.paths and "%" in path
        assert ambiguous or path in asked.paths, (host, path, url, asked)
        counts["escapes lost"] += ambiguous
        assert asked.no_host or host in asked.hosts or unquote(host) in asked.hosts, (host, url)
    with capsys.disabled():
        print(f"\nURLs of records: {dict(counts)}, wrong 0")
    assert counts["read"] > URLS // 3
    assert counts["escapes lost"] < counts["read"] // 10


HEADERS = (
    "X-A: b", "X-A b", "X:y", "X:y z", "X", "X:", "X: ", "X ", " X", "X:  y", "X:: y", "X: a b",
    ":authority: x", "é: ß", "",
)  # fmt: skip


def test_headers_that_a_rule_asks_for_are_ciliums(regexps: Regexps) -> None:
    """Name and value are parted at the first space, and nowhere else."""
    for text in HEADERS:
        ours = HeaderRule.read(text)
        [theirs] = regexps.ask(headers=[text])["lines"]
        # To Envoy an empty value is any value.
        assert (f"{ours.name}={ours.value}" if ours.value else ours.name) == theirs.removesuffix(
            "="
        )
