"""Every view, and what opens in one, cell by cell, on the demo's data: at three sizes, in dark, light and
no colour.

``python -m tests.unit.tui.test_screens`` writes tests/data/screens anew: look at what changed before
it is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from flowwatch.audits.live import LiveAudit
from flowwatch.audits.staged import LiveStaged
from flowwatch.cli.flags import parse
from flowwatch.cli.shared.traffic import demo_traffic
from flowwatch.demo.story import policy_text
from flowwatch.drafts.draft import Drafter
from flowwatch.drafts.drafting import Drafting
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.query import Query
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch, Flow
from flowwatch.flows.source import SourceState
from flowwatch.marks.live import LiveChanges
from flowwatch.policy import load
from flowwatch.tui.dashboard import dashboard
from flowwatch.tui.parts.rows import Rows
from flowwatch.tui.shell import Dashboard
from flowwatch.tui.state import Options
from tests.unit.tui.driven import Driven, Played
from tests.unit.tui.made import COMPLETE, NOON
from tests.unit.tui.screens import SCREENS, Cells, Shot, read, taken, write

SIZES = ((80, 24), (120, 40), (200, 60))

ROWS = (
    Shot("rows", back=()),
    Shot("rows, to the end", ("G",), back=("g",)),
    Shot("rows, unfolded", ("space",), back=("space",)),
    Shot("rows, folded by namespace", (":fold namespace\n",), back=(":fold workload\n",)),
    Shot("rows, a row per pod", (":fold pod\n",), back=(":fold workload\n",)),
    Shot("rows, folded by label", (":fold label:app\n",), back=(":fold workload\n",)),
    Shot("detail of a drop", (":detail on\n",), "Why", (":detail off\n",)),
    Shot("detail, its end", (":detail on\n", *["J"] * 30), back=(":detail off\n",)),
    Shot("tail", (":detail off\n", ":tail on\n"), back=(":tail off\n",)),
    Shot("drops only", ("d",), back=("d",)),
    Shot("ingress", ("i",), back=(":dir egress\n",)),
    Shot("both directions", (":dir both\n",), back=(":dir egress\n",)),
    Shot("noise", ("n", "G"), back=("n", "g")),
    Shot("sorted by peer", (":sort peer\n",), back=(":sort drops\n",)),
    Shot("paused", ("p",), back=("p",)),
    Shot("last minute", ("W",), "last 1m", ("W", "W", "W")),
    Shot("stepped back", ("W", "[", "["), back=("L", "W", "W", "W")),
    Shot("causes, stepped back", ("W", "[", "[", "5"), back=("L", "W", "W", "W", "1")),
    Shot("an hour", ("{",), back=("L", ":since all\n")),
    Shot("whole timeline", ("z",), back=("z",)),
    Shot("marked by hand", (":mark 11:58:00\n",), back=(":mark off\n",)),
    Shot("filter, completed", ("/to:tel", "tab"), back=("escape",)),
    Shot("filter, a wrong word", ("/name:weather",), back=("escape",)),
    Shot("filter, nothing found", ("/to:telemtry\n",), "did you mean", back=("escape",)),
    Shot("command line", (":",), back=("escape",)),
    Shot("columns, typed", (":columns ",), back=("escape",)),
    Shot(
        "columns chosen",
        (":columns reason,destination,dropped\n",),
        back=(":columns default\n",),
    ),
    Shot("palette", (">blocked",), back=("escape",)),
)
VIEWS = (
    Shot("workloads", ("2",)),
    Shot("rows of a workload", ("2", "enter"), back=("escape", "1")),
    Shot("destinations", ("3",)),
    Shot("policies", ("4",)),
    Shot("rows of a policy", ("4", "enter"), back=("escape", "1")),
    Shot("causes", ("5",)),
    Shot("rows of a cause", ("5", "enter"), back=("escape", "1")),
    Shot("map", ("6",)),
    Shot("map of namespaces", ("6", ":fold namespace\n"), back=(":fold workload\n", "1")),
    Shot("audit", ("7",)),
    Shot("audit, its end", ("7", "G")),
    Shot("flows", ("8",)),
    Shot("record", ("8", "enter"), back=("escape", "1")),
    Shot("nodes", ("9",)),
    Shot("changes", ("c",), "CUT", ("c",)),
    Shot("waiting", ("H",), back=("H",)),
    Shot("warnings", ("w",), back=("w",)),
    Shot("help", ("question_mark",), back=("escape",)),
    Shot("help, its end", ("question_mark", "G"), back=("escape",)),
    Shot("draft", ("D",), "allows", ("q",)),
    Shot("draft, the next", ("D", "n"), "allows", ("q",)),
    Shot("draft, named otherwise", ("D", "a"), "*.openw", ("u", "q")),
    Shot("draft, compared", ("D", "space", "f"), "let through now", ("f", "u", "q")),
)
STAGED = (
    Shot("staged", back=()),
    Shot("staged, detail", (":detail on\n",), back=(":detail off\n",)),
    Shot("staged, filtered", ("/staged:deny\n",), back=("escape",)),
    Shot("staged, policies", ("4",)),
)
PARTS = {"rows": ROWS, "views": VIEWS, "staged": STAGED}
"""One app goes through all of a part, from the first key to the last."""
DRAFTS = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather-egress, namespace: weather}
spec:
  endpointSelector: {matchLabels: {app: weather-app}}
  egress:
  - toEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system, k8s-app: kube-dns}}]
  - toFQDNs: [{matchName: api.github.com}]
    toPorts: [{ports: [{port: "443"}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: cart-lockdown, namespace: shop}
spec: {endpointSelector: {matchLabels: {app: cart}}, egressDeny: [{toPorts: [{ports: [{port: "6379"}]}]}]}
"""


