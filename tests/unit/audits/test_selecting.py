"""Hubble may name policies for a default deny one day (cilium#48588): they select the pod, no culprits.

Until 1.20 it names none: POLICY_DENIED is a default deny, POLICY_DENY a deny rule's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Row
from flowwatch.egress.schema import policies
from flowwatch.egress.view import snapshot
from flowwatch.flows.model import PolicyRef
from flowwatch.report.summary_table import policy_text
from flowwatch.sources.files import FileSource
from flowwatch.tui.parts.detail import detail_lines
from flowwatch.tui.theme import FANCY
from tests.unit.audits.told import Capture, attributed, audited

NAMED = [{"name": "isolate", "namespace": "shop", "kind": "CiliumNetworkPolicy"}]
OTHER = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: ingress-only, namespace: shop}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress: [{}]
"""


def dropped(reason: str) -> Capture:
    flows = Capture()
    more: dict[str, Any] = {
        "drop_reason_desc": reason,
        "egress_denied_by": NAMED,
        "event_type": {"type": 5},
    }
    return flows.add("shop/web", "→", "shop/api", 80, "DROPPED", **more)


def row(capture: Capture, folder: Path) -> Row:
    aggregate = Aggregate()
    aggregate.join.read(FileSource([str(capture.write(folder))]).batches())
    [found] = snapshot(aggregate, Query()).rows
    return found


REASONS = {"POLICY_DENIED": "selects", "POLICY_DENY": "deny"}


@pytest.mark.parametrize("reason", REASONS)
def test_rows_say_what_a_named_policy_did(reason: str, tmp_path: Path) -> None:
    found = row(dropped(reason), tmp_path)
    effect = REASONS[reason]
    isolate = PolicyRef("CiliumNetworkPolicy", "shop", "isolate", effect == "selects")
    assert policies(found.allowed_by, found.denied_by) == ((effect, isolate),)
    assert policy_text(found) == f"{effect} shop/isolate"


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (
            "POLICY_DENIED",
            "Policy     no rule allows it: default deny, where shop/isolate (CiliumNetworkPolicy) selects "
            "the pod",
        ),
        ("POLICY_DENY", "Denied by  shop/isolate (CiliumNetworkPolicy)"),
    ],
)
def test_the_detail_names_no_culprit_for_a_default_deny(
    reason: str, said: str, tmp_path: Path
) -> None:
    lines = detail_lines(row(dropped(reason), tmp_path), (), 0, 200, FANCY, ("hubble",))
    text = ["".join(part for part, _ in line).rstrip() for line in lines]
    assert said in text
    assert ("Denied by" in " ".join(text)) == (reason == "POLICY_DENY")


@pytest.mark.parametrize(
    ("reason", "who"),
    [
        (
            "POLICY_DENIED",
            "default deny: shop/isolate (CiliumNetworkPolicy) selects the pod, a policy that was not given",
        ),
        ("POLICY_DENY", "shop/isolate (CiliumNetworkPolicy), a policy that was not given"),
    ],
)
def test_neither_does_the_audit(reason: str, who: str, tmp_path: Path) -> None:
    [found] = audited(OTHER, dropped(reason), tmp_path).findings
    assert (found.kind, found.reason) == ("unexplained", f"dropped by {who}")


def test_nor_attribution(tmp_path: Path) -> None:
    assert attributed(OTHER, dropped("POLICY_DENIED"), tmp_path) == [
        "dropped by a policy that was not given: shop/isolate (CiliumNetworkPolicy) selects the pod "
        "(default deny)"
    ]
