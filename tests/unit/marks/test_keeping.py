"""What is counted for ``unused`` while attempts are made: it gives the bytes that records give."""

from __future__ import annotations

import gzip
from pathlib import Path
from random import Random

import msgspec
import pytest

from flowwatch.flows import generations
from flowwatch.flows.coverage import told
from flowwatch.flows.join import Join
from flowwatch.flows.keeping import KeptJoin, join_of, kept_join
from flowwatch.flows.model import Batch, NodeStatus
from flowwatch.history.attempts import asked as asked_file
from flowwatch.history.attempts.asked import PATH, Asked, packed, read_asked
from flowwatch.marks import keeping
from flowwatch.marks.keeping import Keeping, KeptAsking, evidence_of
from flowwatch.marks.unused import Finder
from flowwatch.policy import load
from flowwatch.policy.agent_options import UNKNOWN, AgentOptions
from flowwatch.report.unused import UNUSED_FORMATS, unused_object
from tests.command import ROOT
from tests.in_process import flowwatch
from tests.unit.flows.made import flow
from tests.unit.history.test_answers import CAPTURES, LAB, record
from tests.unit.history.test_summaries import compacted, of_records
from tests.unit.history.traffic import batches as server_batches
from tests.unit.marks.odd_traffic import CARRYING, ENDS, batches, documents

DATA = ROOT / "tests" / "data"
WEATHER = DATA / "captures" / "weather.jsonl"
SHARED = ROOT.parent / "shared"
LABS = sorted(path.parent for path in LAB.glob("*/flows.jsonl.gz"))
STEADY = LAB / "steady" / "policy.yaml"

EVERY = """\
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: every}
spec:
  endpointSelector: {}
  egress:
    - toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": kube-system}}, {}]
      toPorts: [{ports: [{port: "53", protocol: ANY}, {port: dns, protocol: UDP}]}]
    - toEntities: [world, cluster, kube-apiserver]
    - toCIDR: [198.51.100.0/24, 0.0.0.0/0, 10.0.0.0/8]
    - toFQDNs: [{matchPattern: "*.github.com"}, {matchName: api.openweathermap.org}]
      toPorts: [{ports: [{port: "443", protocol: TCP}, {port: http, protocol: TCP}]}]
    - toServices: [{k8sService: {serviceName: telemetry, namespace: weather}}]
  ingress:
    - fromEntities: [host, remote-node]
    - fromEndpoints: [{matchLabels: {app: weather-app}}]
      toPorts: [{ports: [{port: "53", protocol: UDP}, {port: metrics, protocol: TCP}]}]
  egressDeny:
    - toCIDR: [169.254.169.254/32]
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: nodes}
spec:
  nodeSelector: {matchLabels: {role: edge}}
  ingress: [{fromEntities: [cluster]}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: foreign, namespace: weather}
spec: {selector: all()}
"""
DAY = 86_400_000_000_000
OPTIONS = [
    AgentOptions(origin="here", cluster="default"),
    AgentOptions(origin="here", enforcement="always"),
    AgentOptions(origin="here", enforcement="never", audit_mode=True),
]
CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: cilium-config, namespace: kube-system}
data: {cluster-name: default, policy-cidr-match-mode: "MODE"}
"""


def asked(folder: Path, *words: str | Path) -> tuple[int, str, str]:
    done = flowwatch("unused", "--history", folder, *words)
    return done.returncode, done.stdout, done.stderr


def unreadable(folder: Path) -> None:
    """Spoil the flows, so that only what was counted can answer. Footers stay, which say what there is."""
    for path in (folder / "flows").rglob("*.parquet"):
        content = path.read_bytes()
        path.write_bytes(content[:4] + bytes(1000) + content[1004:])


@pytest.fixture
def every(tmp_path: Path) -> Path:
    path = tmp_path / "every.yaml"
    path.write_text(EVERY)
    return path


def same(kept: Path, bare: Path, *words: str | Path) -> str:
    """The answer, which is the same with what was counted and without; and which no record was read for."""
    with_it, without = asked(kept, *words), asked(bare, *words)
    assert with_it == without
    return with_it[1]


@pytest.mark.parametrize(
    "capture", dict.fromkeys((*CAPTURES, *(lab / "flows.jsonl.gz" for lab in LABS))),
    ids=lambda path: f"{path.parent.name}-{path.name}",
)  # fmt: skip
def test_the_answer_has_the_bytes_that_records_give(
    capture: Path, every: Path, tmp_path: Path
) -> None:
    kept = compacted(capture, tmp_path / "kept")
    bare = of_records(kept)
    questions = read_asked(kept / "made" / PATH)
    assert questions is not None
    unreadable(kept)
    for policy in (every, STEADY, *capture.parent.glob("*.yaml")):
        for form in UNUSED_FORMATS:
            told = same(kept, bare, "-f", policy, "-o", form)
        same(kept, bare, "-f", policy, "--recent", "1s", "--file-times")
        assert "is damaged" not in told


def kept(flows: list[Batch]) -> Asked:
    """What is kept of ``flows``, by way of a file's bytes."""
    join = Join()
    counting = Keeping(join)
    join.read(flows)
    return msgspec.json.decode(gzip.decompress(packed(counting.asked())), type=Asked)


