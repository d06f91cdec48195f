"""Every way in which a kubeconfig says who one is, at a real API server: whom does it take us for?"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from flowwatch.errors import Refused
from flowwatch.hubble.kube import cluster_policies, kubeconfig
from tests.interop.control_plane import ControlPlane
from tests.interop.kubeapi import KubeApi
from tests.interop.real import Certificates

RIGHTS = [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["list"]},
    {
        "apiGroups": [""],
        "resources": ["users"],
        "resourceNames": ["jane", "guest"],
        "verbs": ["impersonate"],
    },
]
EXEC = "client.authentication.k8s.io/v1"

User = Mapping[str, Any]


@pytest.fixture
def kube(api: ControlPlane) -> Iterator[KubeApi]:
    with KubeApi(api) as kube:
        kube.allow_only(RIGHTS, everywhere=True)
        yield kube


def pem(kube: KubeApi, name: str) -> str:
    return (kube.api.pki / name).read_text()


def data(kube: KubeApi, name: str) -> str:
    return base64.b64encode(pem(kube, name).encode()).decode()


def plugin(status: Mapping[str, str]) -> User:
    """A program that gives this."""
    credential = {"apiVersion": EXEC, "kind": "ExecCredential", "status": status}
    command = {"command": "printf", "args": ["%s", json.dumps(credential)]}
    return {"exec": {"apiVersion": EXEC, "interactiveMode": "Never", **command}}


def token_file(kube: KubeApi, folder: Path) -> User:
    (folder / "token").write_text(f"{kube.token}\n")
    return {"tokenFile": "token"}


ACCOUNT, JANE = "the account", "jane"
USERS: dict[str, tuple[str, Callable[[KubeApi, Path], User]]] = {
    "token": (ACCOUNT, lambda kube, _: {"token": kube.token}),
    "token file": (ACCOUNT, token_file),
    "certificate": (JANE, lambda kube, _: kube.certificate),
    "certificate in the file": (
        JANE,
        lambda kube, _: {
            "client-certificate-data": data(kube, "jane.crt"),
            "client-key-data": data(kube, "jane.key"),
        },
    ),
    "token of a program": (ACCOUNT, lambda kube, _: plugin({"token": kube.token})),
    "certificate of a program": (
        JANE,
        lambda kube, _: plugin(
            {
                "clientCertificateData": pem(kube, "jane.crt"),
                "clientKeyData": pem(kube, "jane.key"),
            }
        ),
    ),
}


def read(kube: KubeApi, folder: Path, user: User) -> list[str]:
    access = kubeconfig.load(str(kube.kubeconfig(folder, user)))
    return cluster_policies.read(access, timeout=20.0).missing


@pytest.mark.parametrize("way", USERS)
def test_the_server_knows_who_it_is(kube: KubeApi, tmp_path: Path, way: str) -> None:
    who, user = USERS[way]
    assert read(kube, tmp_path, user(kube, tmp_path)) == []
    assert kube.told()["users"] == {kube.user if who == ACCOUNT else who}


def foreign(kube: KubeApi, folder: Path) -> User:
    """A certificate of a CA that the server doesn't know."""
    made = Certificates.make(folder, "anything")
    return {"client-certificate": str(made.client), "client-key": str(made.client_key)}


NOBODY: dict[str, Callable[[KubeApi, Path], User]] = {
    "no token of this server": lambda kube, _: {"token": kube.token[:-6] + "AAAAAA"},
    "a certificate of another CA": foreign,
    "a program's token that ended": lambda kube, _: plugin({"token": "expired"}),
}


@pytest.mark.parametrize("way", NOBODY)
def test_who_is_not_known_is_told_to_log_in(kube: KubeApi, tmp_path: Path, way: str) -> None:
    with pytest.raises(Refused, match="does not accept the credentials of user jane") as refused:
        read(kube, tmp_path, NOBODY[way](kube, tmp_path))
    assert "log in" in refused.value.hint


def test_a_token_ends_with_its_account(kube: KubeApi, tmp_path: Path) -> None:
    user = {"token": kube.token}
    assert read(kube, tmp_path, user) == []
    kube.end_session()
    with pytest.raises(Refused, match="does not accept the credentials"):
        read(kube, tmp_path, user)


def test_as_somebody_else(kube: KubeApi, tmp_path: Path) -> None:
    """`jane` and `guest` may be impersonated, and `guest` has no rights."""
    assert read(kube, tmp_path, {"token": kube.token, "as": "jane"}) == []
    for name in ("guest", "kubernetes-admin"):
        with pytest.raises(Refused, match="may list no policies"):
            read(kube, tmp_path, {"token": kube.token, "as": name})
