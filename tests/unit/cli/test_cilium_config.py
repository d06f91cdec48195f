"""``--cilium-config`` through the program: each verb that judges takes it; what is none is one line."""

from __future__ import annotations

import csv
import io
import json
import warnings
from pathlib import Path

import pytest

import flowwatch as library
from flowwatch.errors import UsageError
from tests.command import one_line
from tests.in_process import flowwatch
from tests.interop.compared import config_map
from tests.unit.audits.told import Capture

POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
    - toCIDR: [10.0.0.0/8]
      toPorts: [{ports: [{port: "6379", protocol: TCP}]}]
"""
PODS = {"policy-cidr-match-mode": "pods"}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    return Capture().add("shop/web", "→", "shop/cache", 6379).write(tmp_path)


def options(folder: Path, entries: dict[str, str]) -> Path:
    path = folder / "cilium-config.json"
    path.write_text(config_map(entries))
    return path


def test_the_audit_judges_by_it_and_says_so(policy: Path, flows: Path, tmp_path: Path) -> None:
    words = ("audit", "-f", policy, "--input-file", flows)
    told = flowwatch(*words, "--strict")
    assert (told.returncode, "LEAK" in told.stdout) == (3, False)
    assert "can't tell, unless the cluster's options are known" in told.stdout
    assert "judged by Cilium's defaults, as nobody said this cluster's options" in told.stdout
    told = flowwatch(*words, "--cilium-config", options(tmp_path, {}))
    assert (told.returncode, "LEAK" in told.stdout) == (1, True)
    config = options(tmp_path, PODS)
    told = flowwatch(*words, "--cilium-config", config)
    assert told.returncode == 0, told.stdout
    assert f"judged by {config}: policy-cidr-match-mode: pods" in told.stdout
    for form in ("markdown", "junit", "github", "html"):
        said = flowwatch(*words, "--cilium-config", config, "-o", form).stdout
        assert "policy-cidr-match-mode: pods" in said, form
    found = json.loads(flowwatch(*words, "--cilium-config", config, "-o", "json").stdout)["options"]
    assert found == {
        "known": True,
        "origin": str(config),
        "policy-cidr-match-mode": ["pods"],
        "enable-policy": "default",
        "policy-audit-mode": False,
        "policy-deny-response": "none",
        "cluster-name": "default",
    }


def test_a_draft_is_tried_by_it(policy: Path, flows: Path, tmp_path: Path) -> None:
    words = ("whatif", "-f", policy, "--input-file", flows)
    assert flowwatch(*words).returncode == 1
    config = options(tmp_path, PODS)
    told = flowwatch(*words, "--current", policy, "--cilium-config", config)
    assert told.returncode == 0, told.stdout
    assert f"judged by {config}: policy-cidr-match-mode: pods" in told.stdout


def test_the_export_tells_what_blocked_by_it(policy: Path, tmp_path: Path) -> None:
    flows = Capture().add("shop/web", "→", "shop/cache", 6379, "DROPPED").write(tmp_path)
    words = ("export", "--policies", policy, "--input-file", flows)

    def attribution(*more: str | Path) -> str:
        told = flowwatch(*words, *more)
        assert told.returncode == 0, told.stderr
        (row,) = csv.DictReader(io.StringIO(told.stdout))
        return row["attribution"]

    assert attribution().startswith("default deny of shop/web")
    by_options = attribution("--cilium-config", options(tmp_path, PODS))
    assert by_options.startswith("dropped though these policies allow it")


def test_one_question_is_answered_by_it(policy: Path, tmp_path: Path) -> None:
    words = ("explain", "-f", policy, "--from", "shop/web", "--to", "10.0.0.7:6379")
    pod = (*words, "--to-labels", "app=cache,io.kubernetes.pod.namespace=shop")
    told = flowwatch(*pod)
    assert told.returncode == 1
    assert (
        "assumed: policy-cidr-match-mode has no pods in this cluster; where it has, a block of addresses "
        "allows it (--cilium-config FILE says)"
    ) in told.stdout
    told = flowwatch(*pod, "--cilium-config", options(tmp_path, PODS))
    assert told.returncode == 0, told.stdout
    assert "assumed: policy-cidr-match-mode" not in told.stdout
    # Without its address nobody can tell.
    name = ("explain", "-f", policy, "--from", "shop/web", "--to", "shop/cache:6379")
    told = flowwatch(*name, "--cilium-config", options(tmp_path, PODS))
    assert told.returncode == 3
    assert "the pod's IPv4 address isn't known, and the block may hold it" in told.stdout
    assert flowwatch(*name, "--cilium-config", options(tmp_path, {})).returncode == 1


def test_traffic_says_which_address_a_pod_has(policy: Path, flows: Path, tmp_path: Path) -> None:
    words = ("explain", "-f", policy, "--from", "shop/web", "--to", "shop/cache:6379")
    told = flowwatch(*words, "--input-file", flows, "--cilium-config", options(tmp_path, PODS))
    assert told.returncode == 0, told.stdout


def test_the_cluster_s_name_is_that_of_its_pods(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    peer = "toEndpoints: [{matchLabels: {app: cache, io.cilium.k8s.policy.cluster: blue}}]"
    path.write_text(POLICY.replace("toCIDR: [10.0.0.0/8]", peer))
    words = ("explain", "-f", path, "--from", "shop/web", "--to", "shop/cache:6379")
    assert flowwatch(*words).returncode == 1
    named = options(tmp_path, {"cluster-name": "blue"})
    assert flowwatch(*words, "--cilium-config", named).returncode == 0


def test_it_comes_through_standard_input_once(policy: Path, flows: Path) -> None:
    words = ("audit", "--input-file", flows, "--cilium-config", "-")
    told = flowwatch(*words, "-f", policy, input=config_map(PODS))
    assert told.returncode == 0, told.stderr
    assert "judged by standard input: policy-cidr-match-mode: pods" in told.stdout
    told = flowwatch(*words, "-f", "-", input=config_map(PODS))
    assert one_line(told) == "flowwatch: standard input was given twice: name - once"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (config_map({"enable-policy": "on"}),
         'FILE:1: enable-policy: "on": one of default, always, never'),
        ("kind: ConfigMap\ndata:\n  policy-audit-mode: maybe\n",
         'FILE:3: policy-audit-mode: "maybe": true or false'),
        ("kind: ConfigMap\ndata:\n  policy-audit-mode: true\n",
         "FILE:3: data.policy-audit-mode: a string is wanted"),
        (POLICY, "FILE: no ConfigMap: kubectl -n kube-system get configmap cilium-config -o yaml prints"),
        ("kind: ConfigMap\n\tdata: {}\n", "FILE:2: not YAML"),
        ("kind: ConfigMap\ndata: {cluster-name: \"\x1b[2J\"}\n", "FILE:"),
        ("", "FILE: no ConfigMap"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("verb", ["audit", "whatif", "explain"])
def test_what_is_no_such_config_map_is_one_line(
    verb: str, text: str, said: str, policy: Path, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    asked = ("--from", "shop/web", "--to", "x.io:443") if verb == "explain" else ("--demo",)
    told = flowwatch(verb, "-f", policy, *asked, "--cilium-config", path)
    assert told.returncode == 2
    assert one_line(told).startswith("flowwatch: " + said.replace("FILE", str(path)))


def test_without_policies_it_says_nothing(flows: Path, tmp_path: Path) -> None:
    config = options(tmp_path, PODS)
    told = flowwatch("export", "--input-file", flows, "--cilium-config", config)
    assert told.returncode == 2
    assert (
        one_line(told)
        == "flowwatch: --cilium-config says how policies decide: give --policies FILE, too"
    )


def test_the_keyword_is_the_flag(policy: Path, flows: Path, tmp_path: Path) -> None:
    config = options(tmp_path, PODS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.audit(flows, policies=policy).counts["inconclusive"] == 1
        report = library.audit(flows, policies=policy, cilium_config=config)
    assert not report.failed
    assert report.options.cidr_match_mode == ("pods",)
    config.write_text("kind: Secret")
    with pytest.raises(UsageError, match="no ConfigMap"):
        library.audit(flows, policies=policy, cilium_config=config)
