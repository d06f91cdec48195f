"""Staged policies on the screen: in columns of their own, as a filter, among policies, in files."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from flowwatch.api.watched_policies import Watched
from flowwatch.audits.staged import LiveStaged
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.errors import UsageError
from flowwatch.flows.join import Join
from flowwatch.flows.staged import Did, Staged
from flowwatch.policy import load
from flowwatch.policy.agent_options import UNKNOWN
from flowwatch.tui.dashboard import dashboard
from flowwatch.tui.state import Options
from tests.in_process import flowwatch
from tests.unit.tui.driven import Driven, Played, run, shown
from tests.unit.tui.made import ShownMonitor, denied, row, snapshot
from tests.unit.tui.test_screens import story

DRAFT = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: draft-2, namespace: weather}
spec: {endpointSelector: {}, egressDeny: [{toPorts: [{ports: [{port: "443"}]}]}]}
"""
WOULD = Staged(10, by=(Did("weather/draft-2", 10, 0),), why="denied by weather/draft-2")
STAGED = (("weather/draft-2", "CiliumNetworkPolicy"), ("weather/idle", "CiliumNetworkPolicy"))
ROWS = (denied(1, staged=Staged(same=12)), row(2, staged=WOULD), row(3, peer="new.example"))


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_a_row_says_what_staged_policies_would_do_to_it(size: tuple[int, int]) -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot(ROWS, staged=STAGED)), size=size) as driven:
            await driven.sees("STAGED", "no change", "deny · draft-2")
            await driven.sees("12 dropped", "20 forwarded")

    run(test())


def test_without_staged_policies_there_is_no_such_column() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot((row(1, staged=WOULD),))), size=(200, 40)) as driven:
            await driven.sees("DESTINATION")
            assert "STAGED" not in driven.text

    run(test())


def test_the_detail_says_why_and_the_policies_what_they_would_cut() -> None:
    async def test() -> None:
        async with shown(ShownMonitor(snapshot(ROWS, staged=STAGED)), size=(120, 50)) as driven:
            await driven.press("j")
            await driven.sees("would deny · draft-2: of 10 attempts 10 denied")
            await driven.sees("denied by weather/draft-2")
            await driven.press("4")
            await driven.sees("would cut 10", "would change nothing", "staged Ci")
            lines = [line for line in driven.screen if "weather/draft-2" in line]
            assert lines[0].startswith("▌!")

    run(test())


def test_staged_policies_are_found_judged_and_written(tmp_path: Path) -> None:
    async def test() -> None:
        join = Join()
        stager = LiveStaged(load([("draft.yaml", DRAFT)]), None, join)
        monitor = LiveMonitor(Played(story()), live=False, join=join, stager=stager)
        monitor.start()
        app = dashboard(lambda: monitor, Options(export_dir=tmp_path))
        try:
            async with app.run_test(size=(160, 40)) as pilot:
                driven = Driven(app, pilot)
                await driven.sees("deny · draft-2")
                await driven.press("slash")
                await driven.type("staged:deny")
                await driven.press("enter")
                await driven.sees("/staged:deny", "deny · draft-2")
                rows = [one for one in driven.screen if "weather-app" in one]
                assert rows
                assert not [one for one in rows if "no change" in one]
                path = tmp_path / "staged.csv"
                await driven.type(":")
                await driven.type(f"export {path}")
                await driven.press("enter")
                await driven.until(path.exists, "the file")
                await driven.sees("written to")
                written = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
                on_screen = sum("raft-2" in one.partition("│")[0] for one in driven.screen)
                assert len(written) == on_screen
                assert all(one["staged"].startswith("would deny") for one in written)
                assert all(int(one["would_deny"]) > 0 for one in written)
        finally:
            app.feed.stop()
            monitor.stop()

    run(test())


def test_files_are_read_again_once_they_are_written(tmp_path: Path) -> None:
    file, told = tmp_path / "draft.yaml", list[str]()
    file.write_text(DRAFT)
    watched = Watched([str(tmp_path)], UNKNOWN, told.append, every=0.0)
    assert [str(one) for one in watched.read().policies] == ["weather/draft-2"]
    again = watched.again
    assert again() is None
    file.write_text("kind: CiliumNetworkPolicy\nspec: [")
    failed = again()
    assert isinstance(failed, str)
    assert failed.startswith(f"staged policies can't be read, those of before stand: {file}:")
    assert again() is None
    file.write_text(DRAFT.replace("draft-2", "draft-30"))
    found = again()
    assert not isinstance(found, str)
    assert found is not None
    assert not told
    (tmp_path / "more.yaml").write_text(DRAFT)
    assert again() is not None
    for one in tmp_path.iterdir():
        one.unlink()
    assert "no .yaml, .yml, .json file" in str(again())


def test_standard_input_can_not_be_read_again() -> None:
    with pytest.raises(UsageError, match="--staged reads files: name a file"):
        Watched(["-"], UNKNOWN, lambda _: None).read()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["demo", "--staged", "x"], "--staged is for the dashboard, which needs a terminal"),
        (["demo", "--serve=127.0.0.1:0", "--staged", "x"], "--staged is for the dashboard"),
        (["summary", "--filter", "staged:deny"], "staged: asks what staged policies would do"),
        (["summary", "--staged", "x"], "--staged"),
    ],
)
def test_where_there_is_no_dashboard_it_says_what_to_take(command: list[str], message: str) -> None:
    result = flowwatch(*command)
    assert result.returncode in (1, 2)
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
