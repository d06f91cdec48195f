"""What ``--server`` may say. That hubble agrees is held in tests/interop/test_config.py."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowwatch.errors import UsageError
from flowwatch.hubble.client.address import Address, parse
from flowwatch.text import safe

# text, host, port, path, grpcio's target, loopback
GOOD = [
    ("localhost:4245", "localhost", 4245, "", "dns:///localhost:4245", True),
    (":4245", "localhost", 4245, "", "dns:///localhost:4245", True),
    ("127.0.0.2:80", "127.0.0.2", 80, "", "ipv4:127.0.0.2:80", True),
    ("10.0.0.7:4245", "10.0.0.7", 4245, "", "ipv4:10.0.0.7:4245", False),
    ("[::1]:4245", "::1", 4245, "", "ipv6:[::1]:4245", True),
    ("[fd00::7]:4245", "fd00::7", 4245, "", "ipv6:[fd00::7]:4245", False),
    ("[fe80::1%eth0]:4245", "fe80::1%eth0", 4245, "", "ipv6:[fe80::1%25eth0]:4245", False),
    ("relay.example", "relay.example", 443, "", "dns:///relay.example:443", False),
    ("::1", "::1", 443, "", "ipv6:[::1]:443", True),
    ("[::1]", "::1", 443, "", "ipv6:[::1]:443", True),
    ("localhost:http", "localhost", 80, "", "dns:///localhost:80", True),
    ("dns:///relay:4245", "relay", 4245, "", "dns:///relay:4245", False),
    ("passthrough:///10.0.0.7:1", "10.0.0.7", 1, "", "ipv4:10.0.0.7:1", False),
    ("unix:///run/hubble.sock", "", 0, "/run/hubble.sock", "unix:/run/hubble.sock", True),
    ("unix:hubble.sock", "", 0, "hubble.sock", "unix:hubble.sock", True),
]


@pytest.mark.parametrize(("text", "host", "port", "path", "target", "loopback"), GOOD)
def test_what_an_address_means(
    text: str, host: str, port: int, path: str, target: str, loopback: bool
) -> None:
    address = parse(text)
    assert (address.host, address.port, address.path) == (host, port, path)
    assert (address.target, address.is_loopback) == (target, loopback)
    assert (address.text, address.tls) == (text, False)


@pytest.mark.parametrize("text", ["localhost:4245", "unix:///run/hubble.sock", "[::1]:1"])
def test_tls_before_it_is_the_same_with_tls(text: str) -> None:
    plain, secure = parse(text), parse(f"tls://{text}")
    assert secure.tls
    assert Address(plain.text, True, plain.host, plain.port, plain.path) == secure


BAD = [
    ("", "missing address"),
    ("tls://", "missing address"),
    ("localhost:", "missing port after port-separator colon"),
    ("localhost:99999", "address 99999: invalid port"),
    ("localhost:0", "address 0: invalid port"),
    ("localhost:" + "9" * 5000, "invalid port"),
    ("localhost:abc", "lookup tcp/abc: unknown port"),
    ("a:b:1", "too many colons in address"),
    ("http://localhost:4245", "too many colons in address"),
    ("TLS://localhost:4245", "too many colons in address"),
    ("[::1", "missing ']' in address"),
    ("[::1]4245", "missing port in address"),
    ("unix://hubble.sock", "invalid (non-empty) authority: hubble.sock"),
    ("unix:", "missing path"),
    ("two words:4245", "invalid host"),
    ("user@relay:4245", "invalid host"),
]


@pytest.mark.parametrize(("text", "why"), BAD, ids=[text[:20] for text, _ in BAD])
def test_an_address_that_is_none_is_told_why_and_what_to_write(text: str, why: str) -> None:
    with pytest.raises(UsageError) as told:
        parse(text)
    assert why in told.value.message
    assert "--server takes host:port" in told.value.hint


@given(st.text(max_size=40))
def test_whatever_is_written_ends_in_an_address_or_one_safe_line(text: str) -> None:
    try:
        shown = parse(text).text
    except UsageError as error:
        shown = str(error)
    assert shown == safe(shown)


@pytest.mark.parametrize("host", ["a" * 70, "a..b", "ä" * 70])
def test_what_can_be_no_host_is_one_line_too(host: str) -> None:
    """The resolver isn't asked: Python's codec for names refuses them, with a ValueError."""
    with pytest.raises(OSError, match="this can't be a host's name"):
        parse(f"{host}:4245").connect(1.0)


def test_a_socket_is_reached_by_either_kind(tmp_path: Path) -> None:
    path = tmp_path / "hubble.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        parse(f"unix://{path}").connect(1.0).close()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        parse(f"127.0.0.1:{listener.getsockname()[1]}").connect(1.0).close()
    with pytest.raises(OSError, match="refused"):
        parse(f"unix://{path}").connect(1.0)
