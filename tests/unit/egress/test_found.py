"""Each key of the language of filters finds the rows that it names, among few and among many."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flowwatch.egress import select as select_module
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.model import Endpoint, Flow, PolicyRef
from tests.unit.egress.made import counted
from tests.unit.flows.made import denied, flow, verdict

SHOP = Endpoint(1, "shop", "web-7d9f8-x2x4z", "web", labels=("k8s:app=web", "k8s:team=a b"))
CI = Endpoint(2, "ci", "runner-0", "", labels=("k8s:app=runner",))
ALLOW = PolicyRef("CiliumNetworkPolicy", "shop", "web-egress")


def story() -> list[Flow]:
    """shop/web: 443 dropped to .1, 53/UDP forwarded to .2; ci/runner-0: 8080 forwarded to .3."""
    udp = {"source": SHOP, "destination_ip": "10.0.0.2", "destination_port": 53, "protocol": "UDP"}
    http = {"source": CI, "destination_ip": "10.0.0.3", "destination_port": 8080}
    return [
        *denied(source=SHOP, destination_ip="10.0.0.1", source_port=1),
        verdict(1.0, **udp, allowed_by=(ALLOW,), source_port=2), flow(1.0, **udp, source_port=2),
        verdict(2.0, **http, source_port=3), flow(2.0, **http, source_port=3),
    ]  # fmt: skip


def rows() -> Aggregate:
    """The same, counted."""
    return counted(*story())


@pytest.fixture(params=[True, False], ids=["few", "many"])
def found(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    if not request.param:
        monkeypatch.setattr(select_module, "FEW", 0)
    aggregate = rows()

    def answer(text: str) -> str:
        taken = snapshot(aggregate, Query(text=text, order="peer")).rows
        return "".join(row.peer[-1] for row in taken)

    return answer


@pytest.mark.parametrize(
    ("text", "peers"),
    [
        ("ns:shop", "12"),
        ("ns:sh|ci", "123"),
        ("!ns:shop", "3"),
        ("ns:=sho", ""),
        ("ns:s*p", "12"),
        ("pod:web", "12"),
        ("pod:=web", "12"),
        ("pod:=shop/web", "12"),
        ("pod:shop/web-7d9f8-x2x4z", "12"),
        ("pod:=runner", ""),
        ("pod:runner-*", "3"),
        ("to:10.0.0.1", "1"),
        ("to:10.0.0.2:53", "2"),
        ("to:10.0.0.2:54", ""),
        ("port:53", "2"),
        ("port:53/tcp", ""),
        ("port:400-9000", "13"),
        ("!port:443", "23"),
        ("why:policy_denied", "1"),
        ("why:=POLICY_DENIED", "1"),
        ('why:"no rule"', "1"),
        ("why:late", ""),
        ("policy:web-egress", "2"),
        ("policy:=shop/web-egress", "2"),
        ("label:app=web", "12"),
        ('label:"team=a b"', "12"),
        ("label:=app=run", ""),
        ("label:app=w|pod:runner", "123"),
        ("verdict:dropped", "1"),
        ("verdict:forwarded", "23"),
        ("verdict:dropped|forwarded ns:shop", "12"),
        ("ns: pod: to: port: why: policy: label: verdict:", "123"),
        ("web !53", "1"),
        ("10.0*0.3", "3"),
    ],
)
def test_a_key_finds_its_rows(found: Callable[[str], str], text: str, peers: str) -> None:
    assert found(text) == peers
