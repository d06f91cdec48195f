"""Where each setting comes from. That hubble reads the same is held in tests/interop/test_config.py."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowwatch.errors import UsageError
from flowwatch.hubble.client.config import DEFAULT, NAMES, Origin, Settings, default_file, load


class Line(dict[str, object]):
    """A parsed command line: what was set, by name."""

    def was_set(self, name: str) -> bool:
        return name in self


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    (tmp_path / ".config" / "hubble").mkdir(parents=True)
    return {"HOME": str(tmp_path)}


def config_file(home: dict[str, str], text: str | bytes) -> Path:
    path = Path(default_file(home))
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_nothing_set_gives_hubbles_defaults(home: dict[str, str]) -> None:
    found = load(Line(), home)
    assert found == Settings()
    assert found.server == "localhost:4245"
    assert (found.timeout, found.request_timeout) == (5.0, 12.0)
    assert all(found.origin(name) == DEFAULT for name in NAMES)
    assert (found.config_file, found.warnings) == ("", ())


def test_flag_then_environment_then_file_then_default(home: dict[str, str]) -> None:
    path = config_file(home, "server: file:1\ntls-server-name: in-file\nkube-context: in-file\n")
    environ = home | {"HUBBLE_SERVER": "environment:1", "HUBBLE_TLS_SERVER_NAME": "in-environment"}
    found = load(Line(server="flag:1"), environ)
    assert (found.server, found.origin("server")) == ("flag:1", Origin("flag", "--server"))
    assert found.tls_server_name == "in-environment"
    assert str(found.origin("tls-server-name")) == "HUBBLE_TLS_SERVER_NAME"
    assert (found.kube_context, found.origin("kube-context")) == (
        "in-file",
        Origin("file", str(path)),
    )
    assert (found.kube_namespace, found.origin("kube-namespace")) == ("kube-system", DEFAULT)
    assert found.config_file == str(path)


def test_every_setting_is_read_from_every_place(home: dict[str, str]) -> None:
    sample = {
        **dict.fromkeys(NAMES, "text"),
        **dict.fromkeys(("tls", "tls-allow-insecure", "port-forward", "debug"), "true"),
        **dict.fromkeys(("timeout", "request-timeout"), "7s"),
        "port-forward-port": "99",
    }
    lists = ("tls-ca-cert-files", "allowlist", "denylist")
    by_environment = load(
        Line(), home | {f"HUBBLE_{n.upper().replace('-', '_')}": v for n, v in sample.items()}
    )
    config_file(home, "".join(f"{n}: {[v] if n in lists else v}\n" for n, v in sample.items()))
    by_file = load(Line(), home)
    by_flag = load(Line(sample), {})
    for found in (by_environment, by_file, by_flag):
        for name in NAMES:
            value = getattr(found, name.replace("-", "_"))
            assert value != getattr(Settings(), name.replace("-", "_")), name
            assert value in ("text", True, 7.0, 99, ("text",)), name
    assert {o.kind for o in by_environment.origins.values()} == {"environment"}
    assert {o.kind for o in by_file.origins.values()} == {"file"}


def test_an_empty_variable_is_none(home: dict[str, str]) -> None:
    config_file(home, "server: file:1\n")
    assert load(Line(), home | {"HUBBLE_SERVER": ""}).server == "file:1"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("HUBBLE_TLS", "yes", "HUBBLE_TLS is ignored: not true or false"),
        ("HUBBLE_REQUEST_TIMEOUT", "12", "HUBBLE_REQUEST_TIMEOUT is ignored: time: missing unit"),
        ("HUBBLE_REQUEST_TIMEOUT", "soon", "HUBBLE_REQUEST_TIMEOUT is ignored: time: invalid"),
        ("HUBBLE_PORT_FORWARD_PORT", "70000", "HUBBLE_PORT_FORWARD_PORT is ignored: "),
    ],
)
def test_a_value_without_sense_is_ignored_and_told(
    home: dict[str, str], variable: str, value: str, words: str
) -> None:
    found = load(Line(), home | {variable: value})
    assert (found.tls, found.request_timeout, found.port_forward_port) == (False, 12.0, 4245)
    (warning,) = found.warnings
    assert words in warning


def test_a_flag_without_sense_is_refused_in_hubbles_words() -> None:
    with pytest.raises(UsageError) as told:
        load(Line({"request-timeout": "12"}), {})
    assert str(told.value) == (
        'invalid argument "12" for "--request-timeout" flag: time: missing unit in duration "12"'
    )


BROKEN = [
    ("not yaml", b"server: [a\n", "expected"),
    ("tab", b"server:\n\t- a\n", "line 2"),
    ("binary", b"\x00\x01\x02\xff\xfe", "UTF-8"),
    ("control", b"server: \x01\n", "not YAML"),
    ("a list", b"- server\n", "names and values"),
    ("a word", b"server", "names and values"),
    ("twice", b"server: a:1\nserver: b:1\n", "line 2: server is there twice"),
    ("large", b"#" * (1 << 20) + b"\nserver: a:1\n", "larger than 1 MiB"),
    ("deep", b"server: " + b"[" * 20_000, "nested"),
]


@pytest.mark.parametrize(("content", "words"), [b[1:] for b in BROKEN], ids=[b[0] for b in BROKEN])
def test_a_broken_file_is_ignored_in_one_safe_line(
    home: dict[str, str], content: bytes, words: str
) -> None:
    path = config_file(home, content)
    found = load(Line(), home | {"HUBBLE_TLS_SERVER_NAME": "kept"})
    assert (found.server, found.tls_server_name, found.config_file) == (
        "localhost:4245",
        "kept",
        "",
    )
    (warning,) = found.warnings
    assert warning.startswith(f"config file {path} is ignored: ")
    assert words in warning
    assert warning.isprintable()


def test_what_a_file_may_hold_beside(home: dict[str, str]) -> None:
    config_file(
        home,
        "Server: upper:1\n"
        "unknown: {a: [b]}\n"
        "basic-auth-username:\n"
        "kube-context: ~\n"
        "tls-ca-cert-files:\n- a b.pem\n- c.pem\n"
        'allowlist: [\'{"source_pod": ["a"]}\']\n'
        "port-forward-port: 04245\n"
        "tls: [true]\n",
    )
    found = load(Line(), home)
    assert found.server == "upper:1"
    assert (found.basic_auth_username, found.kube_context) == ("", "")
    assert found.tls_ca_cert_files == ("a b.pem", "c.pem")
    assert found.allowlist == ('{"source_pod": ["a"]}',)
    assert not found.tls
    (warning,) = found.warnings
    assert "tls is ignored: a list where one value is due" in warning


ODD = (
    ("tls: {a: b}", "tls is ignored: names and values where one value is due"),
    ("server: {a: b}", "server is ignored: names and values where one value is due"),
    (
        "tls-ca-cert-files: [{a: b}]",
        "tls-ca-cert-files is ignored: a list in which not all are words",
    ),
    ("allowlist: [[a]]", "allowlist is ignored: a list in which not all are words"),
    ("allowlist: {a: b}", "allowlist is ignored: names and values where one value is due"),
    ("request-timeout: -1s", "request-timeout is ignored: not longer than nothing"),
    ("timeout: 0", "timeout is ignored: not longer than nothing"),
    ("request-timeout: [1s]", "request-timeout is ignored: a list where one value is due"),
    ("port-forward-port: 1e3", "port-forward-port is ignored: not a port"),
    ("? [a]\n: b", "is ignored: line 1: a name is wanted"),
    ("basic-auth-password: *S3CRET", "is ignored: line 1: not YAML: alias *… stands for nothing"),
    ("basic-auth-password: S3CRET: x", "is ignored: line 1: not YAML: "),
    ('basic-auth-password: "S3CRET', "is ignored: line 2: not YAML: "),
)


@pytest.mark.parametrize(("text", "words"), ODD, ids=[text for text, _ in ODD])
def test_values_of_another_shape_are_told(home: dict[str, str], text: str, words: str) -> None:
    config_file(home, f"{text}\n")
    (warning,) = load(Line(), home).warnings
    assert words in warning
    assert "S3CRET" not in warning


def test_a_file_that_is_none(home: dict[str, str]) -> None:
    for path, words in (
        ("/dev/zero", "it is larger than 1 MiB"),
        ("/", "Is a directory"),
        (f"/{'x' * 300}", "File name too long"),
        ("a\0b", "no file can have such a name"),
    ):
        (warning,) = load(Line(config=path), home).warnings
        assert words in warning
        assert warning.isprintable()


def test_an_empty_file_and_none_at_all_say_nothing(home: dict[str, str]) -> None:
    assert load(Line(), home).warnings == ()
    for content in ("", "# nothing\n", "---\n"):
        config_file(home, content)
        assert load(Line(), home).warnings == ()


def test_a_file_that_was_named_must_be_there(home: dict[str, str], tmp_path: Path) -> None:
    missing = str(tmp_path / "none.yaml")
    config_file(home, "server: default:1\n")
    for found in (
        load(Line(config=missing), home),
        load(Line(), home | {"HUBBLE_CONFIG": missing}),
    ):
        assert found.server == "localhost:4245"
        assert found.warnings == (f"config file {missing} is ignored: there is no such file",)


def test_a_folder_in_the_files_place_is_told(home: dict[str, str]) -> None:
    Path(default_file(home)).mkdir()
    (warning,) = load(Line(), home).warnings
    assert "is ignored: Is a directory" in warning


@pytest.mark.skipif(os.name != "posix", reason="Linux's and macOS' places")
def test_the_place_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert default_file({"HOME": "/h"}) == "/h/.config/hubble/config.yaml"
    assert default_file({"HOME": "/h", "XDG_CONFIG_HOME": "/x"}) == "/x/hubble/config.yaml"
    assert default_file({"XDG_CONFIG_HOME": "/x"}) == "/x/hubble/config.yaml"
    # Go has no user config dir then, and hubble falls back.
    assert default_file({"HOME": "/h", "XDG_CONFIG_HOME": "x"}) == "/h/.hubble/config.yaml"
    assert default_file({}) == ""
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_file({"HOME": "/h"}) == "/h/Library/Application Support/hubble/config.yaml"


def test_a_password_is_not_shown() -> None:
    found = load(Line({"basic-auth-password": "hunter2"}), {})
    assert found.basic_auth_password == "hunter2"
    assert "hunter2" not in repr(found)


def test_what_is_not_verified_is_told_where_there_is_a_connection() -> None:
    insecure = {"server": "relay:443", "tls": True, "tls-allow-insecure": True}
    (warning,) = load(Line(insecure), {}).warnings
    assert "relay:443 is not verified (--tls-allow-insecure)" in warning
    (warning,) = load(Line(server="tls://relay:443"), {"HUBBLE_TLS_ALLOW_INSECURE": "1"}).warnings
    assert "HUBBLE_TLS_ALLOW_INSECURE" in warning
    assert load(Line(insecure | {"input-file": ["a"]}), {}).warnings == ()
    assert load(Line({"tls-allow-insecure": True}), {}).warnings == ()


def test_how_long_to_wait_for_a_connection() -> None:
    assert load(Line(), {}).connect_timeout == 12.0
    assert load(Line({"request-timeout": "3s"}), {}).connect_timeout == 3.0
    assert load(Line({"timeout": "2s"}), {}).connect_timeout == 2.0
    assert load(Line({"timeout": "5s"}), {}).connect_timeout == 5.0
    assert load(Line({"timeout": "60s"}), {}).connect_timeout == 12.0
