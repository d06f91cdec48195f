"""The fewest labels that select the pods seen, and no other pod."""

from __future__ import annotations

from flowwatch.drafts.selecting import Labels, Selected, lasting, select


def labels(**values: str) -> Labels:
    return tuple(sorted(values.items()))


def test_what_names_a_moment_is_no_label_of_an_application() -> None:
    seen = (
        "k8s:app=web", "k8s:pod-template-hash=7d9c6b5f4", "k8s:version=1.2", "k8s:job-name=backup-29",
        "k8s:apps.kubernetes.io/pod-index=0", "k8s:statefulset.kubernetes.io/pod-name=db-0",
        "k8s:io.kubernetes.pod.namespace=shop", "k8s:io.cilium.k8s.policy.serviceaccount=web",
        "k8s:io.cilium.k8s.namespace.labels.team=a", "reserved:init", "cidr:10.0.0.0/8",
    )  # fmt: skip

    assert lasting(seen) == labels(app="web")


def test_names_that_no_label_can_have_are_left_out() -> None:
    assert lasting(["k8s:app=a\nb", "k8s:we ird=x", f"k8s:app2={'x' * 64}"]) == ()


def test_one_label_is_enough_where_it_tells_all_others_apart() -> None:
    others = {labels(app="db", tier="back"): "shop/db"}

    assert select([labels(app="web", tier="front")], others) == Selected(labels(app="web"))


def test_two_where_one_has_others_too() -> None:
    others = {labels(app="shop", component="db"): "shop/db", labels(app="x", component="web"): "x"}

    found = select([labels(app="shop", component="web", tier="1")], others)

    # A single label would do: no other pod has tier=1.
    assert found == Selected(labels(tier="1"))
    assert select([labels(app="shop", component="web")], others) == Selected(
        labels(app="shop", component="web")
    )


def test_what_all_pods_of_a_workload_have() -> None:
    found = select([labels(app="web", track="canary"), labels(app="web", track="stable")], {})

    assert found == Selected(labels(app="web"))


def test_who_can_t_be_told_apart_is_named() -> None:
    others = {labels(app="web", debug="1"): "shop/web-debug"}

    assert select([labels(app="web")], others) == Selected(labels(app="web"), ("shop/web-debug",))


def test_without_labels_nothing_tells_apart() -> None:
    assert select([()], {labels(app="db"): "shop/db"}) == Selected((), ("shop/db",))
