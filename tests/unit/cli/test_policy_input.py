"""Policies that are none, through the program: where in the file, why, and exit code 2."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flowwatch.cli.main import run
from tests.command import ROOT, clean_environment, one_line
from tests.in_process import flowwatch
from tests.unit.audits.planted import CORRECT, capture

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: x}\n"
CALICO = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: a, namespace: b}
spec: {selector: all()}
"""
HELM = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata:
  name: {{ .Values.name }}
spec:
  endpointSelector: {}
"""
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(9)
)

# What it is: the text, and the words about it.
REFUSED = {
    "broken YAML": (CORRECT + "  ingress: [\n", ":18:1: not YAML"),
    "a tab": ("apiVersion: cilium.io/v2\n\tkind: Service\n", ":2:1: not YAML: found a tab"),
    "a key twice": (
        CORRECT + "  egress: []\n",
        ':17:3: CiliumNetworkPolicy weather/weather-egress: key "spec.egress" is there twice',
    ),
    "an ICMP type in digits that int() refuses": (
        CORRECT + "    - icmps: [{fields: [{type: '²'}]}]\n",
        "ICMP type ² not found in IPv4",
    ),
    "wrong apiVersion": (
        CORRECT.replace("cilium.io/v2", "cilium.io/v9"),
        ':1:13: wrong apiVersion "cilium.io/v9" for CiliumNetworkPolicy: cilium.io/v2',
    ),
    "unknown field": (
        CORRECT.replace("egress:", "egres:"),
        ':6:3: CiliumNetworkPolicy weather/weather-egress: unknown field "spec.egres" (did',
    ),
    "unknown field of the object": (
        CORRECT.replace("namespace: weather}", "namespce: weather}"),
        ':3:34: CiliumNetworkPolicy weather-egress: unknown field "metadata.namespce" (did you mean',
    ),
    "no spec": (
        "apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\n"
        "metadata: {name: a}\n",
        ":1:1: ClusterNetworkPolicy a: a ClusterNetworkPolicy needs a spec",
    ),
    "what Cilium refuses": (CORRECT.replace('port: "443"', "port: 443"), "policy.yaml:13:"),
    "no name": (
        CORRECT.replace("name: weather-egress, ", ""),
        ":1:1: CiliumNetworkPolicy weather: CiliumNetworkPolicy must have name",
    ),
    "a bomb": (BOMB, ":4:16: aliases repeat nearly all of its values"),
    "nested deeply": ("[" * 50_000, "nested too deeply"),
    "a Helm template": (HELM, ":4:9: CiliumNetworkPolicy: a Helm template that isn't rendered"),
    "a word": ("hello\n", ":1:1: no Kubernetes object"),
    "a list of words": ("- a\n- b\n", ":1:1: no Kubernetes object"),
    "JSON that ends early": ('{"apiVersion": "cilium.io/v2",\n "kind": ', ":3:1: not YAML"),
}
NONE = {
    "empty": "",
    "comments": "# nothing\n---\n",
    "another kind": SERVICE,
    "Calico's kind of that name": CALICO,
}


def audit(folder: Path, text: str | bytes, *more: str) -> subprocess.CompletedProcess[str]:
    path = folder / "policy.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "flows.jsonl").write_text(capture(CORRECT))
    told = flowwatch("audit", "-f", path, "--input-file", folder / "flows.jsonl", *more)
    assert "Traceback" not in told.stderr
    return told


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED)
def test_a_document_is_refused_at_its_place(tmp_path: Path, text: str, words: str) -> None:
    told = audit(tmp_path, text)
    assert told.returncode == 2
    assert told.stdout == ""
    first, last = told.stderr.splitlines()
    assert words in first
    assert "1 document would be refused by the cluster" in last


@pytest.mark.parametrize("text", NONE.values(), ids=NONE)
def test_no_policy_at_all(tmp_path: Path, text: str) -> None:
    told = audit(tmp_path, text)
    assert (told.returncode, told.stdout) == (2, "")
    last = told.stderr.splitlines()[-1]
    assert "no policy in " in last
    assert "CiliumNetworkPolicy" in last


def test_one_input_for_two_things(tmp_path: Path) -> None:
    told = flowwatch("audit", "-f", "-", "--input-file", "-", input=CORRECT)
    assert told.returncode == 2
    assert "policies and flows can't both come from standard input" in one_line(told)


@pytest.mark.parametrize("name", [*REFUSED, *NONE])
def test_every_verb_says_it_alike(
    tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path, correct = tmp_path / "policy.yaml", tmp_path / "correct.yaml"
    path.write_text(NONE[name] if name in NONE else REFUSED[name][0])
    correct.write_text(CORRECT)
    said = set()
    for words in (
        ["audit", "-f", path, "--demo"],
        ["whatif", "-f", path, "--demo"],
        ["whatif", "-f", correct, "--current", path, "--demo"],
        ["explain", "-f", path, "--from", "a/b", "--to", "1.2.3.4:80"],
        ["export", "--policies", path, "--input-file", os.devnull],
    ):
        assert run(list(map(str, words))) == 2
        told = capfd.readouterr()
        assert told.out == ""
        said.add(told.err)
    assert len(said) == 1


def test_what_a_list_holds_beside_policies_is_counted(tmp_path: Path) -> None:
    """As kubectl get -o yaml prints it, and as JSON."""
    import yaml

    items = [yaml.safe_load(one) for one in (SERVICE, CORRECT, CALICO, SERVICE)]
    whole = {"apiVersion": "v1", "kind": "List", "items": items}
    for text in (yaml.safe_dump(whole), json.dumps(whole)):
        told = audit(tmp_path, text, "-o", "json")
        assert told.returncode == 0, told.stderr
        [note] = json.loads(told.stdout)["notes"]
        assert "3 objects are no policies and were skipped" in note
        assert "Service (2)" in note
        assert "NetworkPolicy (projectcalico.org) (1)" in note


def test_json_policies_are_policies(tmp_path: Path) -> None:
    import yaml

    told = audit(tmp_path, json.dumps(yaml.safe_load(CORRECT)))
    assert told.returncode == 0, told.stderr
    assert "AS EXPECTED" in told.stdout


def test_of_two_with_one_name_the_later_counts_and_it_is_said(tmp_path: Path) -> None:
    """As in the cluster, where the second apply replaces the first."""
    wide = CORRECT + "    - toEntities: [world]\n"
    told = audit(tmp_path, f"{wide}---\n{CORRECT}", "-o", "json")
    assert (
        "policy.yaml:19: CiliumNetworkPolicy weather/weather-egress replaces the one" in told.stderr
    )
    report = json.loads(told.stdout)
    assert len(report["policies"]) == 1
    assert len(report["policies"][0]["rules"]) == 3
    assert "is replaced by the one in" in report["notes"][0]


def test_fifty_megabytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    told = audit(tmp_path, b"# " + b"x" * 50_000_000)
    assert told.returncode == 2
    assert "policy.yaml is larger than 32 MB: too large for policies" in one_line(told)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (bytes(range(256)), "policy.yaml:2:118: not UTF-8: policies are YAML"),
        (
            "# é\n".encode("latin-1") + CORRECT.encode(),
            "policy.yaml:1:3: not UTF-8: policies are YAML",
        ),
        (CORRECT.encode("utf-16") + b"\x00\xd8", "policy.yaml:17:1: not UTF-16"),
        (gzip.compress(CORRECT.encode()), "compressed (gzip): policies are YAML"),
    ],
)
def test_bytes_that_are_no_text(tmp_path: Path, data: bytes, words: str) -> None:
    told = audit(tmp_path, data)
    assert told.returncode == 2
    assert words in one_line(told)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_windows_writes_is_read(tmp_path: Path, encoding: str) -> None:
    assert audit(tmp_path, CORRECT.encode(encoding)).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_a_large_file_is_read_within_reason(tmp_path: Path) -> None:
    """Half of the 450 MB that PyYAML's own nodes would take; the program itself takes some 80."""
    items = [CORRECT.replace("weather-egress", f"policy-{n}") for n in range(8000)]
    path = tmp_path / "policies.yaml"
    path.write_text("apiVersion: v1\nkind: List\nitems:\n" + "".join(map(_item, items)))
    assert path.stat().st_size > 4_000_000
    script = (
        "import sys; from flowwatch.cli.main import run; code = run(sys.argv[1:]);"
        "[print(code, int(x.split()[1]) // 1024) for x in open('/proc/self/status') if 'VmHWM' in x]"
    )
    words = ["explain", "-f", str(path), "--from", "other/app", "--to", "203.0.113.1:443"]
    told = subprocess.run(
        [sys.executable, "-c", script, *words], capture_output=True, text=True, cwd=ROOT,
        env=clean_environment(str(tmp_path)), timeout=300, check=True,
    )  # fmt: skip
    code, megabytes = map(int, told.stdout.splitlines()[-1].split())
    assert code == 0
    assert megabytes < 250


