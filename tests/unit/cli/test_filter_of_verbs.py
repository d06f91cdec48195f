"""``--filter`` of verbs that judge attempts: what they say is of the traffic of the rows that it finds.

The dashboard's rows decide which records those are; a verb that is given them alone must say the same.
"""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import pytest

import flowwatch as library
from flowwatch.cli.flag_table import VERBS
from flowwatch.cli.flow_flags import FILTERS as FILTERS_GROUP
from flowwatch.egress.aggregate import Aggregate
from flowwatch.egress.query import Query
from flowwatch.egress.view import snapshot
from flowwatch.flows.join import Join, Joined
from tests.command import one_line
from tests.in_process import flowwatch

CAPTURE = "tests/data/captures/weather.jsonl"
FILTERS = (
    "pod:weather-app",
    "ns:shop verdict:dropped",
    "why:POLICY_DEN*",
    "to:*.com|postgres !verdict:dropped",
    "policy:weather label:app=weather-app",
    "8080",
    "ns:nowhere",
)
VERDICTS = ("audit", "whatif", "changes", "draft", "unused", "gap", "gate")
OF_BOTH = ("audit", "unused")
"""They judge attempts at both of their ends."""
OF_ALL_THAT_WAS_READ = ("filter", "warnings", "records", "notes", "evidence", "source")


class _Records:
    """Which records are of the same attempt."""

    def __init__(self) -> None:
        self.attempts: dict[int, tuple[object, set[str]]] = {}

    def take(self, joined: Joined) -> None:
        for flow, attempt in zip(joined.batch.flows, joined.attempts, strict=True):
            if attempt is not None:
                self.attempts.setdefault(id(attempt), (attempt, set()))[1].add(flow.uuid)


def seen_in_the_dashboard(text: str, direction: str) -> set[str]:
    """The records of the attempts of the rows that the dashboard shows with ``text``, by their uuids."""
    join, records = Join(), _Records()
    aggregate = Aggregate(join=join)
    join.listen(records)
    join.read(library.open_source(CAPTURE).batches())
    taken = snapshot(aggregate, Query(direction=direction, text=text), recent=1000)
    keys = {row.key for row in taken.rows}
    shown = {one.flow.uuid for one in taken.recent if one.key in keys and one.flow is not None}
    return {
        uuid
        for _, uuids in records.attempts.values()
        if not uuids.isdisjoint(shown)
        for uuid in uuids
    }


def _as_reply(line: str) -> str:
    """The record as one that belongs to no attempt: so a window stays as long as it was."""
    record = json.loads(line)
    flow = record["flow"]
    for name in ("l7", "l4", "policy_match_type"):
        flow.pop(name, None)
    flow["IP"] = {"source": "192.0.2.1", "destination": "192.0.2.2", "ipVersion": "IPv4"}
    flow["l4"] = {"TCP": {"source_port": 1, "destination_port": 40000, "flags": {"ACK": True}}}
    flow |= {"verdict": "FORWARDED", "is_reply": True, "event_type": {"type": 4}, "uuid": "reply"}
    return json.dumps(record) + "\n"


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("policies") / "all.yaml"
    path.write_text(flowwatch("demo", "--print-policy=all").stdout)
    return path


def words_of(verb: str, policies: Path) -> list[str]:
    given: dict[str, list[str | Path]] = {
        "audit": ["-f", policies],
        "whatif": ["-f", policies],
        "unused": ["-f", policies],
        "gap": ["-f", policies],
        "changes": ["--mark", "2026-11-28T17:56:30Z"],
        "gate": ["--max-dropped", "1"],
    }
    more = given.get(verb, [])
    form = [] if verb == "draft" else ["-o", "json"]
    return [verb, *map(str, more), *form]


def said(verb: str, out: str) -> Any:
    """What is not about all that was read."""
    out = re.sub(r"# only what --filter .*? attempts?(\\n|\n)", "", out)
    if verb == "draft":
        return out
    if verb == "gap":
        # The drop-in has that line less, so rules stand elsewhere in it.
        out = re.sub(r'(?<=line )\d+|(?<="line": )\d+', "0", out)
    told = json.loads(out)
    return {key: value for key, value in told.items() if key not in OF_ALL_THAT_WAS_READ}