@pytest.mark.parametrize("seed", range(40))
def test_of_odd_traffic_and_any_policies_too(seed: int) -> None:
    random = Random(seed)
    for options in (UNKNOWN, random.choice(OPTIONS)):
        ends = ENDS if options.known else CARRYING
        flows = batches(random, random.choice((10, 100)), ends)
        asked = kept(flows)
        for _ in range(4):
            policies = load([("p.yaml", documents(random))], options=options)
            assert not policies.rejected
            evidence = evidence_of(asked, policies)
            assert evidence is not None
            counted, read = Finder(policies, DAY).told(evidence), Finder(policies, DAY).read(flows)
            assert unused_object(counted) == unused_object(read)
            assert counted.policies == read.policies


def gone_on(flows: list[Batch], cuts: set[int]) -> Asked:
    """The same, by one that goes on from what another kept before each batch of ``cuts``."""
    join = Join()
    counting = Keeping(join)
    for number, batch in enumerate(flows):
        if number in cuts:
            states = msgspec.msgpack.encode(kept_join(join)), counting.kept()
            join = join_of(msgspec.msgpack.decode(states[0], type=KeptJoin), {})
            counting = Keeping(join)
            counting.go_on(states[1])
            before, after = (
                msgspec.msgpack.decode(state, type=KeptAsking)
                for state in (states[1], counting.kept())
            )
            assert before == after
        join.add(batch)
    return msgspec.json.decode(gzip.decompress(packed(counting.asked())), type=Asked)


