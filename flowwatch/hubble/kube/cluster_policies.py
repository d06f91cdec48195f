"""The policies that are in force, read from the Kubernetes API (``--policies-from-cluster``).

    found = read(kubeconfig.load(""), timeout=12.0)
    policies = flowwatch.policy.load(found.texts)

Each object becomes a text as ``kubectl get -o yaml`` prints it, so that line numbers mean something.
Only ``list`` is asked for; what the user may not list, or the API doesn't have, is told in ``missing``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from flowwatch.errors import Refused
from flowwatch.hubble.kube.access import Access
from flowwatch.hubble.kube.api import Cluster, path, wait
from flowwatch.text import safe

_PAGE = 500
"""Objects asked for at once, as kubectl does (``--chunk-size``)."""
_PAGES = 200
"""Pages of a list at most: 100,000 objects."""
_FORBIDDEN, _NOT_FOUND, _GONE = 403, 404, 410
_TRIES = 3
"""A list that expires between two pages (410) is begun anew."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object that decides what is allowed."""

    plural: str
    kind: str
    versions: tuple[str, ...]
    """Group and version, the one to ask for first in front."""
    namespaced: bool = False
    optional: bool = False
    """Whether a cluster without this kind is nothing to tell of."""


RESOURCES: tuple[Resource, ...] = (
    Resource("ciliumnetworkpolicies", "CiliumNetworkPolicy", ("cilium.io/v2",), namespaced=True),
    Resource(
        "ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", ("cilium.io/v2",)
    ),
    Resource("networkpolicies", "NetworkPolicy", ("networking.k8s.io/v1",), namespaced=True),
    # Both came late: to Cilium 1.20, and as v2 to 1.18.
    Resource(
        "clusternetworkpolicies",
        "ClusterNetworkPolicy",
        ("policy.networking.k8s.io/v1alpha2",),
        optional=True,
    ),
    Resource(
        "ciliumcidrgroups",
        "CiliumCIDRGroup",
        ("cilium.io/v2", "cilium.io/v2alpha1"),
        optional=True,
    ),
)
"""What is read; Cilium 1.20, pkg/k8s/apis/cilium.io and pkg/policy/k8s (its watchers)."""


@dataclass(slots=True)
class InForce:
    """What was read of a cluster."""

    texts: list[tuple[str, str]] = field(default_factory=list)
    """A name for messages and the YAML of each object."""
    missing: list[str] = field(default_factory=list)
    """What could not be read, each in one safe line."""
    config: str = ""
    """The ConfigMap of the agents, as YAML; "" when it wasn't read."""


CONFIG = "cilium-config"
"""The ConfigMap that agents read their options from (Cilium 1.20, install/kubernetes)."""
_CONFIG_MAP = Resource("configmaps", "ConfigMap", ("v1",), namespaced=True)
NOT_KNOWN = (
    "whether policy-cidr-match-mode, enable-policy or policy-audit-mode is set isn't known, and Cilium's "
    "defaults count (--cilium-config FILE says it)"
)


def read(
    access: Access, *, timeout: float, namespaces: Sequence[str] = (), agents_in: str = ""
) -> InForce:
    """All policies of the cluster that ``access`` leads to.

    Where listing all namespaces is refused, those of ``namespaces`` are asked for one by one. ``agents_in``:
    the namespace of the agents, whose ConfigMap is read too; "" for none.
    ``timeout``: seconds for each call. Raises ServerError in one line; Refused when nothing may be
    listed at all.
    """

    async def work() -> InForce:
        cluster = _Lister(access, agents_in, timeout)
        try:
            return await cluster.in_force(namespaces)
        finally:
            await cluster.close()

    return wait(work())


def read_config(access: Access, *, timeout: float, namespace: str) -> InForce:
    """The ConfigMap of the agents alone; ``missing`` says why, where it wasn't read. Raises ServerError."""

    async def work() -> InForce:
        cluster = _Lister(access, namespace, timeout)
        found = InForce()
        try:
            await cluster.read_options(found)
        finally:
            await cluster.close()
        return found

    return wait(work())


_ENDPOINTS = Resource("ciliumendpoints", "CiliumEndpoint", ("cilium.io/v2",), namespaced=True)


def read_endpoints(access: Access, *, timeout: float) -> list[dict[str, Any]]:
    """The pods that Cilium runs, as CiliumEndpoint objects. Raises ServerError in one line."""

    async def work() -> list[dict[str, Any]]:
        cluster = _Lister(access, "", timeout)
        try:
            return await cluster.endpoints()
        finally:
            await cluster.close()

    return wait(work())