@pytest.mark.parametrize("text", FILTERS)
@pytest.mark.parametrize("verb", VERDICTS)
def test_a_verb_says_what_it_says_of_the_rows_traffic(
    tmp_path: Path, policies: Path, verb: str, text: str
) -> None:
    direction = "both" if verb in OF_BOTH else "egress"
    meant = seen_in_the_dashboard(text, direction)
    lines = Path(CAPTURE).read_text().splitlines(keepends=True)
    times = sorted(lines, key=lambda line: str(json.loads(line)["flow"]["time"]))
    alone = tmp_path / "alone.jsonl"
    alone.write_text(
        "".join(line for line in lines if json.loads(line)["flow"]["uuid"] in meant)
        + _as_reply(times[0])
        + _as_reply(times[-1])
    )
    words = words_of(verb, policies)
    narrowed = flowwatch(*words, "--input-file", CAPTURE, "--filter", text)
    expected = flowwatch(*words, "--input-file", alone)
    assert narrowed.returncode == expected.returncode, narrowed.stderr
    assert said(verb, narrowed.stdout) == said(verb, expected.stdout)
    assert (text == "ns:nowhere") == (not meant)


def test_it_is_not_what_is_said_of_everything(policies: Path) -> None:
    for verb in VERDICTS:
        words = [*words_of(verb, policies), "--input-file", CAPTURE]
        every, some = (flowwatch(*words, *more).stdout for more in ((), ("--filter", "ns:shop")))
        assert said(verb, every) != said(verb, some), verb


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
@pytest.mark.parametrize("verb", [one for one in VERDICTS if one != "draft"] + ["summary"])
def test_what_was_chosen_is_told_in_each_form(policies: Path, verb: str, form: str) -> None:
    words = words_of(verb, policies)[:-2]
    form = "table" if (verb, form) == ("summary", "text") else form
    done = flowwatch(*words, "-o", form, "--input-file", CAPTURE, "--filter", "ns:shop")
    told = " ".join((done.stdout + done.stderr).replace("\\'", "'").split())
    assert "only what --filter 'ns:shop' finds: " in told
    if form == "json":
        shown = json.loads(done.stdout)
        assert shown.get("evidence", shown)["filter"] == "ns:shop"


def test_as_expected_is_said_of_no_more_than_was_looked_at(policies: Path) -> None:
    words: list[str | Path] = ["audit", "-f", policies, "--input-file", CAPTURE]
    verdicts = [
        flowwatch(*words, *more).stdout.splitlines()[-1]
        for more in ((), ("--filter", "pod:weather-app to:openweathermap"))
    ]
    assert verdicts[0].startswith("NOT AS EXPECTED")
    assert verdicts[1].startswith("AS EXPECTED")
    assert "of what --filter 'pod:weather-app to:openweathermap' finds" in verdicts[1]


def test_a_draft_says_what_it_was_drafted_from(policies: Path) -> None:
    done = flowwatch("draft", "--input-file", CAPTURE, "--filter", "pod:weather-app")
    told = "# only what --filter 'pod:weather-app' finds: 7 of 16 rows, 8 of 21 attempts"
    assert told in done.stdout.splitlines()


@pytest.mark.parametrize("verb", [*VERDICTS, "summary", "export"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("polcy:x", "no key 'polcy:' in a filter: did you mean policy:?"),
        ("ns:shop verdict:droped", "no verdict 'droped': did you mean dropped?"),
    ],
)
def test_what_is_no_filter_ends_with_2(policies: Path, verb: str, text: str, says: str) -> None:
    words = words_of(verb, policies)
    words = words if verb in VERDICTS and verb != "draft" else [verb]
    done = flowwatch(*words, "--input-file", CAPTURE, "--filter", text)
    assert done.returncode == 2
    assert says in one_line(done)


@pytest.mark.parametrize("verb", ["audit", "draft"])
def test_what_goes_on_for_ever_has_no_rows_to_choose(policies: Path, verb: str) -> None:
    more = ["--stable", "2h"] if verb == "draft" else []
    done = flowwatch(*words_of(verb, policies), *more, "--follow", "--filter", "ns:shop")
    assert done.returncode == 2
    assert "--filter finds rows once all was read: leave out --follow" in one_line(done)


def test_with_policies_in_force_a_filter_asks_for_what_they_blocked(policies: Path) -> None:
    given = ["--policies", str(policies), "--input-file", CAPTURE, "--filter", "why:default*deny*"]
    rows = json.loads(flowwatch("summary", *given, "-o", "json").stdout)
    changes = json.loads(flowwatch("changes", *given, "-o", "json").stdout)
    assert rows["rows_matched"] == 3
    assert changes["attempts"] == sum(row["dropped"] + row["audited"] for row in rows["rows"]) == 4