@pytest.mark.parametrize("seed", range(20))
def test_one_that_goes_on_counts_what_one_counts_that_saw_all(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the cuts, with attempts that are over and such that are open."""
    monkeypatch.setattr(generations, "OPEN_AT_LEAST", 10)
    monkeypatch.setattr(generations, "GAP", 5 * 10**9)
    random = Random(seed)
    flows = [
        Batch(flows=batch.flows[at : at + 5])
        for batch in batches(random, 150)
        for at in range(0, len(batch.flows), 5)
    ]
    flows += server_batches(seed, 250, servers=1 + seed % 2)
    cuts = set(random.sample(range(len(flows)), 6))
    assert gone_on(flows, cuts) == kept(flows)


def test_one_that_has_given_up_does_not_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "MOST", 3)
    flows = batches(Random(1), 100)
    assert gone_on(flows, {len(flows) - 1}) == kept(flows)
    assert "more than 3 different things" in kept(flows).why_not


@pytest.fixture
def weather(tmp_path: Path) -> Path:
    """A history whose flows can't be read any more, so that only what was counted can answer."""
    folder = compacted(WEATHER, tmp_path / "kept")
    unreadable(folder)
    return folder


def of_records_only(folder: Path, *words: str | Path) -> bool:
    code, out, err = asked(folder, "-f", STEADY, *words)
    return "is damaged" in out + err and code in (0, 1, 3)


@pytest.mark.parametrize(
    "words",
    [
        ("--since", "2020-01-01T00:00:00Z"),
        ("--until", "2030-01-01T00:00:00Z"),
        ("--last", "5"),
        ("--verdict", "DROPPED"),
        ("--namespace", "weather"),
        ("--filter", "weather"),
    ],
)
def test_whoever_asks_for_less_is_answered_of_records(
    words: tuple[str, ...], weather: Path
) -> None:
    assert not of_records_only(weather)
    assert of_records_only(weather, *words)


def test_options_of_agents_count_as_far_as_ends_are_the_same_by_them(
    weather: Path, tmp_path: Path
) -> None:
    for mode in ("", "pods", "nodes"):
        options = tmp_path / "options.yaml"
        options.write_text(CONFIG.replace("MODE", mode))
        assert of_records_only(weather, "--cilium-config", options) is bool(mode)


def test_records_that_came_since_are_read_and_it_is_said(tmp_path: Path) -> None:
    folder = compacted(WEATHER, tmp_path / "kept")
    record(CAPTURES[-1], folder)
    code, out, err = asked(folder, "-f", STEADY, "-o", "json")
    assert "read record by record, as" in err
    assert (code, out) == asked(of_records(folder), "-f", STEADY, "-o", "json")[:2]
    flowwatch("history", "compact", folder)
    assert asked(folder, "-f", STEADY, "-o", "json") == (code, out, "")


@pytest.mark.parametrize(
    ("bound", "most", "said"),
    [
        ("MOST", 3, "it asks more than 3 different things of policies"),
        ("MOST_TIMES", 5, "it has more than 5 attempts"),
    ],
)
def test_past_a_bound_nothing_is_kept_and_it_is_said(
    bound: str, most: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, bound, most)
    folder = compacted(WEATHER, tmp_path / "kept")
    code, out, err = asked(folder, "-f", STEADY)
    assert err == f"flowwatch: read record by record, as {said}\n"
    assert (code, out) == asked(of_records(folder), "-f", STEADY)[:2]
    assert flowwatch("history", "verify", folder).returncode == 0


def spoilt(content: bytes) -> dict[str, bytes]:
    """What somebody else may have put in place of the file that has ``content``."""
    whole = msgspec.json.decode(gzip.decompress(content))
    first = whole["questions"][0]
    wrong = {
        "an end that isn't there": {"questions": [[*first[:2], len(whole["ends"]), *first[3:]]]},
        "an end before the first": {"questions": [[*first[:2], -1, *first[3:]]]},
        "no direction": {"questions": [[first[0], "sideways", *first[2:]]]},
        "asked less than once": {"questions": [[-5, *first[1:]]]},
        "numbers for labels": {"ends": [[7, *whole["ends"][0][1:]]]},
        "a time that can't be": {"changed": {"team/p (CiliumNetworkPolicy)": -1}},
        "coverage of text": {"coverage": "all"},
    }
    return {
        "cut off": content[:-9],
        "something behind it": content + b"more",
        "no gzip": b"x" * 40,
        "no JSON": gzip.compress(b"{"),
        "nested": gzip.compress(b"[" * 100_000),
        **{
            name: gzip.compress(msgspec.json.encode(whole | changed))
            for name, changed in wrong.items()
        },
    }


def test_what_was_spoilt_is_told_and_not_believed(tmp_path: Path) -> None:
    folder = compacted(WEATHER, tmp_path / "kept")
    bare = asked(of_records(folder), "-f", STEADY)
    path = folder / "made" / PATH
    for name, content in spoilt(path.read_bytes()).items():
        path.write_bytes(content)
        assert asked(folder, "-f", STEADY) == bare, name
        verified = flowwatch("history", "verify", folder)
        assert verified.returncode == 1, name
        named, advice = verified.stderr.splitlines()
        assert named == f"flowwatch: {PATH} is damaged, or is missing", name
        assert "delete made/ there, then flowwatch history compact" in advice


def test_more_than_ever_was_written_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "questions.json.gz"
    path.write_bytes(packed(Asked()))
    assert read_asked(path) == Asked()
    monkeypatch.setattr(asked_file, "_MOST", 20)
    assert read_asked(path) is None


def test_what_was_made_by_another_version_is_left_alone(weather: Path) -> None:
    marker = weather / "made" / "made.json"
    marker.write_text(marker.read_text().replace('"summary": "', '"summary": "0.'))
    assert of_records_only(weather)


def test_warnings_are_told_as_of_now() -> None:
    """Since when a node is unseen is told in seconds up to now, whenever it was counted."""
    batch = Batch(
        flows=[flow(0)], nodes=[NodeStatus("NODE_UNAVAILABLE", ("node-2",), since=1_700_000_000_000_000_000)]
    )  # fmt: skip
    policies = load([("p.yaml", EVERY)])
    before = kept([batch])
    before = msgspec.structs.replace(
        before, coverage=told(before.coverage, 1_700_000_005_000_000_000)
    )
    assert "unseen for 5 s" in before.coverage.warnings[0]
    evidence = evidence_of(before, policies)
    assert evidence is not None
    assert "unseen for 5 s" not in evidence.coverage.warnings[0]


def test_what_is_forgotten_is_in_no_question_either(tmp_path: Path) -> None:
    folder = compacted(WEATHER, tmp_path / "kept")
    path = folder / "made" / PATH
    assert b"weather" in gzip.decompress(path.read_bytes())
    flowwatch("history", "forget", folder, "--namespace", "weather")
    assert b"weather-app" not in gzip.decompress(path.read_bytes())
    unreadable(folder)
    assert not of_records_only(folder)


@pytest.mark.skipif(not SHARED.exists(), reason="lies beside some checkouts only")
def test_captures_and_policies_of_others_too(tmp_path: Path) -> None:
    captures = [
        one
        for one in sorted((SHARED / "captures").rglob("*.jsonl"))
        if one.stat().st_size < 300_000
    ]
    policies = [one for one in sorted((SHARED / "policies").iterdir()) if one.is_dir()]
    assert len(captures) > 5
    for number, capture in enumerate(captures[:8]):
        kept_at = tmp_path / str(number) / "kept"
        if flowwatch("record", "--input-file", capture, "--to", kept_at).returncode:
            continue
        flowwatch("history", "compact", kept_at)
        bare = of_records(kept_at)
        unreadable(kept_at)
        for policy in policies[number % 3 :: 3]:
            same(kept_at, bare, "-f", policy, "-o", "json")
