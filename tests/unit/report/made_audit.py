"""Audit reports made by hand: with everything in it, with nothing, and with hostile names."""

from __future__ import annotations

from dataclasses import replace

from flowwatch.audits.findings import (
    KINDS,
    AuditReport,
    BlindSpots,
    Expectation,
    Finding,
    Hint,
    Kind,
    PolicyUse,
    Proof,
    RuleUse,
)
from flowwatch.flows.coverage import Coverage
from flowwatch.policy.rules import Direction, Entry, Policy

SECOND = 1_000_000_000
START = 1_772_600_000 * SECOND
HOSTILE = (
    "=1+1|\x1b[31m<script>alert(1)</script>]]>\n::error::x\r\u202e`[a](b) {0} &\"'\x9b%0A,:--@a\\|"
)
"""Something for each format: terminals, CSV, tables, HTML, XML, workflow commands, SARIF's links."""

STATES: tuple[Proof, ...] = ("proven", "contradicted", "unproven")
POLICY = Policy("CiliumNetworkPolicy", "weather", "weather-egress", "policies/weather.yaml", 3)
UNUSED = Policy("CiliumClusterwideNetworkPolicy", "", "no-metadata", "policies/no metadata.yaml", 1)


def entry(place: str, line: int, policy: Policy = POLICY, way: Direction = "egress") -> Entry:
    """A rule that allows everything."""
    return Entry(policy, place, line, way, "allow", None, None)


DNS, WEB, NEVER = (
    entry("spec.egress.0", 12),
    entry("spec.egress.1", 20),
    entry("spec.egress.2", 26),
)


def finding(kind: Kind, name: str = "", entries: tuple[Entry, ...] = ()) -> Finding:
    """A row of 3 attempts."""
    return Finding(
        kind, "egress", f"weather/{name or 'app'}", name or f"{kind.replace(' ', '-')}.example",
        "TCP", 443, 3, START, START + 60 * SECOND,
        "denied" if kind == "leak" else "allowed", "dropped" if kind == "overblock" else "forwarded",
        f"a reason for {name or kind}", entries,
        () if kind == "not covered" else (POLICY,), "look there" if kind == "leak" else "",
    )  # fmt: skip


def expectation(state: Proof, name: str) -> Expectation:
    """One line of ``--expect``."""
    return Expectation(
        "weather/app", name, "443/TCP", True, state,
        0 if state == "unproven" else 4, "nothing tried it" if state == "unproven" else "4 seen",
        "kubectl exec app -- curl" if state == "unproven" else "", 2, "expect.yaml",
    )  # fmt: skip


def everything(name: str = "") -> AuditReport:
    """A report with every kind of finding, hint and expectation; ``name`` wherever a name may be."""
    policies = (
        PolicyUse(
            POLICY, (f"weather/{name or 'app'}",),
            (RuleUse(DNS, 9), RuleUse(WEB, 3, (f"DNS name {name or 'old.example'}",)), RuleUse(NEVER, 0)),
            ("egress",),
        ),
        PolicyUse(replace(UNUSED, name=name or UNUSED.name, file=name or UNUSED.file), (), (), ()),
    )  # fmt: skip
    decided: dict[Kind, tuple[Entry, ...]] = {
        "overblock": (WEB,),
        "difference": (DNS,),
        "ok": (WEB,),
    }
    return AuditReport(
        tuple(finding(kind, name, decided.get(kind, ())) for kind in KINDS),
        policies,
        BlindSpots(
            Coverage(START, START + 300 * SECOND, 120, nodes=("node-1", "node-2"), replies=5),
            21, 9, (f"7 events were lost on {name or 'node-1'}",),
            f"{name or 'flows.jsonl'} --namespace weather",
        ),
        dict.fromkeys(KINDS, 3),
        (f"2 objects are no policies: {name or 'Service'}",),
        tuple(expectation(one, name or f"{one}.example") for one in STATES),
        (Hint("port-mismatch", POLICY, 21, f"would allow 443 for {name or 'app'}", 4),),
    )  # fmt: skip


def hostile() -> AuditReport:
    """Everything, named by somebody who means harm."""
    return everything(HOSTILE)


def nothing() -> AuditReport:
    """No flows, no policies."""
    return AuditReport((), (), BlindSpots(Coverage(), 0, 0))
