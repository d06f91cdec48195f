"""What docs/kubernetes.md tells people to apply is valid, does what it says, and allows no more."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowwatch.cli.flags import parse
from flowwatch.errors import Refused
from flowwatch.hubble.client import forward
from flowwatch.hubble.client.config import Settings
from flowwatch.sources.request import flow_request
from tests.command import ROOT
from tests.interop.control_plane import ControlPlane
from tests.interop.kubeapi import KubeApi

PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
MANIFESTS = [block for block in BLOCKS if block.startswith("apiVersion:")]
FOUND = {(m["kind"], m["metadata"]["name"]): m for m in map(yaml.safe_load, MANIFESTS)}


COLLECTIONS = {
    "Pod": "/api/v1/namespaces/kube-system/pods",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles",
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ServiceAccount": "/api/v1/namespaces/kube-system/serviceaccounts",
}


@pytest.fixture(scope="module")
def kube(api: ControlPlane) -> Iterator[KubeApi]:
    with KubeApi(api) as kube:
        kube.put_relay("127.0.0.1:1")
        kube.put_secret("hubble-relay-server-certs", {"ca.crt": b"ca"})
        kube.put_secret("hubble-ui-client-certs", {"tls.crt": b"certificate", "tls.key": b"key"})
        yield kube


@pytest.mark.parametrize("manifest", MANIFESTS, ids=[f"{kind}-{name}" for kind, name in FOUND])
def test_the_api_server_takes_it(api: ControlPlane, manifest: str) -> None:
    assert api.refusal(COLLECTIONS[yaml.safe_load(manifest)["kind"]], manifest) == ""


def without_each_right(rules: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for at, rule in enumerate(rules):
        for verb in rule["verbs"]:
            others = [v for v in rule["verbs"] if v != verb]
            less = [rule | {"verbs": others}] if others else []
            yield f"{verb} {rule['resources'][0]}", [*rules[:at], *less, *rules[at + 1 :]]


FORWARD = FOUND["Role", "flowwatch"]["rules"]
WITH_TLS = FORWARD + FOUND["Role", "flowwatch-tls"]["rules"]


def opened(kube: KubeApi, folder: Path, *, tls: bool = False) -> Settings:
    settings = Settings(
        port_forward=True,
        kubeconfig=str(kube.kubeconfig(folder)),
        tls_from_secret=tls,
        by_itself=True,
    )
    with forward.open_way(settings) as way:
        return way.settings


def test_the_roles_are_enough(kube: KubeApi, tmp_path: Path) -> None:
    kube.allow_only(FORWARD)
    assert opened(kube, tmp_path).tls_material is None
    kube.allow_only(WITH_TLS)
    material = opened(kube, tmp_path, tls=True).tls_material
    assert material is not None
    assert (material.ca, material.certificate, material.key) == (b"ca", b"certificate", b"key")


@pytest.mark.parametrize(
    ("right", "rules"),
    list(without_each_right(WITH_TLS)),
    ids=[right for right, _ in without_each_right(WITH_TLS)],
)
def test_no_right_of_the_roles_can_be_missing(
    kube: KubeApi, tmp_path: Path, right: str, rules: list[dict[str, Any]]
) -> None:
    kube.allow_only(rules)
    with pytest.raises(Refused, match=f"no right to {right.split('/')[0]}"):
        opened(kube, tmp_path, tls=True)


def test_the_roles_name_what_can_be_named() -> None:
    for rule in WITH_TLS:
        assert rule["resourceNames"] if rule["resources"][0] in ("services", "secrets") else True
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]


def test_the_pod_starts_flowwatch_without_rights() -> None:
    spec = FOUND["Pod", "flowwatch"]["spec"]
    account = FOUND["ServiceAccount", "flowwatch"]
    assert spec["serviceAccountName"] == account["metadata"]["name"]
    assert spec["automountServiceAccountToken"] is account["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"]
    (container,) = spec["containers"]
    assert container["command"] == ["flowwatch"]
    wanted = flow_request(parse(container["args"]), several=True, environ={})
    assert wanted.settings.address.host == "hubble-relay.kube-system.svc"
    assert not wanted.settings.port_forward
    assert container["stdin"]
    assert container["tty"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in spec["volumes"]}
    (ca,) = [v["secret"] for v in spec["volumes"] if "secret" in v]
    assert [item["key"] for item in ca["items"]] == ["ca.crt"], "no key gets in"
    secure = container["securityContext"]
    assert secure["readOnlyRootFilesystem"]
    assert secure["capabilities"] == {"drop": ["ALL"]}


def test_the_pods_arguments_for_tls() -> None:
    words = re.findall(r"`(--(?:server=tls|tls-ca-cert-files|tls-server-name)[^`]*=?[^`]*)`", PAGE)
    words = [word for word in words if "=" in word]
    settings = flow_request(parse(words), several=True, environ={}).settings
    assert settings.encrypted
    assert settings.tls_ca_cert_files == ("/etc/hubble/ca.crt",)
    assert settings.tls_server_name == "instance.hubble-relay.cilium.io"


# As k9s' own schema asks for (derailed/k9s, internal/config/json/schemas/plugins.json).
K9S = {"shortCut": str, "description": str, "scopes": list, "command": str}
K9S_MAY = {"args": list} | dict.fromkeys(
    ("background", "confirm", "dangerous", "overwriteOutput", "override"), bool
)
K9S_GIVES = {"$CONTEXT": "kind", "$NAMESPACE": "weather", "$NAME": "app-7d4b9"}


@pytest.fixture(scope="module")
def k9s() -> dict[str, dict[str, Any]]:
    (block,) = [block for block in BLOCKS if block.startswith("plugins:")]
    plugins: dict[str, dict[str, Any]] = yaml.safe_load(block)["plugins"]
    return plugins


def test_the_k9s_plugins_are_what_k9s_reads(k9s: dict[str, dict[str, Any]]) -> None:
    assert len(k9s) == 2
    for plugin in k9s.values():
        assert not set(K9S) - set(plugin), "required"
        assert not set(plugin) - set(K9S) - set(K9S_MAY), "unknown"
        for name, kind in (K9S | K9S_MAY).items():
            assert name not in plugin or isinstance(plugin[name], kind)
        assert re.fullmatch(r"(?:Shift-|Ctrl-)?[A-Z0-9]", plugin["shortCut"])


def test_the_k9s_plugins_start_flowwatch(k9s: dict[str, dict[str, Any]]) -> None:
    filters = {}
    for name, plugin in k9s.items():
        assert plugin["command"] == "flowwatch"
        words = " ".join(plugin["args"])
        for variable, value in K9S_GIVES.items():
            words = re.sub(re.escape(variable) + r"\b", value, words)
        assert "$" not in words
        parsed = parse(words.split())
        settings = flow_request(parsed, several=True, environ={}).settings
        assert settings.port_forward
        assert settings.port_forward_port == 0
        assert settings.kube_context == "kind"
        filters[name] = parsed.filters
    assert filters == {
        "flowwatch-pod": [("pod", "weather/app-7d4b9")],
        "flowwatch-namespace": [("namespace", "app-7d4b9")],
    }
