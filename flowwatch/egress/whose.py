"""Under which name a destination is put with others, as pods are: by workload, namespace or label."""

from __future__ import annotations

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.folding import By, subject
from flowwatch.flows.model import Endpoint

_NOBODY = Endpoint()


def whose(aggregate: Aggregate, by: By) -> dict[str, str]:
    """By a peer's name, that under which it is folded; without those that stand for themselves: names,
    addresses, entities, and services but by namespace.

    A destination's workload is known of its own node's records alone: of any row of that pod's.
    """
    if by.subject == "pod" and not by.label:
        return {}
    columns, known = aggregate.columns, aggregate.ends
    workloads = {
        pod[:2]: workload
        for pod, workload in zip(columns.pods.things, columns.workloads, strict=True)
        if workload
    }
    found: dict[str, str] = {}
    done: set[int] = set()
    for row, number in enumerate(columns.peer):
        if number in done:
            continue
        kind, name = columns.peer_of(row)
        end = known.of(row)[1] if known is not None else _NOBODY
        if not by.label or end.labels:
            # Labels may come with a later row.
            done.add(number)
        if told := _told(by, kind, name, end, workloads):
            found[name] = told
    return found


def _told(
    by: By, kind: str, name: str, end: Endpoint, workloads: dict[tuple[str, str], str]
) -> str:
    if kind == "service":
        return name.rpartition("/")[0] if by.subject == "namespace" else ""
    if kind not in ("pod", "workload"):
        return ""
    *cluster, namespace, own = name.rsplit("/", 2)
    workload = own if kind == "workload" else end.workload or workloads.get((namespace, own), "")
    told = subject(by, namespace, own if kind == "pod" else "", workload, end.labels)
    if by.label:
        return told or f"no label {by.label}"
    return "/".join([*cluster, told])
