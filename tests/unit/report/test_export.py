"""Attempts, rows and records as CSV, JSON lines and Parquet, read back."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest

from flowwatch.egress.record_schema import RECORD
from flowwatch.egress.schema import ATTEMPT, ROW, explanation
from flowwatch.errors import InputError, OutputError, UsageError
from flowwatch.flows.attempt import Attempt
from flowwatch.flows.kinds import kind
from flowwatch.flows.known import make_flow
from flowwatch.flows.model import Endpoint, Flow, Layer7
from flowwatch.flows.reasons import L7_DENIED, reason
from flowwatch.output import Output, open_output
from flowwatch.report.export import write_attempts, write_records, write_rows
from tests.unit.report.made import ALLOW, DENY, HOSTILE, START, attempt, row

TIME = "2026-03-04T05:06:07.089000123Z"


def record(**changes: Any) -> Flow:
    values: dict[str, Any] = {
        "time": START,
        "verdict": 2,
        "drop_reason": 133,
        "direction": 2,
        "is_reply": None,
        "event_type": 5,
        "sub_type": 0,
        "source": Endpoint(1234, "weather", "weather-app-1", "weather-app"),
        "destination": Endpoint(2, entity="world"),
        "source_ip": "10.0.1.5",
        "destination_ip": "142.250.1.1",
        "protocol": "TCP",
        "source_port": 40_000,
        "destination_port": 443,
        "tcp_flags": 2,
        "source_names": (),
        "destination_names": ("google.com",),
        "source_service": "",
        "destination_service": "",
        "l7": None,
        "allowed_by": (),
        "denied_by": (DENY,),
        "match_type": 0,
        "auth_type": 0,
        "node": "demo/node-1",
        "uuid": "6260491f",
    }
    return make_flow(**{**values, **changes})


def written(write: Any, items: Any, table_format: str = "csv") -> bytes:
    file = io.BytesIO()
    with Output(file, "a test") as out:
        write(items, out, table_format)
    return file.getvalue()


def test_attempts_come_back_from_pandas_with_right_types() -> None:
    attempts = [
        attempt(),
        attempt(drop_reason="L7_DENIED", drop_reason_number=L7_DENIED, detail="GET http://x/y"),
        attempt(outcome="forwarded", drop_reason="", drop_reason_number=0, port=0, denied_by=()),
        attempt(outcome="audited", allowed_by=(ALLOW,)),
    ]
    data = written(write_attempts, attempts)
    frame = pandas.read_csv(
        io.BytesIO(data), keep_default_na=False, parse_dates=["first_seen", "last_seen"]
    )
    assert list(frame.columns) == [column.name for column in ATTEMPT]
    for name in ("schema_version", "port", "source_port", "drop_reason_number", "records"):
        assert frame[name].dtype == "int64", name
    assert str(frame["first_seen"].dt.tz) == "UTC"
    assert frame["first_seen"].astype("datetime64[ns, UTC]").astype("int64")[0] == START
    assert (frame["last_seen"] - frame["first_seen"]).dt.total_seconds().tolist() == [7.0] * 4
    assert frame["explanation"].tolist() == [
        reason(133).plain,
        reason(L7_DENIED).plain,
        "",
        "A policy would deny this connection, but audit mode let it through.",
    ]
    assert frame["policies"].tolist() == [
        "deny CiliumNetworkPolicy weather/only-openweathermap",
        "deny CiliumNetworkPolicy weather/only-openweathermap",
        "",
        "deny CiliumNetworkPolicy weather/only-openweathermap; "
        "allow CiliumClusterwideNetworkPolicy dns",
    ]
    assert set(frame["schema_version"]) == {2}


def test_the_header_of_the_csv_of_drops_is_stable() -> None:
    # People build on it: a change here needs a new SCHEMA_VERSION, unless columns are only added.
    assert written(write_attempts, []).decode() == (
        "schema_version,first_seen,last_seen,direction,outcome,namespace,pod,workload,pod_address,"
        "source_port,peer,peer_kind,peer_address,port,protocol,drop_reason,drop_reason_number,"
        "explanation,detail,policies,records,node,cluster,server,answer,waited,retries,noise,uncounted,"
        "not_recorded,encrypted,policy_log\n"
    )


def test_hostile_cells_are_text_for_a_spreadsheet() -> None:
    formulas = ["=1+1", "+cmd", "-2", "@SUM(A1)", "\t=1", "\r=1", "＝1", HOSTILE]
    data = written(write_attempts, [attempt(peer=f, pod=f, detail=f) for f in formulas]).decode()
    lines = list(csv.DictReader(io.StringIO(data)))
    assert len(lines) == len(formulas)
    for line in lines:
        for name in ("peer", "pod", "detail"):
            assert line[name].startswith("'")
            assert line[name].isprintable()
    assert [line["port"] for line in lines] == ["443"] * len(formulas)


def test_commas_and_quotes_survive() -> None:
    data = written(write_attempts, [attempt(peer='a,"b"', node="c\\d")]).decode()
    assert next(csv.DictReader(io.StringIO(data)))["peer"] == 'a,"b"'
    assert pandas.read_csv(io.StringIO(data))["node"][0] == "c\\d"


def test_json_lines() -> None:
    data = written(write_attempts, [attempt(detail=HOSTILE), attempt(port=0)], "jsonl")
    lines = data.decode().splitlines()
    assert all(line.isprintable() for line in lines)
    first = json.loads(lines[0])
    assert list(first) == [column.name for column in ATTEMPT]
    assert first["detail"] == HOSTILE
    assert first["first_seen"] == TIME
    assert first["policies"] == [
        {
            "effect": "deny",
            "kind": "CiliumNetworkPolicy",
            "namespace": "weather",
            "name": "only-openweathermap",
        }
    ]
    assert json.loads(lines[1])["port"] == 0


@pytest.mark.parametrize(
    ("write", "items", "columns"),
    [
        (write_attempts, [attempt(), attempt(first_seen=0)], ATTEMPT),
        (write_rows, [row(), row(peer_addresses=())], ROW),
        (write_records, [record(), record(is_reply=True)], RECORD),
        (write_rows, [], ROW),
    ],
)
def test_parquet_has_typed_columns(
    tmp_path: Path, write: Any, items: list[Any], columns: Any
) -> None:
    target = tmp_path / "table.parquet"
    with open_output(str(target)) as out:
        assert write(items, out, "parquet") == len(items)
    frame = pandas.read_parquet(target)
    assert list(frame.columns) == [column.name for column in columns]
    assert len(frame) == len(items)
    for column in columns:
        if column.kind == "int":
            assert frame[column.name].dtype == "int64"
        if column.kind == "time":
            assert str(frame[column.name].dtype) == "datetime64[ns, UTC]"
    if items and write is write_attempts:
        assert frame["first_seen"].isna().tolist() == [False, True]
        assert frame["first_seen"][0].value == START
        assert frame["policies"][0][0]["name"] == "only-openweathermap"


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from flowwatch.errors import UsageError\n"
        "from flowwatch.report.export import write_attempts\n"
        "from flowwatch.output import open_output\n"
        "try:\n"
        "    with open_output(sys.argv[1]) as out: write_attempts([], out, 'parquet')\n"
        "except UsageError as error: print(error)\n"
    )
    target = tmp_path / "table.parquet"
    done = subprocess.run(
        [sys.executable, "-c", program, str(target)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "writing Parquet needs pyarrow: pip install 'flowwatch[parquet]'\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("table_format", ["csv", "jsonl", "parquet"])
def test_a_full_device_is_an_output_error(table_format: str) -> None:
    attempts = [attempt(source_port=port) for port in range(2_000)]
    with pytest.raises(OutputError, match="can't write /dev/full: No space left on device"):
        export_to_full_device(attempts, table_format)


def export_to_full_device(attempts: list[Attempt], table_format: str) -> None:
    with open_output("/dev/full") as out:
        write_attempts(attempts, out, table_format)


@pytest.mark.parametrize("table_format", ["csv", "jsonl", "parquet"])
def test_what_came_before_the_source_failed_is_written(tmp_path: Path, table_format: str) -> None:
    def source() -> Iterator[Attempt]:
        yield attempt()
        yield attempt(source_port=2)
        raise InputError("cut off")

    target = tmp_path / "drops"
    with open_output(str(target)) as out:
        with pytest.raises(InputError):
            write_attempts(source(), out, table_format)
        out.keep_as_partial()
    partial = tmp_path / "drops.partial"
    assert list(tmp_path.iterdir()) == [partial]
    read: dict[str, Any] = {
        "csv": pandas.read_csv,
        "jsonl": lambda path: pandas.read_json(path, lines=True),
        "parquet": pandas.read_parquet,
    }
    assert read[table_format](partial)["source_port"].tolist() == [40_000, 2]


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(UsageError, match="invalid export format: xml: choose one of csv, jsonl"):
        written(write_attempts, [], "xml")


def test_records_as_csv() -> None:
    flows = [
        record(),
        record(
            event_type=129,
            drop_reason=0,
            is_reply=False,
            l7=Layer7(1, http_method="PUT", http_url="http://api/x"),
        ),
        record(event_type=4, sub_type=3, verdict=1, drop_reason=0, is_reply=True, direction=0),
        record(event_type=1, drop_reason=214, verdict=2, tcp_flags=18),
        record(verdict=42, event_type=99, drop_reason=0),
    ]
    lines = list(csv.DictReader(io.StringIO(written(write_records, flows).decode())))
    assert [line["kind"] for line in lines] == [
        "policy-verdict",
        "http-request",
        "to-stack",
        "drop",
        "unknown",
    ]
    assert [line["drop_reason"] for line in lines] == ["POLICY_DENIED", "L7_DENIED", "", "214", ""]
    assert [line["is_reply"] for line in lines] == ["", "false", "true", "", ""]
    assert [line["verdict"] for line in lines] == [
        "DROPPED",
        "DROPPED",
        "FORWARDED",
        "DROPPED",
        "42",
    ]
    assert lines[0]["match_type"] == "none"
    assert lines[1]["l7"] == "PUT http://api/x"
    assert lines[2]["direction"] == "unknown"
    assert lines[3]["tcp_flags"] == "SYN; ACK"
    assert lines[0]["time"] == TIME
    assert lines[0]["destination_names"] == "google.com"


@pytest.mark.parametrize(
    ("l7", "name"),
    [
        (Layer7(2, dns_query="x.io"), "dns-response"),
        (Layer7(3), "l7-sample"),
        (Layer7(0, http_method="GET"), "http-unknown"),
    ],
)
def test_kinds_of_l7_records(l7: Layer7, name: str) -> None:
    assert kind(record(l7=l7, event_type=129)) == name


def test_every_outcome_has_an_explanation_but_forwarded() -> None:
    assert explanation("forwarded", 0) == ""
    for outcome in ("audited", "error", "unknown"):
        assert explanation(outcome, 0).endswith(".")
    assert explanation("dropped", 158) == reason(158).plain
