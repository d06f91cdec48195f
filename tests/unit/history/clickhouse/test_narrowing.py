"""Filters that the server is asked about: answers stay what they are, rows that nobody wants stay away."""

from __future__ import annotations

import threading
from itertools import chain, count, cycle
from pathlib import Path

import pytest

from flowwatch.flows.model import Batch
from flowwatch.history.clickhouse import records as module
from flowwatch.history.clickhouse.database import Database
from flowwatch.history.clickhouse.url import server_of
from flowwatch.history.kept import kept_at
from flowwatch.history.matching import Matching
from flowwatch.history.recorder import Origin
from flowwatch.history.retention import Limits
from flowwatch.hubble.captures.replay import Selection
from flowwatch.hubble.filters.flags import Filters, build
from flowwatch.hubble.filters.match import compile_filters
from flowwatch.hubble.wire.jsonprint import response_to_json
from flowwatch.hubble.wire.pb.observer import observer_pb2
from flowwatch.sources.sought import Sought
from tests.in_process import flowwatch
from tests.unit.contract.values import odd_messages
from tests.unit.flows.made import flow
from tests.unit.history.clickhouse.servers import Old, Today
from tests.unit.history.clickhouse.test_answers import VERBS, WEATHER, shown

pytestmark = pytest.mark.xdist_group("clickhouse")

CAPTURES = ("weather", "tcp", "dns", "http", "icmp", "bare", "camel-case")
FILTERS = (
    "--namespace weather",
    "--namespace odd",
    "--namespace wea",
    "--pod weather/weather",
    "--pod weather",
    "--pod /core",
    "--pod /",
    "--from-pod weather/ --to-pod kube-system/",
    "--namespace it's\\",
    "--not --namespace weather",
    "--not --pod /core",
    "--not --from-namespace weather --not --to-port 53",
    "--verdict DROPPED",
    "--verdict FORWARDED --verdict TRACED",
    "--not --verdict DROPPED",
    "--not --verdict DROPPED --namespace weather",
    "--drop-reason-desc POLICY_DENIED",
    "--drop-reason-desc DROP_REASON_UNKNOWN",
    "--not --drop-reason-desc POLICY_DENIED",
    "--type drop",
    "--type trace:to-endpoint",
    "--type l7 --type policy-verdict",
    "--traffic-direction egress",
    "--traffic-direction ingress",
    "--not --traffic-direction egress",
    "--reply",
    "--not-reply",
    "--protocol tcp",
    "--protocol icmp",
    "--protocol dns",
    "--protocol http --protocol udp",
    "--not --protocol tcp",
    "--port 53",
    "--to-port 443",
    "--not --port 443",
    "--node-name node-1",
    "--node-name demo/*",
    "--node-name *-1",
    "--node-name default/",
    "--ip 10.244.0.97",
    "--to-ip 1.2.3.4",
    "--ip 10.244.0.0/16",
    "--fqdn *.example.com",
    "--to-fqdn api.openweathermap.org",
    "--fqdn *",
    "--identity 1000",
    "--to-identity 2",
    "--not --identity 2",
    "--workload app",
    "--service default/kubernetes",
    "--to-service kube-system/kube-dns",
    "--service /kube",
    "--cluster default",
    "--label app=app",
    "--http-status 200",
    "--namespace odd --label app=app --verdict DROPPED --to-port 443",
)

