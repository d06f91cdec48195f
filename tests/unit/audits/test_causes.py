"""What blocked each row, by the policies given: whatever its peer is, and wherever rows are shown."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flowwatch.audits.causes import RowCauses
from flowwatch.audits.judge import Judge
from flowwatch.demo.story import policy_text
from flowwatch.egress import select
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.rows import Row
from flowwatch.egress.view import snapshot
from flowwatch.flows.join import Join
from flowwatch.flows.model import Batch, Endpoint, Flow, Layer7, Verdict
from flowwatch.policy import load
from flowwatch.report.summary_table import policy_text as shown
from tests.command import one_line
from tests.in_process import flowwatch
from tests.unit.audits.planted import CORRECT, capture
from tests.unit.flows.made import API, APP, DENY, denied, flow, l7, verdict

RULES = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: weather-egress, namespace: weather}
spec:
  endpointSelector: {}
  egress:
    - toCIDR: [8.8.8.8/32]
    - toEndpoints: [{matchLabels: {"k8s:io.kubernetes.pod.namespace": web}}]
      toPorts:
        - ports: [{port: "80", protocol: TCP}]
          rules: {http: [{method: GET, path: /ok}]}
  egressDeny:
    - toCIDR: [9.9.9.9/32]
"""
GUARD = """\
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: guard, namespace: api}
spec:
  endpointSelector: {}
  ingress: [{}]
"""
LOCKED = GUARD.replace("[{}]", "[{fromEndpoints: [{matchLabels: {app: nobody}}]}]")
WEATHER = msgspec.structs.replace(APP, labels=("k8s:app=weather-app",))
SERVER = msgspec.structs.replace(API, labels=("k8s:app=api",))
HOST = Endpoint(identity=1, labels=("reserved:host",), entity="host")


def counted(*flows: Flow, policy: str = RULES, size: int = 1000) -> Aggregate:
    join = Join()
    aggregate = Aggregate(join=join, teller=RowCauses(Judge(load([("p.yaml", policy)])), join))
    for place in range(0, len(flows), size):
        join.add(Batch(flows=list(flows[place : place + size])))
    aggregate.learn()
    return aggregate


def rows(*flows: Flow, policy: str = RULES, **query: Any) -> list[Row]:
    return list(snapshot(counted(*flows, policy=policy), Query(**query)).rows)


@pytest.mark.parametrize(
    ("kind", "there"),
    [
        ("dns", {"destination_names": ("other.example",)}),
        ("service", {"destination_service": "shop/cart"}),
        ("pod", {"destination": SERVER, "destination_ip": "10.0.0.9"}),
        ("entity", {"destination": HOST, "destination_ip": "10.0.0.2"}),
        ("address", {}),
    ],
)
def test_every_kind_of_peer_has_its_cause(kind: str, there: dict[str, Any]) -> None:
    [row] = rows(*denied(source=WEATHER, **there))
    assert row.peer_kind == kind
    assert shown(row) == "default deny · weather-egress"
    assert row.attribution.startswith("default deny of weather/weather-egress: no rule allows it")


@pytest.mark.parametrize(
    ("words", "flows"),
    [
        ("deny · weather-egress", denied(reason=181, source=WEATHER, destination_ip="9.9.9.9")),
        ("though allowed · weather-egress", denied(source=WEATHER, destination_ip="8.8.8.8")),
        ("a policy not given", denied(source=SERVER)),
        ("not given · deny-world", denied(source=SERVER, denied_by=(DENY,))),
        ("default deny · weather-egress", [verdict(source=WEATHER, verdict=Verdict.AUDIT)]),
    ],
)  # fmt: skip
def test_what_blocks_is_told_in_few_words(words: str, flows: list[Flow]) -> None:
    [row] = rows(*flows)
    assert shown(row) == words


def test_what_the_proxy_refused_is_the_l7_rules_doing() -> None:
    web = Endpoint(identity=5, labels=("k8s:app=web",), namespace="web", pod="web-1")
    there: dict[str, Any] = {"source": WEATHER, "destination": web, "destination_ip": "10.0.0.7",
                             "destination_port": 80}  # fmt: skip
    request = Layer7(type=1, http_method="DELETE", http_url="http://web/ok")
    [row] = rows(verdict(**there), l7(0.1, request, verdict=Verdict.DROPPED, **there))
    assert shown(row) == "L7 rules · weather-egress"
    assert "none allows DELETE http://web/ok" in row.attribution


def test_what_the_other_end_blocks_names_that_end() -> None:
    there: dict[str, Any] = {"source": WEATHER, "destination": SERVER, "destination_ip": "10.0.0.9"}
    flows = [verdict(**there), *denied(0.001, direction=1, node="node-2", **there)]
    egress, ingress = sorted(
        rows(*flows, policy=LOCKED, direction="both"), key=lambda r: r.direction
    )
    assert shown(egress) == "default deny · guard, ingress of api/api"
    assert shown(ingress) == "default deny · guard"


def test_a_drop_that_is_no_policys_names_none() -> None:
    [row] = rows(denied(reason=158, source=WEATHER)[1])
    assert (row.cause, shown(row)) == ("", "")
    assert row.attribution.startswith("dropped for a reason that is no policy's")


def test_what_got_through_in_the_end_has_none() -> None:
    [row] = rows(*denied(0, source=WEATHER), *denied(1, source=WEATHER),
                 verdict(3.1, source=WEATHER), flow(3.1, source=WEATHER))  # fmt: skip
    assert (row.late, row.cause, row.attribution) == (1, "", "")


