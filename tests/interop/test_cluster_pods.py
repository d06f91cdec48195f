"""`flowwatch diff --pods cluster`: the pods of a real API server, as CiliumEndpoints."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import one_line
from tests.in_process import flowwatch
from tests.interop.control_plane import ControlPlane
from tests.interop.kubeapi import KubeApi
from tests.interop.program import wait_until
from tests.unit.audits.planted import CORRECT

_CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ENDPOINTS = "/apis/cilium.io/v2/namespaces/{}/ciliumendpoints"
_RIGHT = [{"apiGroups": ["cilium.io"], "resources": ["ciliumendpoints"], "verbs": ["list"]}]
_OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _kind() -> dict[str, Any]:
    """The kind, with any fields: the status is the agent's to fill in."""
    version = {"name": "v2", "served": True, "storage": True, "schema": {"openAPIV3Schema": _OPEN}}
    names = {"plural": "ciliumendpoints", "singular": "ciliumendpoint", "kind": "CiliumEndpoint"}
    return {
        "metadata": {"name": "ciliumendpoints.cilium.io"},
        "spec": {"group": "cilium.io", "scope": "Namespaced", "names": names, "versions": [version]},
    }  # fmt: skip


def _served(api: ControlPlane) -> bool:
    found = api.call("GET", f"{_CRDS}/ciliumendpoints.cilium.io")
    conditions = found.get("status", {}).get("conditions") or ()
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


def _there(api: ControlPlane) -> bool:
    every = api.call("GET", _CRDS)["items"] or ()
    return any(one["metadata"]["name"].startswith("ciliumendpoints.") for one in every)


@pytest.fixture
def kube(api: ControlPlane) -> Iterator[KubeApi]:
    api.call("POST", _CRDS, _kind())
    try:
        wait_until(lambda: _served(api), "the kind to be served")
        with KubeApi(api) as kube:
            kube.allow_only(_RIGHT, everywhere=True)
            yield kube
    finally:
        api.call("DELETE", f"{_CRDS}/ciliumendpoints.cilium.io")
        wait_until(lambda: not _there(api), "the kind to be gone")


def _pod(kube: KubeApi, namespace: str, name: str, *labels: str) -> None:
    kube.api.add_namespace(namespace)
    own = [f"k8s:io.kubernetes.pod.namespace={namespace}", "k8s:io.cilium.k8s.policy.cluster=blue"]
    body = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumEndpoint",
        "metadata": {"name": name},
        "status": {"identity": {"id": 1, "labels": [*labels, *own]}} if labels else {},
    }
    kube.api.call("POST", _ENDPOINTS.format(namespace), body)


def test_only_pods_of_the_cluster_count(kube: KubeApi, tmp_path: Path) -> None:
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(CORRECT)
    new.write_text(f"{CORRECT}  egressDeny:\n    - toCIDR: [192.0.2.0/24]\n")
    words = ("diff", old, new, "--pods", "cluster", "--kubeconfig", kube.kubeconfig(tmp_path))
    none = flowwatch(*words)
    assert none.returncode == 2
    assert "no pod with labels is there to compare for" in one_line(none)
    _pod(kube, "diff-elsewhere", "other-0", "k8s:app=other")
    _pod(kube, "diff-elsewhere", "starting-0")
    assert flowwatch(*words).returncode == 0
    _pod(kube, "weather", "weather-app-x2x5k", "k8s:app=weather-app")
    told = flowwatch(*words)
    assert told.returncode == 1, told.stderr
    assert "e.g. weather/weather-app-x2x5k → api.openweathermap.org (192.0.2.1) on " in told.stdout
    assert "compared for 2 sets of labels that pods have" in told.stderr


def test_who_may_not_list_them_is_told(kube: KubeApi, tmp_path: Path) -> None:
    kube.allow_only([], everywhere=True)
    old = tmp_path / "old.yaml"
    old.write_text(CORRECT)
    told = flowwatch(
        "diff", old, old, "--pods", "cluster", "--kubeconfig", kube.kubeconfig(tmp_path)
    )
    assert (told.returncode, told.stdout) == (2, "")
    assert "may not list ciliumendpoints" in one_line(told)
