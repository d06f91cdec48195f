"""Names and addresses are others: consistently, and nothing of the real ones is left anywhere."""

from __future__ import annotations

import base64
import ipaddress
import re
import sys
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Row
from flowwatch.egress.view import snapshot
from flowwatch.flows.hiding import HIDDEN, Hiding, Pseudonyms
from flowwatch.flows.join import Join
from flowwatch.flows.model import (
    Batch,
    Flow,
    Gap,
    Layer7,
    LostEvents,
    NodeStatus,
    PolicyRef,
    Unread,
)
from flowwatch.flows.source import NodeChange, SourceState
from flowwatch.output import open_output
from flowwatch.report.summary import write_summary
from flowwatch.report.summary_table import Style
from flowwatch.sources.private import PrivateSource
from tests.benchmarks.pty_driver import Terminal
from tests.command import clean_environment, one_line
from tests.in_process import flowwatch
from tests.unit.tui.driven import Driven, Played, played, run
from tests.unit.tui.test_screens import story

REAL = re.compile(r"qx|10\.7[67]\.")


class Telling(Pseudonyms):
    """Names that nothing else can be: what follows calls these the real ones."""

    def of(self, sort: str, name: str) -> str:
        return f"qx{super().of(sort, name)}" if name else ""

    def address(self, text: str) -> str:
        return (
            "10.7" + super().address(text).removeprefix("240.").replace("0.", "6.", 1)
            if text
            else ""
        )


class Marked(PrivateSource):
    """The demo's story with such names."""

    def __init__(self, flows: tuple[Flow, ...]) -> None:
        super().__init__(Played(flows), Hiding(Telling()))

    def state(self) -> SourceState:
        return SourceState(
            "relay.qx:4245", "ended", message="qx went away", unavailable=("qx-1",),
            changes=(NodeChange("qx-1", "unavailable", 1.0, "qx broke"),), nodes_connected=1,
        )  # fmt: skip


def marked() -> tuple[Flow, ...]:
    """The story, marked."""
    return tuple(Hiding(Telling()).batch(Batch(flows=list(story()))).flows)


