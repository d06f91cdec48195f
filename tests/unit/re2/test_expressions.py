"""Expressions as Go reads and matches them; tests/interop holds many more beside Go itself."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest

from flowwatch import re2
from flowwatch.re2 import expression, google


@pytest.fixture(params=["ours", "google-re2"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "ours":
        monkeypatch.setattr(google, "_module", lambda: None)
    else:
        pytest.importorskip("re2", reason="the extra re2 is not installed")
        monkeypatch.setattr(expression, "MOST_OURS", -1)
    return str(request.param)


FINDS = [
    # What Python's re reads otherwise.
    ("/[[:alpha:]]+", "/abc", True),
    (r"/\d+", "/\u0661", False),
    (r"^\w+$", "é", False),
    (r"^\s$", "\v", False),
    ("a$", "a\n", False),
    ("(?m)a$", "a\nb", True),
    ("a{,2}", "a{,2}", True),
    ("^a{,2}$", "aa", False),
    ("x(?i)AB|cd", "CD", True),
    ("(?i)ab(?-i)C", "ABc", False),
    ("(?i:a)b", "AB", False),
    ("[[:alpha:]-z]", "-", True),
    ("[a&&b]", "&", True),
    (r"[^\W\d]", "5", False),
    (r"[^\W\d]", "a", True),
    (r"(?i)^\W$", "k", False),
    (r"^\B$", "", True),
    (r"\bé", "é", False),
    (r"a\B", "aé", False),
    ("^*a", "ba", True),
    (r"\Qa.b\E+", "axb", False),
    (r"\Qa.b", "a.b", True),
    (r"\x{1F600}", "\U0001f600", True),
    (r"\101", "A", True),
    ("(?s)a.b", "a\nb", True),
    ("a.b", "a\nb", False),
    ("[^a]", "\n", True),
    ("(?U)a+?", "a", True),
    ("(?<n>a)(?P<n>b)", "ab", True),
    ("()|x", "", True),
    ("(a{10}){0}b", "b", True),
    # Unicode, by Go's tables.
    (r"^\pL+$", "é٣", False),
    (r"^\p{Greek}+$", "λόγος", True),
    (r"^\p{^Greek}$", "λ", False),
    (r"^\p{letter}$", "λ", True),
    (r"^[\PN]$", "1", False),
    (r"(?i)^straße$", "STRAẞE", True),
    ("(?i)^k$", "\u212a", True),
    ("(?i)^[^k]$", "\u212a", False),
    (r"(?i)^\p{Lu}$", "a", True),
    # A lone surrogate is what Go makes of bytes that are no UTF-8.
    ("^\ufffd$", "\udcff", True),
]


@pytest.mark.parametrize(("pattern", "text", "found"), FINDS)
def test_what_is_found_is_what_go_finds(pattern: str, text: str, found: bool, engine: str) -> None:
    assert re2.Expression(pattern).search(text) is found


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("a|ab", "ab", True),  # not the first alternative, but one of them
        ("a", "ab", False),
        ("a??", "a", True),
        ("(?m)^a$", "a\nb", False),
        ("", "", True),
        ("", "a", False),
        ("/v[12]/.*", "/v1/a\nb", False),
    ],
)
def test_a_proxy_asks_for_the_whole_text(pattern: str, text: str, found: bool, engine: str) -> None:
    assert re2.Expression(pattern).fullmatch(text) is found


REFUSED = [
    ("(a", "missing closing ): `(a`"),
    ("a)", "unexpected ): `a)`"),
    ("a**", "invalid nested repetition operator: `**`"),
    ("a*+", "invalid nested repetition operator: `*+`"),
    ("|*", "missing argument to repetition operator: `*`"),
    ("a{1001}", "invalid repeat count: `{1001}`"),
    ("a{99999999999999999999}", "invalid repeat count: `{99999999999999999999}`"),
    ("(a{50}){50}", "invalid repeat count: `{50}`"),
    ("[b-a]", "invalid character class range: `b-a`"),
    ("[[:x:]]", "invalid character class range: `[:x:]`"),
    (r"\p{Nope}", r"invalid character class range: `\p{Nope}`"),
    (r"\p{Old_Italic}", r"invalid character class range: `\p{Old_Italic}`"),  # so in Go 1.26
    ("[a", "missing closing ]: `[a`"),
    (r"(a)\1", r"invalid escape sequence: `\1`"),
    (r"\C", r"invalid escape sequence: `\C`"),
    (r"\Z", r"invalid escape sequence: `\Z`"),
    (r"\x{110000}", r"invalid escape sequence: `\x{110000`"),
    ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
    ("(?P<1-2>a)", "invalid named capture: `(?P<1-2>`"),
    ("(?P<é>a)", "invalid named capture: `(?P<é>`"),
    ("\\", "trailing backslash at end of expression: ``"),
    ("\udcff", "invalid UTF-8: `\udcff`"),
    ("(" * 5000 + ")" * 5000, "expression nests too deeply"),
    ("a{1000}" * 4000, "expression too large"),
]


@pytest.mark.parametrize(("pattern", "problem"), REFUSED, ids=lambda text: ascii(text)[:30])
def test_what_go_refuses_is_refused_in_its_words(pattern: str, problem: str) -> None:
    with pytest.raises(re2.RegexError) as error:
        re2.compile(pattern)
    assert str(error.value).startswith(f"error parsing regexp: {problem}")


def test_where_ours_gives_up_google_re2_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("re2", reason="the extra re2 is not installed")
    asked = re2.Expression("(a|b)*a(a|b){900}c?")
    text = "".join(Random(1).choices("ab", k=2000))
    assert asked.fullmatch(text) is (text[-901] == "a")
    monkeypatch.setattr(google, "_module", lambda: None)
    with pytest.raises(re2.TooCostly):
        re2.Expression("(a|b)*a(a|b){900}c?").fullmatch(text)


def test_another_module_of_the_name_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several packages are called re2; only Google's has these options."""
    monkeypatch.setattr(expression, "MOST_OURS", -1)
    monkeypatch.setitem(sys.modules, "re2", sys)
    google._module.cache_clear()
    try:
        assert re2.Expression(r"/\pL+").fullmatch("/é")
    finally:
        google._module.cache_clear()


def test_case_and_classes_are_read_only_when_asked_for() -> None:
    """The tables take 10 ms."""
    code = (
        "from flowwatch import re2; re2.compile('/[a-z]+[[:digit:]]').search('/a1'); "
        "from flowwatch.re2 import classes; print(classes._lines.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"
