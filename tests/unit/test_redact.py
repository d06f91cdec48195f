"""What is hidden in messages, and what isn't."""

import time
from collections.abc import Callable

import pytest

from flowwatch import redact
from flowwatch.errors import UsageError

FORMS = (
    ("https://jane:s3cret@host:1/x is away", "https://***@host:1/x is away"),
    ("https://s3cret@host", "https://***@host"),
    ("see https://a/b, then http://u:s@c: refused", "see https://a/b, then http://***@c: refused"),
    ('"https://u:p@ss/w@h" and "https://h"', '"https://***@h" and "https://h"'),
    ("socks5h://u:p@h", "socks5h://***@h"),
    ("Authorization: Basic amFuZTpz", "Authorization: Basic ***"),
    ("authorization=Bearer abc", "authorization=Bearer ***"),
    ("'Bearer abc.def-1234' is refused", "'Bearer ***' is refused"),
    ("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJqYW5lIn0.c2ln ends", "*** ends"),
    ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- x", "*** x"),
    ("-----BEGIN PRIVATE KEY-----\nabc", "***"),
    ("GET /x?token=abc&a=b", "GET /x?token=***&a=b"),
    ('{"client_secret": "abc", "a": "b"}', '{"client_secret": "***", "a": "b"}'),
    # What is no secret stays.
    ("basic authentication requires transport level security", ""),
    ("users[0].user.token: a string is wanted, not a number", ""),
    ("the bearer of bad news", ""),
    ("sha256@digest, jane@example.com, a@b", ""),
    ("see https://docs.example/x", ""),
)


@pytest.mark.parametrize(("text", "shown"), FORMS, ids=[text for text, _ in FORMS])
def test_secret_by_its_form(text: str, shown: str) -> None:
    assert redact.redact(text) == (shown or text)


def test_what_was_read_as_a_secret() -> None:
    redact.remember("pl4nted/secret", b"of-bytes-7")
    for text in ("a pl4nted/secret here", "pl4nted%2Fsecret", "of-bytes-7"):
        assert "pl4nted" not in redact.redact(text)
        assert "of-bytes" not in redact.redact(text)
    error = UsageError("it holds pl4nted/secret", "not of-bytes-7")
    assert str(error) == "it holds ***: not ***"
    assert error.args == ("it holds ***",)


def test_short_ones_are_hidden_by_their_place_alone() -> None:
    redact.remember("default", "")
    assert redact.redact("by default") == "by default"
    assert redact.redact("https://u:default@h") == "https://***@h"


def test_what_another_program_said() -> None:
    assert redact.said("password: hunter2 is wrong") == "password: *** is wrong"
    assert redact.said("my_token = abc, see x") == "my_token = ***, see x"


def test_an_address_without_a_scheme() -> None:
    assert redact.address("jane:s3cret@host:4245") == "***@host:4245"
    assert redact.address("host:4245") == "host:4245"
    assert redact.user_part("tls://jane:s3cret@host") == ("jane:s3cret", "s3cret")
    assert redact.user_part("host:4245") == ()


PARSER = (
    ("found undefined alias 'S3CRET'", 'found undefined alias "…"'),
    ("could not determine a constructor for the tag '!S3CRET'", None),
    ('key "S3CRET" is there twice', 'key "…" is there twice'),
    ("""the tag "it's S3CRET" is odd""", 'the tag "…" is odd'),
    ("alias *S3CRET stands for nothing", "alias *… stands for nothing"),
    ("a string is wanted, not a value tagged !S3CRET", None),
    ('a string is wanted, not a number (quote it: "5")', None),
    ("expected ',' or ']', but got '<scalar>'", "expected ',' or ']', but got '<scalar>'"),
    ("did not find expected ',' or '}'", "did not find expected ',' or '}'"),
)


@pytest.mark.parametrize(("reason", "shown"), PARSER, ids=[reason for reason, _ in PARSER])
def test_a_parsers_words_without_what_they_quote(reason: str, shown: str | None) -> None:
    found = redact.unquoted(reason)
    assert found == shown if shown is not None else "…" in found
    assert "S3CRET" not in found


LONG = (
    "x" * 200_000, "a://" * 50_000, "a://@" * 40_000, "eyJ" * 60_000, "bearer " * 30_000,
    "-----BEGIN PRIVATE KEY-----" * 7_000, "token=" * 30_000, '"' * 200_000, "password" * 20_000,
)  # fmt: skip


@pytest.mark.parametrize("text", LONG, ids=[text[:30] for text in LONG])
@pytest.mark.parametrize("hide", [redact.redact, redact.said, redact.address])
def test_long_texts_take_their_time_once(hide: Callable[[str], str], text: str) -> None:
    """They take 0.1 s; looked at anew from each character they would take minutes."""
    started = time.process_time()
    hide(text)
    assert time.process_time() - started < 5


def test_a_message_is_one_line_of_some_length() -> None:
    error = UsageError(f"begin {'x' * 100_000} end")
    assert len(str(error)) < 2100
    assert str(error).startswith("begin x")
    assert str(error).endswith("x end")