def _item(document: str) -> str:
    return "- " + "  ".join(document.splitlines(keepends=True))


def test_a_pipe_and_a_mounted_configmap_are_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", f"cat > {pipe}"], stdin=subprocess.PIPE) as writer:
        assert writer.stdin is not None
        writer.stdin.write(CORRECT.encode())
        writer.stdin.close()
        told = flowwatch("audit", "-f", pipe, "--demo=after")
    assert told.returncode == 0, told.stderr
    mounted = tmp_path / "mounted"
    (mounted / "..2026_01_31").mkdir(parents=True)
    (mounted / "..2026_01_31" / "policy.yaml").write_text(CORRECT)
    (mounted / "policy.yaml").symlink_to(mounted / "..2026_01_31" / "policy.yaml")
    told = flowwatch("audit", "-f", mounted, "--demo=after")
    assert (told.returncode, told.stderr) == (0, "")


def test_a_list_of_one_kind_may_leave_the_kind_out(tmp_path: Path) -> None:
    """As the API server answers for lists of Kubernetes' own kinds."""
    items = [{"metadata": {"name": "a"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]}}]
    whole = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicyList", "items": items}
    (tmp_path / "list.json").write_text(json.dumps(whole))
    told = flowwatch(
        "explain", "-f", tmp_path / "list.json", "--from", "default/x", "--to", "1.2.3.4:80"
    )
    assert "default deny of default/a: no rule" in told.stdout


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path, words in (
        (tmp_path / "folder", "no .yaml, .yml, .json file in"),
        (tmp_path / "missing.yaml", "No such file or directory"),
        (tmp_path / ("x" * 300), "File name too long"),
        (Path("-"), "no policy in standard input"),
    ):
        told = flowwatch("audit", "-f", path, "--demo")
        assert told.returncode == 2
        assert words in one_line(told)


