"""What a gate counts, and what is new to a baseline."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from flowwatch.egress.gate import destinations, judge, maker
from flowwatch.egress.rows import Row, Snapshot, Totals

CART = Row(
    direction="egress", namespace="shop", pod="cart-6f7d8c9b5d-x2x4z", workload="", peer="shop/db-0",
    peer_kind="pod", port=5432, protocol="TCP", forwarded=1, dropped=0, audited=0, errors=0, unknown=0,
    records=2, drop_reasons={}, allowed_by=(), denied_by=(), first_seen=1, last_seen=2, rate=0.0,
)  # fmt: skip


def row(**values: Any) -> Row:
    """A forwarded attempt of the cart to its database, but for these."""
    return replace(CART, **values)


@pytest.mark.parametrize(
    ("pod", "made_by"),
    [
        ("shop/cart-6f7d8c9b5d-x2x4z", "shop/cart"),
        ("kube-system/cilium-x2x4z", "kube-system/cilium"),
        ("data/postgres-0", "data/postgres"),
        ("batch/import-29013060-x2x4z", "batch/import"),
        ("shop/cart", "shop/cart"),
        ("shop/front-end", "shop/front-end"),
    ],
)
def test_what_made_a_pod_is_told_by_its_name(pod: str, made_by: str) -> None:
    assert maker(pod) == made_by


def test_other_pods_of_the_same_make_no_new_destination() -> None:
    rows = (row(), row(pod="cart-6f7d8c9b5d-z9z9z"), row(peer="shop/db-1"))
    assert len(destinations(rows)) == 1
    before, after = Snapshot(rows=rows[:1]), Snapshot(rows=rows)
    assert judge(after, max_new=0, baseline=before).broken is False


@pytest.mark.parametrize(
    "other", [{"port": 5433}, {"protocol": "UDP"}, {"peer": "shop/cache"}, {"namespace": "test"}]
)
def test_another_peer_port_or_owner_is_new(other: dict[str, object]) -> None:
    before, after = Snapshot(rows=(row(),)), Snapshot(rows=(row(), row(**other)))
    [rule] = judge(after, max_new=0, baseline=before).rules
    assert (rule.found, rule.broken, rule.rows) == (1, True, (row(**other),))


def test_noise_is_neither_dropped_nor_a_destination() -> None:
    noise = row(forwarded=0, dropped=2, noise={"multicast": 2})
    assert destinations((noise,)) == {}
    found = judge(Snapshot(rows=(noise,), totals=Totals(noise={"multicast": 2})), max_dropped=0)
    assert (found.broken, found.rules[0].rows) == (False, ())
