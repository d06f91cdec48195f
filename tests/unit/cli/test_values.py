"""The names that flags take are those of whoever decides about them, and refusals say the nearest."""

from __future__ import annotations

import re

import pytest

from flowwatch.cli import values
from flowwatch.cli.flag_table import VERBS
from flowwatch.cli.flags import parse
from flowwatch.cli.shared.traffic import BEFORE_OR_AFTER
from flowwatch.cli.usage import usage
from flowwatch.cli.values import Choices
from flowwatch.demo.server import DemoServer
from flowwatch.drafts.documents import KINDS
from flowwatch.drafts.needs import SUBJECTS
from flowwatch.egress.query import DIRECTIONS
from flowwatch.errors import UsageError
from flowwatch.flows.meaning import OUTCOMES
from flowwatch.hubble.filters import values as hubbles
from flowwatch.hubble.filters.flags import build
from flowwatch.hubble.wire import scanner
from flowwatch.hubble.wire.pb.flow import flow_pb2
from flowwatch.report import observe, status
from flowwatch.report.audit import AUDIT_FORMATS
from flowwatch.report.changes import CHANGES_FORMATS
from flowwatch.report.doctor import check_output
from flowwatch.report.explain import EXPLAIN_FORMATS
from flowwatch.report.goformat import TIME_FORMATS
from flowwatch.report.summary import SUMMARY_FORMATS
from flowwatch.report.tables import TABLE_FORMATS
from flowwatch.report.whatif import WHATIF_FORMATS
from flowwatch.tui.theme import THEMES
from tests.command import ROOT, one_line
from tests.in_process import flowwatch

WEATHER = ROOT / "tests" / "data" / "captures" / "weather.jsonl"


def of(verb: str, name: str) -> Choices:
    choices = parse([*verb.split()]).flags[name].choices
    assert choices is not None
    return choices


def everything(choices: Choices) -> set[str]:
    return {*choices.all(), *choices.also}


@pytest.mark.parametrize(
    ("verb", "flag", "known"),
    [
        ("summary", "output", SUMMARY_FORMATS),
        ("audit", "output", AUDIT_FORMATS),
        ("whatif", "output", WHATIF_FORMATS),
        ("changes", "output", CHANGES_FORMATS),
        ("draft", "kind", KINDS),
        ("draft", "for", SUBJECTS),
        ("explain", "output", EXPLAIN_FORMATS),
        ("observe", "output", observe.FORMATS),
        ("export", "format", TABLE_FORMATS),
        ("export", "outcome", [*OUTCOMES, "all"]),
        ("summary", "direction", DIRECTIONS),
        ("whatif", "direction", DIRECTIONS),
        ("", "theme", THEMES),
        ("observe", "color", observe.COLORS),
        ("observe", "time-format", TIME_FORMATS),
        ("audit", "demo", BEFORE_OR_AFTER),
        ("observe", "verdict", flow_pb2.Verdict.keys()),
        ("observe", "field-mask", list(flow_pb2.Flow.DESCRIPTOR.fields_by_name)),
    ],
)
def test_the_names_are_those_of_whoever_decides(verb: str, flag: str, known: object) -> None:
    assert everything(of(verb, flag)) == set(known)  # type: ignore[call-overload]


def test_drop_reasons_are_hubbles() -> None:
    """But for the number that says nothing, and those that Cilium has no use for any more."""
    names = set(of("observe", "drop-reason-desc").all())
    assert names <= set(flow_pb2.DropReason.keys())
    assert set(flow_pb2.DropReason.keys()) - names == {"DROP_REASON_UNKNOWN"}


@pytest.mark.parametrize(
    "flag",
    [
        "verdict",
        "type",
        "traffic-direction",
        "tcp-flags",
        "identity",
        "ip-version",
        "drop-reason-desc",
    ],
)
def test_what_is_offered_for_a_filter_is_taken_by_it(flag: str) -> None:
    choices = of("observe", flag)
    for value in everything(choices):
        assert hubbles.value_of(flag, value) is not None
    for name, below in choices.below:
        for value in below:
            hubbles.value_of(flag, f"{name}:{value}")
    assert hubbles.value_of("ip-version", "v4") == flow_pb2.IPv4


@pytest.mark.parametrize("form", ["compact", "dict", "json", "table", "JSON", "jsonpb", "tab"])
def test_forms_of_the_server_are_taken(form: str) -> None:
    assert form in everything(values.STATUS_OUTPUT)
    status.check_status_output(form)


def test_forms_of_lists_and_of_the_doctor_are_taken() -> None:
    for form in values.LIST_OUTPUT.all():
        assert status.check_list_output(form) == form
    for form in of("doctor", "output").all():
        check_output(form)


