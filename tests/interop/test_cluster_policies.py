"""The policies of a real cluster, as `--policies-from-cluster` reads them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flowwatch.errors import Refused
from flowwatch.hubble.kube import cluster_policies, kubeconfig
from flowwatch.hubble.kube.cluster_policies import InForce
from flowwatch.policy import load
from tests.command import ROOT, flowwatch
from tests.interop.control_plane import KINDS, ControlPlane
from tests.interop.judged_documents import whole
from tests.interop.kubeapi import KubeApi
from tests.unit.audits.planted import CORRECT, capture
from tests.unit.audits.told import Capture

PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
_BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(ROLE,) = (yaml.safe_load(block) for block in _BLOCKS if "kind: ClusterRole\n" in block)
(OPTIONS_ROLE,) = (yaml.safe_load(block) for block in _BLOCKS if "[cilium-config]" in block)


@pytest.fixture
def kube(api: ControlPlane) -> Iterator[KubeApi]:
    with KubeApi(api) as kube:
        kube.allow_only(ROLE["rules"], everywhere=True)
        yield kube


def read(kube: KubeApi, folder: Path, *namespaces: str) -> InForce:
    access = kubeconfig.load(str(kube.kubeconfig(folder)))
    return cluster_policies.read(access, timeout=20.0, namespaces=namespaces)


def network_policy(name: str, namespace: str = "shop") -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    }


def test_what_the_cluster_has_of_every_kind_is_read_and_taken(
    kube: KubeApi, tmp_path: Path
) -> None:
    documents = whole()
    for document in documents:
        kube.put_policy(document)
    found = read(kube, tmp_path)
    assert found.missing == []
    assert len(found.texts) == len(documents)
    read_back = [yaml.safe_load(text) for _, text in found.texts]
    named = {(one["kind"], one["metadata"]["name"]): one for one in documents}
    for one in read_back:
        before = named[one["kind"], one["metadata"]["name"]]
        assert one["apiVersion"] == before["apiVersion"]
        assert one.get("spec", one.get("specs")) == before.get("spec", before.get("specs"))
    policies = load(found.texts)
    assert policies.documents.rejected == []
    assert policies.documents.groups == 1


def test_a_list_comes_in_pages(
    kube: KubeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_policies, "_PAGE", 2)
    names = [f"deny-{number}" for number in range(5)]
    for name in names:
        kube.put_policy(network_policy(name))
    told = [name.rpartition("/")[2] for name, _ in read(kube, tmp_path).texts]
    assert told == names
    assert kube.told()["requests"].count("list networkpolicies") == 3


@pytest.mark.parametrize("plural", [plural for _, plural, _ in KINDS.values()])
def test_a_kind_that_may_not_be_listed_is_told(kube: KubeApi, tmp_path: Path, plural: str) -> None:
    rules = [
        rule | {"resources": [one for one in rule["resources"] if one != plural]}
        for rule in ROLE["rules"]
    ]
    kube.allow_only([rule for rule in rules if rule["resources"]], everywhere=True)
    (missing,) = read(kube, tmp_path).missing
    assert missing == f"user jane may not list {plural}: they are missing"


def test_who_may_list_one_namespace_names_it(kube: KubeApi, tmp_path: Path) -> None:
    kube.put_policy(network_policy("mine", "shop"))
    kube.put_policy(network_policy("theirs", "bank"))
    kube.allow_only(ROLE["rules"], namespace="shop")
    found = read(kube, tmp_path, "shop")
    assert [name for name, _ in found.texts] == ["cluster:networkpolicies/shop/mine"]
    said = "only networkpolicies of namespace shop were read: user jane may not list all"
    assert said in found.missing
    with pytest.raises(Refused, match="user jane may list no policies"):
        read(kube, tmp_path)


def test_the_audit_judges_by_them(kube: KubeApi, tmp_path: Path) -> None:
    kube.put_policy(yaml.safe_load(CORRECT))
    (tmp_path / "flows.jsonl").write_text(capture(CORRECT))
    config = kube.kubeconfig(tmp_path)
    words = ("--kubeconfig", config, "--input-file", tmp_path / "flows.jsonl")
    told = flowwatch("audit", "--policies-from-cluster", *words)
    assert told.returncode == 0, told.stderr
    assert "AS EXPECTED" in told.stdout
    assert "cluster:ciliumnetworkpolicies/weather/weather-egress:" in told.stdout
    # Whose role lists policies alone is told what isn't known then, and it goes on.
    said = "user jane has no right to get configmaps/cilium-config in namespace kube-system"
    for place in (told.stdout, told.stderr):
        assert said in place
        assert "whether policy-cidr-match-mode, enable-policy or policy-audit-mode is set" in place
    assert "judged by Cilium's defaults, as nobody said this cluster's options" in told.stdout


def put_options(kube: KubeApi, **entries: str) -> None:
    data = {key.replace("_", "-"): value for key, value in entries.items()}
    kube.put("configmaps", "cilium-config", {"data": data})


def test_it_judges_by_the_options_of_the_agents(kube: KubeApi, tmp_path: Path) -> None:
    policy = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": "web"}},
            "egress": [{"toCIDR": ["10.0.0.0/8"]}],
        },
    }
    kube.put_policy(policy)
    put_options(kube, policy_cidr_match_mode="nodes pods", debug="false", cluster_name="blue")
    kube.allow_only([*ROLE["rules"], *OPTIONS_ROLE["rules"]], everywhere=True)
    flows = Capture().add("blue/shop/web", "→", "blue/shop/cache", 6379).write(tmp_path)
    words = ("--kubeconfig", kube.kubeconfig(tmp_path), "--input-file", flows)
    told = flowwatch("audit", "--policies-from-cluster", *words)
    assert told.returncode == 0, told.stdout
    said = "policy-cidr-match-mode: nodes pods, cluster-name: blue"
    assert re.search(rf"judged by cilium-config of context \S+: {said}", told.stdout)
    # What a file says counts instead, and the cluster isn't asked.
    before = kube.told()["requests"].count("get configmaps/cilium-config")
    (tmp_path / "config.yaml").write_text("kind: ConfigMap\ndata: {cluster-name: blue}\n")
    told = flowwatch(
        "audit", "--policies-from-cluster", "--cilium-config", tmp_path / "config.yaml", *words
    )
    assert (told.returncode, "LEAK" in told.stdout) == (1, True)
    assert kube.told()["requests"].count("get configmaps/cilium-config") == before


def test_a_cluster_without_the_config_map_is_told(kube: KubeApi, tmp_path: Path) -> None:
    kube.put_policy(network_policy("mine"))
    kube.allow_only([*ROLE["rules"], *OPTIONS_ROLE["rules"]], everywhere=True)
    access = kubeconfig.load(str(kube.kubeconfig(tmp_path)))
    found = cluster_policies.read(access, timeout=20.0, agents_in="kube-system")
    assert found.config == ""
    (missing,) = found.missing
    assert missing.startswith(
        "there is no configmap cilium-config in namespace kube-system: whether"
    )


def test_options_that_no_agent_takes_are_told_and_the_defaults_count(
    kube: KubeApi, tmp_path: Path
) -> None:
    kube.put_policy(yaml.safe_load(CORRECT))
    put_options(kube, policy_cidr_match_mode="nodes,pods")
    kube.allow_only([*ROLE["rules"], *OPTIONS_ROLE["rules"]], everywhere=True)
    (tmp_path / "flows.jsonl").write_text(capture(CORRECT))
    words = ("--kubeconfig", kube.kubeconfig(tmp_path), "--input-file", tmp_path / "flows.jsonl")
    told = flowwatch("audit", "--policies-from-cluster", *words)
    assert told.returncode == 0, told.stderr
    assert 'policy-cidr-match-mode: "nodes,pods": nodes, pods, or both with a space' in told.stdout
    assert "judged by Cilium's defaults" in told.stdout
