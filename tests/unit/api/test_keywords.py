"""The keywords of a call are the flags of ``flowwatch summary``, by name and by kind."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import get_type_hints

import pytest

import flowwatch
from flowwatch.api import keywords
from flowwatch.api.keywords import Filters, GivenKeywords, Keywords
from flowwatch.cli.flag_kinds import FILTER, LIST, NUMBER, SWITCH, TEXT
from flowwatch.cli.flag_table import ROWS, TABLE
from flowwatch.cli.flags import parse
from flowwatch.egress.aggregate import MAX_ROWS
from flowwatch.errors import UsageError
from flowwatch.sources.request import flow_request

FLAGS = parse(["summary"]).flags
NO_KEYWORDS = {
    *("output", "color", "print-raw-filters"),  # how it is printed
    *("by", "waiting"),  # read() has them itself
    *("policies", "policies-from-cluster", "cilium-config"),  # audit() takes them
}


def flag_of(keyword: str) -> str:
    """``not`` is a word of Python's: it has a ``_`` behind it."""
    return keyword.removesuffix("_").replace("_", "-")


def test_there_is_one_for_each_flag() -> None:
    of_table = {flag.name for flag in TABLE.flags}
    names = {flag_of(name) for name in get_type_hints(Keywords)}
    assert names == FLAGS.keys() - NO_KEYWORDS - of_table
    assert {flag_of(name) for name in get_type_hints(Filters)} == {
        flag.name for flag in FLAGS.values() if flag.kind == FILTER
    }


def test_each_is_of_its_flags_kind() -> None:
    kinds: dict[str, set[object]] = {
        FILTER: {keywords.Texts, keywords.Switch},
        LIST: {keywords.Texts, keywords.Paths},
        NUMBER: {keywords.Number},
        SWITCH: {keywords.Switch},
        TEXT: {keywords.Text, keywords.Path},
    }
    for name, hint in get_type_hints(Keywords).items():
        flag = FLAGS[flag_of(name)]
        if flag.name == "server":  # may be repeated
            assert hint == keywords.Texts
            continue
        assert hint in kinds[flag.kind], name
        if flag.kind == FILTER:
            assert (hint == keywords.Switch) == (not flag.metavar), name


def test_those_of_the_table_are_parameters_with_its_defaults() -> None:
    parameters = inspect.signature(flowwatch.read).parameters
    for flag in ROWS.flags:
        assert str(parameters[flag.name.replace("-", "_")].default) == flag.default
    assert parameters["max_rows"].default == MAX_ROWS


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"namespace": "weather"}, "-n weather"),
        ({"to_fqdn": ["a", "b"], "port": 443}, "--to-fqdn a --to-fqdn b --port 443"),
        ({"not": True, "verdict": "DROPPED", "pod": "x"}, "--not --verdict DROPPED --pod x"),
        ({"not_": True, "verdict": "DROPPED"}, "--not --verdict DROPPED"),
        ({"not_": False, "verdict": "DROPPED"}, "--verdict DROPPED"),
        ({"reply": True}, "--reply"),
        ({"reply": False}, "--reply=false"),
        ({"last": 100}, "--last 100"),
        ({"first": 7, "all": False}, "--first 7"),
        ({"allowlist": ['{"source_pod":["a"]}']}, """--allowlist {"source_pod":["a"]}"""),
        ({"server": "a:1"}, "--server a:1"),
        ({"server": ["a:1", "b:2"]}, "--server a:1 --server b:2"),
        ({"tls": True, "tls_ca_cert_files": "a,b"}, "--tls --tls-ca-cert-files a,b"),
        ({"tls_ca_cert_files": [Path("a"), "b"]}, "--tls-ca-cert-files a,b"),
        ({"timeout": "7s", "port_forward_port": 0}, "--timeout 7s --port-forward-port 0"),
        ({"port_forward": True, "kube_context": "c"}, "-P --kube-context c"),
        ({"input_file": "flows.jsonl"}, "--input-file flows.jsonl"),
        ({"keep_bad": Path("bad")}, "--keep-bad bad"),
    ],
    ids=str,
)
def test_they_mean_what_the_flags_mean(given: dict[str, object], line: str) -> None:
    spelt = flow_request(parse(["summary", *line.split()]), several=True, environ={})
    assert flow_request(GivenKeywords(given), several=True, environ={}) == spelt


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"namespce": "weather"}, "unknown keyword: namespce: did you mean namespace?"),
        ({"output": "csv"}, "unknown keyword: output: they are the flags of flowwatch summary"),
        ({"last": -1}, 'invalid argument "-1" for last'),
        ({"last": "many"}, 'invalid argument "many" for last'),
        ({"tls": "perhaps"}, 'invalid argument "perhaps" for tls: not true or false'),
        ({"port_forward_port": 1 << 16}, "value out of range"),
        ({"first": 1, "last": 1}, "cannot set both --first and --last"),
        ({"verdict": "DROPED"}, "DROPED"),
        ({"since": "yore"}, "failed to parse the since time"),
        ({"timeout": "5"}, "timeout"),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        flow_request(GivenKeywords(given), environ={})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
