"""Records as log pipelines keep them: what is taken out of a line, and what is left as it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from flowwatch.hubble.captures.unwrapping import unwrap, unwrap_line

FLOW: dict[str, Any] = {
    "time": "2026-01-31T10:00:00Z",
    "verdict": "DROPPED",
    "IP": {"source": "10.0.0.1", "destination": "192.0.2.9"},
    "Summary": 'GET "/" {"a": 1}',
}
RECORD: dict[str, Any] = {"flow": FLOW, "node_name": "n1", "time": "2026-01-31T10:00:00Z"}
TEXT = json.dumps(RECORD)


def document(value: object) -> bytes:
    return json.dumps(value).encode()


def quoted(text: str) -> str:
    return json.dumps(text)


HIT = {"_index": "filebeat", "_source": {"@timestamp": "x", "agent": {"type": "filebeat"}}}
ENVELOPES: dict[str, tuple[object, str]] = {
    "docker": ({"log": TEXT + "\n", "stream": "stdout"}, "log"),
    "fluent-bit, merged": ({"date": 1769853600.5, "log": RECORD, "kubernetes": {}}, "log"),
    "filebeat": ({"source": "/var/log/x.log", "message": TEXT}, "message"),
    "a log line in a log line": ({"message": f"2026-01-31T10:00:00Z stdout F {TEXT}"}, "message"),
    "splunk, one result": (
        {"preview": False, "result": {"_raw": TEXT, "source": "x"}},
        "result._raw",
    ),
    "splunk, all": ({"results": [{"_raw": TEXT}]}, "results._raw"),
    "splunk's collector": ({"time": 1769853600.5, "source": "x", "event": RECORD}, "event"),
    "logcli": ({"labels": {"app": "cilium"}, "line": TEXT, "timestamp": "x"}, "line"),
    "loki's answer": (
        {"status": "success", "data": {"result": [{"stream": {}, "values": [["1", TEXT]]}]}},
        "data.result.values",
    ),
    "logfmt in a container's log": (
        {"log": f'time="x" level=info msg={quoted(TEXT)}\n', "stream": "stderr"},
        "log",
    ),
    "journald": (
        {"MESSAGE": TEXT, "_SYSTEMD_UNIT": "cilium.service", "__REALTIME_TIMESTAMP": "1769853600"},
        "MESSAGE",
    ),
    "journald, of a text with colours": (
        {"MESSAGE": list(f"\x1b[36m{TEXT}\x1b[0m".encode()), "PRIORITY": "6"},
        "MESSAGE",
    ),
    "journald, of a text that begins with what is no UTF-8": (
        {"MESSAGE": list(b"\xff " + TEXT.encode()), "PRIORITY": "6"},
        "MESSAGE",
    ),
    "journald, of a field that is there twice": (
        {"MESSAGE": [list(b"\x1bstarted"), list(TEXT.encode())]},
        "MESSAGE",
    ),
    "opentelemetry": (
        {"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": TEXT}}]}]}]},
        "resourceLogs.scopeLogs.logRecords.body.stringValue",
    ),
    "text as a flow": ({"flow": json.dumps(FLOW)}, "flow"),
}
LINES: dict[str, tuple[str, str]] = {
    "CRI": (f"2026-01-31T10:00:00.1Z stdout F {TEXT}", "a container's log (CRI)"),
    "logfmt": (f'time="x" level=info msg={quoted(TEXT)}', "msg"),
    "logfmt, not quoted": (f"level=info event={TEXT}", "event"),
    "grep": (f"flows.json:12:{TEXT}", "lines that begin with other text"),
    "kubectl --prefix": (f"[pod/cilium-x/agent] {TEXT}", "lines that begin with other text"),
    "stern": (f"cilium-x cilium-agent {TEXT}", "lines that begin with other text"),
    "stern, coloured": (
        f"\x1b[36mcilium-x\x1b[0m {TEXT}\x1b[0m",
        "lines that begin with other text",
    ),
    "logcli": (f'2026-01-31T10:00:00Z {{app="x"}} {TEXT}', "lines that begin with other text"),
    "kubectl --prefix --timestamps": (
        f"[pod/cilium-x/agent] 2026-01-31T10:00:00.123456789Z {TEXT}",
        "lines that begin with other text",
    ),
    "journalctl": (
        f"Jan 31 10:00:00 node-1 cilium-agent[812]: {TEXT}",
        "lines that begin with other text",
    ),
    "jq without -r": (quoted(TEXT), "text"),
    "CSV": ('12,"' + TEXT.replace('"', '""') + '",x', "a column of CSV"),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_record_in_an_envelope(name: str) -> None:
    envelope, where = ENVELOPES[name]
    [(said, record)] = unwrap(document(envelope))
    assert said == where
    assert json.loads(record) in (RECORD, FLOW)


@pytest.mark.parametrize("name", LINES)
def test_a_record_in_a_line(name: str) -> None:
    line, where = LINES[name]
    [(said, record)] = unwrap_line(line.encode())
    assert said == where
    assert json.loads(record) == RECORD


@pytest.mark.parametrize(
    "numbers",
    [
        list(TEXT.replace("DROPPED", "\x1b").encode()),
        list(TEXT.encode().replace(b"DROPPED", b"\xff")),
        [123, 34, 256],
        [123, 34, "x", None],
        [123, 34, 1.5],
        [123, 34, -1],
        [123, 34, True, []],
        [123, 34, 2**70],
    ],
    ids=[
        "a control character in it",
        "no UTF-8 in it",
        "256",
        "mixed",
        "1.5",
        "-1",
        "true",
        "large",
    ],
)
def test_numbers_that_are_no_record_are_none(numbers: list[object]) -> None:
    assert unwrap(document({"MESSAGE": numbers})) == []


def test_an_answer_with_all_hits_gives_each_in_its_order() -> None:
    hits = [{**HIT, "_source": {**HIT["_source"], **RECORD, "time": str(n)}} for n in range(3)]  # type: ignore[dict-item]
    found = unwrap(document({"took": 3, "hits": {"total": 3, "hits": hits}}))
    assert [where for where, _ in found] == ["hits.hits._source"] * 3
    assert [json.loads(record)["time"] for _, record in found] == ["0", "1", "2"]


def test_a_document_that_is_the_flow_itself_loses_what_the_shipper_added() -> None:
    [(_, record)] = unwrap(document({"_source": {"@timestamp": "x", **FLOW}}))
    assert json.loads(record) == FLOW


def test_the_original_beside_the_parsed_record_is_not_a_second_one() -> None:
    assert (
        len(unwrap(document({"message": TEXT, "event": {"original": TEXT}, "json": RECORD}))) == 1
    )


@pytest.mark.parametrize(
    "value",
    [
        RECORD,
        FLOW,
        {"lost_events": {"num_events_lost": "3"}},
        {"flow": {"verdict": "DROPPED", "l4": "of the wrong type"}},
        {"log": "no flow in here"},
        {"log": TEXT[:-10]},
        {"allowlist": [{"verdict": ["DROPPED"], "source_pod": ["shop/"]}]},
        {"message": "the verdict is {open}"},
    ],
)
def test_what_holds_no_record_but_itself_is_left_as_it_is(value: object) -> None:
    assert unwrap(document(value)) == []


@pytest.mark.parametrize(
    "line",
    [
        f'w":{TEXT[9:]}',
        f'node":{json.dumps(FLOW)}',
        f"2026-01-31T10:00:00Z stdout P {TEXT[:-10]}",
        "Sep 14 10:00:00.000: shop/web:40000 (ID:1) <> 192.0.2.9:443 (world) Policy denied DROPPED flow",
        'level=info msg="{\\"verdict\\": \\x"',
        "x" * 1000 + '{"verdict": 1}',
    ],
)
def test_the_rest_of_a_broken_line_is_no_record(line: str) -> None:
    assert unwrap_line(line.encode()) == []


def test_bytes_that_are_no_text_hold_no_record() -> None:
    assert unwrap_line(b'\xff\xfe {"flow":{"verdict":1}}') == []


def test_nesting_has_an_end() -> None:
    deep: object = RECORD
    for _ in range(30):
        deep = {"log": deep}
    assert unwrap(document(deep)) == []
    text = TEXT
    for _ in range(6):
        text = json.dumps({"log": text})
    assert unwrap(text.encode()) == []


def test_a_number_that_no_integer_holds_stays_in_its_record() -> None:
    [(_, record)] = unwrap(b'{"log":{"verdict":1,"IP":{},"uuid":123456789012345678901234567890}}')
    assert b'"verdict":1' in record
