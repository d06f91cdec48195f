"""Kubeconfigs in which one thing is odd: for tests here, against client-go, and for `make fuzz`.

    for case in cases(random.Random(1), 500):
        path.write_bytes(case.content); load(str(path)) ...

Every secret in them is SECRET, so that a test can look for it in all that is shown.
"""

import base64
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

SECRET = "SECRETTOK123"
"""In each token, password, key and plugin's variable."""

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
_DATA = base64.b64encode(PEM).decode()
_KEY = base64.b64encode(SECRET.encode()).decode()


def _whole(user: dict[str, Any], **cluster: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "jane", "namespace": "x"}},
            {"name": "there", "context": {"cluster": "d", "user": "joe"}},
        ],
        "clusters": [
            {"name": "c", "cluster": {"server": "https://127.0.0.1:1", **cluster}},
            {"name": "d", "cluster": {"server": "https://kube.test"}},
        ],
        "users": [
            {"name": "jane", "user": user},
            {"name": "joe", "user": {"password": SECRET, "username": "joe"}},
        ],
    }


_EXEC = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "command": "/bin/echo",
    "args": ["a", "--token", SECRET],
    "env": [{"name": "PLUGIN_TOKEN", "value": SECRET}, {"name": "b", "value": "c"}],
    "interactiveMode": "Never",
    "installHint": "get it",
    "provideClusterInfo": True,
}
GOOD: tuple[dict[str, Any], ...] = (
    _whole({"token": SECRET}),
    _whole(
        {
            "token": SECRET,
            "as": "ops",
            "as-uid": "7",
            "as-groups": ["g"],
            "as-user-extra": {"k": ["v"]},
        },
        **{
            "certificate-authority-data": _DATA,
            "tls-server-name": "kube",
            "proxy-url": "http://p:1",
        },
    ),
    _whole({"username": "jane", "password": SECRET}, **{"insecure-skip-tls-verify": True}),
    _whole({"client-certificate-data": _DATA, "client-key-data": _KEY}),
    _whole({"tokenFile": "token"}, **{"certificate-authority": "ca.pem"}),
    _whole({"client-certificate": "ca.pem", "client-key": "ca.pem"}),
    _whole({"exec": _EXEC}, **{"proxy-url": f"socks5://jane:{SECRET}@127.0.0.1:1"}),
    _whole({"token": SECRET}, server=f"https://jane:{SECRET}@127.0.0.1:1"),
    _whole({"auth-provider": {"name": "oidc", "config": {"id-token": SECRET, "client-id": "x"}}}),
)
"""Each is taken as it is; files lie beside it: ``token`` and ``ca.pem``."""

