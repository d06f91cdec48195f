"""``--filter``: the dashboard's language, for the verbs that print once."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tests.in_process import flowwatch


def rows_of(*words: str) -> list[dict[str, object]]:
    told = flowwatch("summary", "-o", "json", *words)
    assert told.returncode == 0, told.stderr
    rows: list[dict[str, object]] = json.loads(told.stdout)["rows"]
    return rows


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three drops of two pods, as hubble prints them."""
    path = tmp_path_factory.mktemp("filter") / "flows.jsonl"
    lines = []
    for number, (pod, address, port) in enumerate(
        [("web-1", "10.0.0.1", 443), ("web-1", "10.0.0.2", 80), ("cart-0", "10.0.0.1", 443)]
    ):
        lines.append(
            json.dumps(
                {
                    "flow": {
                        "time": f"2026-01-31T10:00:0{number}Z",
                        "verdict": "DROPPED",
                        "drop_reason_desc": "POLICY_DENIED",
                        "event_type": {"type": 1, "sub_type": 133},
                        "traffic_direction": "EGRESS",
                        "IP": {"source": f"10.9.0.{number}", "destination": address},
                        "l4": {
                            "TCP": {
                                "source_port": 4000 + number,
                                "destination_port": port,
                                "flags": {"SYN": True},
                            }
                        },
                        "source": {
                            "namespace": "shop",
                            "pod_name": pod,
                            "identity": 1000 + number,
                            "labels": [f"k8s:app={pod[:3]}"],
                        },
                        "destination": {"identity": 2, "labels": ["reserved:world"]},
                        "node_name": "n1",
                    }
                }
            )
        )
    path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("text", "pods"),
    [
        ("pod:web-1", ["web-1", "web-1"]),
        ("to:10.0.0.1 !pod:web*", ["cart-0"]),
        ("port:80", ["web-1"]),
        ("verdict:forwarded", []),
        ("label:app=car|port:80", ["cart-0", "web-1"]),
    ],
)
def test_summary_and_export_find_the_same(capture: str, text: str, pods: list[str]) -> None:
    assert (
        sorted(str(row["pod"]) for row in rows_of("--input-file", capture, "--filter", text))
        == pods
    )
    grouped = ["--grouped"] if "label:" in text else []
    told = flowwatch("export", "--input-file", capture, "--filter", text, *grouped)
    assert told.returncode == 0
    assert sorted(row["pod"] for row in csv.DictReader(io.StringIO(told.stdout))) == pods


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["summary", "--filter", "polcy:x"], "no key 'polcy:' in a filter: did you mean policy:?"),
        (["export", "--filter", "port:https"], "'https' is no port: 443, 53/udp or 8000-8100"),
        (
            ["export", "--raw", "--filter", "x"],
            "--filter asks of attempts and rows: leave out --raw",
        ),
        (["export", "--filter", "label:a"], "attempts have no labels"),
    ],
)
def test_what_is_no_filter_is_one_line(capture: str, words: list[str], says: str) -> None:
    told = flowwatch(*words, "--input-file", capture)
    assert told.returncode != 0
    assert says in told.stderr
    assert told.stderr.count("\n") == 1
