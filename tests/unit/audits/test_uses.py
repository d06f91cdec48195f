"""Which rules a question meets: what each rule says of it by itself, however few are asked."""

from __future__ import annotations

from random import Random

import pytest

from flowwatch.audits.evidence import Observation
from flowwatch.audits.judge import Judge
from flowwatch.audits.uses import Met, Questions
from flowwatch.flows.join import Join
from flowwatch.marks.unused import Seeing
from flowwatch.policy import PolicySet, load
from flowwatch.policy.agent_options import UNKNOWN, AgentOptions
from flowwatch.policy.party import Party
from tests.unit.marks.odd_traffic import batches, documents

NODES = AgentOptions(origin="here", cidr_match_mode=("nodes", "pods"))


def one_by_one(policies: PolicySet, seen: Observation) -> tuple[Met, ...]:
    """All rules that apply to the subject, each asked about the peer and the port."""
    listener = seen.peer if seen.direction == "egress" else seen.subject
    found = []
    for entry in policies.selected(seen.subject, seen.direction).entries:
        peer = entry.matches_peer(seen.peer)
        port = entry.matches_port(seen.protocol, seen.asked_port, listener)
        if peer and port:
            peers = [
                at for at, one in enumerate(entry.peers or ()) if one.matches(seen.peer) is True
            ]
            ports = [
                at
                for at, one in enumerate(entry.ports or ())
                if one.matches(seen.protocol, seen.asked_port, listener.ports) is True
            ]
            found.append((entry, tuple(peers), tuple(ports), peer is True and port is True))
    return tuple(found)


@pytest.mark.parametrize("seed", range(20))
def test_rules_are_met_as_if_each_was_asked(seed: int) -> None:
    random = Random(seed)
    for options in (UNKNOWN, NODES):
        observed: list[Observation] = []
        join = Join()
        seeing = Seeing(options.reach, observed.append)
        join.listen(seeing)
        join.read(batches(random, 200))
        seeing.close(join)
        policies = load([("p.yaml", documents(random))], options=options)
        questions = Questions(Judge(policies))
        for seen in observed:
            assert questions.meets(seen) == one_by_one(policies, seen)


NAMED = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: names, namespace: team}
spec:
  endpointSelector: {}
  egress: [{toFQDNs: [{matchName: API.example.com}]}]
"""
POD = Party(("k8s:io.kubernetes.pod.namespace=team", "k8s:app=web"), ports=None)


@pytest.mark.parametrize(
    ("labels", "names", "met"),
    [
        ((), ("www.example.com",), False),
        ((), ("www.example.com", "api.example.com."), True),
        ((), None, True),
        (("reserved:world", "fqdn:API.example.com"), ("www.example.com",), True),
    ],
)
def test_names_that_a_rule_doesnt_mean_rule_it_out_unless_the_identity_carries_it(
    labels: tuple[str, ...], names: tuple[str, ...] | None, met: bool
) -> None:
    policies = load([("p.yaml", NAMED)])
    peer = Party(labels, "198.51.100.2", names)
    seen = Observation(
        "egress", POD, peer, "team/web", "x", "TCP", 443, 0, False, True, 1, 1, 0, 1
    )  # fmt: skip
    assert bool(Questions(Judge(policies)).meets(seen)) is met
    assert Questions(Judge(policies)).meets(seen) == one_by_one(policies, seen)
