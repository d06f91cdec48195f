"""The dashboard with policies: what blocked the selected row, and the audit that goes on."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from flowwatch.audits.audit import Audit
from flowwatch.audits.live import LiveAudit
from flowwatch.cli.flags import parse
from flowwatch.cli.shared.traffic import demo_traffic
from flowwatch.demo.story import policy_text
from flowwatch.egress.monitor import LiveMonitor
from flowwatch.egress.rows import Snapshot
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch, Flow
from flowwatch.policy import load
from flowwatch.tui.dashboard import dashboard
from flowwatch.tui.parts.rows import RowsAnswer
from flowwatch.tui.state import Options
from flowwatch.tui.ticket import ticket
from flowwatch.tui.views.audit import AuditSoFar
from tests.unit.flows.made import API, APP, denied, flow, reply, verdict
from tests.unit.tui.driven import Driven, Played, played, run

RULES = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: app, namespace: weather}
spec:
  endpointSelector: {}
  egress:
    - toFQDNs: [{matchName: allowed.example}]
      toPorts: [{ports: [{port: "443", protocol: TCP}]}]
    - toCIDR: [8.8.8.8/32]
"""
NAMED = msgspec.structs.replace(APP, labels=("k8s:app=weather-app",))


def blocked(number: int = 0, at: float = 0.0, name: str = "other.example") -> list[Flow]:
    return denied(at, source=NAMED, source_port=30_000 + number, destination_names=(name,))


def passed(at: float = 0.0, ip: str = "5.5.5.5", name: str = "open.example") -> list[Flow]:
    sent: dict[str, Any] = {"source": NAMED, "destination_ip": ip, "destination_names": (name,)}
    return [verdict(at, **sent), flow(at, **sent), reply(at, destination=NAMED, source_ip=ip)]


@asynccontextmanager
async def audited(source: Played, size: tuple[int, int] = (140, 40)) -> AsyncIterator[Driven]:
    """The dashboard as ``flowwatch --policies`` puts it together."""
    join = Join()
    audit = LiveAudit(load([("rules.yaml", RULES)]), join)
    monitor = LiveMonitor(source, live=False, join=join, teller=audit.causes)
    app = dashboard(lambda: monitor, Options(theme="mono"), audit)
    monitor.start()
    try:
        async with app.run_test(size=size) as pilot:
            driven = Driven(app, pilot)
            try:
                await driven.settled()
                yield driven
            finally:
                app.feed.stop()
    finally:
        monitor.stop()


def flat(driven: Driven) -> str:
    """The words of the detail, whose lines stand beside those of the table."""
    lines = [line.partition("│")[2] for line in driven.screen]
    return " ".join(" ".join(lines).split())


def test_the_detail_says_what_blocked_the_row() -> None:
    async def test() -> None:
        async with audited(Played([*blocked(), *passed()])) as driven:
            await driven.until(lambda: "default deny of weather/app" in flat(driven), "attribution")
            assert (
                "closest rule: weather/app spec.egress.0 (line 7) would allow DNS name "
                "allowed.example; this is other.example"
            ) in flat(driven)
            # In place of the words for who gave no policies.
            assert "Hubble names no policy" not in flat(driven)
            await driven.press("j")
            await driven.until(lambda: "open.example" in flat(driven), "the other row")
            assert "default deny" not in flat(driven)

    run(test())


def test_a_hostile_name_in_it_is_escaped() -> None:
    async def test() -> None:
        async with audited(Played(blocked(name="\x1b[2J[red]evil"))) as driven:
            await driven.until(lambda: "this is" in flat(driven), "attribution")
            assert r"this is \x1b[2J[red]evil" in flat(driven)
            await driven.press("A")
            await driven.sees(r"\x1b[2J[red]evil:443/TCP")
            assert "\x1b" not in driven.text

    run(test())


def test_the_audits_page_goes_on() -> None:
    async def test() -> None:
        source = Played(blocked())
        async with audited(source) as driven:
            await driven.press("A")
            await driven.sees("AS EXPECTED", "1x dropped")
            assert "spec.egress.0 (line 7): never exercised" in driven.text
            assert "rules.yaml:1" in driven.text
            # A leak comes, and a rule is used.
            source.play(
                [*blocked(1, 1.0), *passed(1.0), *passed(1.0, "1.1.1.1", "allowed.example")]
            )
            await driven.sees("NOT AS EXPECTED: 1 leak", "open.example:443/TCP", "2x dropped")
            assert "spec.egress.0 (line 7): 1 attempt" in driven.text
            assert "spec.egress.1 (line 9): never exercised" in driven.text
            await driven.press("A")
            await driven.until(lambda: driven.app.trail == ("rows",), "the table")
            assert not isinstance(driven.app.feed.asked, AuditSoFar)

    run(test())


def test_the_audits_page_lists_the_direction_that_is_chosen_and_counts_the_other() -> None:
    async def test() -> None:
        async with audited(Played([*blocked(), *passed(1.0)])) as driven:
            await driven.press("A")
            await driven.sees("as the policies say? (egress)", "1 leak", "open.example:443/TCP")
            await driven.press("i")
            await driven.sees(
                "as the policies say? (ingress)", "1 in egress: i shows them", "1 leak"
            )
            assert "open.example:443/TCP" not in driven.text
            await driven.press("i")
            await driven.sees("as the policies say? (both)", "open.example:443/TCP")

    run(test())


