"""`flowwatch history`: what it tells, merges, checks and deletes; answers stay what they were."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flowwatch.flows.model import Batch, Flow
from flowwatch.history import store, upkeep
from flowwatch.history.folder import Folder
from flowwatch.history.place import File
from flowwatch.history.reading import HistorySource
from flowwatch.history.recorder import Origin, Recorder
from flowwatch.history.upkeep import compact
from flowwatch.sources.files import FileSource
from tests.command import ROOT, one_line
from tests.in_process import flowwatch
from tests.unit.history.asked import flows_of

WEATHER = ROOT / "tests" / "data" / "captures" / "weather.jsonl"
ORIGIN = Origin("localhost:4245", "allowlist: …")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """The weather app's records, in a file each ten: two runs."""
    folder = tmp_path / "kept"
    store.create(folder)
    flows = flows_of(FileSource([WEATHER]))
    half = len(flows) // 2
    for part in (flows[:half], flows[half:]):
        recorder = Recorder(folder, ORIGIN)
        for start in range(0, len(part), 10):
            recorder.take(Batch(flows=part[start : start + 10]))
            recorder.flush()
        recorder.close("the test ended")
    return folder


def files(folder: Path) -> int:
    """Of records, and of what was told between them."""
    return len(
        [path for what in ("flows", "events") for path in (folder / what).rglob("*.parquet")]
    )


def answers(folder: Path) -> list[str]:
    verbs = (
        "summary -o json",
        "export --outcome all",
        "export --raw --outcome all",
        "changes -o json",
    )
    return [flowwatch(*verb.split(), "--history", folder).stdout for verb in verbs]


