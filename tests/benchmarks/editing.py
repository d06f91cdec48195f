"""A choice in the editor of a draft, policy and proof: of a workload with 300 peers, the best of several."""

from __future__ import annotations

import time
from collections.abc import Callable

from flowwatch.drafts.draft import Drafter
from flowwatch.drafts.editing import Editing, Sheet
from flowwatch.flows.model import Batch
from tests.unit.drafts.test_draft import Seen, pod

PEERS = 300
LIMIT = 0.050
"""Seconds."""
_ROUNDS = 5


def sheet() -> Sheet:
    """Names, pods and addresses in equal parts, on 12 ports."""
    seen = Seen()
    for number in range(PEERS):
        address = f"198.51.{number // 250}.{number % 250}"
        if number % 3 == 0:
            seen.looks_up(number, f"api{number}.example.com", address)
            seen.passes(number + 0.5, address, destination_port=443 + number % 7)
        elif number % 3 == 1:
            end = pod("shop", f"a{number}")
            seen.passes(number, address, destination=end, destination_port=8000 + number % 5)
        else:
            seen.passes(number, address)
    drafter = Drafter()
    drafter.needs.read([Batch(flows=sorted(seen.records, key=lambda one: one.time))])
    return Editing(drafter).sheets[0]


def choices() -> list[tuple[str, str, str]]:
    """What was measured, what was reached, the goal."""
    of = sheet()
    of.proof  # noqa: B018 - the first is made when the editor is opened
    acts: dict[str, Callable[[int], None]] = {
        "need or leave out": of.toggle,
        "name otherwise": of.rename,
        "any port": of.open_ports,
    }
    found = []
    for name, act in acts.items():
        seconds = min(_seconds(of, act, row) for row in range(_ROUNDS))
        about = f"a choice in the editor, {len(of.rows)} peers: {name}"
        found.append((about, f"{seconds * 1000:.0f} ms", f"≤ {LIMIT * 1000:.0f} ms"))
    return found


def _seconds(of: Sheet, act: Callable[[int], None], row: int) -> float:
    began = time.perf_counter()
    act(row)
    if not of.text or of.proof.failing:
        raise RuntimeError(str(of.proof))
    return time.perf_counter() - began