FILTERS_OF_VERBS = (
    "--namespace weather",
    "--verdict DROPPED",
    "--not --to-port 53",
    "--pod weather/nobody",
)


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Usual records, and odd ones: every field with every edge of what it can hold."""
    path = tmp_path_factory.mktemp("odd") / "capture.jsonl"
    usual = [(WEATHER.parent / f"{name}.jsonl").read_bytes() for name in CAPTURES]
    odd = [
        f"{response_to_json(observer_pb2.GetFlowsResponse.FromString(data))}\n".encode()
        for name, data in odd_messages()
        if name.endswith(("in denied", "in dns"))
    ]
    path.write_bytes(b"".join(chain(usual, odd)))
    return path


Kept = tuple[str, str]
"""A database, and a folder with the same records."""


@pytest.fixture(scope="module", params=["old", "today"])
def kept(
    request: pytest.FixtureRequest, capture: Path, tmp_path_factory: pytest.TempPathFactory
) -> Kept:
    server: Old | Today = request.getfixturevalue(request.param)
    url, folder = server.url(), tmp_path_factory.mktemp("kept") / "folder"
    for where in (url, str(folder)):
        done = flowwatch("record", "--input-file", capture, "--to", where)
        assert done.returncode == 0, done.stderr
    return url, str(folder)


def asked(where: str, filters: Filters) -> Batch:
    """All that a history tells by these filters."""
    matching = Matching(filters, compile_filters(filters), Sought(filters))
    whole = Batch()
    for batch in kept_at(where).source(matching=matching).batches():
        whole.flows += batch.flows
        whole.notes += batch.notes
        whole.lost += batch.lost
    return whole


def filters_in(words: str) -> Filters:
    """Those of a command line."""
    found, each = [], iter(words.split())
    for word in each:
        flag = word.removeprefix("--")
        alone = flag in ("not", "reply", "not-reply")
        found.append((flag, "true" if alone else next(each)))
    return build(found)


@pytest.mark.parametrize("words", FILTERS)
def test_a_filter_lets_through_what_it_does_in_a_folder(words: str, kept: Kept) -> None:
    url, folder = kept
    filters = filters_in(words)
    assert asked(url, filters) == asked(folder, filters)


def rows_of(url: str, words: str) -> int:
    """How many rows the server gives."""
    filters = filters_in(words)
    matching = Matching(filters, compile_filters(filters), Sought(filters))
    reading = module.TableRecords(Database(server_of(url)), matching.decides)
    reading.open(Selection(), threading.Event())
    return sum(len(rows.flows) for _, rows in reading.rows())


def test_rows_that_nobody_wants_stay_at_the_server(server: Old | Today) -> None:
    url = server.url()
    flowwatch("record", "--input-file", WEATHER, "--to", url)
    passing = {
        words: len(asked(url, filters_in(words)).flows)
        for words in ("--namespace weather", "--verdict DROPPED", "--not --namespace weather")
    }
    assert all(0 < number < 64 for number in passing.values())
    assert {words: rows_of(url, words) for words in passing} == passing
    # What the server isn't asked about is looked at here.
    assert rows_of(url, "--label app=weather") == 64


def test_whole_records_are_judged_by_themselves(server: Old | Today) -> None:
    url = server.url()
    flowwatch("record", "--raw", "--input-file", WEATHER, "--to", url)
    assert rows_of(url, "--namespace weather") == 64


def test_what_no_column_tells_is_refused_as_ever(server: Old | Today, tmp_path: Path) -> None:
    url, folder = server.url(), tmp_path / "kept"
    words = ("--namespace", "nobody", "--snat-ip", "10.0.0.1")
    said = []
    for where in (url, str(folder)):
        flowwatch("record", "--input-file", WEATHER, "--to", where)
        done = flowwatch("summary", "--history", where, *words)
        said.append((done.returncode, done.stdout, done.stderr))
    assert said[0] == said[1]
    assert "the history doesn't keep what --snat-ip asks for" in said[0][2]


@pytest.mark.parametrize(
    "words",
    ["--namespace nobody", "--pod weather/nobody", "--to-port 7", "--ip 10.9.0.0/16 --port 53"],
)
def test_why_nothing_passes_is_told_of_all_rows(words: str, kept: Kept) -> None:
    """Rows that came, and those that were left out."""
    url, folder = kept
    told = asked(url, filters_in(words))
    assert (told.flows, told) == ([], asked(folder, filters_in(words)))
    assert told.notes


def two_recorders(where: str) -> None:
    """Both have the same records; those of the second say another verdict."""
    place = kept_at(where)
    place.create(Limits())
    times = count(1)
    both = [place.recorder(Origin(name, ""), every=60) for name in ("one", "other")]
    for number in range(40):
        for verdict, recorder in zip((2, 1), both, strict=True):
            one = flow(next(times), verdict=verdict if number % 2 else 1)
            one.uuid = f"00000000-0000-4000-8000-{number:012x}" if number % 4 else ""
            recorder.take(Batch(flows=[one]))
    for recorder in both:
        recorder.close("the test ended")


@pytest.mark.parametrize("words", ["--verdict DROPPED", "--verdict FORWARDED", "--verdict ERROR"])
def test_of_a_record_that_two_recorders_have_the_first_counts(
    words: str, server: Old | Today, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where only the other one passes: then none does."""
    url, folder = server.url(), str(tmp_path / "kept")
    for where in (url, folder):
        two_recorders(where)
    wanted = asked(folder, filters_in(words))
    assert asked(url, filters_in(words)) == wanted
    # More than the server is to remember: all rows come.
    monkeypatch.setattr(module, "KNOWN", -1)
    assert rows_of(url, words) == 80
    assert asked(url, filters_in(words)) == wanted


def test_every_verb_s_answer_is_that_of_a_folder(server: Old | Today, tmp_path: Path) -> None:
    url, folder = server.url(), str(tmp_path / "kept")
    for where in (url, folder):
        flowwatch("record", "--input-file", WEATHER, "--to", where)
    verbs = [verb for verb in VERBS if not verb.startswith("observe")]
    for verb, more in zip(verbs, cycle(FILTERS_OF_VERBS), strict=False):
        words = [*verb.split(), *([] if "--namespace" in verb else more.split())]
        of_folder, of_tables = (flowwatch(*words, "--history", where) for where in (folder, url))
        named = [text.replace(shown(url), folder) for text in (of_tables.stdout, of_tables.stderr)]
        assert (of_tables.returncode, *named) == (
            of_folder.returncode,
            of_folder.stdout,
            of_folder.stderr,
        ), words
