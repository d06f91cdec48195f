"""The language of filters: what is read, and what is refused, with the word and what was meant."""

from __future__ import annotations

import pytest

from flowwatch.egress.filters import (
    KEYS,
    BadFilter,
    Value,
    lenient_filter,
    quoted,
    read_filter,
    words,
)


def told(text: str) -> list[tuple[bool, list[tuple[str, str]]]]:
    return [
        (term.wanted, [(atom.key, atom.text) for atom in term.atoms]) for term in read_filter(text)
    ]


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("", []),
        ("weather-app", [(True, [("", "weather-app")])]),
        ("ns:Shop|CI", [(True, [("ns", "shop"), ("ns", "ci")])]),
        ("!to:*.example.com", [(False, [("to", "*.example.com")])]),
        ("pod:a to:b", [(True, [("pod", "a")]), (True, [("to", "b")])]),
        ("pod:a|to:b|c", [(True, [("pod", "a"), ("to", "b"), ("to", "c")])]),
        ('why:"no rule" x', [(True, [("why", "no rule")]), (True, [("", "x")])]),
        ("reason:late", [(True, [("why", "late")])]),
        ("verdict:dr", [(True, [("verdict", "dropped")])]),
        # What only looks like a key.
        ("api.github.com:443", [(True, [("", "api.github.com:443")])]),
        ("redis:6379", [(True, [("", "redis:6379")])]),
        ("[2001:db8::1]:443", [(True, [("", "[2001:db8::1]:443")])]),
        ("http://api/x", [(True, [("", "http://api/x")])]),
        ("L7 refused:", [(True, [("", "l7")]), (True, [("", "refused:")])]),
        ("to:2001:db8::1", [(True, [("to", "2001:db8::1")])]),
        ("a*b", [(True, [("", "a…b")])]),
        # Not typed to its end yet.
        ("ns:", [(True, [("ns", "")])]),
        ("ns:a|", [(True, [("ns", "a")])]),
        ("!", [(False, [("", "")])]),
        ('"', [(True, [("", "")])]),
    ],
)
def test_what_is_read(text: str, terms: object) -> None:
    assert told(text) == terms


def test_ports() -> None:
    for text, low, high, protocol in (
        ("port:443", 443, 443, ""),
        ("port:53/udp", 53, 53, "udp"),
        ("port:8000-8100", 8000, 8100, ""),
        ("to:api.github.com:443", 443, 443, ""),
        ("to:[2001:db8::1]:443/tcp", 443, 443, "tcp"),
    ):
        ports = read_filter(text)[0].atoms[0].ports
        assert ports is not None
        assert (ports.low, ports.high, ports.protocol) == (low, high, protocol)


@pytest.mark.parametrize(
    ("text", "at", "says"),
    [
        ("a polcy:x", 2, "no key 'polcy:' in a filter: did you mean policy:?"),
        ("nss:x", 0, "did you mean ns:?"),
        ("x port:https", 2, "'https' is no port"),
        ("port:99999", 0, "'99999' is no port"),
        ("port:9-8", 0, "'9-8' is no port"),
        ("verdict:denied", 0, "no verdict 'denied'"),
        ("verdict:droped", 0, "no verdict 'droped': did you mean dropped?"),
    ],
)
def test_an_error_points_at_its_word(text: str, at: int, says: str) -> None:
    with pytest.raises(BadFilter) as error:
        read_filter(text)
    assert says in str(error.value)
    assert error.value.at == at
    assert text[at : at + error.value.length] == text.split()[-1]
    # While it is typed it is the word that it is.
    assert lenient_filter(text)[-1].atoms[0].key == ""


def test_hostile_text_in_an_error_is_written_out() -> None:
    with pytest.raises(BadFilter, match=r"'\\x1b\[31m' is no port"):
        read_filter("port:\x1b[31m")


def test_values() -> None:
    assert Value("app").of("Weather-APP-1")
    assert not Value("=app").of("weather-app")
    assert Value("=app").of("APP")
    assert Value("*.example.com").of("a.example.com")
    assert not Value("*.example.com").of("a.example.com.evil")
    assert Value("a.c").of("xa.cx")
    assert not Value("a.c").of("abc")


def test_what_is_quoted_is_read_as_it_is() -> None:
    for text in ("plain", "with space", "a|b", "!x", "default deny · weather-egress"):
        (term,) = read_filter(f"why:{quoted(text)}")
        assert [atom.text for atom in term.atoms] == [text]


def test_words_know_where_they_stand() -> None:
    assert list(words('  ab c:"d e" f')) == [("ab", 2), ('c:"d e"', 5), ("f", 13)]


def test_every_key_has_words() -> None:
    assert all(KEYS.values())
