"""The API server that the tests use is the real one, and nothing is left of it."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.command import ROOT
from tests.interop.control_plane import ControlPlane, Refusal
from tests.interop.program import wait_until

SERVED = {
    "/apis/cilium.io/v2/ciliumnetworkpolicies",
    "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
    "/apis/cilium.io/v2/ciliumcidrgroups",
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies",
}


def test_it_is_kubernetes_with_ciliums_kinds(api: ControlPlane) -> None:
    assert api.call("GET", "/version")["gitVersion"].startswith("v1.36.")
    for path in SERVED:
        assert api.call("GET", path)["items"] == []


def test_who_it_is_must_be_known_and_allowed(api: ControlPlane) -> None:
    review = {"spec": {"user": "jane", "resourceAttributes": {"verb": "list", "resource": "pods"}}}
    asked = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert not api.call("POST", asked, review)["status"]["allowed"]
    review["spec"]["user"] = "kubernetes-admin"
    review["spec"]["groups"] = ["system:masters"]
    assert api.call("POST", asked, review)["status"]["allowed"]


def test_a_document_is_judged_and_not_kept(api: ControlPlane) -> None:
    path = "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies"
    text = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata:
  name: web
spec:
  endpointSelector: {}
  egress:
    - toCIDR: [10.0.0.0/8]
"""
    assert api.refusal(path, text) == ""
    assert "must be of type cidr" in api.refusal(path, text.replace("10.0.0.0/8", "10.0.0.1"))
    assert 'unknown field "spec.egres"' in api.refusal(path, text.replace("egress", "egres"))
    assert "already set" in api.refusal(path, text + "  egress: []\n"), "a key twice"
    assert api.call("GET", path)["items"] == []
    with pytest.raises(Refusal) as no:
        api.call("GET", f"{path}/web")
    assert no.value.code == 404


STARTS_ONE = """
import time
from tests.interop.control_plane import shared
print(shared().folder, flush=True)
time.sleep(600)
"""


@pytest.mark.usefixtures("api")
def test_nothing_is_left_after_a_test_run_that_was_killed() -> None:
    words = [sys.executable, "-c", STARTS_ONE]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        folder = Path(tests.stdout.readline().strip())
        try:
            (server,) = psutil.Process(tests.pid).children()
            assert folder.is_dir()
        finally:
            tests.kill()
    wait_until(lambda: not server.is_running(), "the API server to end")
    assert not folder.exists()
