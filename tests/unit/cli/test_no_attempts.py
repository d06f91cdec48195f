"""Where nothing is shown, a line says what there is: the other direction, or names that are near."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import flowwatch as library
from tests.in_process import flowwatch
from tests.material import OWN
from tests.unit.audits.told import SHARED

WEATHER = OWN / "captures/weather.jsonl"
CASE = SHARED / "m5-ingress-only"
ONE = "1 ingress attempt was seen: --direction ingress shows it"
TWO = "2 egress attempts were seen: --direction egress shows them"


def record(way: str, port: int, pod: str = "shop/api-0") -> dict[str, Any]:
    """A SYN from outside to the pod, or of the pod, that was dropped."""
    namespace, name = pod.split("/")
    here = {"namespace": namespace, "pod_name": name, "identity": 2000}
    there = {"identity": 2, "labels": ["reserved:world"]}
    incoming = way == "INGRESS"
    addresses = ["10.0.0.7", "198.51.100.6"]
    source, destination = addresses[::-1] if incoming else addresses
    flow = {
        "time": "2026-01-31T10:00:00Z",
        "verdict": "DROPPED",
        "drop_reason_desc": "POLICY_DENIED",
        "IP": {"source": source, "destination": destination},
        "l4": {"TCP": {"source_port": port, "destination_port": 443, "flags": {"SYN": True}}},
        "source": there if incoming else here,
        "destination": here if incoming else there,
        "event_type": {"type": 1},
        "traffic_direction": way,
    }
    return {"flow": flow, "node_name": "n1", "time": flow["time"]}


def capture(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "flows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return path


@pytest.fixture
def ingress(tmp_path: Path) -> Path:
    return capture(tmp_path, record("INGRESS", 40000))


@pytest.mark.parametrize(
    "words",
    [
        ["summary"],
        ["summary", "-o", "csv"],
        ["export", "--drops"],
        ["export", "--grouped"],
    ],
)
def test_where_only_ingress_was_seen_that_is_said(words: list[str], ingress: Path) -> None:
    told = flowwatch(*words, "--input-file", ingress)
    assert (told.returncode, told.stderr) == (0, f"flowwatch: {ONE}\n")


def test_markdown_has_it_in_itself(ingress: Path) -> None:
    told = flowwatch("summary", "-o", "markdown", "--input-file", ingress)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.endswith(f"> `{ONE}`\n")


def test_the_same_in_json_and_the_other_way_round(tmp_path: Path) -> None:
    path = capture(tmp_path, record("EGRESS", 40000), record("EGRESS", 40001))
    told = flowwatch("summary", "-o", "json", "--direction", "ingress", "--input-file", path)
    assert json.loads(told.stdout)["warnings"] == [TWO]


@pytest.mark.parametrize("direction", ["ingress", "both"])
def test_nothing_is_said_where_there_are_attempts(direction: str, ingress: Path) -> None:
    told = flowwatch("summary", "--direction", direction, "--input-file", ingress)
    assert (told.returncode, told.stderr) == (0, "")


def test_of_an_export_only_what_it_would_list_is_said(ingress: Path) -> None:
    assert flowwatch("export", "--outcome", "audited", "--input-file", ingress).stderr == ""


def test_python_warns_of_it(ingress: Path) -> None:
    with pytest.warns(UserWarning, match=ONE):
        assert len(library.read(ingress)) == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["-n", "wether"],
            "no record of namespace wether; seen: weather, kube-system, monitoring, data, shop and 2 more",
        ),
        (
            ["--pod", "weather-app"],
            "no record of pod default/weather-app (without a namespace it is default); seen: "
            "weather/weather-app-8kxfnbbb2w-2fh26, weather/weather-app-8kxfnbbb2w-bq4jr, "
            "weather/weather-app-8kxfnbbb2w-pk4k7",
        ),
        (["--from-pod", "wether/weather-x"], "no record of namespace wether; seen: weather, "),
        (
            ["--to-pod", "shop/cat", "--port", "9"],
            "64 flows were read, none of which passes these filters",
        ),
        (
            ["--pod", "weather/wether"],
            "no record of pod weather/wether; seen: weather/weather-app-",
        ),
        (["--fqdn", "nowhere.example"], "64 flows were read, none of which passes these filters"),
    ],
)
def test_a_filter_that_nothing_passes_names_what_is_near(flags: list[str], said: str) -> None:
    told = flowwatch("summary", "--input-file", WEATHER, *flags)
    assert (told.returncode, told.stdout) == (0, "No attempts\n0 records\n")
    assert told.stderr.startswith(f"flowwatch: {said}")
    assert told.stderr.count("\n") == 1


def test_no_name_is_missed_where_another_one_has_records() -> None:
    told = flowwatch("summary", "--input-file", WEATHER, "-n", "wether", "-n", "weather")
    assert "no record of" not in told.stderr


def test_names_of_a_hostile_file_are_shown_escaped(tmp_path: Path) -> None:
    path = capture(tmp_path, record("EGRESS", 40000, "\x1b[2Jshop/api"))
    told = flowwatch("summary", "--input-file", path, "-n", "shop")
    assert told.stderr == "flowwatch: no record of namespace shop; seen: \\x1b[2Jshop\n"


@pytest.mark.skipif(not CASE.is_dir(), reason="the shared cases don't lie beside this checkout")
@pytest.mark.parametrize("verb", ["summary", "export"])
def test_the_shared_case(verb: str) -> None:
    told = flowwatch(verb, "--input-file", CASE / "flows.jsonl")
    assert (told.returncode, told.stderr) == (0, f"flowwatch: {ONE}\n")


def test_an_export_without_drops_says_what_there_is(tmp_path: Path) -> None:
    passed = record("EGRESS", 40000)
    passed["flow"] |= {"verdict": "FORWARDED", "event_type": {"type": 5}, "is_reply": False}
    del passed["flow"]["drop_reason_desc"]
    flows = capture(tmp_path, passed)
    done = flowwatch("export", "--format", "jsonl", "--input-file", flows)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == (
        "flowwatch: no attempt was dropped; 1 forwarded: --outcome all lists them\n"
    )
    spelt = flowwatch("export", "--drops", "--format", "jsonl", "--input-file", flows)
    assert (spelt.returncode, spelt.stdout, spelt.stderr) == (0, "", "")
    done = flowwatch("export", "--format", "jsonl", "--input-file", flows, "--outcome", "all")
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--since 2100-01-01", "no record is of that time: the capture ends at {1}"),
        ("--until 2000-01-01", "no record is of that time: the capture begins at {0}"),
        (
            "--since 2026-01-31T10:30:00Z --until 2026-01-31T10:30:01Z",
            "no record is of that time, though the capture goes from {0} to {1}",
        ),
        (
            "--since 2026-02-03 --until 2026-02-02",
            "no record lies in a window that ends before it begins",
        ),
        ("--since 2026-01-31T11:00:00Z", ""),
        ("--since 2026-01-31T11:00:00Z --port 1", ""),
    ],
)
def test_a_window_without_records_is_told(
    words: str, said: str, folder: bool, tmp_path: Path
) -> None:
    """Else it looks as if there had been no traffic; of a folder some files aren't even opened."""
    times = ("2026-01-31T10:00:00Z", "2026-01-31T11:00:00Z")
    records = [record("EGRESS", 40000 + number) for number in range(2)]
    for one, time in zip(records, times, strict=True):
        one["time"] = one["flow"]["time"] = time
    source = capture(tmp_path, *records)
    if folder:
        source = tmp_path / "rotated"
        source.mkdir()
        for one, name in zip(records, ("events-1.log", "events.log"), strict=True):
            (source / name).write_text(json.dumps(one) + "\n")
    told = flowwatch("summary", "--input-file", source, *words.split()).stderr
    assert said.format(*times) in told
    assert ("no record " in told) == bool(said)
