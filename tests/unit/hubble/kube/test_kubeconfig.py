"""The kubeconfig: what is read from it, and the one line that is said when it can't be used."""

import base64
import json
import os
import stat
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from flowwatch.errors import FlowwatchError, Refused, UsageError
from flowwatch.hubble.kube import kubeconfig
from flowwatch.hubble.kube import plugin as plugin_room
from flowwatch.hubble.kube.kubeconfig import Access, at_hand, load, paths

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
V1 = "client.authentication.k8s.io/v1"


def document(
    user: Mapping[str, Any] | None = None, cluster: Mapping[str, Any] | None = None, **more: object
) -> dict[str, object]:
    return {
        "clusters": [
            {"name": "c", "cluster": {"server": "https://kube.test:6443", **(cluster or {})}}
        ],
        "users": [{"name": "jane", "user": dict(user or {})}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "jane"}}],
        "current-context": "here",
        **more,
    }


def write(folder: Path, content: object, name: str = "config") -> str:
    path = folder / name
    text = content if isinstance(content, str) else yaml.safe_dump(content)
    path.write_text(text, encoding="utf-8")
    return str(path)


def read(folder: Path, content: object, context: str = "") -> Access:
    return load(write(folder, content), context, dict(os.environ))


def test_everything_that_leads_to_a_cluster(tmp_path: Path) -> None:
    ca = base64.b64encode(PEM.encode()).decode()
    cluster = {"certificate-authority-data": ca, "tls-server-name": "x", "proxy-url": "http://p:1"}
    found = read(tmp_path, document({"token": "t0ken", "as": "ops"}, cluster))
    assert (found.server, found.context, found.user) == ("https://kube.test:6443", "here", "jane")
    assert (found.ca, found.server_name, found.proxy) == (PEM, "x", "http://p:1")
    assert found.headers == (("Authorization", "Bearer t0ken"), ("Impersonate-User", "ops"))
    assert "t0ken" not in repr(found)


def test_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    for name in ("ca.pem", "me.pem", "me.key", "token"):
        (tmp_path / name).write_text(f"{name}\n")
    user = {"client-certificate": "me.pem", "client-key": "me.key", "tokenFile": "token"}
    found = read(tmp_path, document(user, {"certificate-authority": "ca.pem"}))
    assert (found.ca, found.certificate, found.key) == ("ca.pem\n", b"me.pem\n", b"me.key\n")
    assert found.headers == (("Authorization", "Bearer token"),)


def test_several_files_are_one(tmp_path: Path) -> None:
    """As kubectl: of equal names the first counts."""
    first = {"contexts": [{"name": "mine", "context": {"cluster": "c", "user": "jane"}}]}
    one = write(tmp_path, first, "one")
    two = write(tmp_path, document({"token": "t"}), "two")
    three = write(tmp_path, document({"token": "other"}), "three")
    environ = {"KUBECONFIG": os.pathsep.join([one, str(tmp_path / "absent"), two, three])}
    assert load("", "mine", environ).headers == (("Authorization", "Bearer t"),)
    assert load("", "", environ).context == "here"


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    assert paths("x", {"KUBECONFIG": "y"}) == [Path("x")]
    assert paths("", {"HOME": "/there"}) == [Path("/there/.kube/config")]
    assert not at_hand("", {"HOME": str(tmp_path)})
    assert not at_hand("", {})
    (tmp_path / ".kube").mkdir()
    write(tmp_path / ".kube", document())
    assert at_hand("", {"HOME": str(tmp_path)})


def test_a_pods_own_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "ca.crt").write_text(PEM)
    monkeypatch.setattr(kubeconfig, "ACCOUNT", tmp_path)
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    found = load("", "", environ)
    assert (found.server, found.ca) == ("https://[fd00::1]:443", PEM)
    assert found.headers == (("Authorization", "Bearer t"),)


BROKEN = (
    ("a: [", "line 2: it is not YAML"),
    ("- a\n", "it has no clusters, users and contexts"),
    ("clusters: 7\ncurrent-context: x\ncontexts: 7\n", "line 1: clusters: a list is wanted"),
    ("\x00", "it is not YAML"),
    ("", "has no current context"),
    ({"current-context": "gone"}, 'context "gone" is not in kubeconfig'),
    ({**document(), "clusters": []}, 'context here names the cluster "c", which kubeconfig'),
    ({**document(), "users": []}, 'context here names the user "jane", which kubeconfig'),
    (document(cluster={"server": ""}), "has no server"),
    (document({"client-certificate": "absent.pem"}), "no such file"),
    (document({"client-key-data": "QUJD"}), "has a certificate or a key, but not both"),
    (document({"auth-provider": {"name": "gcp"}}), "use exec"),
    (document({"token": "a\nb"}), "hold characters that none may"),
    (document({"exec": {"command": "x"}}), "exec.apiVersion: client.authentication.k8s.io/v1 or"),
)


