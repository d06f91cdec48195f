"""The cluster's policies through the Kubernetes API: pages, rights that are missing, and the verbs.

The API server is a small one of ours: it lists, in pages as the real one does, and refuses.
"""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from flowwatch.errors import Refused, ServerError
from flowwatch.hubble.kube import cluster_policies
from flowwatch.hubble.kube.access import Access
from flowwatch.policy import load
from tests.command import ROOT
from tests.in_process import flowwatch
from tests.unit.audits.planted import CORRECT, capture

CNP = "cilium.io/v2/ciliumnetworkpolicies"
CCNP = "cilium.io/v2/ciliumclusterwidenetworkpolicies"
NETPOL = "networking.k8s.io/v1/networkpolicies"
GROUPS = "cilium.io/v2alpha1/ciliumcidrgroups"

DENY_ALL = {"podSelector": {}, "policyTypes": ["Ingress"]}
GROUP = {"externalCIDRs": ["203.0.113.0/24"]}


def named(name: str, namespace: str = "", **fields: Any) -> dict[str, Any]:
    """An object as a list has it: with managedFields, without kind and apiVersion."""
    metadata: dict[str, Any] = {"name": name, "managedFields": [{"manager": "kubectl"}]}
    if namespace:
        metadata["namespace"] = namespace
    return {"metadata": metadata, **fields}


class Server(ThreadingHTTPServer):
    """Lists by path behind /apis; ``refused`` paths answer 403, paths that aren't there 404."""

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.refused: set[str] = set()
        self.asked: list[str] = []
        self.page = 500
        self.expire = 0
        """So many second pages answer 410."""
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        path = path.removeprefix("/apis/")
        self.asked.append(path)
        if path in self.refused or "*" in self.refused:
            return 403, {"kind": "Status", "message": f'User "jane" cannot list {path}'}
        if path not in self.lists:
            return 404, "404 page not found"
        start = int(query.get("continue", ["0"])[0])
        if start and self.expire:
            self.expire -= 1
            return 410, {"kind": "Status", "reason": "Expired", "message": "too old"}
        end = start + min(self.page, int(query["limit"][0]))
        metadata = {"resourceVersion": "7"}
        if end < len(self.lists[path]):
            metadata["continue"] = str(end)
        return 200, {"kind": "List", "metadata": metadata, "items": self.lists[path][start:end]}


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        status, body = self.server.answer(parts.path, parse_qs(parts.query))
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on standard error."""


@pytest.fixture
def server() -> Iterator[Server]:
    correct = yaml.safe_load(CORRECT)
    with Server() as made:
        made.lists = {
            CNP: [named("weather-egress", "weather", spec=correct["spec"])],
            CCNP: [],
            NETPOL: [named(f"deny-{n}", "shop", spec=DENY_ALL) for n in range(7)],
            GROUPS: [named("partners", spec=GROUP)],
        }
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def read(server: Server, *namespaces: str) -> cluster_policies.InForce:
    access = Access(server.url, context="here", user="jane")
    return cluster_policies.read(access, timeout=10.0, namespaces=namespaces)


def test_all_kinds_are_read_and_compile(server: Server) -> None:
    found = read(server)
    assert found.missing == []
    policies = load(found.texts)
    assert policies.documents.rejected == []
    assert policies.documents.groups == 1
    assert [policy.reference for policy in policies.policies][:2] == [
        "CiliumNetworkPolicy weather/weather-egress",
        "NetworkPolicy shop/deny-0",
    ]
    # One text an object, as kubectl prints it: line numbers lead somewhere.
    name, text = found.texts[0]
    assert name == "cluster:ciliumnetworkpolicies/weather/weather-egress"
    assert "managedFields" not in text
    assert policies.policies[0].file == name


def test_a_list_without_an_end_is_left(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page names a next one, and none is the last."""
    monkeypatch.setattr(cluster_policies, "_PAGES", 3)
    server.page = 2
    with pytest.raises(Refused, match="lists networkpolicies without an end"):
        read(server)
    assert server.asked.count(NETPOL) == 3


def test_pages_are_put_together_and_an_expired_list_is_begun_anew(server: Server) -> None:
    server.page, server.expire = 3, 1
    names = [name for name, _ in read(server).texts if "networkpolicies/shop" in name]
    assert names == [f"cluster:networkpolicies/shop/deny-{n}" for n in range(7)]


def test_what_may_not_be_listed_is_told(server: Server) -> None:
    server.refused = {CCNP}
    assert read(server).missing == [
        "user jane may not list ciliumclusterwidenetworkpolicies: they are missing"
    ]


