"""Faults on the way through the Kubernetes API: the kubeconfig, the rights, relay's pod."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from tests.interop.faults.at_once import AtOnce, Setting
from tests.interop.kubeapi import KubeApi, write_kubeconfig

_EXEC = "client.authentication.k8s.io/v1"


def _through(config: Path) -> list[str]:
    return ["summary", "-P", "--port-forward-port=0", "--kubeconfig", str(config)]


def _missing(folder: Path) -> Iterator[list[str]]:
    yield _through(folder / "kubeconfig")


def _holding(text: str) -> Setting:
    def setting(folder: Path) -> Iterator[list[str]]:
        (folder / "kubeconfig").write_text(text)
        yield _through(folder / "kubeconfig")

    return setting


def _plugin(script: str, mode: str = "IfAvailable") -> Setting:
    """A kubeconfig whose user gets a token from a program that does this."""

    def setting(folder: Path) -> Iterator[list[str]]:
        path = folder / "plugin"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        user: Mapping[str, object] = {
            "exec": {"apiVersion": _EXEC, "command": str(path), "interactiveMode": mode}
        }
        with KubeApi() as kube:
            yield _through(kube.kubeconfig(folder, user))

    return setting


def _api(change: Callable[[KubeApi], object]) -> Setting:
    def setting(folder: Path) -> Iterator[list[str]]:
        with KubeApi() as kube:
            kube.put_relay("127.0.0.1:1")
            change(kube)
            yield _through(kube.kubeconfig(folder))

    return setting


def _nobody(folder: Path) -> Iterator[list[str]]:
    yield _through(write_kubeconfig(folder, {"server": "http://127.0.0.1:1"}, {}))


KUBERNETES = (
    AtOnce("kubeconfig missing", _missing, "kubeconfig", 2),
    AtOnce("kubeconfig broken", _holding("clusters: [\nusers: {"), "mend it, or give", 2),
    AtOnce("kubeconfig without a context", _holding("kind: Config\n"), "context", 2),
    AtOnce(
        "exec plugin fails", _plugin("echo no session: log in first >&2; exit 3"), "log in first"
    ),
    AtOnce(
        "exec plugin asks for input",
        _plugin("printf 'Password: ' >&2; read answer || exit 1"),
        "here it can't ask anything",
    ),
    AtOnce("exec plugin says it always asks", _plugin("exit", "Always"), "asks at a terminal"),
    AtOnce("API server away", _nobody, "can't be reached"),
    AtOnce(
        "no right to port-forward",
        _api(lambda kube: kube.deny("create pods/portforward")),
        "no right to create pods/portforward in namespace kube-system",
    ),
    AtOnce(
        "no right to find relay",
        _api(lambda kube: kube.deny("get services")),
        "no right to get services/hubble-relay",
    ),
    AtOnce(
        "no relay in the cluster",
        _api(lambda kube: kube.delete("services", "hubble-relay")),
        "no service",
    ),
    AtOnce("credentials expired", _api(lambda kube: kube.end_session()), "credentials"),
)
