"""Files in the shapes in which log pipelines keep Hubble's records, and what verbs say of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import flowwatch as library
from tests.in_process import flowwatch
from tests.material import OWN
from tests.unit.audits.told import SHARED

SHAPES = SHARED / "26-file-shapes"
RECORDS = (OWN / "captures/tcp.jsonl").read_text().splitlines()
WRAPPED: dict[str, Callable[[str], str]] = {
    "log": lambda text: json.dumps({"log": text + "\n", "stream": "stdout", "time": "x"}),
    "a container's log (CRI)": lambda text: f"2026-01-31T10:00:00.1Z stdout F {text}",
    "msg": lambda text: f"level=info msg={json.dumps(text)}",
    "_source": lambda text: json.dumps({"_index": "x", "_source": json.loads(text)["flow"]}),
    "result._raw": lambda text: json.dumps({"result": {"_raw": text, "source": "x", "_time": 1.5}}),
    "lines that begin with other text": lambda text: f"[pod/cilium-x/agent] {text}",
}


def written(folder: Path, lines: list[str]) -> Path:
    path = folder / "flows.log"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("where", WRAPPED)
@pytest.mark.parametrize("flags", [[], ["--protocol", "tcp"]])
def test_wrapped_records_are_counted_as_plain_ones(
    where: str, flags: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path, [WRAPPED[where](text) for text in RECORDS])
    plain = flowwatch("summary", "--input-file", OWN / "captures/tcp.jsonl", *flags)
    told = flowwatch("summary", "--input-file", path, *flags)
    assert (told.returncode, told.stdout) == (0, plain.stdout)
    assert told.stderr == f"flowwatch: {len(RECORDS)} records were unwrapped from {where}\n"


def test_observe_prints_wrapped_records_as_plain_ones(tmp_path: Path) -> None:
    path = written(tmp_path, [WRAPPED["log"](text) for text in RECORDS])
    plain = flowwatch("observe", "--input-file", OWN / "captures/tcp.jsonl", "-o", "json")
    told = flowwatch("observe", "--input-file", path, "-o", "json")
    assert (told.returncode, told.stdout) == (0, plain.stdout)
    assert told.stderr == f"flowwatch: {len(RECORDS)} records were unwrapped from log\n"


def test_of_a_mixed_file_what_holds_no_record_is_skipped_and_told(tmp_path: Path) -> None:
    other = ['{"log": "level=info msg=started"}', "2026-01-31T10:00:00.1Z stderr F starting"]
    mixed = [RECORDS[0], WRAPPED["log"](RECORDS[1]), *other, WRAPPED["msg"](RECORDS[2])]
    told = flowwatch("summary", "-o", "json", "--input-file", written(tmp_path, mixed))
    answer = json.loads(told.stdout)
    assert answer["records_read"] == 3
    assert answer["skipped_by_reason"] == {"JSON without a flow": 1, "not JSON": 1}
    assert "2 records were unwrapped from log, msg" in answer["warnings"]


def test_an_answer_of_elasticsearch_is_one_document_with_many_records(tmp_path: Path) -> None:
    hits = [{"_source": {"message": text}} for text in RECORDS]
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"took": 3, "hits": {"hits": hits}}, indent=2))
    with pytest.warns(
        UserWarning, match=r"40 records were unwrapped from hits\.hits\._source\.message"
    ):
        frame = library.read(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = library.read(OWN / "captures/tcp.jsonl")
    assert frame.equals(plain)


PRINTED: dict[str, Callable[[str], str]] = {
    "logcli -o raw": lambda text: text,
    "logcli": lambda text: f'2026-01-31T10:00:00Z {{app="hubble", pod="export-0"}} {text}',
    "logcli -o jsonl": lambda text: json.dumps(
        {"labels": {"app": "hubble", "pod": "export-0"}, "line": text, "timestamp": "2026-01-31T10:00:00Z"}
    ),
    "logcli -o raw, of fluent-bit's lines": lambda text: json.dumps(
        {"log": text, "stream": "stdout", "kubernetes": {"pod_name": "export-0", "labels": {"app": "hubble"}}}
    ),
    "logcli -o jsonl, of a container's lines": lambda text: json.dumps(
        {"labels": {"app": "hubble"}, "line": f"2026-01-31T10:00:00Z stdout F {text}"}
    ),
    "kubectl logs": lambda text: text,
    "kubectl logs --timestamps": lambda text: f"2026-01-31T10:00:00.123456789Z {text}",
    "kubectl logs --prefix --timestamps": lambda text: (
        f"[pod/export-0/agent] 2026-01-31T10:00:00.123456789Z {text}"
    ),
    "Elasticsearch's hits, a line each": lambda text: json.dumps(
        {"_index": "hubble", "_id": "a", "_source": {"@timestamp": "2026-01-31T10:00:00Z", "message": text,
         "log": {"file": {"path": "/var/log/hubble"}, "offset": 3}, "agent": {"type": "filebeat"}}}
    ),
    "Elasticsearch's hits, parsed": lambda text: json.dumps(
        {"_index": "hubble", "_source": {"@timestamp": "x", "event": {"original": text}, **json.loads(text)}}
    ),
}  # fmt: skip
"""What log stores and their commands print of a record."""


@pytest.mark.parametrize("how", PRINTED)
def test_what_log_stores_print_is_read_from_a_pipe(how: str) -> None:
    plain = flowwatch("summary", "--input-file", OWN / "captures/tcp.jsonl", "-o", "json")
    piped = "".join(f"{PRINTED[how](text)}\n" for text in RECORDS)
    told = flowwatch("summary", "--input-file", "-", "-o", "json", input=piped)
    assert told.returncode == 0, told.stderr
    found, wanted = json.loads(told.stdout), json.loads(plain.stdout)
    for key in ("records_read", "totals", "rows", "window", "records_skipped"):
        assert found[key] == wanted[key], key


def test_the_answer_of_loki_is_one_document_with_many_records() -> None:
    plain = flowwatch("summary", "--input-file", OWN / "captures/tcp.jsonl")
    values = [[str(number), text] for number, text in enumerate(RECORDS)]
    stream = {"stream": {"app": "hubble"}, "values": values}
    answer = {
        "status": "success",
        "data": {"resultType": "streams", "result": [stream], "stats": {}},
    }
    told = flowwatch("summary", "--input-file", "-", input=json.dumps(answer))
    assert (told.returncode, told.stdout) == (0, plain.stdout)
    assert "40 records were unwrapped from data.result.values" in told.stderr


def test_a_log_without_flows_is_refused(tmp_path: Path) -> None:
    lines = ['{"log": "level=info msg=started"}'] * 3
    told = flowwatch("summary", "--input-file", written(tmp_path, lines))
    assert (told.returncode, told.stdout) == (1, "")
    assert "holds no Hubble flows (3 × JSON without a flow)" in told.stderr


def test_a_name_in_an_envelope_is_shown_escaped(tmp_path: Path) -> None:
    path = written(tmp_path, [json.dumps({"\x1b[2Jlog": RECORDS[0]})])
    told = flowwatch("summary", "--input-file", path)
    assert "unwrapped from" in told.stderr
    assert "\x1b" not in told.stderr


@pytest.mark.skipif(not SHAPES.is_dir(), reason="the shared cases don't lie beside this checkout")
def test_the_shared_shapes_are_read_or_refused_in_words() -> None:
    for path in sorted(SHAPES.glob("*.jsonl")):
        told = flowwatch("summary", "-o", "json", "--input-file", path)
        if path.stem == "compact":
            assert (told.returncode, told.stdout) == (1, "")
            assert "compact.jsonl is hubble observe's compact text" in told.stderr
        else:
            answer = json.loads(told.stdout)
            assert (path.stem, answer["records_read"]) == (path.stem, 4)
            assert answer["totals"]["dropped"] == 1


def test_an_export_of_wrapped_records_lacks_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, [WRAPPED["log"](text) for text in RECORDS])
    table = tmp_path / "all.csv"
    told = flowwatch("export", "--outcome", "all", "--input-file", path, "--output", table)
    assert "40 records were unwrapped from log" in told.stderr
    assert sorted(one.name for one in tmp_path.iterdir()) == ["all.csv", "flows.log"]