def test_namespaces_are_asked_for_where_all_are_refused(server: Server) -> None:
    server.refused = {CNP, NETPOL, CCNP}
    place = CNP.replace("/ciliumnet", "/namespaces/weather/ciliumnet")
    server.lists[place] = server.lists[CNP]
    found = read(server, "weather")
    assert [name for name, _ in found.texts] == [
        "cluster:ciliumnetworkpolicies/weather/weather-egress",
        "cluster:ciliumcidrgroups/partners",
    ]
    assert found.missing == [
        "only ciliumnetworkpolicies of namespace weather were read: user jane may not list all",
        "user jane may not list ciliumclusterwidenetworkpolicies: they are missing",
        "user jane may not list networkpolicies of namespace weather: they are missing",
    ]


def test_without_any_right_it_is_an_error(server: Server) -> None:
    server.refused = {"*"}
    with pytest.raises(Refused, match="user jane may list no policies") as raised:
        read(server)
    assert "docs/kubernetes.md" in raised.value.hint


def test_a_cluster_without_cilium(server: Server) -> None:
    del server.lists[CNP], server.lists[CCNP], server.lists[GROUPS]
    assert read(server).missing == [
        "the API has no ciliumnetworkpolicies: none were read",
        "the API has no ciliumclusterwidenetworkpolicies: none were read",
    ]


def test_a_server_that_is_gone() -> None:
    with Server() as closed:
        url = closed.url
    with pytest.raises(ServerError, match="can't be reached"):
        cluster_policies.read(Access(url), timeout=5.0)


def test_the_documented_role_allows_what_is_asked_for(server: Server) -> None:
    """Each kind is listed and nothing else, in the groups and by the names of the ClusterRole."""
    page = (ROOT / "docs" / "kubernetes.md").read_text("utf-8")
    (role,) = (
        yaml.safe_load(block)
        for block in re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        if "kind: ClusterRole\n" in block
    )
    allowed = {
        (group, resource)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if rule["verbs"] == ["list"]
    }
    read(server)
    assert {(path.split("/")[0], path.split("/")[-1]) for path in server.asked} == allowed


# The verbs -------------------------------------------------------------------------------------


@pytest.fixture
def arguments(server: Server, tmp_path: Path) -> Callable[..., list[str | Path]]:
    """The words that come after the verb: the cluster's policies, and a capture."""
    config = {
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "jane", "user": {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "jane"}}],
        "current-context": "here",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    (tmp_path / "flows.jsonl").write_text(capture(CORRECT))
    return lambda: [
        "--policies-from-cluster",
        "--kubeconfig",
        tmp_path / "kubeconfig",
        "--input-file",
        tmp_path / "flows.jsonl",
    ]


def test_the_export_attributes_by_them(arguments: Callable[[], list[str | Path]]) -> None:
    result = flowwatch("export", "--drops", *arguments())
    assert result.returncode == 0
    assert "8 policies read from context here" in result.stderr
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {row["attribution"].partition(":")[0] for row in rows} == {
        "default deny of weather/weather-egress"
    }


def test_the_audit_judges_by_them_and_says_what_is_missing(
    server: Server, arguments: Callable[[], list[str | Path]]
) -> None:
    server.refused = {CCNP}
    result = flowwatch("audit", *arguments())
    assert result.returncode == 0
    assert "AS EXPECTED" in result.stdout
    assert "cluster:ciliumnetworkpolicies/weather/weather-egress:" in result.stdout
    missing = "user jane may not list ciliumclusterwidenetworkpolicies: they are missing"
    assert f"! {missing}" in result.stdout
    assert missing in result.stderr


def test_a_policy_that_cilium_would_refuse_takes_no_part(
    server: Server, arguments: Callable[[], list[str | Path]]
) -> None:
    server.lists[CNP].append(named("broken\x1b[2J", "weather", spec={"egres": []}))
    result = flowwatch("audit", *arguments())
    assert result.returncode == 0
    assert "refused, as Cilium would:" in result.stderr
    assert "\x1b" not in result.stderr + result.stdout


def test_files_and_cluster_together_are_refused(
    arguments: Callable[[], list[str | Path]],
) -> None:
    for verb, flag in (("audit", "-f"), ("export", "--policies")):
        result = flowwatch(verb, flag, "x.yaml", *arguments())
        assert result.returncode == 2
        assert "cannot set both" in result.stderr
