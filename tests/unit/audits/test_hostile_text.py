"""Text from whoever runs a pod, against expressions from whoever wrote a policy: judged, or "can't tell"."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flowwatch.audits.audit import Audit
from flowwatch.audits.expect import read_expected
from flowwatch.hubble.filters.flags import Filters
from flowwatch.hubble.filters.match import compile_filters
from flowwatch.hubble.wire.pb.flow.flow_pb2 import FlowFilter
from flowwatch.policy import load
from flowwatch.re2 import expression, google
from flowwatch.sources.files import FileSource
from tests import command
from tests.in_process import flowwatch
from tests.material import SHARED, where_shared
from tests.unit.audits.hostile import POLICY, record, request


def files(
    folder: Path, one: dict[str, Any], http: str = '{path: "/.*"}', stars: str = "*.x"
) -> list[str]:
    """A policy and a capture of one record: the arguments that name them."""
    policy, capture = folder / "p.yaml", folder / "c.jsonl"
    policy.write_text(POLICY.replace("HTTP", http).replace("STARS", stars))
    capture.write_text(json.dumps(one) + "\n")
    return ["-f", str(policy), "--input-file", str(capture)]


def judged(
    folder: Path, one: dict[str, Any], http: str = '{path: "/.*"}', stars: str = "*.x"
) -> tuple[str, str]:
    """The kind of the one finding, and why."""
    _, policy, _, capture = files(folder, one, http, stars)
    audit = Audit(load([(policy, Path(policy).read_text())]))
    [found] = audit.read(FileSource([capture]).batches()).findings
    return found.kind, found.reason


@where_shared(
    "cases/hostile",
    "case,kind",
    [
        ("l7-url-bracket", "inconclusive"),
        ("l7-rx-fqdn-stars", "leak"),
        ("rx-posix", "ok"),
        ("rx-unicode-digit", "leak"),
    ],
)
def test_the_cases_that_ended_badly(case: str, kind: str) -> None:
    hostile = SHARED / "cases" / "hostile"
    policy = hostile / f"{case}.yaml"
    audit = Audit(load([(policy.name, policy.read_text())]))
    [found] = audit.read(FileSource([str(hostile / f"{case}.jsonl")]).batches()).findings
    assert found.kind == kind


UNREADABLE = [
    "http://[/x",
    "http://]/x",
    "http://[::1/x",
    "http://[::1]]/x",
    "http://[zz]/x",
    "http://\u2100/x",
    "http://a\u2488com/x",
    "http://\uff0fh/x",
    "http://h:port/x",
    "http://h h/x",
    "http://h/a b",
    "http://h/\x00",
    "http://h\\@i/x",
    "//",
    "h/x",
    "x",
    "://h/x",
    "",
]


@pytest.mark.parametrize("url", UNREADABLE)
def test_a_url_that_is_none_is_no_finding_and_no_end(url: str, tmp_path: Path) -> None:
    kind, why = judged(tmp_path, request(url))
    assert kind == "inconclusive"
    assert why.startswith("the record's URL " if url else "the record has no URL")


def test_every_verb_that_judges_goes_on(tmp_path: Path) -> None:
    one = files(tmp_path, request("http://[/x"))
    policies, capture = one[1], one[3]
    audit = flowwatch("audit", *one)
    assert audit.returncode == 0
    assert "the record's URL has a host that is none: http://[/x" in " ".join(audit.stdout.split())
    assert flowwatch("audit", "--strict", *one).returncode == 3  # no evidence
    whatif = flowwatch("whatif", *one)
    assert whatif.returncode == 0, whatif.stderr
    assert "has a host that is none" in " ".join(whatif.stdout.split())
    export = flowwatch("export", "--policies", policies, "--input-file", capture)
    assert export.returncode == 0, export.stderr


@pytest.mark.parametrize(
    ("http", "url", "kind"),
    [
        # By Go's rules, not by Python's.
        ('{path: "/[[:alpha:]]+"}', "http://h/abc", "ok"),
        ('{path: "/[[:alpha:]]+"}', "http://h/ab1", "leak"),
        (r'{path: "/\\d+"}', "http://h/\u0661", "leak"),
        (r'{path: "/\\d+"}', "http://h/1", "ok"),
        (r'{path: "/\\pL+"}', "http://h/é", "ok"),
        (r'{path: "/\\Qa.b\\E"}', "http://h/a.b", "ok"),
        ('{path: "/(?i:ABC)"}', "http://h/abc", "ok"),
        ('{path: "/a$"}', "http://h/a\\n", "leak"),
        # Only what decides must be known.
        ('{method: POST, path: "/.*"}', "http://[/x", "leak"),
        ("{method: GET}", "http://[/x", "ok"),
        ('{path: "/x"}, {}', "http://[/x", "ok"),
        ('{path: "/x"}', "/x", "ok"),
        ('{path: "/x", host: "h"}', "/x", "inconclusive"),
        ('{path: "/y", host: "h"}', "/x", "leak"),
        # The agent escapes what Go's net/url wants escaped: the record alone doesn't say who did it.
        ('{path: "/[{]a[}]"}', "http://h/%7Ba%7D", "inconclusive"),
        ('{path: "/.*"}', "http://h/%7Ba%7D", "ok"),
        ('{path: "/b"}', "http://h/%7Ba%7D", "leak"),
        # Without end, if one goes back for every other way.
        ('{path: "/(a+)+"}', "http://h/" + "a" * 60 + "!", "leak"),
        ('{path: "/(a|aa)+b"}', "http://h/" + "a" * 5000, "leak"),
        ('{path: "/([a-z]+[.]?)+", host: "([a-z]+)+:"}', "http://" + "a" * 50 + "/" + "a" * 50, "leak"),
        # Too much for anybody in time.
        ('{path: "/' + "a{1000}" * 60 + '"}', "http://h/a", "inconclusive"),
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_requests_are_judged_as_the_proxy_does(
    http: str, url: str, kind: str, tmp_path: Path
) -> None:
    found, why = judged(tmp_path, request(url), http)
    assert found == kind, why
    if kind == "inconclusive":
        assert any(
            words in why for words in ("too costly to try here", "may have escaped", "has no host")
        ), why


def test_names_cost_no_more_than_their_letters(tmp_path: Path) -> None:
    """matchPattern "*a*a…*b" against 60 letters took Python's re two minutes, against 255 for ever."""
    for length in (60, 255, 20_000):
        one = record(destination_names=["a" * length, "x.y"])
        kind, _ = judged(tmp_path, one, stars="*a" * 14 + "*b")
        assert kind == "leak"
        kind, _ = judged(
            tmp_path, record(destination_names=["a" * length + "b"]), stars="*a" * 14 + "*b"
        )
        assert kind == "ok"


