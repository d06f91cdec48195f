"""What a test has of the real API server: a user with rights, relay's objects, forwards to its pods.

    with Relay([...]) as relay, KubeApi(api) as kube:
        kube.put_relay(relay.address)
        flowwatch("status", "-P", "--kubeconfig", kube.kubeconfig(folder))

The user is a service account with a token of its own, and rights by a real Role. Port-forwards go
through API server and kubelet to the code that container runtimes serve them with; see `apiserver/`.
When it ends, its user, rights and objects are gone.
"""

import base64
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from tests.interop.control_plane import NODE, SERVER_NAME, ControlPlane, Refusal, collection, shared
from tests.interop.program import wait_until

NAMESPACE = "kube-system"
RIGHTS = (
    *("get services", "list pods", "get pods/portforward", "create pods/portforward"),
    "get secrets",
)
"""What a user has whom nothing was denied."""

_USERS = "users"
"""The namespace of the service accounts."""
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
_NOT_FOUND = 404
_numbers = itertools.count(1)

Rules = Sequence[Mapping[str, Any]]


class KubeApi:
    """A user of the API server, and a namespace where relay is; it begins when entered."""

    token: str
    """The user's."""

    def __init__(self, api: ControlPlane | None = None, *, namespace: str = NAMESPACE) -> None:
        """`api`: the one that all tests share, if none is given. `namespace`: where relay is."""
        self.api = api or shared()
        self.namespace = namespace
        self.name = f"tester-{next(_numbers)}"
        self.user = f"system:serviceaccount:{_USERS}:{self.name}"
        self._made: list[str] = []
        self._forwarded: set[str] = set()

    def __enter__(self) -> Self:
        for namespace in (_USERS, self.namespace):
            self.api.add_namespace(namespace)
        accounts = f"/api/v1/namespaces/{_USERS}/serviceaccounts"
        self._make(accounts, {"metadata": {"name": self.name}})
        asked = f"{accounts}/{self.name}/token"
        self.token = self.api.call("POST", asked, {"spec": {}})["status"]["token"]
        wait_until(self._known, "the service account to be known")
        self.deny()
        self._opened = self._forwards()["opened"]
        self._read = self.api.audit_log.stat().st_size
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for pod in list(self._forwarded):
            self._forward(pod, "")
            self.cut(pod)
        for path in reversed(self._made):
            self._unmake(path)

    # Objects ------------------------------------------------------------------------------------

    def put(self, resource: str, name: str, body: Mapping[str, Any]) -> None:
        """Put an object of api/v1 into the namespace; one of that name is replaced."""
        metadata = {**body.get("metadata", {}), "name": name}
        self._make(self._path(resource), {**body, "metadata": metadata})

    def delete(self, resource: str, name: str) -> None:
        """Take an object away."""
        self._unmake(self._path(resource, name))

    def put_policy(self, policy: Mapping[str, Any]) -> None:
        """Put a policy of any kind where it says that it belongs."""
        namespace = policy["metadata"].get("namespace", "default")
        self.api.add_namespace(namespace)
        self._make(collection(policy["kind"], namespace), policy)

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
        container = {"name": "hubble-relay", "image": "hubble-relay", "ports": [port]}
        metadata = {"labels": {"k8s-app": "hubble-relay"}}
        spec = {"nodeName": NODE, "containers": [container]}
        self.put("pods", name, {"metadata": metadata, "spec": spec})
        conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
        status = {"status": {"phase": phase, "conditions": conditions}}
        self.api.call("PATCH", f"{self._path('pods', name)}/status", status)
        self._forward(name, to)

    def put_relay(self, to: str, pod: str = "hubble-relay-7d4b9-x2x5k") -> None:
        """Service and pod of a relay that listens on the address `to`."""
        self.put_service()
        self.put_pod(pod, to)

    def end_pod(self, name: str) -> None:
        """The pod is gone, and what was forwarded to it breaks."""
        self.delete("pods", name)
        self._forward(name, "")
        self.cut(name)

    def put_secret(self, name: str, files: Mapping[str, bytes | Path]) -> None:
        """A secret with these keys; the value of each is bytes, or a file's."""
        data = {
            key: base64.b64encode(v.read_bytes() if isinstance(v, Path) else v).decode()
            for key, v in files.items()
        }
        pair = {"tls.crt", "tls.key"} <= set(data)
        self.put("secrets", name, {"type": "kubernetes.io/tls" if pair else "Opaque", "data": data})

    # Rights -------------------------------------------------------------------------------------

    def deny(self, *rights: str) -> None:
        """From now on the user has all of RIGHTS but these."""
        had = [right.split() for right in RIGHTS if right not in rights]
        self.allow_only([{"apiGroups": [""], "verbs": [v], "resources": [r]} for v, r in had])

    def allow_only(self, rules: Rules, *, namespace: str = "", everywhere: bool = False) -> None:
        """From now on the user may do what these rules of a Role allow, and nothing else.

        In the namespace of relay, or in `namespace`, or `everywhere` (a ClusterRole).
        """
        # When a right to a thing of this number is there, all of the role is, and nothing of the last.
        mark = {
            "apiGroups": ["tests"],
            "resources": ["marks"],
            "resourceNames": [f"mark-{next(_numbers)}"],
            "verbs": ["get"],
        }
        scope = "" if everywhere else f"/namespaces/{namespace or self.namespace}"
        kind = "ClusterRole" if everywhere else "Role"
        metadata = {"metadata": {"name": self.name}}
        for old in [path for path in self._made if path.startswith(_RBAC)]:
            self._unmake(old)
        self._make(f"{_RBAC}{scope}/{kind.lower()}s", {**metadata, "rules": [*rules, mark]})
        subjects = [
            {"kind": "ServiceAccount", "name": self.name, "namespace": _USERS},
            {"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"},
        ]
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": self.name}
        binding = {**metadata, "subjects": subjects, "roleRef": reference}
        self._make(f"{_RBAC}{scope}/{kind.lower()}bindings", binding)
        asked = {
            "verb": "get",
            "group": "tests",
            "resource": "marks",
            "name": mark["resourceNames"][0],
            "namespace": namespace or self.namespace,
        }
        review = {"spec": {"user": self.user, "resourceAttributes": asked}}
        wait_until(
            lambda: bool(self.api.call("POST", _REVIEWS, review)["status"]["allowed"]),
            "the rights to be in force",
        )

    def end_session(self) -> None:
        """From now on the user's token isn't accepted: its service account is gone."""
        self._unmake(f"/api/v1/namespaces/{_USERS}/serviceaccounts/{self.name}")
        wait_until(lambda: not self._known(), "the token to be refused")

    # Faults and facts ---------------------------------------------------------------------------

    def cut(self, pod: str) -> int:
        """End the forwards to a pod that are open, as a proxy's timeout does; how many."""
        cut: int = self.api.order("cut", pod=f"{self.namespace}/{pod}")["cut"]
        return cut

    def told(self) -> dict[str, Any]:
        """Since the last time: `requests` ("get services hubble-relay") and `users`, whom the server
        took the client for; forwards `opened` and `open`.
        """
        forwards = self._forwards()
        opened = forwards["opened"] - self._opened
        events = self._events()
        return {
            "requests": [_shown(event) for event in events],
            "users": {event["user"]["username"] for event in events},
            "opened": opened,
            "open": forwards["open"],
        }

    @property
    def address(self) -> str:
        """The API server's, `127.0.0.1:PORT`."""
        return self.api.server

    @property
    def certificate(self) -> dict[str, str]:
        """A kubeconfig's user who has the same rights by a certificate."""
        pki = self.api.pki
        return {"client-certificate": str(pki / "jane.crt"), "client-key": str(pki / "jane.key")}

    @property
    def cluster(self) -> dict[str, str]:
        """A kubeconfig's cluster."""
        ca = base64.b64encode((self.api.pki / "ca.crt").read_bytes()).decode()
        return {
            "server": f"https://{self.api.server}",
            "certificate-authority-data": ca,
            "tls-server-name": SERVER_NAME,
        }

    def kubeconfig(self, folder: Path, user: Mapping[str, Any] | None = None) -> Path:
        """A kubeconfig in `folder` that leads here; `user` instead of the token, if any."""
        return write_kubeconfig(folder, self.cluster, user or {"token": self.token})

    def _path(self, resource: str, name: str = "") -> str:
        return f"/api/v1/namespaces/{self.namespace}/{resource}" + (f"/{name}" if name else "")

    def _make(self, collection: str, body: Mapping[str, Any]) -> None:
        path = f"{collection}/{body['metadata']['name']}"
        self._unmake(path)
        self.api.call("POST", collection, body)
        self._made.append(path)

    def _unmake(self, path: str) -> None:
        if path in self._made:
            self._made.remove(path)
        try:
            self.api.call("DELETE", path, gracePeriodSeconds="0")
        except Refusal as no:
            if no.code != _NOT_FOUND:
                raise

    def _known(self) -> bool:
        review = {"spec": {"token": self.token}}
        answer = self.api.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
        return bool(answer["status"].get("authenticated"))

    def _forward(self, pod: str, to: str) -> None:
        self.api.order("forward", pod=f"{self.namespace}/{pod}", to=to)
        (self._forwarded.add if to else self._forwarded.discard)(pod)

    def _forwards(self) -> dict[str, Any]:
        return self.api.order("told", pod=f"{self.namespace}/")

    def _events(self) -> list[dict[str, Any]]:
        with self.api.audit_log.open("rb") as log:
            log.seek(self._read)
            lines = log.read()
        whole = lines[: lines.rfind(b"\n") + 1]
        self._read += len(whole)
        events = map(json.loads, whole.splitlines())
        return [one for one in events if one["user"].get("username") in (self.user, "jane")]


def _shown(event: dict[str, Any]) -> str:
    what = event.get("objectRef", {})
    resource = "/".join(filter(None, (what.get("resource"), what.get("subresource"))))
    return f"{event['verb']} {resource} {what.get('name', '')}".strip()


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
