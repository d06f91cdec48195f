"""Decisions a second, ours beside Cilium's own engine, on the same policies and questions.

Both have their policies loaded and know the identities before. *First*: each question once, so that what
applies to a subject must be found (Cilium computes the subject's policy then). *Again*: the same questions a
second time. The best of several rounds counts.
"""

from __future__ import annotations

import random
import time

from flowwatch.policy import PolicyQuestion, PolicySet, read_documents
from tests.interop.oracle import Asked, Oracle, Who, measure

SIZES = (1, 100, 5_000)
"""Policies."""
QUESTIONS = 6_000
_SUBJECTS = 300
_ROUNDS = 3
_SPACES, _APPS = 50, 100

_POLICY = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: p{number}, namespace: space{space}}}
spec:
  endpointSelector: {{matchLabels: {{app: app{app}}}}}
  egress:
    - toEndpoints: [{{matchLabels: {{"k8s:io.kubernetes.pod.namespace": space0, app: app0}}}}]
      toPorts: [{{ports: [{{port: "53", protocol: UDP}}]}}]
    - toEndpoints: [{{matchLabels: {{app: app{next}}}}}]
      toPorts: [{{ports: [{{port: "8080", protocol: TCP}}, {{port: "9000", endPort: 9100, protocol: TCP}}]}}]
    - toCIDRSet: [{{cidr: 10.{block}.0.0/16, except: [10.{block}.1.0/24]}}]
  ingress:
    - fromEndpoints: [{{}}]
      toPorts: [{{ports: [{{port: "8080", protocol: TCP}}]}}]
  egressDeny:
    - toCIDR: [10.{block}.9.0/24]
"""


def decisions() -> list[tuple[str, str, str]]:
    """What was measured, what was reached, the goal."""
    return [line for size in SIZES for line in _one(size)]


def _one(size: int) -> list[tuple[str, str, str]]:
    text = "---\n".join(
        _POLICY.format(
            number=at,
            space=at % _SPACES,
            app=at // _SPACES % _APPS,
            next=(at // _SPACES + 1) % _APPS,
            block=at % 200,
        )
        for at in range(size)
    )
    asked = _questions(size)
    measured = [measure(text, asked, times=1) for _ in range(_ROUNDS)]
    first, again = (
        max(one[rate] for one in measured) for rate in ("answers_per_second", "lookups_per_second")
    )
    documents = read_documents([("policies.yaml", text)])
    rates = [0.0, 0.0]
    for _ in range(_ROUNDS):
        policies = PolicySet(documents)
        questions = _for_ours(asked)
        for turn in range(2):
            began = time.perf_counter()
            decided = [policies.decide(question).decision for question in questions]
            took = time.perf_counter() - began
            rates[turn] = max(rates[turn], len(questions) / took)
    with Oracle() as oracle:
        answers = oracle.ask(text, asked).answers
    same = [answer.verdict for answer in answers] == decided
    if not same:
        raise AssertionError(f"{size} policies: decisions differ from Cilium's")
    many = "policy" if size == 1 else "policies"
    return [
        (
            f"decisions on {size:,} {many}, first ({rates[0]:,.0f}/s)",
            f"{rates[0] / first:.2f} times Cilium's engine ({first:,.0f}/s)",
            "≥ 0.5 times",
        ),
        (
            f"decisions on {size:,} {many}, again ({rates[1]:,.0f}/s)",
            f"{rates[1] / again:.2f} times Cilium's engine ({again:,.0f}/s)",
            "",
        ),
    ]


def _for_ours(asked: list[Asked]) -> list[PolicyQuestion]:
    parties = {who: who.party() for one in asked for who in (one.subject, one.peer)}
    for party in parties.values():
        _ = party.label_set, party.address
    return [
        PolicyQuestion(
            "egress" if one.direction == "egress" else "ingress",
            parties[one.subject],
            parties[one.peer],
            one.protocol,
            one.port,
        )
        for one in asked
    ]


def _questions(size: int) -> list[Asked]:
    chance = random.Random(1)

    def pod(at: int) -> Who:
        space = f"space{at % _SPACES}"
        return Who(
            (
                f"k8s:app=app{at // _SPACES % _APPS}",
                "k8s:io.cilium.k8s.policy.cluster=default",
                f"k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name={space}",
                f"k8s:io.kubernetes.pod.namespace={space}",
            )
        )

    # Half of the subjects are such that a policy is about them, however few there are.
    places = _SPACES * _APPS
    subjects = [
        pod(chance.randrange(min(size, places)) if at % 2 else chance.randrange(places))
        for at in range(_SUBJECTS)
    ]
    peers = [pod(chance.randrange(places)) for _ in range(_SUBJECTS)]
    peers += [Who(ip=f"10.{chance.randrange(200)}.{chance.randrange(12)}.7") for _ in range(100)]
    ports = (("TCP", 8080), ("TCP", 443), ("TCP", 9050), ("UDP", 53))
    return [
        Asked(
            chance.choice(("egress", "ingress")),
            chance.choice(subjects),
            chance.choice(peers),
            *chance.choice(ports),
        )
        for _ in range(QUESTIONS)
    ]
