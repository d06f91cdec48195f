"""A real Kubernetes API server for tests: etcd, kube-apiserver 1.36 and a kubelet, on loopback.

    api = shared()
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "shop"}})
    api.refusal("/apis/cilium.io/v2/namespaces/shop/ciliumnetworkpolicies", document)

The program is `apiserver/`, built from Kubernetes' own module; it knows Cilium's policies and
ClusterNetworkPolicy by their CRDs. One serves all tests of a process: it starts in some seconds,
takes 450 MB, and ends with the process, however that ends.
"""

import atexit
import contextlib
import functools
import json
import os
import shutil
import ssl
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.interop.build import build_apiserver
from tests.interop.program import Program, wait_until

SERVER_NAME = "kubernetes.default.svc"
"""In the server's certificate, which has no addresses: a kubeconfig says `tls-server-name`."""
NODE = "worker1"
"""The node whose kubelet forwards ports; pods run there."""

KINDS = {
    "CiliumNetworkPolicy": ("cilium.io/v2", "ciliumnetworkpolicies", True),
    "CiliumClusterwideNetworkPolicy": ("cilium.io/v2", "ciliumclusterwidenetworkpolicies", False),
    "CiliumCIDRGroup": ("cilium.io/v2", "ciliumcidrgroups", False),
    "NetworkPolicy": ("networking.k8s.io/v1", "networkpolicies", True),
    "ClusterNetworkPolicy": (
        "policy.networking.k8s.io/v1alpha2",
        "clusternetworkpolicies",
        False,
    ),
}
"""Kinds of policies: the API version that has it, its plural, whether it is in a namespace."""

_START_SECONDS = 120.0
_CALL_SECONDS = 30.0
_CONFLICT = 409

Object = dict[str, Any]


class Refusal(Exception):
    """The API server said no; the text is its message."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ControlPlane:
    """The API server as its administrator has it; it starts when entered."""

    server: str
    """`127.0.0.1:PORT`."""

    def __enter__(self) -> Self:
        built = build_apiserver()
        self.folder = Path(tempfile.mkdtemp(prefix="flowwatch-api-"))
        # No proxy, no kubeconfig, no cloud of whoever runs the tests.
        self._program = Program([built.program, self.folder], env={"PATH": os.environ["PATH"]})
        self._asking = threading.Lock()
        try:
            answer = self._program.answer(_START_SECONDS)
            self.server = answer["server"]
            self._client = self._connected()
            self._install(built.crds)
            self._add_node(answer["kubelet"])
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        """End it, and remove what it wrote."""
        with contextlib.suppress(AttributeError):
            self._client.close()
        self._program.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pki(self) -> Path:
        """NAME.crt and NAME.key of the CA (its key isn't there), `admin`, and `jane`, who has no rights."""
        return self.folder / "pki"

    @property
    def audit_log(self) -> Path:
        """A JSON object for each request, but for those of the administrator and the server itself."""
        return self.folder / "audit.log"

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | str | None = None,
        **params: str,
    ) -> Object:
        """Ask the API server, and return its answer; `body` is an object (or what to merge), or its YAML.

        Raises:
            Refusal: it said no.
        """
        if isinstance(body, str):
            content, kind = body.encode("utf-8", "surrogatepass"), "application/yaml"
        else:
            content = json.dumps(body).encode() if body is not None else b""
            kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self._client.request(
            method,
            path,
            params=params,
            content=content,
            headers={"Content-Type": kind, "Accept": "application/json"},
            extensions={"sni_hostname": SERVER_NAME},
        )
        if answer.is_success:
            told: Object = answer.json()
            return told
        try:
            message = answer.json()["message"]
        except (ValueError, KeyError, TypeError):
            message = answer.text
        raise Refusal(answer.status_code, message)

    def refusal(self, path: str, document: Mapping[str, Any] | str) -> str:
        """Why a new object would be refused at this collection, as `kubectl apply` asks; "" if not."""
        try:
            self.call("POST", path, document, dryRun="All", fieldValidation="Strict")
        except Refusal as no:
            return str(no) or f"HTTP {no.code}"
        return ""

    def add_namespace(self, name: str) -> None:
        """Make a namespace, if there is none of that name."""
        try:
            self.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        except Refusal as no:
            if no.code != _CONFLICT:
                raise

    def order(self, what: str, **more: str) -> Object:
        """Give the kubelet a command (`apiserver/commands.go`), and return its answer."""
        with self._asking:
            self._program.send(json.dumps({"do": what, **more}) + "\n")
            return self._program.answer()

    def _connected(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")
        return httpx.Client(
            base_url=f"https://{self.server}",
            verify=context,
            timeout=_CALL_SECONDS,
            trust_env=False,
        )

    def _install(self, crds: list[Path]) -> None:
        """Make the kinds known, and wait until each is served."""
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        names = [
            self.call("POST", path, crd.read_text(encoding="utf-8"))["metadata"]["name"]
            for crd in crds
        ]

        def served(name: str) -> bool:
            crd = self.call("GET", f"{path}/{name}")
            found = {c["type"]: c["status"] for c in crd["status"].get("conditions", ())}
            plural, _, group = name.partition(".")
            if found.get("Established") != "True":
                return False
            try:
                return all(
                    bool(self.call("GET", f"/apis/{group}/{one['name']}/{plural}"))
                    for one in crd["spec"]["versions"]
                    if one["served"]
                )
            except Refusal:
                return False

        wait_until(lambda: all(map(served, names)), "the CRDs to be served", _CALL_SECONDS)

    def _add_node(self, kubelet: int) -> None:
        status = {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet}},
        }
        self.call("POST", "/api/v1/nodes", {"metadata": {"name": NODE}, "status": status})


def collection(kind: str, namespace: str = "default", version: str = "") -> str:
    """The path at which a policy of this kind is made; `version`: of another API version."""
    usual, plural, namespaced = KINDS[kind]
    place = f"namespaces/{namespace}/" if namespaced else ""
    return f"/apis/{version or usual}/{place}{plural}"


@functools.cache
def shared() -> ControlPlane:
    """The one of this process; it ends with :func:`end_shared`, or when the process does.

    Raises:
        GoMissing, BuildFailed: as `build_apiserver`, whose first call takes minutes.
    """
    started = ControlPlane().__enter__()
    atexit.register(started.end)
    return started


def end_shared() -> None:
    """End it, if it runs, and let the next test that asks for one have a new one."""
    if shared.cache_info().currsize:
        started = shared()
        shared.cache_clear()
        atexit.unregister(started.end)
        started.end()
