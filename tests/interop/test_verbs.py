"""The verbs on the real observer and relay, beside the real CLI on the same server."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.command import flowwatch
from tests.interop.real import Observer, Relay, hubble

COMMAND_LINES = """
--all
--last 50
--first 50
--all --verdict DROPPED
--all -n weather
--all --from-namespace weather --to-port 443
--all --not -n kube-system --not --protocol udp
--all --to-fqdn *.org
--all -t policy-verdict --verdict FORWARDED
--all --drop-reason-desc POLICY_DENIED
--all -l k8s:app=scheduler
--all --identity world --tcp-flags syn
--all --allowlist {"source_pod":["weather/"]} --denylist {"verdict":["FORWARDED"]}
--last 30 --pod weather/
--all --traffic-direction ingress
--all --workload Deployment/scheduler
--all --ip 10.244.0.0/24
""".strip().split("\n")


@pytest.fixture(scope="module")
def observer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observer]:
    truth = tmp_path_factory.mktemp("truth") / "truth.jsonl"
    with Observer(node="worker1", generate=8000, truth=truth) as one:
        one.truth_file = truth  # type: ignore[attr-defined]
        yield one


def uuids(text: str) -> list[str]:
    records = [json.loads(line) for line in text.splitlines()]
    return [record["flow"]["uuid"] for record in records if "flow" in record]


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_the_same_flows_as_the_real_cli(line: str, observer: Observer) -> None:
    arguments = line.split(" ")
    theirs = hubble("observe", *arguments, "-o", "jsonpb", server=observer)
    ours = flowwatch("observe", "--server", observer.address, *arguments, "-o", "jsonpb")
    assert ours.returncode == 0, ours.stderr
    assert uuids(ours.stdout) == uuids(theirs.stdout)
    assert uuids(theirs.stdout)


@pytest.mark.parametrize("form", ["json", "jsonpb", "compact", "dict", "table"])
def test_the_same_lines_as_the_real_cli(form: str, observer: Observer) -> None:
    arguments = ["--last", "200", "-o", form]
    theirs = hubble("observe", *arguments, server=observer)
    ours = flowwatch("observe", "--server", observer.address, *arguments)
    assert ours.stdout == theirs.stdout


def test_what_observe_prints_is_read_back_by_both(observer: Observer, tmp_path: Path) -> None:
    printed = flowwatch("observe", "--server", observer.address, "--last", "500", "-o", "json")
    kept = tmp_path / "flows.jsonl"
    kept.write_text(printed.stdout)
    theirs = hubble("observe", "--input-file", kept, "-o", "jsonpb")
    ours = flowwatch("observe", "--input-file", kept, "-o", "jsonpb")
    assert ours.stdout == theirs.stdout == printed.stdout
    assert len(uuids(ours.stdout)) == 500


def truth_of(path: Path) -> dict[tuple[str, ...], Counter[str]]:
    found: dict[tuple[str, ...], Counter[str]] = {}
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if "pod" in record:
            key = (record["namespace"], record["pod"], record["protocol"])
            counts = found.setdefault(key, Counter())
            counts.update({k: record[k] for k in ("forwarded", "dropped", "audited")})
    return found


def test_summary_counts_what_really_happened(observer: Observer) -> None:
    """Every attempt that the traffic was made of is counted once, whatever records it left."""
    told = flowwatch("summary", "--server", observer.address, "-o", "json")
    assert told.returncode == 0, told.stderr
    summary = json.loads(told.stdout)
    counted: dict[tuple[str, ...], Counter[str]] = {}
    for row in summary["rows"]:
        if row["protocol"] in ("TCP", "UDP"):
            counts = counted.setdefault((row["namespace"], row["pod"], row["protocol"]), Counter())
            counts.update({k: row[k] for k in ("forwarded", "dropped", "audited")})
    truth = truth_of(observer.truth_file)  # type: ignore[attr-defined]
    assert counted == truth
    print(f"{sum(sum(c.values()) for c in truth.values())} attempts agree")


def test_export_has_one_line_per_blocked_attempt(observer: Observer) -> None:
    told = flowwatch("export", "--drops", "--server", observer.address)
    lines = list(csv.DictReader(io.StringIO(told.stdout)))
    truth = truth_of(observer.truth_file)  # type: ignore[attr-defined]
    assert len(lines) == sum(counts["dropped"] for counts in truth.values())
    assert {line["outcome"] for line in lines} == {"dropped"}
    records = flowwatch("export", "--raw", "--server", observer.address).stdout.count("\n") - 1
    assert records > 2 * len(lines)


@pytest.mark.parametrize("form", ["compact", "dict", "table", "json"])
def test_status_agrees(form: str, observer: Observer) -> None:
    theirs = hubble("status", "-o", form, server=observer).stdout
    ours = flowwatch("status", "-o", form, "--server", observer.address).stdout
    # What counts on between the two calls is left out.
    assert [w for w in ours.split() if not _moves(w)] == [
        w for w in theirs.split() if not _moves(w)
    ]


def _moves(word: str) -> bool:
    return (
        (word.endswith("s") and any(c.isdigit() for c in word)) or "uptime" in word or "." in word
    )


@pytest.mark.parametrize("form", ["table", "wide", "json"])
def test_namespaces_agree(form: str, observer: Observer) -> None:
    theirs = hubble("list", "namespaces", "-o", form, server=observer).stdout
    ours = flowwatch("list", "namespaces", "-o", form, "--server", observer.address).stdout
    assert ours == theirs


def test_relay_over_two_nodes() -> None:
    with (
        Observer(node="c1/one", generate=1500, seed=1) as one,
        Observer(node="c1/two", generate=1500, seed=2) as two,
        Relay([one, two]) as relay,
    ):
        theirs = hubble("observe", "--all", "-o", "jsonpb", server=relay)
        ours = flowwatch("observe", "--all", "-o", "jsonpb", "--server", relay.address)
        assert Counter(uuids(ours.stdout)) == Counter(uuids(theirs.stdout))
        told = json.loads(flowwatch("summary", "-o", "json", "--server", relay.address).stdout)
        assert told["records_read"] == len(uuids(theirs.stdout))
        assert set(told["nodes"]) >= {"c1/one", "c1/two"}
        for form in ("table", "wide"):
            mine = flowwatch("list", "nodes", "-o", form, "--server", relay.address).stdout
            real = hubble("list", "nodes", "-o", form, server=relay).stdout
            assert [line.split()[:2] for line in mine.splitlines()] == [
                line.split()[:2] for line in real.splitlines()
            ]
        two.kill()
        relay.wait_for("c1/two", "NODE_UNAVAILABLE")
        told = json.loads(flowwatch("summary", "-o", "json", "--server", relay.address).stdout)
        assert any("c1/two" in warning for warning in told["warnings"])


def test_following_shows_what_comes(observer: Observer) -> None:
    """A bounded look at -f: what is written while it follows is printed."""
    import subprocess
    import sys

    from tests.command import ROOT, clean_environment

    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "flowwatch",
            "observe",
            "-f",
            "-o",
            "jsonpb",
            "--server",
            observer.address,
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=clean_environment("/nonexistent"),
    ) as following:
        assert following.stdout is not None
        # The newest old record comes first: the stream is open.
        following.stdout.readline()
        observer.write({"uuid": "made-for-this", "verdict": "DROPPED", "node_name": "worker1"})
        seen = json.loads(following.stdout.readline())
        following.terminate()
    assert seen["flow"]["uuid"] == "made-for-this"


def test_a_server_s_refusal_is_one_line(observer: Observer) -> None:
    theirs = hubble("observe", "--port", "abc", server=observer, check=False)
    ours = flowwatch("observe", "--port", "abc", "--server", observer.address)
    assert ours.returncode == theirs.returncode == 1
    assert ours.stderr.strip() == "flowwatch: " + theirs.stderr.strip()


def test_the_library_gives_the_same_rows(observer: Observer) -> None:
    import flowwatch as library

    told = json.loads(flowwatch("summary", "--server", observer.address, "-o", "json").stdout)
    frame = library.read(server=observer.address)
    assert len(frame) == len(told["rows"])
    assert int(frame["dropped"].sum()) == told["totals"]["dropped"]
    assert str(frame["first_seen"].dtype).startswith("datetime64[ns, UTC]")
    blocked = library.read(server=observer.address, namespace="weather", verdict=["DROPPED"])
    assert 0 < len(blocked) < len(frame)
    assert (blocked["forwarded"] == 0).all()


def test_what_a_node_refuses_through_relay_is_said() -> None:
    """Relay answers OK and puts the node's error into the stream: it must not look like silence."""
    with Observer(node="one", generate=100) as one, Relay([one]) as relay:
        told = flowwatch("summary", "--port", "abc", "--server", relay.address)
        assert "invalid source port filter" in told.stderr
