"""Every draft is taken by the real API server and by Cilium, and decides as its evidence says.

Of captures, the demo, a kernel's recordings: what was needed is let through by Cilium's own engine, and each
planted neighbour is denied (another port, name, pod, namespace, cluster, the node).
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowwatch.demo.server import DemoServer
from flowwatch.drafts.documents import KINDS, Kind
from flowwatch.drafts.draft import Draft, Drafter
from flowwatch.drafts.needs import SUBJECTS, Evidence, Need, Subject
from flowwatch.drafts.onto import add_onto, wished
from flowwatch.errors import FlowwatchError
from flowwatch.flows.model import Batch
from flowwatch.policy.party import Party
from flowwatch.sources.files import FileSource
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import PlainOptions, flow_request
from tests.interop.control_plane import ControlPlane
from tests.interop.judged_documents import Judge, Judged, split
from tests.interop.oracle import Asked, Oracle, Who
from tests.material import both, name

NAMESPACE = "k8s:io.kubernetes.pod.namespace"
CLUSTER = "k8s:io.cilium.k8s.policy.cluster"
ODD_PORT = 64_999
WAYS = frozenset({"egress", "ingress"})


def captures() -> list[Path]:
    found = [
        *both("captures/**/*.json*"), *both("pairs/*.json*"), *both("kernel-lab/*/flows.jsonl.gz")
    ]  # fmt: skip
    return [path for path in found if path.suffix in (".json", ".jsonl", ".gz")]


def batches(path: Path | None) -> Iterator[Batch]:
    """Of a capture, or of the demo; of what is no capture nothing."""
    if path is None:
        with DemoServer(live=False) as server:
            source: Any = open_source(
                flow_request(PlainOptions({"server": server.address}), environ={})
            )
            yield from source.batches()
            source.close()
        return
    with contextlib.suppress(FlowwatchError):
        yield from FileSource([str(path)]).batches()


def drafted(path: Path | None, kind: Kind, owner: Subject) -> Draft:
    return Drafter(owner, kind, WAYS).read(batches(path))


def who(party: Party, address: str = "") -> Who:
    """A party as the engine is asked about it: its own cluster is called default there."""
    labels = tuple(label for label in party.labels if not label.startswith("(own)"))
    if len(labels) < len(party.labels):
        rest = [one for one in labels if not one.startswith(CLUSTER)]
        labels = (*rest, f"{CLUSTER}=default")
    if party.outside:
        return Who(ip=party.ip or address, fqdn=party.names[0] if party.names else "")
    return Who(labels=labels)


def questions(draft: Draft) -> Iterator[tuple[Asked, str]]:
    """What was needed, and its neighbours, each with what Cilium must say."""
    for document in draft.documents:
        for need, seen in document.plan.wanted.items():
            for subject, peer in seen.questions:
                if not need.port and not need.protocol.startswith("ICMP"):
                    continue
                # An address may have several names: the rule has the one that was asked for last.
                name = need.peer.name if need.peer.kind == "name" else ""
                there = Who(ip=peer.ip, fqdn=name) if name else who(peer)
                asked = Asked(need.direction, who(subject), there, need.protocol, need.port)
                yield asked, "allowed"
                yield from ((other, "denied") for other in neighbours(asked, need, draft))


def neighbours(asked: Asked, need: Need, draft: Draft) -> Iterator[Asked]:
    """Questions that differ from one that is allowed in one thing alone."""
    direction, subject, peer, protocol, port = (
        asked.direction, asked.subject, asked.peer, asked.protocol, asked.port
    )  # fmt: skip
    if not protocol.startswith("ICMP"):
        yield Asked(direction, subject, peer, protocol, ODD_PORT)
    if need.peer.kind == "name":
        yield Asked(
            direction, subject, Who(ip="192.0.2.250", fqdn="other.example.org"), protocol, port
        )
    if need.peer.kind == "address":
        yield Asked(direction, subject, Who(ip="192.0.2.251"), protocol, port)
    if need.peer.kind != "pods":
        return
    labels = dict(label.split("=", 1) for label in peer.labels if "=" in label)
    for changed in (
        {NAMESPACE: "elsewhere"}, {CLUSTER: "another"}, dict.fromkeys(_names(labels), "another")
    ):  # fmt: skip
        if changed:
            other = tuple(f"{key}={value}" for key, value in (labels | changed).items())
            yield Asked(direction, subject, Who(labels=other), protocol, port)
    if direction == "egress":
        yield Asked(direction, subject, Who(labels=("reserved:remote-node",)), protocol, port)


def _names(labels: dict[str, str]) -> list[str]:
    """The labels that say which application it is."""
    return [
        key for key in labels
        if key.startswith("k8s:") and not key.startswith(("k8s:io.cilium", "k8s:io.kubernetes"))
    ]  # fmt: skip


@pytest.mark.parametrize(
    "path", [None, *captures()], ids=lambda path: name(path) if path else "demo"
)
def test_cilium_decides_as_the_evidence_says(
    path: Path | None, oracle: Oracle, report: Callable[[str], None]
) -> None:
    draft = drafted(path, "cnp", "workload")
    assert draft.proof.failing == ()
    if not draft.documents:
        return
    asked = list(dict.fromkeys(questions(draft)))

    judged = oracle.ask(draft.text, [one for one, _ in asked])

    assert judged.rejected == ()
    allowed = {one for one, said in asked if said == "allowed"}
    for (one, said), answer in zip(asked, judged.answers, strict=True):
        if said == "denied" and (one in allowed or _also_allowed(one, draft)):
            continue
        report(said)
        assert answer.verdict == said, (one, draft.text)


def _also_allowed(asked: Asked, draft: Draft) -> bool:
    """Whether a planted neighbour is another need, of the same pods."""
    return any(
        _meets(need, seen, asked)
        for document in draft.documents
        for need, seen in document.plan.wanted.items()
    )


def _meets(need: Need, seen: Evidence, asked: Asked) -> bool:
    if (need.direction, need.protocol, need.port) != (asked.direction, asked.protocol, asked.port):
        return False
    if need.peer.kind == "name" and need.peer.name == asked.peer.fqdn:
        return True
    return any(who(peer) == asked.peer for _, peer in seen.questions) or need.peer.name in (
        "remote-node",
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("owner", SUBJECTS)
def test_the_api_server_takes_every_draft(api: ControlPlane, kind: Kind, owner: Subject) -> None:
    judged = Judged()
    judge = Judge(api)
    for path in [None, *captures()]:
        for document in drafted(path, kind, owner).documents:
            said = judge.add(judged, document.text, document.text)
            assert said == "taken there and taken here", (path, document.text)
    print(f"\ndrafts of {kind} for each {owner} at the API server: {judged}")
    assert judged.counts["taken there and taken here"] > 20


@pytest.mark.parametrize(
    "path", [None, *captures()], ids=lambda path: name(path) if path else "demo"
)
def test_cilium_takes_what_is_added_and_lets_the_chosen_through(
    path: Path | None, oracle: Oracle, report: Callable[[str], None]
) -> None:
    before = drafted(path, "cnp", "workload")
    picked = list(dict.fromkeys(before.dropped))
    if not before.documents or not picked:
        return
    chosen = Drafter("workload", "cnp", WAYS, tuple(picked)).read(batches(path))

    onto = add_onto(chosen, picked, "draft.yaml", before.text)

    kept = iter(onto.after.splitlines())
    assert all(line in kept for line in before.text.splitlines())
    with_a_policy = {one.plan.owner for one in before.documents}
    wishes = [one for one in wished(chosen, frozenset(picked)) if one.plan.owner in with_a_policy]
    asked = [
        Asked(one.direction, who(subject), who(peer), one.port.protocol, one.port.number)
        for one in wishes
        for subject, peer in one.evidence.questions
    ]
    judged = oracle.ask(onto.after, asked)
    assert judged.rejected == ()
    assert judged.unknown == ()
    for one, answer in zip(asked, judged.answers, strict=True):
        report("added")
        assert answer.verdict == "allowed", (one, onto.notes, onto.after)


@pytest.mark.parametrize("kind", KINDS)
def test_the_api_server_takes_what_is_added_to_a_file(api: ControlPlane, kind: Kind) -> None:
    """To what a file says already, of each kind: every document of the file with the additions."""
    judged = Judged()
    judge = Judge(api)
    added = 0
    for path in [None, *captures()]:
        before = drafted(path, kind, "workload")
        picked = list(dict.fromkeys(before.dropped))
        if not before.documents or not picked:
            continue
        chosen = Drafter("workload", kind, WAYS, tuple(picked)).read(batches(path))
        onto = add_onto(chosen, picked, "draft.yaml", before.text)
        added += onto.after != before.text
        for text in split(onto.after):
            said = judge.add(judged, text, text)
            assert said == "taken there and taken here", (path, text)
    print(f"\nfiles of {kind} added to {added}, their documents at the API server: {judged}")
    assert added > 10


def test_drafts_of_requests_and_lookups_are_taken_and_let_the_need_through(
    api: ControlPlane, oracle: Oracle
) -> None:
    judged, judge, counts = Judged(), Judge(api), Counter[str]()
    for path in [None, *captures()]:
        draft = Drafter("workload", "cnp", WAYS, l7=True, dns_names=True).read(batches(path))
        assert draft.proof.failing == ()
        if not draft.documents:
            continue
        for document in draft.documents:
            said = judge.add(judged, document.text, document.text)
            assert said == "taken there and taken here", (path, document.text)
            counts["HTTP rules"] += document.text.count("method:")
            counts["names to look up"] += sum(len(one.lookups) for one in document.plan.rules)
        asked = [one for one, said in questions(draft) if said == "allowed"]
        answers = oracle.ask(draft.text, asked)
        assert (answers.rejected, answers.unknown) == ((), ())
        for one, answer in zip(asked, answers.answers, strict=True):
            assert answer.verdict == "allowed", (one, draft.text)
    print(f"\ndrafts with requests and lookups at the API server: {judged}; {dict(counts)}")
    assert counts["HTTP rules"] > 10
    assert counts["names to look up"] > 10