@pytest.mark.parametrize(
    "words", [["audit", "-f", "-", "--demo"], ["explain", "-f", "POLICY", "--queries", "-"]]
)
def test_a_closed_standard_input(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "policy.yaml").write_text(CORRECT)
    words = [str(tmp_path / "policy.yaml") if word == "POLICY" else word for word in words]
    with tempfile.TemporaryDirectory() as home:
        told = subprocess.run(
            ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "-m", "flowwatch", *words],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env=clean_environment(home),
            check=False,
        )
    assert told.returncode == 2
    assert "standard input is closed" in one_line(told)


def test_flows_of_another_cluster_are_judged_by_its_names(tmp_path: Path) -> None:
    """Hubble says which cluster a pod is in; policies don't name their own."""
    (tmp_path / "policy.yaml").write_text(CORRECT)
    flows = tmp_path / "flows.jsonl"
    here = capture(CORRECT)
    away = here.replace(
        "k8s:io.cilium.k8s.policy.cluster=default", "k8s:io.cilium.k8s.policy.cluster=far"
    )
    away = away.replace('"namespace":', '"cluster_name": "far", "namespace":')
    flows.write_text(away)
    told = flowwatch("audit", "-f", tmp_path / "policy.yaml", "--input-file", flows, "-o", "json")
    assert told.returncode == 0, told.stderr
    counts = json.loads(told.stdout)["counts"]
    assert counts["ok"] > 0
    assert not counts.get("leak")