@pytest.mark.parametrize("pattern", ["*.*", "**.*", "*.*.", "."])
def test_only_the_name_of_stars_alone_passes_every_query(pattern: str, tmp_path: Path) -> None:
    """``*.*`` is two labels: what the proxy decided about a query isn't known without its record."""
    rule = f'{{matchPattern: "{pattern}"}}'
    args = files(tmp_path, record(destination={"identity": 7, "labels": [
        "k8s:io.kubernetes.pod.namespace=kube-system"], "namespace": "kube-system", "pod_name": "dns"},
        l4={"UDP": {"source_port": 5353, "destination_port": 53}}))  # fmt: skip
    policy = Path(args[1])
    policy.write_text(policy.read_text().replace('{matchPattern: "*"}', rule))
    audit = Audit(load([("p.yaml", policy.read_text())]))
    [found] = audit.read(FileSource([args[3]]).batches()).findings
    assert found.kind == "inconclusive", found


@pytest.mark.parametrize(
    ("ip", "state"),
    [
        ("203.0.113.9", "contradicted"),
        ("::ffff:203.0.113.9", "contradicted"),
        ("203.0.113.9%eth0", "contradicted"),
        ("198.51.100.9", "unproven"),
        ("203.0.113.9junk", "unproven"),
        ("203.0.113.²", "unproven"),
        ("fe80::1%eth0", "unproven"),
        ("[", "unproven"),
    ],
)
def test_an_address_that_is_none_is_in_no_block(ip: str, state: str, tmp_path: Path) -> None:
    _, policy, _, capture = files(tmp_path, record(IP={"source": "10.0.0.1", "destination": ip}))
    expected = read_expected("- from: weather/*\n  notReach: [203.0.113.0/24, 'x.io:²']\n")
    audit = Audit(load([(policy, Path(policy).read_text())]), expected=expected)
    found = audit.read(FileSource([capture]).batches()).expectations
    assert [one.state for one in found] == [state, "unproven"]


@pytest.mark.parametrize("text", ["*a" * 14 + "*b", "*a" * 200 + "*b"])
def test_filters_on_names_cost_no_more_than_their_letters(text: str, tmp_path: Path) -> None:
    capture = files(tmp_path, record(destination_names=["a" * 20_000]))[3]
    # In a process of its own, as what takes for ever can't be ended here.
    done = command.flowwatch("observe", "--input-file", capture, "--to-fqdn", text)
    assert (done.returncode, done.stdout) == (0, "")


def test_filters_on_requests_are_linear_or_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = files(tmp_path, request("http://h/" + "a" * 60 + "!"))[3]
    done = command.flowwatch("observe", "--input-file", capture, "--http-path", "^/(a+)+$")
    assert (done.returncode, done.stdout) == (0, "")
    done = flowwatch("observe", "--input-file", capture, "--http-path", "a{1000}" * 60)
    assert done.returncode == 2
    assert "too costly to try here: it is too large: smaller counts in braces help" in done.stderr
    assert len(done.stderr.splitlines()) == 1

    # A record on which a filter can't be tried in time is counted, and the others are read.
    monkeypatch.setattr(google, "_module", lambda: None)
    monkeypatch.setattr(expression, "MOST_STEPS", 2_000)
    hard = "ab" * 60
    lines = [request(f"http://h/{path}") for path in ("c", hard + "aab" * 40, "c")]
    Path(capture).write_text("".join(json.dumps(line) + "\n" for line in lines))
    match = compile_filters(Filters([FlowFilter(http_path=["(a|b)*a(a|b){40}c|^/c"])]))
    source = FileSource([capture], match=match)
    batches = list(source.batches())
    assert sum(len(batch.flows) for batch in batches) == 2
    skipped = {reason: n for batch in batches for reason, n in batch.skipped.items()}
    assert skipped == {"a filter's expression takes too long on it": 1}