def test_a_pipe_is_read_once(policies: Path) -> None:
    words = [*words_of("audit", policies), "--filter", "ns:shop", "--input-file"]
    piped = flowwatch(*words, "-", input=Path(CAPTURE).read_bytes())
    read = flowwatch(*words, CAPTURE)
    assert said("audit", piped.stdout) == said("audit", read.stdout)
    assert piped.returncode == read.returncode


def test_each_verb_has_the_flag_or_its_reason_in_the_docs() -> None:
    """docs/dashboard.md says which verbs have none, and why."""
    have = {
        verb.name
        for verb in VERBS
        for group in verb.groups
        for flag in group.flags
        if flag.name == "filter"
    }
    told = Path("docs/dashboard.md").read_text()
    takes, why_not = re.findall(r"(?ms)^(?:`flowwatch`, `web`|No `--filter`).*?\n\n", told)
    assert have - {"", "web demo"} == set(re.findall(r"`([a-z]+)`", takes.split("(")[0])) - {
        "flowwatch"
    }
    read = {verb.name for verb in VERBS if FILTERS_GROUP in verb.groups}
    for verb in read - have - {"web draft"}:
        assert f"`{verb}`" in why_not


@pytest.mark.parametrize("text", FILTERS)
def test_observe_prints_the_records_of_the_rows(text: str) -> None:
    done = flowwatch("observe", "--input-file", CAPTURE, "-o", "json", "--filter", text)
    printed = [json.loads(line)["flow"]["uuid"] for line in done.stdout.splitlines()]
    meant = seen_in_the_dashboard(text, "both")
    every = [json.loads(line)["flow"]["uuid"] for line in Path(CAPTURE).read_text().splitlines()]
    assert printed == [uuid for uuid in every if uuid in meant]
    assert f"only what --filter '{text}' finds" in one_line(done)


def test_a_history_is_read_twice_too(tmp_path: Path, policies: Path) -> None:
    kept = tmp_path / "kept"
    assert flowwatch("record", "--raw", "--input-file", CAPTURE, "--to", kept).returncode == 0
    words = [*words_of("audit", policies), "--filter", "ns:shop"]
    kept_says, file_says = (
        flowwatch(*words, *more).stdout for more in (["--history", kept], ["--input-file", CAPTURE])
    )
    assert said("audit", kept_says) == said("audit", file_says)
    observed = ["observe", "-o", "json", "--filter", "8080"]
    assert (
        flowwatch(*observed, "--history", kept).stdout
        == flowwatch(*observed, "--input-file", CAPTURE).stdout
    )


def test_observe_looks_at_whole_records() -> None:
    words = ["observe", "--input-file", CAPTURE, "-o", "json", "--filter", "8080"]
    assert "leave out --field-mask" in one_line(flowwatch(*words, "--field-mask", "time"))
    piped = flowwatch(*words[:2], "-", *words[3:], input=Path(CAPTURE).read_bytes())
    assert piped.stdout == flowwatch(*words).stdout


@pytest.mark.parametrize("text", FILTERS)
def test_a_call_of_the_library_says_the_same(policies: Path, text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = library.read(CAPTURE, filter=text)
        report = library.audit(CAPTURE, policies=policies, filter=text)
    words = ["--input-file", CAPTURE, "--filter", text, "-o", "json"]
    rows = json.loads(flowwatch("summary", *words).stdout)["rows"]
    assert list(frame["peer"]) == [row["peer"] for row in rows]
    told = json.loads(flowwatch("audit", "-f", policies, *words).stdout)
    assert {kind: report.counts.get(kind, 0) for kind in told["counts"]} == told["counts"]
    assert report.blind.coverage.filter == text


@pytest.mark.parametrize("call", [library.read, library.audit])
def test_a_call_refuses_what_is_no_filter(policies: Path, call: Any) -> None:
    more = {"policies": policies} if call is library.audit else {}
    with pytest.raises(library.FlowwatchError, match="did you mean policy:"):
        call(CAPTURE, filter="polcy:x", **more)
    with pytest.raises(library.FlowwatchError, match="staged: asks"):
        call(CAPTURE, filter="staged:deny", **more)
