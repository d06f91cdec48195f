"""What ``doctor`` says of the agents' options: what is set, what it means, what records say of it."""

from __future__ import annotations

from typing import Any

import pytest

from flowwatch.doctor.judge import Evidence
from flowwatch.doctor.options import NOT_ASKED, options
from flowwatch.doctor.steps import State
from flowwatch.flows.model import Endpoint
from flowwatch.policy import AgentOptions
from tests.unit.doctor.test_judge import NOW, flow, heard

FILE = "cilium-config of context kind"
AUDITED = heard(flow(5, verdict=4, event_type=5))
DENIED = heard(flow(7, verdict=2, event_type=1, drop_reason=133))
PASSED = heard(flow(3, event_type=5))


def said(known: dict[str, Any], **records: Any) -> tuple[State, str]:
    """The state, and all that is said, of options that were read, with what the rings have."""
    found = AgentOptions(**{"cluster": "default", "origin": FILE, **known})
    step = options(Evidence(now=NOW, options=found, **records))
    return step.state, f"{step.what} → {step.next}"


def test_nothing_is_set() -> None:
    assert said({}) == (State.OK, f"{FILE}: all that decide at Cilium's defaults → ")


@pytest.mark.parametrize(
    ("known", "means"),
    [
        ({"cidr_match_mode": ("nodes", "pods")},
         "policy-cidr-match-mode: nodes pods; blocks of addresses (toCIDR, ipBlock) mean nodes and pods, "
         "too"),
        ({"enforcement": "always"}, "enable-policy: always; pods that no policy selects are closed as well"),
        ({"deny_response": "icmp"},
         "policy-deny-response: icmp; of a denial on egress there is a policy verdict, and no drop"),
    ],
)  # fmt: skip
def test_what_audits_have_to_be_judged_by(known: dict[str, Any], means: str) -> None:
    state, words = said(known)
    assert state is State.OK
    assert words.startswith(f"{FILE}: {means} → flowwatch audit --policies-from-cluster judges by")


@pytest.mark.parametrize(
    ("known", "records", "words"),
    [
        ({"enforcement": "never"}, {}, "an audit can prove nothing → set enable-policy to default"),
        ({"deny_response": "icmp", "verdict_records": False}, {},
         "nothing is recorded of what policies deny on egress → set bpf.events.policyVerdict.enabled=true"),
        # Audit mode: AUDIT records come, or why they don't.
        ({"audit_mode": True}, {"audits": AUDITED},
         "what policies deny passes; AUDIT records come, the newest 5 s ago → flowwatch audit tells"),
        ({"audit_mode": True, "verdict_records": False}, {"verdicts": PASSED},
         "none ever comes, as they are policy verdicts, and bpf-events-policy-verdict-enabled is false →"),
        ({"audit_mode": True}, {"denials": DENIED, "verdicts": PASSED},
         "policies still drop (7 s ago), so agents don't have the mode yet → agents read it when they start"),
        ({"audit_mode": True}, {"verdicts": PASSED},
         "though policy verdicts come: nothing was denied of late, or agents don't have the mode → try"),
        ({"audit_mode": True}, {}, "nor any policy verdict: no policy selects a pod that talks"),
        ({}, {"audits": AUDITED}, "though policy-audit-mode isn't set: it is on for single endpoints"),
        # Records that these can't be the options of.
        ({"cluster": "blue"}, {"sample": heard(flow(node="green/one"))},
         "the records are of green, and this is blue → give the options of the cluster"),
    ],
)  # fmt: skip
def test_what_is_to_be_looked_at(
    known: dict[str, Any], records: dict[str, Any], words: str
) -> None:
    state, told = said(known, **records)
    assert state is State.WARN
    assert words in told


def test_identities_bear_the_mode_out() -> None:
    plain = Endpoint(pod="a", namespace="x", labels=("k8s:app=a",))
    carrying = Endpoint(pod="b", namespace="x", labels=("cidr:10.0.0.0/8", "k8s:app=b"))
    before, after = heard(flow(source=plain)), heard(flow(source=plain, destination=carrying))
    mode = {"cidr_match_mode": ("pods",)}
    assert said(mode, sample=after)[0] is State.OK
    state, words = said(mode, sample=before)
    assert state is State.WARN
    assert "no pod's identity carries cidr: labels" in words
    assert said({}, sample=before)[0] is State.OK
    state, words = said({}, sample=after)
    assert state is State.WARN
    assert "as if policy-cidr-match-mode had pods" in words


def test_what_nobody_said_is_not_known_but_records_may_tell() -> None:
    step = options(Evidence(now=NOW, options=NOT_ASKED))
    assert (step.state, step.what) == (State.SKIPPED, NOT_ASKED)
    step = options(Evidence(now=NOW, options=NOT_ASKED, audits=AUDITED))
    assert step.state is State.WARN
    assert step.what.startswith(
        "AUDIT records come, the newest 5 s ago: audit mode is on; not known"
    )