class Told:
    """A source of the demo's records, which ends."""

    def batches(self) -> Iterator[Batch]:
        batch = Batch()
        batch.flows = list(story())
        yield batch

    def state(self) -> SourceState:
        return COMPLETE

    def close(self) -> None:
        """Nothing is open."""


@cache
def story() -> tuple[Flow, ...]:
    """The demo's records, told as if they ended at noon."""
    with demo_traffic("all", parse(["audit"])) as source:
        flows = [flow for batch in source.batches() for flow in batch.flows]
    flows.sort(key=lambda flow: flow.time)
    shift = NOON - flows[-1].time
    for flow in flows:
        # Their order among equals depends on who answered first; a millisecond is what is shown.
        flow.time = (flow.time + shift) // 1_000_000 * 1_000_000
    return tuple(flows)


async def screens(size: tuple[int, int], part: str, known: dict[str, Cells]) -> dict[str, Cells]:
    """All screens of a part, by name, of one app over one monitor."""
    join = Join()
    audit = LiveAudit(load([("weather.yaml", policy_text())]), join)
    drafts = load([("draft.yaml", DRAFTS)]) if part == "staged" else None
    stager = LiveStaged(drafts, audit.policies, join) if drafts is not None else None
    monitor = LiveMonitor(
        Played(story()), live=False, join=join, teller=audit.causes, stager=stager
    )
    changes = LiveChanges(join)
    drafting = Drafting(Told, Drafter, in_force=audit.policies)
    monitor.start()
    # Before anything is seen, or marks would be those of what was read by then.
    while monitor.snapshot(Query(limit=1)).coverage.records_read < len(story()):
        await asyncio.sleep(0.02)
    options = Options(theme="dark")
    app = dashboard(lambda: monitor, options, audit, changes=lambda: changes, drafting=drafting)
    try:
        async with app.run_test(size=size) as pilot:
            driven = Driven(app, pilot)
            await driven.until(lambda: _shown_whole(app, staged=stager is not None))
            return await taken(driven, PARTS[part], known)
    finally:
        app.feed.stop()
        monitor.stop()


def _shown_whole(app: Dashboard, *, staged: bool) -> bool:
    """Whether all that was read is shown, and judged by what is staged: 64 questions of it a frame."""
    answer = app.answer(Rows)
    if answer is None or answer.value.snapshot.coverage.records_read < len(story()):
        return False
    told = [(row.staged, row.attempts) for row in answer.value.snapshot.rows if staged]
    return all(one is not None and one.attempts >= attempts for one, attempts in told)


def file_of(size: tuple[int, int]) -> Path:
    return SCREENS / f"{size[0]}x{size[1]}.txt"


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_no_cell_of_a_view_changes_unseen(size: tuple[int, int], part: str) -> None:
    known = read(file_of(size))
    found = asyncio.run(asyncio.wait_for(screens(size, part, known), 110.0))
    assert found == {shot.name: known.get(shot.name) for shot in PARTS[part]}


def test_no_screen_is_kept_that_nobody_takes() -> None:
    names = [shot.name for part in PARTS.values() for shot in part]
    assert all(list(read(file_of(size))) == names for size in SIZES)


if __name__ == "__main__":
    for one in SIZES:
        parts = [asyncio.run(screens(one, part, {})) for part in PARTS]
        write(file_of(one), {name: cells for part in parts for name, cells in part.items()})
