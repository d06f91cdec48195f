"""The story with policies of one's own: decided by the engine, told by the records, known to the truth."""

from __future__ import annotations

from collections import Counter

import pytest

from flowwatch.audits.audit import Audit
from flowwatch.demo.server import DemoServer
from flowwatch.demo.story import policy_text
from flowwatch.drafts.draft import Drafter
from flowwatch.flows.reasons import reason
from flowwatch.policy import PolicySet, load
from flowwatch.sources.opening import open_source
from flowwatch.sources.request import PlainOptions, flow_request
from tests.in_process import flowwatch

MINE = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: mine, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress:
    - toFQDNs: [{matchPattern: "*.github.com"}]
    - toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": geo}}]
  egressDeny:
    - toCIDR: [169.254.169.254/32]
"""


def server(policies: PolicySet | None = None, policy_after: float = 0.0) -> DemoServer:
    return DemoServer(live=False, policies=policies, policy_after=policy_after)


def outcomes(policies: PolicySet) -> dict[str, set[tuple[str, str]]]:
    """By destination of the weather app: what became of attempts, and the reason."""
    seen: dict[str, set[tuple[str, str]]] = {}
    with server(policies) as demo:
        source = open_source(flow_request(PlainOptions({"server": demo.address}), environ={}))
        for batch in source.batches():
            for flow in batch.flows:
                if flow.source.workload == "weather-app" and flow.event_type == 5:
                    name = (flow.destination_names or (flow.destination_ip,))[0]
                    peer = flow.destination.namespace or name
                    why = reason(flow.drop_reason).name if flow.drop_reason else ""
                    seen.setdefault(peer, set()).add((str(flow.verdict), why))
        source.close()
    return seen


def test_names_labels_and_denials_are_decided_as_written() -> None:
    seen = outcomes(load([("mine.yaml", MINE)]))

    assert seen["api.github.com"] == seen["geo"] == {("1", "")}
    assert seen["169.254.169.254"] == {("2", "POLICY_DENY")}
    for denied in ("api.openweathermap.org", "telemetry.skydata.example", "data"):
        assert seen[denied] == {("2", "POLICY_DENIED")}


def test_its_own_policy_is_nothing_special() -> None:
    own = load([("policy.yaml", policy_text())])
    with server(own) as one, server() as other:
        assert one.truth.counts() == other.truth.counts()


def test_a_draft_of_the_story_applied_to_it_lets_through_what_is_needed_and_nothing_else() -> None:
    with server(policy_after=120.0) as demo:
        source = open_source(
            flow_request(
                PlainOptions({"server": demo.address}, [("namespace", "weather")]), environ={}
            )
        )
        draft = Drafter().read(source.batches())
        source.close()
    policies = load([("draft.yaml", draft.text)])

    with server(policies) as demo:
        assert demo.selected
        source = open_source(flow_request(PlainOptions({"server": demo.address}), environ={}))
        report = Audit(policies).read(source.batches())
        source.close()
        told = Counter[str]()
        for where, counts in demo.truth.counts("weather").items():
            told.update(
                {f"{where.peer.partition('/')[0]} {what}": n for what, n in counts.items() if n}
            )

    assert {one for one in told if one.endswith("forwarded")} == {
        "api.openweathermap.org forwarded", "kube-system forwarded",
    }  # fmt: skip
    assert not [one for one in report.findings if one.kind in ("leak", "overblock")]


@pytest.mark.parametrize("words", [("--policy", "missing.yaml"), ("--policy",)])
def test_a_file_that_can_t_be_read_is_one_line(words: tuple[str, ...]) -> None:
    told = flowwatch("demo", *words)

    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