@pytest.mark.parametrize("few", [select.FEW, 0], ids=["few rows", "many rows"])
def test_the_filter_finds_what_is_shown_and_not_what_it_stands_for(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(select, "FEW", few)
    flows = [*denied(source=WEATHER), verdict(1, source=SERVER, destination_ip="5.5.5.5")]
    aggregate = counted(*flows)

    def found(text: str) -> list[str]:
        return [row.peer for row in snapshot(aggregate, Query(text=text)).rows]

    assert found("weather-egress") == ["1.2.3.4"]
    assert found("!weather-egress") == ["5.5.5.5"]
    assert found("allows") == []


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_however_records_come_in_batches_and_whatever_is_folded(size: int) -> None:
    flows = [one for at in range(40) for one in denied(at * 60, source=WEATHER, source_port=1000 + at,
                                                       destination_ip=f"1.1.1.{at % 4}")]  # fmt: skip
    aggregate = counted(*flows, size=size)
    assert {row.cause for row in snapshot(aggregate, Query()).rows} == {
        "default deny · weather-egress"
    }
    aggregate.max_rows = 4
    aggregate.join.add(Batch(flows=[flow(2500, source=SERVER, destination_ip="5.5.5.5")]))
    kept = [row for row in snapshot(aggregate, Query()).rows if row.peer.startswith("1.")]
    assert kept
    assert {row.cause for row in kept} == {"default deny · weather-egress"}


def test_a_few_at_a_time_and_the_unknown_first() -> None:
    flows = [
        one for at in range(5) for one in denied(at, source=WEATHER, destination_ip=f"1.1.1.{at}")
    ]
    join = Join()
    aggregate = Aggregate(join=join, teller=RowCauses(Judge(load([("p.yaml", RULES)])), join))
    join.add(Batch(flows=flows))
    assert not aggregate.learn(2)
    assert sum(bool(row.cause) for row in snapshot(aggregate, Query()).rows) == 2
    assert aggregate.learn(3)
    assert all(row.cause for row in snapshot(aggregate, Query()).rows)


# The verbs ---------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    policy, flows = tmp_path / "policy.yaml", tmp_path / "flows.jsonl"
    policy.write_text(CORRECT)
    flows.write_text(capture(CORRECT))
    return policy, flows


def test_summary_and_export_tell_the_same(files: tuple[Path, Path]) -> None:
    given = ("--policies", files[0], "--input-file", files[1])
    of_json = json.loads(flowwatch("summary", "-o", "json", *given).stdout)["rows"]
    of_csv = list(csv.DictReader(io.StringIO(flowwatch("summary", "-o", "csv", *given).stdout)))
    grouped = list(
        csv.DictReader(
            io.StringIO(flowwatch("export", "--grouped", "--outcome", "all", *given).stdout)
        )
    )
    lines = [
        json.loads(line)
        for line in flowwatch("export", "--format", "jsonl", *given).stdout.splitlines()
    ]
    told = [(row["peer"], row["cause"], row["attribution"]) for row in of_json]
    assert ("default deny · weather-egress") in {cause for _, cause, _ in told}
    assert told == [(row["peer"], row["cause"], row["attribution"]) for row in of_csv]
    assert sorted(told) == sorted(
        (row["peer"], row["cause"], row["attribution"]) for row in grouped
    )
    assert {text for _, _, text in told if text} == {line["attribution"] for line in lines}


def test_people_read_it_in_the_policy_column(files: tuple[Path, Path]) -> None:
    given = ("--policies", files[0], "--input-file", files[1])
    assert (
        "`default deny · weather-egress`" in flowwatch("summary", "-o", "markdown", *given).stdout
    )
    plain = flowwatch("summary", "-o", "markdown", "--input-file", files[1]).stdout
    assert "weather-egress" not in plain.replace("weather/weather-egress", "")


def test_without_policies_no_format_has_its_columns(files: tuple[Path, Path]) -> None:
    for words in (("summary", "-o", "json"), ("summary", "-o", "csv"), ("export", "--grouped")):
        text = flowwatch(*words, "--input-file", files[1]).stdout
        assert text
        assert "attribution" not in text


def test_the_demo_without_a_terminal_takes_them_too(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(policy_text())
    text = flowwatch("demo", "-f", policy, "-o", "json", "--namespace", "weather").stdout
    causes = {row["peer_kind"]: row["cause"] for row in json.loads(text)["rows"] if row["dropped"]}
    assert {causes[kind] for kind in ("dns", "pod", "address")} == {"default deny · weather-egress"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("summary", "-f", "p.yaml"), "-f follows, of flowwatch summary: --policies p.yaml names policies"),
        (("export", "-f", "p.yaml"), "-f follows, of flowwatch export: --policies p.yaml names policies"),
        (("changes", "-f", "p.yaml"), "-f follows, of flowwatch changes: --policies p.yaml names policies"),
        (("summary", "--filename", "p.yaml"), "unknown flag: --filename: --policies FILE names policies"),
        (("export", "--raw", "--policies", "p.yaml"), "--policies tells of attempts and rows: leave out"),
    ],
)  # fmt: skip
def test_the_wrong_flag_says_the_right_one(words: tuple[str, ...], said: str) -> None:
    result = flowwatch(*words)
    assert result.returncode == 2
    assert said in one_line(result)


@pytest.mark.parametrize("flag", ["-f", "--policies", "--filename"])
@pytest.mark.parametrize("verb", ["audit", "whatif"])
def test_where_f_is_free_it_is_theirs(verb: str, flag: str, files: tuple[Path, Path]) -> None:
    result = flowwatch(verb, flag, files[0], "--input-file", files[1])
    assert result.returncode in (0, 1)