REFUSED = [
    ("summary -o jsn", "invalid output format: jsn: did you mean json? one of table, json, csv, markdown"),
    ("status -o x", "invalid output format: x: one of compact, dict, json, table"),
    ("list nodes -o tabel", "unknown output format: tabel: did you mean table? one of table, wide, json"),
    ("export --outcome dropped,eror", "invalid outcome: eror: did you mean error? one of "),
    ("export --format XLSX", "invalid format: XLSX: one of csv, jsonl, parquet"),
    (
        "--theme drak",
        "invalid theme: drak: did you mean dark? one of auto, dark, light, contrast, contrast-light, ansi, "
        "mono",
    ),
    ("--direction up", "invalid direction: up: one of egress, ingress, both"),
    ("demo --speed 0", "invalid speed: 0: 0.01 to 1000"),
    ("demo --speed nan", "invalid speed: nan: 0.01 to 1000"),
    ("demo --duration -5s", "invalid duration: -5s: as 30s or 5m"),
    ("audit --for soon", "invalid duration: soon: as 30s or 5m"),
    ("summary --max-rows 3", "invalid --max-rows: 3: too few, 4 at least"),
    ("audit --demo=befor", "invalid --demo: befor: did you mean before? one of all, before, after"),
    ("summary -o \x1b[2J", r"invalid output format: \x1b[2J: one of "),
]  # fmt: skip


@pytest.mark.parametrize(("line", "words"), REFUSED, ids=[line for line, _ in REFUSED])
def test_a_value_that_is_none_is_refused_with_the_nearest(line: str, words: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(line.split(" "))
    assert str(error.value).startswith(words)
    assert error.value.exit_code == 2


HUBBLES = [
    (
        "verdict",
        "dropped",
        "invalid --verdict value: dropped",
        "did you mean DROPPED? one of FORWARDED, ",
    ),
    (
        "drop-reason-desc",
        "POLICY_DENYED",
        "invalid --drop-reason-desc value: POLICY_DENYED",
        "did you mean POLICY_DENIED?",
    ),
    ("tcp-flags", "akk,syn", "unknown tcp flag: akk", "did you mean ACK? one of SYN, "),
    (
        "traffic-direction",
        "engress",
        "engress: invalid traffic direction, expected ingress or egress",
        "did you mean egress?",
    ),
    (
        "type",
        "trace:to-stak",
        'parsing "to-stak": invalid syntax',
        "did you mean trace:to-stack? one of to-endpoint, ",
    ),
]


@pytest.mark.parametrize(("flag", "value", "bare", "ours"), HUBBLES)
def test_hubbles_refusal_is_word_for_word_and_ours_follows(
    flag: str, value: str, bare: str, ours: str
) -> None:
    parsed = parse(["observe", f"--{flag}", value])
    with pytest.raises(UsageError) as alone:
        build(parsed.filters)
    with pytest.raises(UsageError) as advised:
        build(parsed.filters, advice=parsed.advice)
    assert str(alone.value).endswith(bare)
    assert str(advised.value).startswith(f"{alone.value}: {ours}")


SERVERS = [
    ("tpc", ": did you mean tcp? one of tcp, udp, "),
    ("ICMP6", ": did you mean icmpv6? one of tcp, udp, "),
    ("quic", ": one of tcp, udp, "),
]


@pytest.mark.parametrize(("value", "ours"), SERVERS)
def test_what_only_a_server_refuses_is_word_for_word_too(value: str, ours: str) -> None:
    told = flowwatch("observe", "--protocol", value, "--input-file", WEATHER)
    assert told.returncode == 2
    bare = f'flowwatch: invalid protocol filter: unknown protocol: "{value}"'
    assert one_line(told).startswith(bare + ours)
    with DemoServer(live=False, duration=150) as server:
        live = flowwatch("observe", "--protocol", value, "--server", server.address)
    assert live.returncode == 1
    assert one_line(live) == one_line(told)


def test_what_is_wrong_otherwise_gets_no_advice_about_names() -> None:
    parsed = parse(["observe", "--pod", "a", "--pod", "b/c", "--namespace", "x"])
    with pytest.raises(UsageError) as error:
        build(parsed.filters, advice=parsed.advice)
    assert "one of" not in str(error.value)


@pytest.mark.parametrize(
    "flag", ["color", "time-format", "protocol", "http-method", "kube-context"]
)
def test_hubble_takes_any_word_here_and_so_do_we(flag: str) -> None:
    parse(["observe", f"--{flag}", "whatever"])


def test_help_names_the_values() -> None:
    """Each name of a value stands in the help of its flag, where that says what it may be."""
    for verb in VERBS:
        text = re.sub(r"\s+", " ", usage(verb, []))
        for group in verb.groups:
            for flag in group.flags:
                if flag.choices is not None and "{choices}" in flag.help and verb.name:
                    assert flag.choices.spelt() in text


@pytest.mark.parametrize("line", ["--version", "summary --version", "version"])
def test_its_version(line: str) -> None:
    told = flowwatch(*line.split())
    assert (told.returncode, told.stderr) == (0, "")
    assert re.fullmatch(r"flowwatch \d+\.\d+\.\d+\nreads records by \S.+\n", told.stdout)


def test_its_version_says_what_reads_records() -> None:
    for wanted in ("on", "off"):
        told = flowwatch("--version", env={scanner.VARIABLE: wanted})
        words = scanner.at_work({scanner.VARIABLE: wanted})
        assert told.stdout.endswith(f"\nreads records by {words}\n")
    assert words.startswith("Python alone")


def test_a_wrong_value_costs_no_connection_and_one_line() -> None:
    told = flowwatch("summary", "--server", "127.0.0.1:1", "-o", "jsno")
    assert told.returncode == 2
    assert "did you mean json?" in one_line(told)
