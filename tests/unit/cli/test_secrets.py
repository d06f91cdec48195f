"""Secrets planted in each place, and looked for in all that flowwatch says."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.benchmarks.pty_driver import Terminal
from tests.in_process import flowwatch
from tests.kubeconfigs import SECRET

CLOSED = "127.0.0.1:1"
CLUSTER = {"server": f"https://{CLOSED}"}
EXEC = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never"}


def kubeconfig(folder: Path, user: dict[str, object], **cluster: object) -> list[str]:
    path = folder / "config"
    content = {
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {**CLUSTER, **cluster}}],
        "users": [{"name": "u", "user": user}],
        "current-context": "c",
    }
    path.write_text(yaml.safe_dump(content))
    return ["-P", "--kubeconfig", str(path)]


def text(folder: Path, content: str) -> list[str]:
    (folder / "config").write_text(content)
    return ["-P", "--kubeconfig", str(folder / "config")]


def plugin(folder: Path, script: str, **more: object) -> list[str]:
    path = folder / "plugin"
    path.write_text(f"#!{sys.executable}\nimport os, sys\n{script}\n")
    path.chmod(0o755)
    return kubeconfig(folder, {"exec": {**EXEC, "command": "./plugin", **more}})


def hubbles_file(folder: Path, content: str) -> list[str]:
    (folder / "hubble.yaml").write_text(content)
    return ["--config", str(folder / "hubble.yaml")]


Planted = Callable[[Path], list[str]]
PLACES: dict[str, Planted] = {
    "kubeconfig: token": lambda f: kubeconfig(f, {"token": SECRET}),
    "kubeconfig: token that no header may hold": lambda f: kubeconfig(f, {"token": f"{SECRET}\n"}),
    "kubeconfig: password": lambda f: kubeconfig(f, {"username": "u", "password": SECRET}),
    "kubeconfig: token and username": lambda f: kubeconfig(f, {"token": SECRET, "username": "u"}),
    "kubeconfig: id-token": lambda f: kubeconfig(
        f, {"auth-provider": {"name": "oidc", "config": {"id-token": SECRET}}}
    ),
    "kubeconfig: key that is none": lambda f: kubeconfig(
        f, {"client-certificate-data": "QUJD", "client-key-data": "U0VDUkVUVE9LMTIz"}
    ),
    "kubeconfig: server": lambda f: kubeconfig(f, {}, server=f"https://u:{SECRET}@{CLOSED}"),
    "kubeconfig: server's user": lambda f: kubeconfig(f, {}, server=f"https://{SECRET}@{CLOSED}"),
    "kubeconfig: server with a bad port": lambda f: kubeconfig(
        f, {}, server=f"https://u:{SECRET}@h:99999"
    ),
    "kubeconfig: socks proxy": lambda f: kubeconfig(
        f, {}, **{"proxy-url": f"socks5://u:{SECRET}@{CLOSED}"}
    ),
    "kubeconfig: proxy": lambda f: kubeconfig(f, {}, **{"proxy-url": f"http://u:{SECRET}@{CLOSED}"}),
    "kubeconfig: proxy of another kind": lambda f: kubeconfig(
        f, {}, **{"proxy-url": f"ftp://u:{SECRET}@{CLOSED}"}
    ),
    "kubeconfig: alias": lambda f: text(f, f"users: *{SECRET}\n"),
    "kubeconfig: tag": lambda f: text(f, f"users: !{SECRET} x\n"),
    "kubeconfig: a colon too many": lambda f: text(f, f"users: [{{token: {SECRET}: x}}]\n"),
    "kubeconfig: a quote that doesn't end": lambda f: text(f, f'users: "{SECRET}\n'),
    "kubeconfig: a number": lambda f: text(f, "users: [{name: u, user: {token: 123456789}}]\n"),
    "plugin: standard error": lambda f: plugin(f, f"sys.exit('token={SECRET} has expired')"),
    "plugin: standard error, as YAML": lambda f: plugin(f, f"sys.exit('password: {SECRET}')"),
    "plugin: its own variable": lambda f: plugin(
        f, "sys.exit('no ' + os.environ['MY_TOKEN'])", env=[{"name": "MY_TOKEN", "value": SECRET}]
    ),
    "plugin: its argument": lambda f: plugin(
        f, "sys.exit('no ' + sys.argv[2])", args=["--client-secret", SECRET]
    ),
    "plugin: an answer that is none": lambda f: plugin(f, f"print('token: {SECRET}')"),
    "plugin: a token that no header may hold": lambda f: plugin(
        f, rf"""print('{{"status": {{"token": "{SECRET}\\n{SECRET}"}}}}')"""
    ),
    "--server with a scheme": lambda _: ["--server", f"https://u:{SECRET}@{CLOSED}"],
    "--server": lambda _: ["--server", f"u:{SECRET}@{CLOSED}"],
    "--server, no port": lambda _: ["--server", f"u:{SECRET}@h"],
    "--server, TLS that isn't verified": lambda _: [
        "--server", f"tls://u:{SECRET}@{CLOSED}", "--tls-allow-insecure"
    ],
    "--basic-auth-password": lambda _: [
        "--server", CLOSED, "--basic-auth-username=u", f"--basic-auth-password={SECRET}"
    ],
    "--basic-auth-password over TLS": lambda _: [
        "--server", f"tls://{CLOSED}", "--basic-auth-username=u", f"--basic-auth-password={SECRET}"
    ],
    "config file: server": lambda f: hubbles_file(f, f"server: u:{SECRET}@{CLOSED}\n"),
    "config file: password": lambda f: hubbles_file(
        f, f"server: {CLOSED}\nbasic-auth-password: {SECRET}\n"
    ),
    "config file: alias": lambda f: hubbles_file(f, f"basic-auth-password: *{SECRET}\n"),
    "config file: a colon too many": lambda f: hubbles_file(
        f, f"basic-auth-password: {SECRET}: x\n"
    ),
    "config file: password as a mapping": lambda f: hubbles_file(
        f, f"server: {CLOSED}\nbasic-auth-password: {{{SECRET}: x}}\n"
    ),
}  # fmt: skip
VERBS = (
    ["summary"],
    ["summary", "-o", "json"],
    ["doctor"],
    ["doctor", "-o", "json"],
    ["observe"],
    ["status"],
    ["list", "nodes"],
    ["export"],
)
HIDDEN = (SECRET, "123456789", "U0VDUkVUVE9LMTIz")
VARIABLES = {"HTTPS_PROXY": f"http://u:{SECRET}@{CLOSED}", "NO_PROXY": ""}


def shown(verb: list[str], words: list[str], **env: str) -> str:
    done = flowwatch(*verb, *words, "--request-timeout=2s", "--debug", env=env)
    assert "Traceback" not in done.stderr
    assert done.stderr or done.stdout
    return done.stdout + done.stderr


@pytest.mark.parametrize("place", PLACES)
def test_no_output_holds_it(tmp_path: Path, place: str) -> None:
    words = PLACES[place](tmp_path)
    number = list(PLACES).index(place)
    # All verbs for some of the places, two for each.
    verbs = VERBS if number % 8 == 0 else (VERBS[number % len(VERBS)], ["doctor"])
    for verb in verbs:
        said = shown(verb, words)
        for secret in HIDDEN:
            assert secret not in said, verb


def test_variables(tmp_path: Path) -> None:
    words = kubeconfig(tmp_path, {"token": "t"}, server="https://kube.invalid:1")
    for verb in (["summary"], ["doctor"]):
        assert SECRET not in shown(verb, words, **VARIABLES)
        said = shown(verb, ["--server", "relay.invalid:1"], https_proxy=VARIABLES["HTTPS_PROXY"])
        assert SECRET not in said
        assert SECRET not in shown(verb, [], HUBBLE_SERVER=f"u:{SECRET}@h:1")
        assert SECRET not in shown(verb, [], HUBBLE_SERVER=f"https://u:{SECRET}@h:1")


def test_a_proxy_in_a_variable_that_is_none(tmp_path: Path) -> None:
    words = kubeconfig(tmp_path, {"token": "t"}, server="https://kube.invalid:1")
    said = shown(["summary"], words, HTTPS_PROXY=f"gopher://u:{SECRET}@h")
    assert "HTTPS_PROXY: a proxy as http://host:port or socks5://host:port is wanted" in said
    assert SECRET not in said


@pytest.mark.parametrize(
    "place", ["kubeconfig: socks proxy", "kubeconfig: server", "plugin: its argument"]
)
def test_the_dashboards_banner(tmp_path: Path, place: str) -> None:
    words = PLACES[place](tmp_path)
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    with Terminal(
        [sys.executable, "-m", "flowwatch", *words], columns=200, lines=40, env=env
    ) as it:
        it.wait_for(
            lambda screen: "can't be reached" in screen.text or "failed with" in screen.text, 30
        )
        assert SECRET not in it.screen.text
        it.press("q")
        it.wait(20)


def test_the_doctors_json_is_still_json(tmp_path: Path) -> None:
    words = PLACES["kubeconfig: server"](tmp_path)
    done = flowwatch("doctor", "-o", "json", *words)
    steps = json.loads(done.stdout)
    assert any(f"cluster https://{CLOSED}" in step["what"] for step in steps)
