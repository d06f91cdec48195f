"""What policies allow beside what was used: of one workload, with the drop-in that keeps it."""

from __future__ import annotations

import io

import pytest

from flowwatch.drafts.draft import Drafter
from flowwatch.drafts.gap import GapReport, gaps
from flowwatch.flows.model import Batch
from flowwatch.policy import load
from flowwatch.report.gap import GAP_FORMATS, write_gaps
from flowwatch.report.summary_table import Style
from tests.unit.marks.traffic import ALLOW, API, EVIL, Traffic

HEAD = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather-egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
"""
NARROW = f"""{HEAD}  egress:
    - toCIDR: [{API}/32]
      toPorts: [{{ports: [{{port: "443", protocol: TCP}}]}}]
"""


def found(policy: str, traffic: Traffic | None = None, form: str = "text") -> tuple[GapReport, str]:
    seen = traffic or Traffic().passes(0, API, (ALLOW,)).passes(1, API, (ALLOW,))
    records = sorted(seen.records, key=lambda one: one.time)
    report = gaps(Drafter().read([Batch(flows=records)]), load([("p.yaml", policy)]))
    out = io.StringIO()
    write_gaps(report, form, out, style=Style(width=0))
    return report, out.getvalue()


def test_what_is_all_used_has_no_gap() -> None:
    report, text = found(NARROW)
    (gap,) = report.gaps
    assert (gap.beside, gap.refused, gap.unclear) == ((), (), ())
    assert (gap.proof.allowed, gap.proof.needed, gap.used) == (2, 2, 2)
    assert text.endswith("no gap: none of 1 workload is allowed more than it used\n")


def test_the_port_and_the_block_that_nobody_used_are_told() -> None:
    wide = NARROW.replace("/32]", '/32, "192.0.2.0/24"]').replace(
        'port: "443"', 'port: "443", endPort: 444'
    )
    report, text = found(wide)
    (gap,) = report.gaps
    told = {(one.peers.words(), one.ports.words()) for one in gap.beside}
    assert told == {
        ((f"{API}/32",), ("444/TCP",)),
        (("192.0.2.0/24",), ("443-444/TCP",)),
    }
    assert "  + allowed, never used\n" in text
    assert "by CiliumNetworkPolicy weather/weather-egress" in text
    assert text.endswith("gap: 1 of 1 workload is allowed more than what was used\n")


def test_without_a_policy_all_else_is_a_gap() -> None:
    other = NARROW.replace("weather-app", "another")
    report, text = found(other)
    (gap,) = report.gaps
    assert gap.policies == ()
    assert "now no policy selects it: everything is allowed" in text
    assert gap.beside


def test_what_went_through_though_it_is_denied_is_told() -> None:
    traffic = Traffic().passes(0, API, (ALLOW,)).passes(1, EVIL, asked=False)
    report, text = found(NARROW, traffic)
    (gap,) = report.gaps
    (refused,) = gap.refused
    assert refused.peers.words() == (f"{EVIL}/32",)
    assert "  ! used, though the policies deny it\n" in text
    assert not report.wide


def test_other_addresses_of_a_name_are_no_use_that_is_denied() -> None:
    # The policy has the address, the drop-in the name: nothing that was used is denied by either.
    traffic = Traffic().passes(0, API, (ALLOW,), destination_names=("api.example.com",))
    report, text = found(NARROW, traffic)
    (gap,) = report.gaps
    assert gap.refused == ()
    told = [one.peers.words() for one in gap.wider if one.ports.words() == ("443/TCP",)]
    assert told == [(f"api.example.com at 0.0.0.0/0 except {API}/32 and ::/0",)]
    assert "  ~ the drop-in would allow it too, though nothing used it\n" in text


def test_pods_of_a_peer_that_were_never_seen_count() -> None:
    wide = f"{NARROW}    - toEndpoints: [{{matchLabels: {{app: never-seen}}}}]\n"
    (gap,) = found(wide)[0].gaps
    assert [one.peers.words() for one in gap.beside] == [
        ("pods with app=never-seen, namespace=weather",)
    ]


def test_the_drop_in_has_no_gap_itself() -> None:
    report, _ = found(NARROW.replace(f"{API}/32", "0.0.0.0/0"))
    (gap,) = report.gaps
    assert gap.beside
    again, _ = found(gap.document.text)
    assert again.gaps[0].beside == again.gaps[0].refused == again.gaps[0].unclear == ()


@pytest.mark.parametrize("form", GAP_FORMATS)
def test_each_format_tells_it_and_escapes(form: str) -> None:
    hostile = NARROW.replace("/32]", '/32, "192.0.2.0/24"]').replace(
        "name: weather-egress", 'name: "weather-egress\\e[31m|`"'
    )
    _, text = found(hostile, form=form)
    assert "192.0.2.0/24" in text
    assert "\x1b" not in text
