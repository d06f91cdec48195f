"""Attempts live and from a file: one node, two through relay, clocks apart, out of order.

The records are those of a cluster on paper (tests/paper_kernel.py): tries that are late, refused, denied,
unreachable, or whose answer is dropped; ports that come back, pings, datagrams whose verdict changes. So
what is the same can be held to the truth, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.in_process import flowwatch
from tests.interop.real import Observer, Relay, hubble
from tests.paper_kernel import NODES, Paper, lines
from tests.unit.flows.a_day import a_day, different, listed

RING = 16_383
ALL = ("--direction", "both", "--outcome", "all", "--format", "jsonl")


def told(*source: str | Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of a summary, and the lines of an export, in an order of their own."""
    summary = flowwatch("summary", "--direction", "both", "-o", "json", *source)
    exported = flowwatch("export", *ALL, *source)
    assert (summary.returncode, exported.returncode) == (0, 0), summary.stderr + exported.stderr
    rows = json.loads(summary.stdout)["rows"]
    attempts = [json.loads(line) for line in exported.stdout.splitlines()]
    return sorted(rows, key=repr), sorted(attempts, key=lambda one: repr(meant(one)))


def meant(one: dict[str, Any]) -> tuple[Any, ...]:
    """What an attempt is, whichever of its records came first."""
    ends = (one["direction"], one["pod"], one["peer_address"], one["protocol"], one["port"])
    became = (one["outcome"], one["drop_reason"], one["answer"], one["detail"], one["waited"] > 0)
    return (*ends, one["source_port"], *became)


@contextmanager
def served(records: list[dict[str, Any]], nodes: tuple[str, ...]) -> Iterator[Observer | Relay]:
    """Real observers with the records of each node; behind the real relay, where there are several."""
    with ExitStack() as parts:
        observers = [parts.enter_context(Observer(node=node, capacity=RING)) for node in nodes]
        for observer, node in zip(observers, nodes, strict=True):
            observer.write(*(one for one in records if one["node_name"] == node))
        if len(observers) == 1:
            yield observers[0]
        else:
            yield parts.enter_context(Relay(observers))


@pytest.mark.parametrize("ahead", [0.0, -0.4, 3.0, 90.0])
@pytest.mark.parametrize("nodes", [NODES[:1], NODES], ids=["one node", "relay over two"])
def test_live_is_as_from_a_file(tmp_path: Path, nodes: tuple[str, ...], ahead: float) -> None:
    paper = a_day(Paper(seed=4, mixed=True, ahead={"node-2": ahead}), seconds=120)
    records = [one for one in paper.records() if one["node_name"] in nodes]
    saved, written = tmp_path / "as-hubble-tells.jsonl", tmp_path / "as-it-was.jsonl"
    with served(records, nodes) as server:
        live = told("--server", server.address)
        saved.write_text(
            hubble("observe", "--all", "-o", "jsonpb", server=server, check=True).stdout
        )
    written.write_text(lines(records))
    file = told("--input-file", saved)
    if len(nodes) == 1:
        assert live == file
    # Relay tells two nodes' records by their own times, in another order each time it is asked, and
    # which record came first is told of an attempt; but the attempts are the same.
    same = [meant(one) for one in live[1]]
    assert same == [meant(one) for one in file[1]]
    assert same == [meant(one) for one in told("--input-file", written)[1]]
    if nodes == NODES:
        assert not different(paper, listed(map(json.loads, saved.read_text().splitlines())))
    print(f"{len(records)} records, {len(same)} attempts")
