"""Who may see the page, and what its script may say."""

from __future__ import annotations

import json

import pytest

from flowwatch.web.guard import Guard, host_name, is_loopback
from flowwatch.web.page import page

GUARD = Guard("secret", ["flows.example"])


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8245", "localhost", "LOCALHOST:1", "[::1]:8245", "10.0.0.1", "flows.example."],
)
def test_addresses_and_own_names_are_answered(host: str) -> None:
    assert GUARD.refusal({"Host": host}) is None
    assert GUARD.refusal({"Host": host, "Origin": f"http://{host}"}) is None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": ""},
        {"Host": "evil.example:8245"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "evil.example@127.0.0.1.example"},
        {"Host": "[::1"},
        {"Host": "127.0.0.1:8245", "Origin": "null"},
        {"Host": "127.0.0.1:8245", "Origin": "http://127.0.0.1:9000"},
        {"Host": "127.0.0.1:8245", "Origin": "http://localhost:8245"},
        {"Host": "127.0.0.1:8245", "Origin": "http://evil.example"},
        {"Host": "127.0.0.1:8245", "Origin": ""},
    ],
    ids=json.dumps,
)
def test_others_names_and_others_pages_are_refused(headers: dict[str, str]) -> None:
    refusal = GUARD.refusal(headers)
    assert refusal is not None
    assert refusal.status == 403


@pytest.mark.parametrize("token", ["", "secre", "secret ", "SECRET", "\udce9", "secret\0"])
def test_no_other_token_is_the_token(token: str) -> None:
    assert not GUARD.knows(token)
    assert GUARD.knows("secret")


def test_what_only_this_machine_reaches() -> None:
    assert [is_loopback(name) for name in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [
        True
    ] * 4
    assert [is_loopback(name) for name in ("0.0.0.0", "::", "10.0.0.1", "my.localhost", "")] == [
        False
    ] * 5


def test_a_host_is_taken_apart() -> None:
    assert [host_name(one) for one in ("a:1", "[::1]:1", "[::1]", "a", "", "[x")] == [
        "a", "::1", "::1", "a", "", "",
    ]  # fmt: skip


def test_a_title_is_no_markup_and_tls_of_a_proxy_is_kept() -> None:
    text, policy = page("<b>&", "flows.example", "t", 16, secure=True)
    assert "<title>&lt;b&gt;&amp;</title>" in text
    assert 'url="wss://flows.example/tab/t"' in text
    assert "connect-src wss://flows.example;" in policy