ODD: tuple[str, ...] = (
    # of another type, or of one that Go's YAML takes for another
    "5", "-1", "1.5", "1e3", "0o17", "0x1F", "1_000", "true", "y", "no", "~", "null", "[]", "{}",
    "[1]", "[a]", "[~]", "[[a]]", "{a: b}", "[{a: b}]", "[{name: 5}]", "[{name: a, value: 5}]",
    "2020-01-01", ".inf", ".nan", '""', "''", "=", "<<",
    # text that isn't one
    r'"a\0b"', r'"a\nb"', r'"\x1b[2J\u202e"', r'"\uFEFFx"', r'"\U0010FFFF"', '"é"', '" "', '" x "',
    r'"\uD800"', f'"{"x" * 70_000}"', f'"{"ab." * 100}"',
    # YAML's own
    "*nowhere", "&a x", f"!{SECRET} x", f"!!python/object:{SECRET} {{}}", f"*{SECRET}", f'"{SECRET}',
    f"{{{SECRET}: x: y}}", f"[{SECRET}", "|\n  x", "- a", "? a", "%", "@x", "`x", "\t",
    "[" * 2000, "{a: " * 2000,
    # paths
    '"~nosuchuser/x"', '"~/x"', "/dev/zero", "/dev/null", "/", "..", "/nonexistent/x", "ca.pem",
    '"x" # y',
    # URLs
    '"https://h:99999"', '"https://h:x"', '"https://h:0"', '"https://h:"', '"https://[/x"', '"https://℀/x"',
    '"https://[::1]:6443/"', '"https://[::1%25eth0]:1"', '"https://"', '"https:///x"', '"HTTPS://H"',
    r'"https://h\n:1"', '"https://h /a"', '" https://h"', '"https://h?x=1"', '"https://h#x"', '"h:1"',
    '"ftp://h"', '"unix:///x"', f'"https://u:{SECRET}@h:99999"', f'"https://u:{SECRET}/x@h"',
    f'"https://{SECRET}@h"', f'"//u:{SECRET}@h"', f'"u:{SECRET}@h:1"', '"https://münchen.example"',
    '"https://a..b"', '"https://.b"', f'"https://{"a" * 64}.b"', f'"https://{"a." * 130}b"',
    '"socks5://p:1"', '"socks5h://p:1"', '"socks4://p:1"', '"https://p"', f'"socks5://{"u" * 300}:p@h:1"',
    # what is no base64, and no PEM
    '"!!"', '"QUJD"', '"QUJ"', r'"QU\nJD"', '"QUJD QUJD"', '"é=="',
    # plugins
    "sh", '"no-such-plugin"', '"./ca.pem"', '"client.authentication.k8s.io/v1beta1"',
    '"client.authentication.k8s.io/v9"', "Always", "Sometimes", "[-c]", "[{name: '', value: x}]",
    "[{name: 'a=b', value: x}]",
)  # fmt: skip
"""YAML to put where a value stands."""

_PLACE = "@@@"


@dataclass(frozen=True)
class Case:
    """One kubeconfig, and where it is odd."""

    name: str
    content: bytes


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value in it."""
    if at:
        yield at
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from places(inner, (*at, name))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from places(inner, (*at, index))


def replaced(whole: Any, at: tuple[Any, ...], odd: str) -> bytes:
    """The document with this YAML at that place."""
    changed = copy.deepcopy(whole)
    inner = changed
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = _PLACE
    # In several lines, as JSON, which is YAML.
    text = json.dumps(changed, indent=1)
    return text.replace(f'"{_PLACE}"', odd).encode("utf-8", "surrogatepass")


def every() -> Iterator[Case]:
    """Each odd value in each place of each good one: some 25,000."""
    for which, whole in enumerate(GOOD):
        for at in places(whole):
            for odd in ODD:
                name = f"{which}: {'.'.join(map(str, at))} = {odd[:40]}"
                yield Case(name, replaced(whole, at, odd))


def cases(random: Random, count: int) -> Iterator[Case]:
    """So many of them, and of files whose bytes were changed."""
    for number in range(count):
        which = random.randrange(len(GOOD))
        whole = GOOD[which]
        if random.random() < 0.8:
            at = random.choice(list(places(whole)))
            odd = random.choice(ODD)
            yield Case(f"{which}: {'.'.join(map(str, at))} = {odd[:40]}", replaced(whole, at, odd))
        else:
            yield Case(f"{which}: bytes, number {number}", _bytes(random, whole))


def _bytes(random: Random, whole: Any) -> bytes:
    content = bytearray(json.dumps(whole, indent=random.choice((None, 1))).encode())
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(content))
        what = random.randrange(5)
        if what == 0:
            content[at] = random.randrange(256)
        elif what == 1:
            del content[at : at + random.randint(1, 60)]
        elif what == 2:
            content[at:at] = random.choice(
                (b"\n", b"\t", b"'", b'"', b": ", b"\xff", b"\0", b"&a ", b"*a ")
            )
        elif what == 3:
            content[at:at] = content[max(at - 80, 0) : at]
        else:
            del content[at:]
        content = content or bytearray(b" ")
    return bytes(content)