MESH = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: mesh, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app, io.cilium.k8s.policy.cluster: near}}
  egress:
    - toEndpoints: [{matchLabels: {app: cache, io.cilium.k8s.policy.cluster: far}}]
    - toEndpoints: [{matchLabels: {app: db, k8s:io.kubernetes.pod.namespace: data}}]
"""


def test_clusters_of_a_mesh_are_told_apart(tmp_path: Path) -> None:
    """A policy may name its own cluster, too; without a name it means its own."""
    (tmp_path / "policy.yaml").write_text(MESH)
    lines = []
    for line in capture(CORRECT).splitlines():
        flow = json.loads(line)["flow"] | {"verdict": "FORWARDED"}
        flow.pop("drop_reason", None)
        flow.pop("drop_reason_desc", None)
        for end in ("source", "destination"):
            name = "far" if flow[end].get("pod_name") in ("cache-1", "coredns-1") else "near"
            if "namespace" in flow[end]:
                flow[end]["cluster_name"] = name
                flow[end]["labels"] = [
                    one.replace("cluster=default", f"cluster={name}") for one in flow[end]["labels"]
                ]
        lines.append(json.dumps({"flow": flow}) + "\n")
    flows = tmp_path / "flows.jsonl"
    flows.write_text("".join(lines))
    words = ("-f", tmp_path / "policy.yaml", "--input-file", flows)
    report = json.loads(flowwatch("audit", *words, "-o", "json").stdout)
    found = {one["peer"]: one["kind"] for one in report["findings"]}
    assert found["far/weather/cache"] == found["data/db"] == "ok"
    assert found["telemetry.example"] == found["far/kube-system/coredns"] == "leak"
    assert not any("clusters" in note for note in report["evidence"]["warnings"])
    third = "".join(lines).replace('"near"', '"third"').replace("10.0.", "10.3.")
    flows.write_text("".join(lines) + third.replace("planted-", "third-"))
    for verb in ("audit", "whatif"):
        assert "pods of 2 clusters (near, third), each judged" in flowwatch(verb, *words).stdout


def test_no_evidence_at_all(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(CORRECT)
    (tmp_path / "flows.jsonl").write_text("")
    words = ("audit", "-f", tmp_path / "policy.yaml", "--input-file", tmp_path / "flows.jsonl")
    told = flowwatch(*words)
    assert told.returncode == 0
    assert "no flows at all" in told.stdout
    strict = flowwatch(*words, "--strict")
    assert strict.returncode == 3
    assert "NO EVIDENCE" in strict.stdout


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("audit", "-f", "FILE"), "policies are YAML or JSON, as text"),
        (("draft", "--onto", "FILE"), "policies are YAML or JSON, as text"),
        (("watch", "FILE"), "rules are YAML or JSON, as text"),
        (("audit", "-f", "POLICY", "--expect", "FILE"), "expectations are YAML or JSON, as text"),
        (
            ("audit", "-f", "POLICY", "--cilium-config", "FILE"),
            "a ConfigMap is YAML or JSON, as text",
        ),
    ],
)
def test_what_is_no_text_is_told_in_the_words_of_what_it_should_be(
    words: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    spoilt, policy = tmp_path / "spoilt.yaml", tmp_path / "policy.yaml"
    spoilt.write_bytes(b"rules:\n  - \xff\n")
    policy.write_text(CORRECT, "utf-8")
    files = {"FILE": str(spoilt), "POLICY": str(policy)}
    told = flowwatch(*[files.get(word, word) for word in words], "--demo")
    assert (told.returncode, one_line(told)) == (
        2,
        f"flowwatch: {spoilt}:2:5: not UTF-8: {line}",
    )


def test_the_url_of_a_receiver_that_is_no_text_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "url").write_bytes(b"https://\xff")
    rules = tmp_path / "rules.yaml"
    rules.write_text(
        f"receivers: [{{name: a, url-file: {tmp_path / 'url'}}}]\nrules: [{{when: cut}}]\n", "utf-8"
    )
    told = flowwatch("watch", str(rules), "--demo")
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)
    assert told.stderr.endswith("url:1:9: not UTF-8: a URL is a line of text\n")
