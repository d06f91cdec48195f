"""Names that a CI runner would take for commands, in all that is printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flowwatch.output.forms import break_up, form_of
from tests.in_process import flowwatch

COMMANDS = [
    ("##[add-mask]e.example.com", r"#\x23[add-mask]e.example.com"),
    ("a ##[set-env name=X]b", r"a #\x23[set-env name=X]b"),
    ("###[error]", r"##\x23[error]"),
    ("##vso[task.setvariable variable=x]y", r"#\x23vso[task.setvariable variable=x]y"),
    ("##teamcity[buildStop]", r"#\x23teamcity[buildStop]"),
    ("::error::1", r":\x3aerror::1"),
    ("::add-mask::1", r":\x3aadd-mask::1"),
    ("::error file=a,line=1::[a]", r":\x3aerror file=a,line=1::[a]"),
    ("x ::set-output name=a::1", r"x :\x3aset-output name=a::1"),
]
NO_COMMANDS = [
    "fe80::1",
    "::1",
    "::ffff:10.0.0.1 -> ::dead",
    "add::beef",
    "# a ## b",
    "## Heading [a](b)",
    "[2001:db8::]:443",
]


@pytest.mark.parametrize(("text", "broken"), COMMANDS)
def test_a_command_is_broken_up(text: str, broken: str) -> None:
    assert break_up(text) == broken


@pytest.mark.parametrize("text", NO_COMMANDS)
def test_what_is_none_stays(text: str) -> None:
    assert break_up(text) == text


def test_long_text_takes_time_in_proportion() -> None:
    """A quadratic search would take minutes."""
    for part in ("##", "::", "::a", "##a", ":: a", "#[", "a"):
        break_up(part * 500_000)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("text", r"#\x23[x]"),
        ("csv", r"#\x23[x]"),
        ("json", r"#\u0023[x]"),
        ("sarif", r"#\u0023[x]"),
        ("junit", "#&#35;[x]"),
        ("html", "#&#35;[x]"),
        ("github", "##[x]"),
    ],
)
def test_each_format_spells_it_its_own_way(form: str, text: str) -> None:
    assert form_of(form).broken_up("##[x]", {"GITHUB_ACTIONS": "true"}) == text
    assert form_of(form).broken_up("##[x]", {"GITHUB_ACTIONS": ""}) == "##[x]"


NAME = "##[add-mask]e.##vso[task.x]::error::1.example.com"
"""A DNS name in a record: that of an attacker's server, as his pod asked for it."""
FLOW = {
    "time": "2026-01-31T10:00:00.5Z",
    "uuid": "a",
    "verdict": "DROPPED",
    "drop_reason_desc": "POLICY_DENIED",
    "IP": {"source": "10.0.0.1", "destination": "1.2.3.4", "ipVersion": "IPv4"},
    "l4": {"TCP": {"source_port": 40000, "destination_port": 443, "flags": {"SYN": True}}},
    "source": {
        "identity": 1000,
        "namespace": "weather",
        "pod_name": f"pod-{NAME}",
        "labels": ["k8s:app=weather-app", "k8s:io.kubernetes.pod.namespace=weather"],
    },
    "destination": {"identity": 2, "labels": ["reserved:world"]},
    "event_type": {"type": 5},
    "traffic_direction": "EGRESS",
    "node_name": f"node-{NAME}",
    "destination_names": [NAME],
}
SYN = {"source_port": 40001, "destination_port": 80, "flags": {"SYN": True}}
LEAK = FLOW | {"uuid": "b", "verdict": "FORWARDED", "drop_reason_desc": None, "l4": {"TCP": SYN}}
"""What the policy below doesn't allow."""
LINES = "".join(json.dumps({"flow": flow}) + "\n" for flow in (FLOW, LEAK))
POLICY = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: l7, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress: [{toFQDNs: [{matchPattern: "*.x"}], toPorts: [{ports: [{port: "443"}]}]}]
"""
VERBS = [
    "summary",
    "summary -o json",
    "summary -o csv",
    "summary -o markdown",
    "export",
    "export --format jsonl",
    "observe",
    "observe -o dict",
    "observe -o table",
    "observe -o json",
    "observe -o csv",
    *(
        f"audit -f POLICY -o {form}"
        for form in ("text", "json", "junit", "sarif", "github", "markdown", "html")
    ),
    *(f"whatif -f POLICY -o {form}" for form in ("text", "json", "markdown")),
]


@pytest.mark.parametrize(
    ("verb", "runner"),
    [
        *((verb, "GITHUB_ACTIONS") for verb in VERBS),
        ("summary", "TF_BUILD"),
        ("summary", "TEAMCITY_VERSION"),
    ],
)
def test_no_verb_says_a_command(verb: str, runner: str, tmp_path: Path) -> None:
    flows, policy = tmp_path / "flows.jsonl", tmp_path / "policy.yaml"
    flows.write_text(LINES)
    policy.write_text(POLICY)
    words = [str(policy) if word == "POLICY" else word for word in verb.split()]
    told = flowwatch(*words, "--input-file", flows, env={runner: "1"})
    assert "add-mask" in told.stdout
    for text in (told.stdout, told.stderr):
        assert "##[" not in text
        assert "##vso[" not in text
        if "github" not in verb:
            assert "::error::" not in text
    if verb.split()[-1] in ("json", "jsonl"):
        # To who parses it, it is the same name.
        assert NAME in told.stdout.replace(r"\u0023", "#").replace(r"\u003a", ":")


def test_markdown_is_so_wherever_it_is_made(tmp_path: Path) -> None:
    flows = tmp_path / "flows.jsonl"
    flows.write_text(LINES)
    shown = flowwatch("summary", "-o", "markdown", "--input-file", flows).stdout
    assert r"#\x23[add-mask]e.#\x23vso[task.x]:\x3aerror::1.example.com" in shown
    assert "##[add-mask]e." in flowwatch("summary", "--input-file", flows).stdout