class Given:
    """A source of one batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    def batches(self) -> Any:
        yield self._batch

    def state(self) -> SourceState:
        return Marked(()).state()

    def close(self) -> None:
        return None


def texts(value: object) -> list[str]:
    """All texts in it, however deep."""
    if isinstance(value, str | bytes):
        return [value.decode("latin-1") if isinstance(value, bytes) else value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in texts(one)]
    if isinstance(value, list | tuple):
        return [text for one in value for text in texts(one)]
    if isinstance(value, msgspec.Struct):
        return [text for name in value.__struct_fields__ for text in texts(getattr(value, name))]
    if is_dataclass(value):
        return [text for one in fields(value) for text in texts(getattr(value, one.name))]
    return []


def real(value: object) -> list[str]:
    return sorted({text for text in texts(value) if REAL.search(text)})


def test_nothing_of_a_real_name_is_left_in_a_batch_or_a_state() -> None:
    flows = marked()
    assert len(real(list(flows))) > 60, "the story has names, and they are marked"
    batch = Batch(
        flows=list(flows),
        lost=[LostEvents("HUBBLE_RING_BUFFER", 3, "qx/qx-1", 1)],
        nodes=[NodeStatus("NODE_UNAVAILABLE", ("qx-1",), "dial 10.77.0.1: qx")],
        unread=[Unread(1, "not JSON", b"qx")],
        notes=["qx"],
        gaps=[Gap(1, 2, "qx", ("qx-1",), "relay.qx:4245")],
        set_aside={"qx-1": 2},
        late={"qx-1": 5},
        origin="relay.qx:4245",
        failed="qx",
    )
    source = PrivateSource(Given(batch))
    (found,) = list(source.batches())
    assert real(found) == []
    assert real(source.state()) == []
    assert (len(found.flows), found.lost[0].count) == (len(flows), 3)
    assert list((found.set_aside or {}).values()) == [2]
    assert source.state().message == HIDDEN
    assert found.origin == source.state().where


def test_what_is_counted_is_as_without_it() -> None:
    def counted(flows: list[Flow]) -> list[tuple[int, ...]]:
        aggregate = Aggregate(join=Join())
        aggregate.join.add(Batch(flows=flows))
        return counts(snapshot(aggregate, Query(direction="both")).rows)

    flows = list(story())
    assert counted(Hiding().batch(Batch(flows=flows)).flows) == counted(flows)


def test_pseudonyms_are_consistent_and_of_their_kind() -> None:
    names = Pseudonyms()
    assert [names.of("ns", one) for one in ("b", "a", "b", "")] == ["ns-1", "ns-2", "ns-1", ""]
    assert names.host("api.github.com") == names.host("api.github.com") == "name-1.example"
    assert names.host("10.0.0.1") == names.address("10.0.0.1") == "240.0.0.1"
    assert names.address("fe80::1") == "2001:db8::1"
    assert names.service("b/redis") == "ns-1/svc-1"
    assert names.label("reserved:world") == "reserved:world"
    assert names.label("k8s:app=x") == "k8s:app=label-1"
    assert names.label("k8s:acme.io/team=x") == "k8s:key-1=label-1"
    assert (
        names.label("k8s:io.kubernetes.pod.namespace=b") == "k8s:io.kubernetes.pod.namespace=ns-1"
    )
    assert names.label("cidr:1.2.3.0/24") == "cidr:label-2"
    assert names.url("http://api.github.com:80/v1/x?y=z") == "http://name-1.example:80/path-1"


def test_past_the_bound_names_are_still_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowwatch.flows.hiding.MOST", 2)
    names = Pseudonyms()
    found = [names.of("pod", f"p{number}") for number in range(50)]
    assert found[:2] == ["pod-1", "pod-2"]
    assert len(set(found)) == 50
    assert names.of("pod", "p40") == found[40]
    addresses = {names.address(f"10.0.0.{number}") for number in range(50)}
    assert len(addresses) == 50
    assert all(
        ipaddress.ip_address(one) in ipaddress.ip_network("240.0.0.0/4") for one in addresses
    )


def test_headers_and_policies_logs_are_left_out() -> None:
    seen = Layer7(http_method="GET", http_url="http://qx/a", http_headers=(("x", "qx"),))
    flow = msgspec.structs.replace(story()[0], l7=seen, raw=b"qx")
    (found,) = Hiding().batch(Batch(flows=[flow])).flows
    assert found.l7 is not None
    assert (found.l7.http_headers, found.raw) == ((), b"")
    one = Hiding().policy(PolicyRef("CiliumNetworkPolicy", "qx", "qx"))
    assert one == PolicyRef("CiliumNetworkPolicy", "ns-1", "policy-1")


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown"])
def test_no_output_has_one(tmp_path: Path, form: str) -> None:
    aggregate = Aggregate(join=Join())
    aggregate.join.add(Hiding().batch(Batch(flows=list(marked()))))
    path = tmp_path / "out"
    with open_output(str(path), form) as out:
        write_summary(snapshot(aggregate, Query(direction="both")), form, out, style=Style())
    assert len(path.read_text("utf-8")) > 1000
    assert not REAL.search(path.read_text("utf-8"))


KEYS = (*"123456789wci1", "space", "enter", "question_mark", "escape", "8", "enter")


async def nothing_real(driven: Driven, tmp_path: Path, written: list[str]) -> None:
    """Every view, and all that leaves: by no name that is real."""
    for key in KEYS:
        await driven.press(key)
        await driven.settled()
        assert not REAL.search(driven.text), (key, driven.text)
    await driven.press("escape", "1", "y", "Y", "e")
    await driven.sees("written to")
    assert str(tmp_path) not in driven.text
    for name in ("x.svg", "x.md", "x.json"):
        await driven.press("colon")
        await driven.type(f"export {name}")
        await driven.press("enter")
        await driven.until((tmp_path / name).exists, name)
    await driven.press("c", "e")
    await driven.sees("written to flowwatch-changes-")
    copied = [base64.b64decode(one.split(";")[2].rstrip("\a")).decode() for one in written]
    assert len(copied) == 2
    for text in (*copied, *(path.read_text("utf-8") for path in tmp_path.iterdir())):
        assert len(text) > 50
        assert not REAL.search(text)


def test_no_screen_has_one_nor_what_leaves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        source = PrivateSource(Marked(story()))
        async with played(source, (200, 60), private=True, export_dir=tmp_path) as driven:  # type: ignore[arg-type]
            await driven.until(
                lambda: "DESTINATION" in driven.text and "ns-" in driven.text, "rows"
            )
            written: list[str] = []
            monkeypatch.setattr(driven.app, "write", written.append)
            await nothing_real(driven, tmp_path, written)
            await driven.press("N")
            await driven.sees("names are hidden from the start (--private)")

    run(test())


def test_a_key_hides_names_while_it_runs_and_shows_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test() -> None:
        given = {"filter_words": "-n qxns-3", "hubble": ("hubble", "observe", "--server", "qx:1")}
        async with played(Marked(story()), (200, 60), export_dir=tmp_path, **given) as driven:  # type: ignore[arg-type]
            await driven.until(lambda: "qxapp-" in driven.text, "rows")
            await driven.sees("-n qxns-3")
            # A filter by a real name, and the rows behind one, are left.
            await driven.press("2", "j", "enter", "slash")
            await driven.type("qxapp")
            await driven.press("enter")
            headline = driven.screen[1]
            assert driven.app.chosen.query.text
            await driven.press("N")
            assert not REAL.search(driven.text), "not for one frame"
            assert driven.app.chosen.query.text == ""
            await driven.sees("names hidden", "app-")
            written: list[str] = []
            monkeypatch.setattr(driven.app, "write", written.append)
            await nothing_real(driven, tmp_path, written)
            await driven.press("c", "1", "slash")
            await driven.type("qxapp")
            await driven.sees("None of", "matches /qxapp")
            await driven.press("escape", "N")
            await driven.sees("names are shown again", "qxapp-", "-n qxns-3")
            assert driven.screen[1] != headline

    run(test())


def counts(rows: Iterable[Row]) -> list[tuple[int, ...]]:
    return sorted((r.dropped, r.forwarded, r.audited, r.port, r.records) for r in rows)


@pytest.mark.parametrize("flag", ["--policies x.yaml", "--staged x", "--filter ns:shop"])
def test_what_names_somebody_is_refused_beside_it(tmp_path: Path, flag: str) -> None:
    capture = next((Path(__file__).parents[2] / "data" / "captures").rglob("*.json*"))
    done = flowwatch("--private", "--plain", "--input-file", capture, *flag.split())
    assert done.returncode == 2
    name = flag.split()[0]
    assert f"--private hides the names that {name} is about: leave out one of them" in one_line(
        done
    )


def test_lines_have_pseudonyms_too() -> None:
    done = flowwatch("demo", "--plain", "--private", "--speed", "60", "--duration", "8s")
    assert done.returncode == 0
    assert re.search(r"blocked: ns-\d+/app-\d+ \(3 pods\) to name-\d+\.example:443", done.stdout)
    assert not re.search(r"weather|telemetry|github|openweather|127\.0\.0", done.stdout)


def test_the_title_hides_the_filters_and_the_server(tmp_path: Path) -> None:
    env = clean_environment(str(tmp_path))
    command = ["demo", "--private", "--speed", "60", "-n", "weather"]
    with Terminal(
        [sys.executable, "-m", "flowwatch", *command], columns=120, lines=40, env=env
    ) as terminal:
        terminal.wait_for(lambda screen: "DROPPED" in screen.text and "▌" in screen.text, 60)
        assert "server-1" in terminal.screen.rows[0]
        assert "names hidden, 1 filter" in terminal.screen.rows[0]
        terminal.press("\r")
        terminal.wait_for(lambda screen: "Detail" in screen.text, 60)
        assert not re.search(r"weather|telemetry|github|127\.0\.0", terminal.screen.text)
        terminal.press("q")
        assert terminal.wait(60) == 0