def test_what_a_count_means_is_told_to_its_end_in_80_columns() -> None:
    async def test() -> None:
        async with audited(Played(blocked()), (80, 24)) as driven:
            await driven.press("A")
            await driven.sees("AS EXPECTED")
            words = " ".join(driven.text.split())
            assert "(or would be: audit mode), though the policies allow it" in words

    run(test())


def test_what_was_scrolled_to_stays() -> None:
    async def test() -> None:
        source = Played(
            [one for n in range(30) for one in passed(0.0, f"5.5.5.{n}", f"n{n}.example")]
        )
        async with audited(source, (100, 24)) as driven:
            await driven.press("A")
            await driven.sees("NOT AS EXPECTED")
            await driven.press("j", "j", "j")
            first = driven.screen[1]
            source.play(passed(0.0, "5.5.5.40", "n40.example"))
            await driven.until(lambda: "31" in _leaks(driven), "the newer report")
            await driven.press("j")
            await driven.press("k")
            assert driven.screen[1] == first

    run(test())


def told(driven: Driven) -> object:
    """The report that is on the screen."""
    answer = driven.app.answer(AuditSoFar)
    return answer and answer.value


def _leaks(driven: Driven) -> str:
    return next((line for line in driven.screen if " leak " in line), "")


def test_paused_the_page_stands_still() -> None:
    async def test() -> None:
        source = Played(blocked())
        async with audited(source) as driven:
            await driven.press("A")
            await driven.sees("1x dropped")
            await driven.press("p")
            await driven.sees("paused")
            report = told(driven)
            source.play(blocked(1, 1.0))
            await driven.until(lambda: driven.app.frame and driven.app.frame.behind, "more records")
            assert told(driven) is report

    run(test())


def test_without_policies_the_key_says_how_to_give_some() -> None:
    async def test() -> None:
        async with played(Played(blocked())) as driven:
            await driven.press("A")
            await driven.sees("flowwatch --policies FILE")
            await driven.press("colon")
            await driven.type("audit")
            await driven.press("enter")
            await driven.sees("flowwatch --policies FILE")

    run(test())


def test_a_report_in_between_changes_nothing_in_the_end() -> None:
    """Asked after every batch, the audit ends with what it says when it is asked but once."""
    policies = load([("weather.yaml", policy_text())])
    with demo_traffic("all", parse(["audit"])) as source:
        batches = list(source.batches())
    asked, silent = Audit(policies), Audit(policies)
    cut: list[Batch] = [batch for whole in batches for batch in _pieces(whole)]
    for number, batch in enumerate(cut):
        asked.join.add(batch)
        silent.join.add(batch)
        if number % 10 == 0:
            between = asked.report_now()
            assert between == asked.report_now()
    assert sum(between.counts.values()) > 300
    end = silent.finish()
    assert asked.report_now() == end
    assert asked.finish() == end


def _pieces(whole: Batch) -> list[Batch]:
    pieces = []
    for at in range(0, len(whole.flows), 300):
        piece = Batch(origin=whole.origin)
        piece.flows = whole.flows[at : at + 300]
        pieces.append(piece)
    return pieces


def test_the_policy_column_names_the_cause_and_the_filter_finds_it() -> None:
    """Of a pod as of an address; ``e`` and ``Y`` take it along."""
    pod = msgspec.structs.replace(API, labels=("k8s:app=api",))
    to_pod = denied(2, source=NAMED, destination=pod, destination_ip="10.0.0.9", source_port=9)

    async def test() -> None:
        flows = [*passed(), *denied(1, source=NAMED, destination_ip="1.1.1.1"), *to_pod]
        async with audited(Played(flows), (220, 40)) as driven:
            await driven.until(lambda: driven.text.count("default deny · app") == 2, "the pod's")
            await driven.press("slash")
            await driven.type("deny app")
            await driven.press("enter")
            await driven.until(lambda: "open.example" not in driven.text, "the filter's rows")
            assert "api/api-1:443" in driven.text

    run(test())


def test_an_export_and_a_copied_row_take_the_cause_along(tmp_path: Path) -> None:
    async def test() -> None:
        async with audited(Played([*blocked(), *passed()]), (220, 40)) as driven:
            await driven.sees("default deny · app")
            await driven.press("colon")
            await driven.type(f"export {tmp_path}/rows.csv")
            await driven.press("enter")
            await driven.until((tmp_path / "rows.csv").exists, "the file")
            row = driven.app.seen.selected
            assert row is not None
            copied = ticket(row, RowsAnswer(Snapshot()), 0, ("hubble", "observe"))
            assert row.attribution in copied

    run(test())
    rows = list(csv.DictReader((tmp_path / "rows.csv").read_text().splitlines()))
    assert {row["cause"] for row in rows} == {"default deny · app", ""}
    assert any(row["attribution"].startswith("default deny of weather/app: ") for row in rows)