@pytest.mark.parametrize(("content", "words"), BROKEN, ids=[words for _, words in BROKEN])
def test_a_kubeconfig_that_cannot_be_used(tmp_path: Path, content: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, content)
    line = str(caught.value)
    assert words.lower() in line.lower()
    assert str(tmp_path) in line, "it names the file"
    assert "\n" not in line


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="it is not text in UTF-8"):
        load(str(tmp_path / "config"))


def test_no_kubeconfig(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"no kubeconfig: .*absent is not there: give --kubeconfig"
    ):
        load(str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"no kubeconfig: .*config is not there"):
        load("", "", {"HOME": str(tmp_path)})
    with pytest.raises(UsageError, match="directory"):
        load(str(tmp_path))


def test_an_unknown_context_tells_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r'context "prod" is not in .*config: it has: here$'):
        read(tmp_path, document(), "prod")


def test_hostile_names_are_shown_harmless(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, {"current-context": "\x1b[2Jgone\u202e"})
    assert "\x1b" not in str(caught.value)
    assert "\u202e" not in str(caught.value)


# Exec plugins ------------------------------------------------------------------------------------


def plugin(folder: Path, script: str, **more: object) -> dict[str, object]:
    """A user that logs in by a plugin: a Python program."""
    path = folder / "plugin"
    path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return document({"exec": {"apiVersion": V1, "command": "./plugin", **more}})


def answer(**status: str) -> str:
    return f"print({json.dumps({'kind': 'ExecCredential', 'status': status})!r})"


def test_a_plugin_gives_a_token(tmp_path: Path) -> None:
    script = """
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
token = f"{sys.argv[1]}-{os.environ['WHO']}-{info['spec']['interactive']}"
print(json.dumps({"status": {"token": token}}))"""
    content = plugin(tmp_path, script, args=["a"], env=[{"name": "WHO", "value": "b"}])
    assert read(tmp_path, content).headers == (("Authorization", "Bearer a-b-False"),)


def test_a_plugin_gives_a_certificate(tmp_path: Path) -> None:
    script = answer(clientCertificateData="cert", clientKeyData="k3y")
    found = read(tmp_path, plugin(tmp_path, script))
    assert (found.certificate, found.key) == (b"cert", b"k3y")
    assert "k3y" not in repr(found)


FAILING = (
    ("sys.exit('token expired, run: login')", "failed with exit code 1: token expired, run: login"),
    ("print('hello')", "gave no credentials that can be read"),
    ("print('{}')", "gave no credentials that can be read"),
    (answer(), "gave no credentials that can be read"),
    ("input('Password: ')", "failed with exit code 1: EOFError"),
    ("open('/dev/tty').readline()", "failed with exit code 1: OSError"),
    ("sys.stderr.write('\\x1b[2J no'); sys.exit(3)", "failed with exit code 3"),
)


@pytest.mark.parametrize(("script", "words"), FAILING, ids=[script for script, _ in FAILING])
def test_a_plugin_fails(tmp_path: Path, script: str, words: str) -> None:
    """Also one that asks: it has neither input nor a terminal, so nothing waits for an answer."""
    with pytest.raises(Refused) as caught:
        read(tmp_path, plugin(tmp_path, script))
    line = str(caught.value)
    assert words in line
    assert "exec plugin ./plugin of kubeconfig" in line
    assert "\n" not in line
    assert "\x1b" not in line


def test_a_plugin_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin_room, "PLUGIN_SECONDS", 1.0)
    started = time.monotonic()
    with pytest.raises(Refused, match="gave no credentials within 1 s"):
        read(tmp_path, plugin(tmp_path, "time.sleep(100)"))
    assert time.monotonic() - started < 60


def test_what_a_plugin_started_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a script around the real program, which waits in a process of its own."""
    monkeypatch.setattr(plugin_room, "PLUGIN_SECONDS", 2.0)
    script = f"""import subprocess
child = subprocess.Popen(["sleep", "100"])
open({str(tmp_path / "child")!r}, "w").write(str(child.pid))
child.wait()"""
    with pytest.raises(Refused, match="gave no credentials within 2 s"):
        read(tmp_path, plugin(tmp_path, script))
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 20
    while running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running(child)


def running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


ABSENT: tuple[tuple[dict[str, object], str], ...] = (
    (
        {"command": "no-such-plugin", "installHint": "Get it at x.io\nor not"},
        "is not installed: Get it",
    ),
    ({"command": "no-such-plugin"}, "exec plugin no-such-plugin of kubeconfig"),
    ({"interactiveMode": "Always"}, "asks at a terminal: log in with kubectl first"),
)


@pytest.mark.parametrize(("more", "words"), ABSENT, ids=[words for _, words in ABSENT])
def test_a_plugin_that_cannot_be_run(tmp_path: Path, more: dict[str, object], words: str) -> None:
    with pytest.raises(FlowwatchError) as caught:
        read(tmp_path, plugin(tmp_path, answer(token="t"), **more))
    assert words in str(caught.value)
