"""A Kubernetes API server for tests: real streaming code, a few objects, and the faults of real ones.

    with Relay([...]) as relay, KubeApi() as kube:
        kube.put_relay(relay.address)
        flowwatch("status", "-P", "--kubeconfig", kube.kubeconfig(folder))

Port-forwards are served by the code of container runtimes (k8s.io/cri-streaming) behind the proxy
of API server and kubelet; see `hubble/kubeapi`. Everything else is what the test puts.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.interop.build import build
from tests.interop.certificates import Certificates
from tests.interop.program import Program

NAMESPACE = "kube-system"
SERVER_NAME = "kubernetes.default.svc"
"""In the server's certificate, which has no addresses: the kubeconfig says `tls-server-name`."""


class KubeApi:
    """One API server; it starts when entered."""

    def __init__(self, *, tls: Certificates | None = None, token: str = "") -> None:
        """`tls`: serve TLS with these, made for SERVER_NAME, and take clients with a certificate
        of that CA; `token`: ask for this bearer token (or such a certificate).
        """
        self.address = "127.0.0.1:0"
        self.tls, self.token = tls, token
        self._program: Program | None = None

    def __enter__(self) -> Self:
        flags = [f"-listen={self.address}"]
        if self.tls is not None:
            flags += [f"-tls-cert={self.tls.server}", f"-tls-key={self.tls.server_key}"]
            flags.append(f"-tls-client-ca={self.tls.ca}")
        self._program = Program([build().kubeapi, *flags])
        self.address = self._program.answer()["address"]
        if self.token:
            self.ask_for(self.token)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """End it at once; entering it again brings it back on the same address, empty."""
        if self._program is not None:
            self._program.kill()
            self._program = None

    # Objects ------------------------------------------------------------------------------------

    def put(self, resource: str, name: str, body: Mapping[str, Any]) -> None:
        """Put an object of api/v1 into kube-system, `body` without what follows from its name."""
        metadata = {"name": name, "namespace": NAMESPACE, **body.get("metadata", {})}
        kind = {"pods": "Pod", "services": "Service", "secrets": "Secret"}[resource]
        path = f"/api/v1/namespaces/{NAMESPACE}/{resource}/{name}"
        whole = {"apiVersion": "v1", "kind": kind, **body, "metadata": metadata}
        self._do("put", path=path, object=whole)

    def delete(self, resource: str, name: str) -> None:
        """Take an object away."""
        self._do("delete", path=f"/api/v1/namespaces/{NAMESPACE}/{resource}/{name}")

    def put_service(self, port: int = 80, target: int | str = "grpc") -> None:
        """The service hubble-relay, as Cilium's Helm chart makes it."""
        spec = {
            "type": "ClusterIP",
            "selector": {"k8s-app": "hubble-relay"},
            "ports": [{"port": port, "protocol": "TCP", "targetPort": target}],
        }
        self.put("services", "hubble-relay", {"spec": spec})

    def put_pod(
        self, name: str, to: str = "", *, phase: str = "Running", ready: bool = True
    ) -> None:
        """A pod of relay whose port leads to the address `to`, or nowhere."""
        port = {"containerPort": 4245, "name": "grpc", "protocol": "TCP"}
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        body = {
            "metadata": {
                "labels": {"k8s-app": "hubble-relay"},
                "creationTimestamp": "2026-01-31T10:00:00Z",
            },
            "spec": {"containers": [{"name": "hubble-relay", "ports": [port]}]},
            "status": {"phase": phase, "conditions": conditions},
        }
        self.put("pods", name, body)
        self._do("forward", pod=name, to=to)

    def put_relay(self, to: str, pod: str = "hubble-relay-7d4b9-x2x5k") -> None:
        """Service and pod of a relay that listens on the address `to`."""
        self.put_service()
        self.put_pod(pod, to)

    def end_pod(self, name: str) -> None:
        """The pod is gone, and what was forwarded to it breaks."""
        self.delete("pods", name)
        self._do("forward", pod=name, to="")
        self.cut(name)

    def put_secret(self, name: str, files: Mapping[str, bytes | Path]) -> None:
        """A secret with these keys; the value of each is bytes, or a file's."""
        data = {
            key: base64.b64encode(v.read_bytes() if isinstance(v, Path) else v).decode()
            for key, v in files.items()
        }
        self.put("secrets", name, {"type": "kubernetes.io/tls", "data": data})

    # Faults and facts ---------------------------------------------------------------------------

    def cut(self, pod: str = "") -> int:
        """End the forwards that are open, to one pod or all, as a proxy's timeout does; how many."""
        cut: int = self._do("cut", pod=pod)["cut"]
        return cut

    def ask_for(self, token: str) -> None:
        """From now on this bearer token is asked for."""
        self._do("token", token=token)

    def deny(self, *rights: str) -> None:
        """Refuse these, such as "create pods/portforward", and nothing else."""
        self._do("deny", denied=list(rights))

    def allow_only(self, rules: Sequence[Mapping[str, Any]]) -> None:
        """Allow what these rules of a Role allow, and nothing else; no rules: everything."""
        self._do("role", rules=[dict(rule) for rule in rules])

    def check(self, document: str) -> str:
        """The kind of a YAML document, if the API server would take it: kind and fields are known.

        Raises:
            PartFailed: it wouldn't; with its reason.
        """
        kind: str = self._do("check", text=document)["kind"]
        return kind

    def told(self) -> dict[str, Any]:
        """`requests` since the last time ("get services hubble-relay"), forwards `opened` and `open`."""
        return self._do("told")

    def kubeconfig(self, folder: Path, user: Mapping[str, Any] | None = None) -> Path:
        """A kubeconfig in `folder` that leads here; `user` instead of the token, if any."""
        cluster: dict[str, Any] = {"server": f"http://{self.address}"}
        if self.tls is not None:
            ca = base64.b64encode(self.tls.ca.read_bytes()).decode()
            cluster = {
                "server": f"https://{self.address}",
                "certificate-authority-data": ca,
                "tls-server-name": SERVER_NAME,
            }
        who = user if user is not None else {"token": self.token} if self.token else {}
        return write_kubeconfig(folder, cluster, who)

    def _do(self, what: str, **more: object) -> dict[str, Any]:
        assert self._program is not None
        self._program.send(json.dumps({"do": what, **more}) + "\n")
        return self._program.answer()


def write_kubeconfig(folder: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> Path:
    """A kubeconfig with the one context `test`."""
    path = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "there", "cluster": dict(cluster)}],
        "users": [{"name": "jane", "user": dict(user)}],
        "contexts": [{"name": "test", "context": {"cluster": "there", "user": "jane"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path
