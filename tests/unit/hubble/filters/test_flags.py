"""From filter flags to FlowFilters: the left and the right one, --not, what excludes what."""

from __future__ import annotations

import json
import shlex
from itertools import combinations
from typing import Any

import pytest
import yaml
from google.protobuf import json_format

from flowwatch.errors import UsageError
from flowwatch.hubble.filters.flags import _CONFLICTS, Filters, build, raw_filters
from flowwatch.hubble.filters.values import check_utf8


def occurrences(line: str) -> list[tuple[str, str]]:
    """``--flag=value --switch`` to what the parser of the command line gives."""
    words = (word.removeprefix("--").partition("=") for word in shlex.split(line))
    return [(name, value if equals else "true") for name, equals, value in words]


def shown(filters: Filters) -> tuple[list[Any], list[Any]]:
    def plain(messages: list[Any]) -> list[Any]:
        return [json_format.MessageToDict(m, preserving_proto_field_name=True) for m in messages]

    return plain(filters.allow), plain(filters.deny)


@pytest.mark.parametrize(
    ("line", "allow", "deny"),
    [
        ("", [], []),
        ("--pod=x", [{"source_pod": ["x"]}, {"destination_pod": ["x"]}], []),
        (
            "--pod=x --label=a=b",
            [
                {"source_pod": ["x"], "source_label": ["a=b"]},
                {"destination_pod": ["x"], "destination_label": ["a=b"]},
            ],
            [],
        ),
        ("--from-pod=x --to-port=443", [{"source_pod": ["x"], "destination_port": ["443"]}], []),
        ("--namespace=a", [{"source_pod": ["a/"]}, {"destination_pod": ["a/"]}], []),
        (
            "--namespace=a --namespace=b --pod=x",
            [{"source_pod": ["a/x", "b/x"]}, {"destination_pod": ["a/x", "b/x"]}],
            [],
        ),
        ("--all-namespaces", [{"source_pod": ["/"]}, {"destination_pod": ["/"]}], []),
        (
            "--from-namespace=weather --to-fqdn=*.org",
            [{"source_pod": ["weather/"], "destination_fqdn": ["*.org"]}],
            [],
        ),
        (
            "--not --pod=a --pod=b",
            [{"source_pod": ["b"]}, {"destination_pod": ["b"]}],
            [{"source_pod": ["a"]}, {"destination_pod": ["a"]}],
        ),
        (
            "--not --from-pod=a --not --verdict=DROPPED",
            [],
            [{"source_pod": ["a"], "verdict": ["DROPPED"]}],
        ),
        ("--reply", [{"reply": [True]}], []),
        ("--type=drop:133", [{"event_type": [{"type": 1, "match_sub_type": True, "sub_type": 133}]}], []),
        ("--type=4294967295", [{"event_type": [{"type": -1}]}], []),
        ("--identity=010", [{"source_identity": [8]}, {"destination_identity": [8]}], []),
        ("--tcp-flags=syn,ack", [{"tcp_flags": [{"SYN": True, "ACK": True}]}], []),
    ],
)  # fmt: skip
def test_flags_become_filters(line: str, allow: list[Any], deny: list[Any]) -> None:
    assert shown(build(occurrences(line))) == (allow, deny)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--not --not", "consecutive --not statements"),
        (
            "--namespace=a --to-fqdn=x",
            "filters --to-fqdn and --namespace cannot be combined: "
            "--from-namespace asks about the other end alone",
        ),
        (
            "--pod=a --from-pod=b",
            "filters --from-pod and --pod cannot be combined: --to-pod asks about the other end alone",
        ),
        ("--to-fqdn=x --to-ip=1.1.1.1", "filters --to-fqdn and --to-ip cannot be combined"),
        ("--reply --not-reply", "filters --reply and --not-reply cannot be combined"),
        ("--namespace=a --pod=b/c", 'namespace conflict: "a" does not contain "b/c"'),
        ("--from-pod=a/b --from-service=c/d", 'namespace of service "c/d" conflict with pod "a"'),
        ("--verdict=dropped", "invalid --verdict value: dropped"),
        ("--http-header=x", 'invalid http-header value "x", expected name:value'),
        ("--tcp-flags=syn,no", "unknown tcp flag: no"),
        ("--ip-trace-id=0", "invalid --ip-trace-id value; must be greater than 0"),
    ],
)
def test_what_excludes_what_and_bad_values(line: str, words: str) -> None:
    last = occurrences(line)[-1]
    with pytest.raises(UsageError) as error:
        build(occurrences(line))
    assert str(error.value) == f'invalid argument "{last[1]}" for "--{last[0]}" flag: {words}'


@pytest.mark.parametrize("pair", [p for group in _CONFLICTS for p in combinations(group, 2)])
def test_the_flag_that_is_named_as_the_way_out_is_taken(pair: tuple[str, str]) -> None:
    values = {"ip": "1.1.1.1", "port": "80", "identity": "1", "label": "a=b"}
    words = {one: f"--{one}={values.get(one.rpartition('-')[2], 'true')}" for one in pair}
    with pytest.raises(UsageError) as error:
        build(occurrences(" ".join(words.values())))
    if error.value.hint:
        instead = error.value.hint.removeprefix("--").split()[0]
        both = instead.partition("-")[2]
        written = words.pop(both).replace(f"--{both}", f"--{instead}")
        assert build(occurrences(" ".join([*words.values(), written])))


def test_not_needs_a_filter_behind_it() -> None:
    with pytest.raises(UsageError, match=r"^trailing --not found in the arguments$"):
        build(occurrences("--pod=a --not"))


def test_pairs_conflict_within_a_list_only() -> None:
    filters = build(occurrences("--pod=a --not --ip=1.1.1.1"))
    assert len(filters.allow) == len(filters.deny) == 2


def test_json_filters_come_after_those_of_the_flags() -> None:
    filters = build(
        occurrences("--verdict=AUDIT"),
        ['{"source_pod":["a/"]} {"sourcePod":["b/"]}'],
        ['{"verdict":["DROPPED"]}'],
    )
    assert shown(filters) == (
        [{"verdict": ["AUDIT"]}, {"source_pod": ["a/"]}, {"source_pod": ["b/"]}],
        [{"verdict": ["DROPPED"]}],
    )


@pytest.mark.parametrize(
    "text", ["x", "[]", "null", "5", '{"nope":1}', '{"reply":[1]}', "{} ,", '{"uuid":["a"],"uuid":[]}']
)  # fmt: skip
def test_bad_json_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="invalid --denylist flag: failed to decode") as error:
        build([], [], [text])
    assert str(error.value).isprintable()


def test_raw_filters_are_yaml_of_json() -> None:
    filters = build([("label", "it's: <a>"), ("not", "true"), ("pod", 'x"\\\u202e')])
    printed = raw_filters(filters)
    assert printed.isascii()
    read = yaml.safe_load(printed)
    assert [json.loads(text) for text in read["allowlist"]] == shown(filters)[0]
    assert [json.loads(text) for text in read["denylist"]] == shown(filters)[1]
    assert raw_filters(Filters()) == "{}\n"


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UsageError, match=r'invalid argument "\\xff" for "--pod" flag'):
        build([("pod", "\udcff")])
    check_utf8("ü")
