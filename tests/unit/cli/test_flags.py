"""The command line is read as pflag and cobra read hubble's, and refused in their words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flowwatch.cli.flag_table import VERBS
from flowwatch.cli.flags import Parsed, parse
from flowwatch.cli.usage import WIDTH, usage
from flowwatch.errors import UsageError


def refused(*arguments: str) -> str:
    with pytest.raises(UsageError) as error:
        parse(arguments)
    assert error.value.exit_code == 2
    return str(error.value)


@pytest.mark.parametrize(
    "line", ["--last=5 -n x", "--last 5 -nx", "--last=5 -n=x", "-n x --last 5", "-fn x --last 5"]
)
def test_values_stand_behind_a_space_an_equals_sign_or_the_letter(line: str) -> None:
    parsed = parse(["observe", *line.split()])
    assert parsed.number("last") == 5
    assert parsed.filters == [("namespace", "x")]
    assert parsed.switch("follow") is line.startswith("-f")


def test_filters_keep_the_order_of_the_command_line() -> None:
    parsed = parse(["--pod", "a", "--not", "--pod", "b", "--verdict", "DROPPED", "--pod=c"])
    assert parsed.filters == [
        ("pod", "a"),
        ("not", "true"),
        ("pod", "b"),
        ("verdict", "DROPPED"),
        ("pod", "c"),
    ]


def test_a_value_may_look_like_a_flag() -> None:
    assert parse(["--pod", "--not", "-n", "-x"]).filters == [("pod", "--not"), ("namespace", "-x")]


def test_switches_take_a_value_only_behind_an_equals_sign() -> None:
    assert parse(["observe", "-f=false"]).switch("follow") is False
    assert parse(["observe", "--follow=1"]).switch("follow") is True
    assert parse(["observe", "--ip-translation=F"]).switch("ip-translation") is False
    assert parse(["observe"]).switch("ip-translation") is True
    # The value of a filter that needs none is there, and means nothing, as in hubble.
    assert parse(["--reply=false"]).filters == [("reply", "false")]


def test_the_last_of_a_flag_counts_and_lists_add_up() -> None:
    parsed = parse("observe --last 1 --last 2 --field-mask a,b.c --field-mask d".split())  # noqa: SIM905
    assert parsed.number("last") == 2
    assert parsed.list("field-mask") == ["a", "b.c", "d"]
    assert parse(["--allowlist", '{"a":1,"b":2}']).list("allowlist") == ['{"a":1,"b":2}']


def test_numbers_are_read_as_go_reads_them() -> None:
    assert parse(["observe", "--last", "0x10"]).number("last") == 16
    assert parse(["observe", "--last", "1_000"]).number("last") == 1000
    assert parse(["observe", "--last", "010"]).number("last") == 8


@pytest.mark.parametrize(
    ("line", "verb"),
    [
        ("", ""),
        ("--namespace weather", ""),
        ("observe -f", "observe"),
        ("-f observe", "observe"),
        ("--server x:1 status", "status"),
        ("--server status list nodes", "list nodes"),
        ("list --debug namespaces", ""),
        ("--pod summary", ""),
        ("-n export summary", "summary"),
        ("-- summary", ""),
    ],
)
def test_flags_may_stand_before_the_verb(line: str, verb: str) -> None:
    try:
        assert parse(line.split()).verb.name == verb
    except UsageError:
        assert verb == ""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("observe --nonsense", "unknown flag: --nonsense"),
        ("observe --podd x", "unknown flag: --podd: did you mean --pod?"),
        ("observe --drops", "unknown flag: --drops: it belongs to export"),
        (
            "status --policies x",
            "unknown flag: --policies: it belongs to flowwatch, demo, summary, export, audit, whatif, "
            "changes, draft, explain",
        ),
        ("observe -z", "unknown shorthand flag: 'z' in -z"),
        ("observe -fz", "unknown shorthand flag: 'z' in -z"),
        ("observe --pod", "flag needs an argument: --pod"),
        ("observe -fn", "flag needs an argument: 'n' in -n"),
        ("observe --=x", "bad flag syntax: --=x"),
        ("observe ---pod", "bad flag syntax: ---pod"),
        (
            "observe --last abc",
            'invalid argument "abc" for "--last" flag: '
            'strconv.ParseUint: parsing "abc": invalid syntax',
        ),
        (
            "observe --port-forward-port 65536",
            'invalid argument "65536" for "--port-forward-port" flag: '
            'strconv.ParseUint: parsing "65536": value out of range',
        ),
        (
            "observe --follow=maybe",
            'invalid argument "maybe" for "-f, --follow" flag: '
            'strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        ("sumary", 'unknown command "sumary" for "flowwatch": did you mean summary?'),
        ("list", '"flowwatch list" needs to know what: list nodes, or list namespaces'),
        (
            "history",
            '"flowwatch history" needs to know what: history info, history ask, history compact, '
            "history verify, or history forget",
        ),
        (
            "history forgot kept",
            '"flowwatch history" needs to know what: history info, history ask, history compact, '
            "history verify, or history forget",
        ),
        (
            "summary --history kept --history older",
            "cannot set --history twice: ask one history after the other",
        ),
        ("observe x", 'unexpected argument "x" for "flowwatch observe"'),
        (
            "summary flows.jsonl",
            'unexpected argument "flows.jsonl" for "flowwatch summary": '
            "--input-file flows.jsonl reads a capture",
        ),
        (
            "audit weather.yaml",
            'unexpected argument "weather.yaml" for "flowwatch audit": '
            "--policies weather.yaml names policies",
        ),
        (
            "flows.json.gz",
            'unknown command "flows.json.gz" for "flowwatch": '
            "--input-file flows.json.gz reads a capture",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(line: str, words: str) -> None:
    assert refused(*line.split()).startswith(words)


def test_hostile_text_is_escaped_in_the_refusal() -> None:
    for arguments in (["--x\x1b[2J"], ["observe", "\x9b"], ["-\x07"], ["--last", "\u202e"]):
        assert refused(*arguments).isprintable()


def test_every_flag_is_declared_once_per_verb_and_has_words() -> None:
    for verb in VERBS:
        flags = [flag for group in verb.groups for flag in group.flags]
        names = [flag.name for flag in flags]
        shorts = [flag.short for flag in flags if flag.short]
        assert len(set(names)) == len(names)
        assert len(set(shorts)) == len(shorts)
        assert all(flag.help for flag in flags)
        # A default must be a value that the flag takes.
        parsed = Parsed(verb)
        for flag in flags:
            parsed.get(flag.name)


@pytest.mark.parametrize("verb", [verb.name for verb in VERBS])
def test_help_fits_80_columns_and_names_every_flag(verb: str) -> None:
    parsed = parse([*verb.split(), "--help"])
    text = usage(parsed.verb, [])
    assert parsed.help
    assert max(len(line) for line in text.splitlines()) <= WIDTH
    if verb not in ("", "help", "version"):
        for name in parsed.flags:
            assert f"--{name}" in text


@pytest.mark.parametrize("line", ["list --help", "help list"])
def test_half_of_a_verb_has_help_too(line: str) -> None:
    parsed = parse(line.split())
    text = usage(parsed.verb, parsed.rest)
    assert "list nodes" in text
    assert "list namespaces" in text
    assert "summary" not in text


def test_reading_a_command_line_loads_nothing_heavy() -> None:
    code = (
        "import sys; from flowwatch.cli.flags import parse; parse(['observe', '-n', 'x']);"
        "print([m for m in ('google', 'grpc', 'rich', 'textual', 'pandas', 'difflib', 'csv',"
        "'argparse', 'dataclasses', 'ipaddress', 'json') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("verb", ["audit", "whatif", "explain"])
def test_policy_files_have_one_flag_on_every_verb(verb: str) -> None:
    for flag in ("-f", "--filename", "--policies"):
        assert parse([verb, flag, "a.yaml", f"{flag}=b.yaml"]).list("filename") == [
            "a.yaml",
            "b.yaml",
        ]
    assert parse(["export", "--policies", "a.yaml"]).list("policies") == ["a.yaml"]


def test_the_wrong_flag_for_policy_files_says_the_right_one() -> None:
    for words in (["-f", "a.yaml"], ["export", "-f", "a.yaml"]):
        with pytest.raises(UsageError, match="-f follows, of flowwatch") as told:
            parse(words)
        assert "--policies a.yaml names policies" in str(told.value)


@pytest.mark.parametrize("line", ["observe flows -n x", "observe -n x flows", "observe -n x"])
def test_observe_flows_is_hubbles_own_name_of_observe(line: str) -> None:
    parsed = parse(line.split())
    assert (parsed.verb.name, parsed.rest, parsed.filters) == ("observe", [], [("namespace", "x")])


def test_what_stands_behind_observe_flows_is_too_much() -> None:
    assert refused("observe", "flows", "x").startswith('unexpected argument "x"')
    assert refused("summary", "flows").startswith('unexpected argument "flows"')