class _Lister(Cluster):
    """A cluster whose objects are listed over all namespaces."""

    async def in_force(self, namespaces: Sequence[str]) -> InForce:
        found = InForce()
        told = [await self._resource(resource, namespaces, found) for resource in RESOURCES]
        if not any(told):
            raise Refused(
                f"{self._who()} may list no policies ({self._where()})",
                "docs/kubernetes.md has a role that allows it; --policies takes files",
            )
        if self.namespace:
            await self.read_options(found)
        return found

    async def endpoints(self) -> list[dict[str, Any]]:
        status, items = await self._list(_ENDPOINTS, "")
        if status == _NOT_FOUND:
            raise Refused("the API has no ciliumendpoints", "--pods takes captures, too")
        if status:
            raise Refused(
                f"{self._who()} may not list ciliumendpoints ({self._where()})",
                "docs/kubernetes.md has a role that allows it; --pods takes captures",
            )
        return items

    async def read_options(self, found: InForce) -> None:
        """The ConfigMap of the agents; who may not read it is told what isn't known then."""
        try:
            config = await self._get(f"configmaps/{CONFIG}")
        except Refused as error:
            found.missing.append(f"{error.message}: {NOT_KNOWN}")
            return
        if config is None:
            place = f"namespace {safe(self.namespace)}"
            found.missing.append(f"there is no configmap {CONFIG} in {place}: {NOT_KNOWN}")
            return
        _, found.config = _text(_CONFIG_MAP, {**config, "apiVersion": "v1"})

    async def _resource(
        self, resource: Resource, namespaces: Sequence[str], found: InForce
    ) -> bool:
        """Read one kind into ``found``; whether anything could be read of it."""
        plural = resource.plural
        status, items = await self._list(resource, "")
        if not status:
            found.texts += [_text(resource, item) for item in items]
            return True
        if status == _NOT_FOUND:
            if not resource.optional:
                found.missing.append(f"the API has no {plural}: none were read")
            return False
        if not resource.namespaced or not namespaces:
            found.missing.append(f"{self._who()} may not list {plural}: they are missing")
            return False
        some = False
        for namespace in namespaces:
            status, items = await self._list(resource, namespace)
            where = f"{plural} of namespace {safe(namespace)}"
            if status:
                found.missing.append(f"{self._who()} may not list {where}: they are missing")
                continue
            some = True
            found.texts += [_text(resource, item) for item in items]
            found.missing.append(f"only {where} were read: {self._who()} may not list all")
        return some

    def _who(self) -> str:
        return f"user {safe(self.access.user)}" if self.access.user else "this user"

    async def _list(self, resource: Resource, namespace: str) -> tuple[int, list[dict[str, Any]]]:
        """The objects, and 0; or 403 or 404, and none. Raises ServerError for all else."""
        for version in resource.versions:
            for _ in range(_TRIES):
                status, items = await self._pages(version, resource.plural, namespace)
                if status != _GONE:
                    break
            if status in (0, _FORBIDDEN):
                return status, [{**item, "apiVersion": version} for item in items]
            if status != _NOT_FOUND:
                raise self._status_error(status, f"list {resource.plural}")
        return _NOT_FOUND, []

    async def _pages(
        self, version: str, plural: str, namespace: str
    ) -> tuple[int, list[dict[str, Any]]]:
        items: list[dict[str, Any]] = []
        token = ""
        for _ in range(_PAGES):
            params = {"limit": str(_PAGE), **({"continue": token} if token else {})}
            with self._explained(f"list {plural}"):
                answer = await self._client.get(path(version, namespace, plural), params)
                if answer.status != 200:
                    return answer.status, []
                body = answer.object()
            listed = body.get("items")
            if not isinstance(listed, list):
                raise Refused(f"{safe(self.access.server)} is no Kubernetes API server")
            items += [item for item in listed if isinstance(item, dict)]
            meta = body.get("metadata")
            token = str(meta.get("continue") or "") if isinstance(meta, dict) else ""
            if not token:
                return 0, items
        raise Refused(f"{safe(self.access.server)} lists {plural} without an end ({self._where()})")


def _text(resource: Resource, item: dict[str, Any]) -> tuple[str, str]:
    """Name and YAML. Items of a list say neither kind nor version where the list does."""
    import yaml

    metadata = item.get("metadata")
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    metadata.pop("managedFields", None)
    whole = {**item, "kind": resource.kind, "metadata": metadata}
    # No part of the policy; API servers 1.24 to 1.27 put one into NetworkPolicy that files may not have.
    whole.pop("status", None)
    place = [resource.plural, metadata.get("namespace"), metadata.get("name")]
    name = "/".join(str(part) for part in place if part)
    dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    # Through JSON, so that nothing is shared: YAML would write it as an alias.
    text = yaml.dump(
        json.loads(json.dumps(whole)), Dumper=dumper, width=1 << 20, allow_unicode=True
    )
    return f"cluster:{name}", text
