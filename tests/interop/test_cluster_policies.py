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

PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
(ROLE,) = (
    yaml.safe_load(block)
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    if "kind: ClusterRole\n" in block
)


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
