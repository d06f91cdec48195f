"""Kubeconfigs as client-go reads them, which kubectl is made of: the same access, the same refusals.

Each case is a good kubeconfig in which one thing is odd (tests/kubeconfigs.py). What both take must mean
the same; what client-go refuses we refuse too, and the other way round, but for the words below.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from flowwatch.errors import FlowwatchError
from flowwatch.hubble.kube import plugin
from flowwatch.hubble.kube.access import Access
from flowwatch.hubble.kube.kubeconfig import load
from flowwatch.hubble.kube.plugin import Credential
from tests.interop.build import build
from tests.interop.program import Program
from tests.kubeconfigs import GOOD, PEM, SECRET, cases

COUNT = 2500

STRICTER = (
    # client-go takes these, and fails when it connects or runs the plugin.
    ".server: ",
    ".proxy-url: ",
    ".tls-server-name: ",
    ".exec.apiVersion: ",
    "the name of a variable is wanted",
    "a text without NUL is wanted",
    "hold characters that none may",
    # It asks without credentials, or with half of them, and the API server refuses.
    'names the user "',
    "has a certificate or a key, but not both",
    "logs in by auth-provider",
    # A tag that YAML doesn't know is none for Go.
    "not a value tagged",
    # A Latin-1 byte becomes U+FFFD.
    "it is not text in UTF-8",
    "it is larger than",
)
"""Words of our refusals where client-go takes it."""

LENIENT = (
    # client-go wants it said for v1; here nothing asks at a terminal in any mode.
    "interactiveMode must be specified",
    # Not read here.
    "Context.contexts.context.namespace",
    "unsupported value: NaN",
)
"""Words of client-go's refusals where we take it."""

PAIRS: tuple[dict[str, Any], ...] = (
    {"users": [{"name": "jane", "user": {}}]},
    {"users": [{"name": "jane"}]},
    {"users": [{"name": "jane", "user": {"username": "x", "password": "y"}}]},
    {"clusters": [{"name": "c", "cluster": {"server": "https://first"}}]},
    {"clusters": [{"name": "c", "cluster": {"tls-server-name": "x"}}]},
    {"contexts": [{"name": "here", "context": {"cluster": "d"}}]},
    {"current-context": "there"},
    {"users": 5},
    {},
)
"""What a file before a whole one says."""


class Judge:
    """client-go, in a program of ours."""

    def __init__(self) -> None:
        self.program = Program([build().kubeconfig])

    def ask(self, *paths: Path) -> dict[str, Any]:
        self.program.send(json.dumps({"paths": [str(path) for path in paths]}) + "\n")
        return self.program.answer()


@pytest.fixture(scope="module")
def judge() -> Iterator[Judge]:
    judge = Judge()
    yield judge
    judge.program.kill()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ca.pem").write_bytes(PEM)
    (tmp_path / "token").write_text(SECRET)
    # The judge runs no plugin either.
    monkeypatch.setattr(plugin, "ask", lambda *_: Credential("of the plugin"))
    return tmp_path


def facts(found: Access) -> dict[str, Any]:
    """Ours, in the judge's terms."""
    headers = dict(found.headers)
    return {
        "server": found.server.lower(),
        "serverName": found.server_name,
        "insecure": found.insecure,
        "ca": found.ca.encode(),
        "certificate": found.certificate,
        "key": found.key,
        "authorization": headers.get("Authorization", ""),
        "user": headers.get("Impersonate-User", ""),
        "uid": headers.get("Impersonate-Uid", ""),
        "groups": [value for name, value in found.headers if name == "Impersonate-Group"],
        "proxy": bool(found.proxy),
    }


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """The judge's."""
    host = answer["server"].rstrip("/")
    scheme, slashes, rest = host.partition("://")
    before, _, place = rest.rpartition("@")
    return {
        "server": f"{scheme}{slashes}{place}".lower(),
        "serverName": answer["serverName"],
        "insecure": answer["insecure"],
        "ca": base64.b64decode(answer["ca"] or ""),
        "certificate": base64.b64decode(answer["certificate"] or ""),
        "key": base64.b64decode(answer["key"] or ""),
        "authorization": _authorization(answer, before),
        "user": answer["user"],
        "uid": answer["uid"],
        "groups": [group for group in answer["groups"] or [] if group],
        "proxy": answer["proxy"],
    }


def _authorization(answer: dict[str, Any], before: str) -> str:
    if before:  # of a URL it counts more than all else (net/http)
        user, _, password = before.partition(":")
        return _basic(user, password)
    if answer["token"]:
        return f"Bearer {answer['token'].strip()}"
    if answer["username"]:
        return _basic(answer["username"], answer["password"])
    return "Bearer of the plugin" if answer["exec"] and not answer["certificate"] else ""


def _basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def compare(judge: Judge, path: Path) -> str:
    """Whether "both" take it, or "none"; else who of us is "stricter", with the reason told."""
    answer = judge.ask(path)
    error = answer.get("refusal", "")
    try:
        found = load(str(path), "", {})
    except FlowwatchError as refused:
        line = str(refused)
    else:
        line = ""
    if line and error:
        return "none"
    if line:
        assert any(words in line for words in STRICTER), line
        return "stricter"
    if error:
        assert any(words in error for words in LENIENT), error
        return "lenient"
    ours, theirs = facts(found), told(answer)
    if answer["provider"]:
        del ours["authorization"], theirs["authorization"]  # it would be asked for a token
    assert ours == theirs
    return "both"


def test_each_good_one(judge: Judge, folder: Path) -> None:
    path = folder / "config"
    for whole in GOOD:
        path.write_text(json.dumps(whole))
        assert compare(judge, path) == "both"


def test_one_thing_odd(judge: Judge, folder: Path) -> None:
    path = folder / "config"
    counts = dict.fromkeys(("both", "none", "stricter", "lenient"), 0)
    for case in cases(Random(1), COUNT):
        if b"/dev/zero" in case.content:
            continue  # client-go reads it without end
        path.write_bytes(case.content)
        try:
            counts[compare(judge, path)] += 1
        except AssertionError as error:
            raise AssertionError(f"{case.name}: {error}") from error
    print(f"of {COUNT} kubeconfigs {counts}")
    assert counts["both"] > COUNT / 10
    assert counts["none"] > COUNT / 10
    assert counts["lenient"] < COUNT / 40


@pytest.mark.parametrize("first", PAIRS, ids=[json.dumps(first) for first in PAIRS])
def test_two_files_are_merged(
    judge: Judge, folder: Path, monkeypatch: pytest.MonkeyPatch, first: dict[str, Any]
) -> None:
    one, absent, two = folder / "one", folder / "absent", folder / "two"
    one.write_text(json.dumps(first))
    two.write_text(json.dumps(GOOD[1]))
    answer = judge.ask(one, absent, two)
    environ = {"KUBECONFIG": f"{one}:{absent}:{two}"}
    if "refusal" in answer:
        with pytest.raises(FlowwatchError):
            load("", "", environ)
    else:
        assert facts(load("", "", environ)) == told(answer)
