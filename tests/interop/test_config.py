"""Settings and addresses: the real CLI reads the same from the same places, and refuses the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowwatch.errors import UsageError
from flowwatch.hubble.client.address import parse
from flowwatch.hubble.client.config import NAMES, Settings, load
from tests.interop.real import hubble

FILES = {
    "usual": "server: file:1\ntls: true\nrequest-timeout: 3s\ntls-ca-cert-files: [a, b]\n",
    "case": "Server: file:1\nTLS: true\nKube-Context: here\n",
    "as hubble writes it": (
        "basic-auth-password: ''\nbasic-auth-username: ''\nconfig: /elsewhere\ndebug: false\n"
        "kube-context: ''\nkube-namespace: other\nkubeconfig: ''\nport-forward: false\n"
        "port-forward-port: '4246'\nrequest-timeout: 12s\nserver: file:1\ntimeout: 5s\ntls: false\n"
        "tls-allow-insecure: false\ntls-ca-cert-files: []\ntls-client-cert-file: ''\n"
        "tls-client-key-file: ''\ntls-server-name: ''\n"
    ),
    "null": "server:\ntls: ~\nkube-context: null\n",
    "one word for a list": "tls-ca-cert-files: a b,c\n",
    "yes is no boolean": "tls: yes\n",
    "anchors": "kube-context: &name here\nkube-namespace: *name\n",
    "quoted": "server: 'file:1'\ntls: \"true\"\n",
    "numbers": "port-forward-port: 99\nkube-context: 7\n",
    "broken": "server: [file:1\n",
    "twice": "server: a:1\nserver: b:1\n",
    "a list": "- server: file:1\n",
    "empty": "",
}
ENVIRONMENTS: dict[str, dict[str, str]] = {
    "none": {},
    "server": {"HUBBLE_SERVER": "environment:1"},
    "empty": {"HUBBLE_SERVER": ""},
    "many": {"HUBBLE_TLS": "T", "HUBBLE_TLS_SERVER_NAME": "x", "HUBBLE_REQUEST_TIMEOUT": "1m30s"},
    "words": {"HUBBLE_TLS_CA_CERT_FILES": "/a,/b /c"},
    "false": {"HUBBLE_TLS": "0", "HUBBLE_DEBUG": "FALSE"},
}


def printed(value: object) -> str:
    """A value as ``hubble config get`` prints it."""
    if isinstance(value, tuple):
        return "".join(f"- {item}\n" for item in value) or "[]\n"
    if isinstance(value, bool):
        return f"{str(value).lower()}\n"
    if isinstance(value, float):
        minutes, seconds = divmod(int(value), 60)
        return f"{minutes}m{seconds}s\n" if minutes else f"{seconds}s\n"
    return f"{value}\n" if value != "" else '""\n'


class NoFlags:
    def get(self, name: str) -> object:
        return None

    def was_set(self, name: str) -> bool:
        return False


CHECKED = (
    "server",
    "tls",
    "tls-ca-cert-files",
    "request-timeout",
    "kube-context",
    "kube-namespace",
    "port-forward-port",
    "tls-server-name",
)


def both(folder: Path, environ: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """What we and the real CLI take for each of CHECKED, as ``hubble config get`` prints it."""
    environ = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)} | environ
    settings = load(NoFlags(), environ)
    ours = {name: printed(getattr(settings, name.replace("-", "_"))) for name in CHECKED}
    theirs = {n: hubble("config", "get", n, env=environ, check=True).stdout for n in CHECKED}
    return bare(ours), bare(theirs)


def bare(found: dict[str, str]) -> dict[str, str]:
    """Without quotes, which YAML writes around some texts."""
    return {name: text.strip().strip("\"'") for name, text in found.items()}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES.keys())
def test_the_same_from_a_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "hubble").mkdir()
    (tmp_path / "hubble" / "config.yaml").write_text(content)
    ours, theirs = both(tmp_path, {})
    assert ours == theirs


@pytest.mark.parametrize("environ", ENVIRONMENTS.values(), ids=ENVIRONMENTS.keys())
def test_the_same_from_the_environment_over_a_file(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "hubble").mkdir()
    (tmp_path / "hubble" / "config.yaml").write_text(FILES["usual"])
    ours, theirs = both(tmp_path, environ)
    assert ours == theirs


def test_the_same_places(tmp_path: Path) -> None:
    places = {
        "config/hubble": "server: in-config:1\n",
        ".config/hubble": "server: in-dot-config:1\n",
        ".hubble": "server: in-dot-hubble:1\n",
    }
    for place, content in places.items():
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "config.yaml").write_text(content)
    named = tmp_path / "named"
    named.write_text("server: named:1\n")
    expected = {
        "in-config:1": {"XDG_CONFIG_HOME": str(tmp_path / "config")},
        "in-dot-config:1": {"XDG_CONFIG_HOME": ""},
        "in-dot-hubble:1": {"XDG_CONFIG_HOME": "config"},
        "named:1": {"HUBBLE_CONFIG": str(named)},
    }
    for server, more in expected.items():
        environ = {"HOME": str(tmp_path)} | more
        theirs = hubble("config", "get", "server", env=environ, check=True).stdout.strip()
        assert (load(NoFlags(), environ).server, theirs) == (server, server)


ADDRESSES = [
    "localhost:",
    "",
    "tls://",
    "http://localhost:4245",
    "TLS://localhost:4245",
    "ipv4:127.0.0.1:4245",
    "[::1",
    "localhost:99999",
    "localhost:abc",
    "unix://hubble.sock",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_what_is_no_address_is_refused_with_hubbles_reason(address: str) -> None:
    with pytest.raises(UsageError) as ours:
        parse(address)
    theirs = hubble("status", "--server", address, "--request-timeout", "3s")
    assert theirs.returncode == 1
    # After what each puts before it: the address in quotes, or "error info".
    reason = ours.value.message.partition(": ")[2].partition('": ')[2] or ours.value.message
    assert reason.rpartition('": ')[2] in theirs.stderr


def test_the_same_defaults() -> None:
    view = hubble("config", "view", check=True).stdout
    theirs = dict(line.split(": ", 1) for line in view.splitlines() if ": " in line)
    defaults = Settings()
    for name in NAMES:
        if name in theirs:
            ours = printed(getattr(defaults, name.replace("-", "_"))).strip()
            assert ours.strip("\"'") == theirs[name].strip("\"'"), name