def test_info_tells_what_there_is(kept: Path) -> None:
    flows = flows_of(FileSource([WEATHER]))
    done = flowwatch("history", "info", kept, "-o", "json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert told["records"] == len(flows)
    assert sum(one["records"] for one in told["nodes"]) == len(flows)
    assert {one["node"] for one in told["nodes"]} == {flow.node for flow in flows}
    assert [(one["source"], one["filters"], one["ended"]) for one in told["runs"]] == [
        ("localhost:4245", "allowlist: …", "the test ended")
    ] * 2
    assert told["bytes"] == sum(path.stat().st_size for path in kept.rglob("*.parquet"))
    assert (told["gaps"], told["left_out"], told["files"]) == ([], [], files(kept))
    text = flowwatch("history", "info", kept).stdout
    assert f"Records:  {len(flows):,}, {told['first'][:19]}Z to {told['last'][:19]}Z\n" in text
    assert "Gaps:     none\n" in text


def test_merged_files_give_the_same_answers(kept: Path) -> None:
    before, many = answers(kept), files(kept)
    done = flowwatch("history", "compact", kept)
    assert done.returncode == 0
    assert f"{many} files of " in done.stdout
    assert files(kept) < many / 4
    assert answers(kept) == before
    assert flowwatch("history", "compact", kept).stdout == "nothing to merge\n"
    assert flowwatch("history", "verify", kept).returncode == 0


def test_a_merge_that_was_killed_counts_nothing_twice(kept: Path, tmp_path: Path) -> None:
    """The new file is there, and the old ones still are."""
    before = answers(kept)
    killed = tmp_path / "killed"
    shutil.copytree(kept, killed)
    compact(kept)
    shutil.copytree(kept, killed, dirs_exist_ok=True)
    assert answers(killed) == before
    # The next one takes away what was left.
    assert compact(killed).problems == []
    assert files(killed) == files(kept)


def test_only_one_changes_files_at_a_time(kept: Path) -> None:
    with open(kept / ".upkeep.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = flowwatch("history", "compact", kept)
    assert done.returncode == 2
    assert "another flowwatch is changing" in one_line(done)


def test_a_damaged_file_is_named_and_ends_with_1(kept: Path) -> None:
    first = sorted((kept / "flows").rglob("*.parquet"))[0]
    first.write_bytes(first.read_bytes()[:-20])
    for verb in ("info", "compact", "verify"):
        done = flowwatch("history", verb, kept)
        assert done.returncode == 1
        assert str(first.relative_to(kept)) in done.stdout + done.stderr
    assert done.stderr.endswith("bring it back from a copy, or delete it\n")
    done = flowwatch("history", "forget", kept, "--namespace", "weather")
    assert done.returncode == 1
    assert "what can't be read may hold more" in one_line(done)


def test_how_much_of_a_history_is_read_is_told(kept: Path) -> None:
    source = HistorySource(str(kept))
    assert source.state().progress is None
    told = [source.state().progress for _ in source.batches()]
    assert told[0] is not None
    assert told == sorted(told, key=lambda one: one or 0.0)
    assert source.state().progress is None


@pytest.mark.parametrize("compacted", [False, True])
@pytest.mark.parametrize("what", ["--namespace", "--pod"])
def test_what_is_forgotten_is_in_no_answer(kept: Path, what: str, compacted: bool) -> None:
    if compacted:
        compact(kept)
    every = flows_of(HistorySource(str(kept)))
    pod = next(flow.source for flow in every if flow.source.pod)
    names = {"--namespace": pod.namespace, "--pod": f"{pod.namespace}/{pod.pod}"}

    def gone(flow: Flow) -> bool:
        ends = (flow.source, flow.destination)
        if what == "--namespace":
            return pod.namespace in [end.namespace for end in ends]
        return (pod.namespace, pod.pod) in [(end.namespace, end.pod) for end in ends]

    left = [flow.uuid for flow in every if not gone(flow)]
    count = len(every) - len(left)
    assert 0 < count <= len(every)
    done = flowwatch("history", "forget", kept, what, names[what])
    of = "namespace" if what == "--namespace" else "pod"
    assert done.stdout == f"{count} records of {of} {names[what]} deleted\n"
    assert [flow.uuid for flow in flows_of(HistorySource(str(kept)))] == left
    said = flowwatch("summary", "--history", kept, "-o", "json")
    assert json.loads(said.stdout)["warnings"] == [
        f"{count} records of {of} {names[what]} were deleted from the history"
    ]
    again = flowwatch("history", "forget", kept, what, names[what])
    assert again.stdout == f"no record of {of} {names[what]}\n"


def test_forgetting_by_time_takes_hours_and_parts_of_one(kept: Path) -> None:
    every = flows_of(HistorySource(str(kept)))
    middle = sorted(flow.time for flow in every)[len(every) // 2]
    moment = middle // 10**9 * 10**9
    left = [flow.uuid for flow in every if flow.time >= moment]
    done = flowwatch("history", "forget", kept, "--before", f"{_rfc(moment)}")
    assert done.stdout == f"{len(every) - len(left)} records before {_rfc(moment)} deleted\n"
    assert [flow.uuid for flow in flows_of(HistorySource(str(kept)))] == left


def _rfc(time: int) -> str:
    return f"{datetime.fromtimestamp(time // 10**9, UTC):%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["info"], "flowwatch history info is about one history"),
        (["forget", "KEPT"], "nothing says what to forget"),
        (["forget", "KEPT", "--pod", "app"], "invalid pod: app"),
        (["forget", "KEPT", "--before", "soon"], "failed to parse the before time"),
    ],
)
def test_bad_words_are_one_line(words: list[str], said: str, kept: Path) -> None:
    done = flowwatch("history", *(str(kept) if word == "KEPT" else word for word in words))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in one_line(done)


@pytest.mark.parametrize("verb", ["info", "compact", "verify", "forget"])
def test_what_is_no_history_is_refused(verb: str, tmp_path: Path) -> None:
    more = ("--namespace", "x") if verb == "forget" else ()
    done = flowwatch("history", verb, tmp_path, *more)
    assert (done.returncode, done.stdout) == (1, "")
    assert "is no history" in one_line(done)


def test_a_file_in_place_of_a_folder_is_told_what_reads_it() -> None:
    for verb in (("history", "info"), ("summary", "--history")):
        done = flowwatch(*verb, WEATHER)
        assert (done.returncode, done.stdout) == (1, "")
        assert "is no history: it is a file: name the folder that flowwatch record" in one_line(
            done
        )
        assert "--input-file reads captures" in done.stderr


class Merged(Folder):
    """A folder that is merged while somebody looks at it: amid a look, or before a file is opened."""

    def __init__(self, path: Path, *, opened: int | None = None) -> None:
        super().__init__(path)
        self._left = opened
        """Files that are opened before; None: it happens while names are listed."""
        self._merged = False

    def _merge(self) -> None:
        self._merged = True
        upkeep.compact(self._path)

    def files(self) -> Iterator[File]:
        names = list(super().files())
        yield from names[: len(names) // 2]
        if self._left is None and not self._merged:
            self._merge()
        # A listing that is under way needn't tell what has come meanwhile, and doesn't tell what went.
        yield from (one for one in names[len(names) // 2 :] if (self._path / one.path).exists())

    def open(self, path: str) -> str:
        if self._left == 0 and not self._merged:
            self._merge()
        elif self._left:
            self._left -= 1
        return super().open(path)


MOMENTS = [None, 0, 3, 40, 80, 120]


@pytest.mark.parametrize("opened", MOMENTS)
def test_verify_says_the_same_while_it_is_merged(opened: int | None, kept: Path) -> None:
    records = len(flows_of(HistorySource(str(kept))))
    done = upkeep.verify(Merged(kept, opened=opened))
    assert done.problems == []
    assert done.rows == records


@pytest.mark.parametrize("opened", MOMENTS[:3])
def test_what_is_listed_while_it_is_merged_is_all_of_it(opened: int | None, kept: Path) -> None:
    records = len(flows_of(HistorySource(str(kept))))
    found = store.listing(Merged(kept, opened=opened))
    assert found.left_out == []
    assert sum(piece.rows for piece in found.flows) == records
