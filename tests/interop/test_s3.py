"""A history in a bucket of a real S3 server: the same answers as from a folder, and faults told."""

from __future__ import annotations

import json
import random
import threading
from pathlib import Path

import pyarrow.parquet
import pytest

from flowwatch.cli import proof
from flowwatch.errors import InputError, OutputError, UsageError
from flowwatch.flows.model import Batch, Flow
from flowwatch.history import bucket as module
from flowwatch.history import store
from flowwatch.history.bucket import Bucket
from flowwatch.history.reading import HistorySource
from flowwatch.history.recorder import Origin, Recorder
from flowwatch.history.resume import resume
from flowwatch.history.retention import Limits, trim
from flowwatch.history.upkeep import compact
from tests.command import ROOT, one_line
from tests.in_process import flowwatch
from tests.interop.objects import SECRET, Failing, S3Server, environment
from tests.interop.program import free_port
from tests.unit.flows.made import flow as made_flow
from tests.unit.history.asked import flows_of
from tests.unit.history.writer import ORIGIN, number_of, numbered

WEATHER = ROOT / "tests" / "data" / "captures" / "weather.jsonl"
NEVER = 10**9
STEADY = ROOT / "tests" / "data" / "kernel-lab" / "steady"
VERBS = (
    "summary -o json",
    "export --outcome all --direction both",
    "export --raw --outcome all",
    "changes -o json",
    "gate --max-dropped 100 -o json",
    f"audit -o json -f {STEADY / 'policy.yaml'}",
)


@pytest.fixture
def place(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of its own, with a prefix."""
    for name, value in environment(s3.port).items():
        monkeypatch.setenv(name, value)
    return f"s3://{s3.bucket()}/team a/flows"


def through(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")


def some(count: int, first: int = 0) -> Batch:
    return Batch(flows=[numbered(number) for number in range(first, first + count)])


def of_node(name: str) -> Flow:
    return made_flow(0, node=name)


def numbers(where: str) -> list[int]:
    return [number_of(one) for one in flows_of(HistorySource(where))]


def test_every_answer_is_that_of_the_file(place: str) -> None:
    done = flowwatch("record", "--input-file", WEATHER, "--to", place)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    for verb in VERBS:
        of_file = flowwatch(*verb.split(), "--input-file", WEATHER)
        of_bucket = flowwatch(*verb.split(), "--history", place)
        named = [
            text.replace(f"history {place}", WEATHER.name)
            for text in (of_bucket.stdout, of_bucket.stderr)
        ]
        assert named == [of_file.stdout, of_file.stderr], verb
        assert of_file.stdout, verb


def test_it_is_looked_after_as_a_folder_is(place: str, tmp_path: Path) -> None:
    """What is told, merged, checked and deleted is the same in both."""
    told: list[list[str]] = []
    for where in (place, str(tmp_path / "kept")):
        store.create(where)
        recorder = Recorder(where, ORIGIN)
        for first in range(0, 400, 40):
            recorder.take(some(40, first))
            recorder.flush()
        recorder.close("the test ended")
        said = []
        for words in ("compact", "compact", "verify", "forget --before 2023-11-14T23:00:00Z"):
            verb, *more = words.split()
            done = flowwatch("history", verb, where, *more)
            assert done.returncode == 0, done.stderr
            # Of a folder attempts are made besides; names of runs, and so sizes, differ.
            said.append(done.stdout.partition(" of ")[0].partition(" are sound")[0])
        about = json.loads(flowwatch("history", "info", where, "-o", "json").stdout)
        said += [str(about["records"]), str(about["deleted"][0]["count"]), str(about["left_out"])]
        told.append([*said, *map(str, numbers(where))])
    in_bucket, in_folder = told
    # The attempts' files are sound as well.
    assert in_bucket[:2] + in_bucket[3:] == in_folder[:2] + in_folder[3:]
    assert in_bucket[0].endswith("files")
    assert in_bucket[1] == "nothing to merge\n"


def test_a_baseline_may_lie_there(place: str, tmp_path: Path) -> None:
    flowwatch("record", "--input-file", WEATHER, "--to", place)
    words = ("gate", "--input-file", WEATHER, "--max-new-destinations", "0", "--baseline")
    folder = tmp_path / "kept"
    flowwatch("record", "--input-file", WEATHER, "--to", folder)
    of_bucket, of_folder = flowwatch(*words, place), flowwatch(*words, folder)
    assert (of_bucket.returncode, of_bucket.stdout) == (of_folder.returncode, of_folder.stdout)
    assert "0 new destinations" in of_bucket.stdout


def test_a_proof_is_of_it_as_well(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowwatch("record", "--input-file", STEADY / "flows.jsonl.gz", "--to", place)
    made = tmp_path / "proof.zip"
    done = flowwatch("proof", "-f", STEADY / "policy.yaml", "--history", place, "-o", made)
    assert done.returncode in (0, 1), done.stderr
    again = flowwatch("proof", "verify", made, "--history", place)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "lie there unchanged" in again.stdout
    through(monkeypatch, free_port())
    away = flowwatch("proof", "verify", made, "--history", place)
    assert away.returncode == 2
    assert "the server cannot be reached" in one_line(away)
    assert "cannot read s3://" in away.stderr
    # It went away once all was replayed.
    with pytest.raises(InputError, match=r"cannot read s3://.*the server cannot be reached"):
        proof._still(b'{"files": []}', place)


def test_names_of_clusters_are_kept_apart(place: str) -> None:
    flows = some(3).flows
    for flow, node in zip(flows, ("north one/a", "söuth/b", "c%2F/d"), strict=True):
        flow.kind = of_node(node).kind
    store.create(place)
    recorder = Recorder(place, ORIGIN)
    recorder.take(Batch(flows=flows))
    recorder.close("")
    assert numbers(place) == [0, 1, 2]
    assert len(store.listing(place).flows) == 3


def test_going_on_keeps_nothing_twice_and_two_at_once_neither(place: str) -> None:
    store.create(place)
    first, second = Recorder(place, ORIGIN), Recorder(place, Origin("another", ""))
    for start in range(0, 100, 20):
        first.take(some(20, start))
        second.take(some(20, start))
    first.close("")
    second.close("")
    before = resume(place, ORIGIN, live=True)
    more = some(100, 50)
    before.fresh(more)
    assert before.repeats == 50
    third = Recorder(place, ORIGIN)
    third.take(more)
    third.close("")
    assert numbers(place) == list(range(150))


def test_what_grew_old_goes(place: str) -> None:
    store.create(place)
    recorder = Recorder(place, ORIGIN)
    recorder.take(some(400))
    recorder.close("")
    gone = trim(place, Limits(age=store.HOUR), numbered(399).time)
    assert gone.files > 0
    assert numbers(place)[-1] == 399
    assert numbers(place)[0] > 0


def test_a_spoilt_object_is_named(place: str) -> None:
    flowwatch("record", "--input-file", WEATHER, "--to", place)
    [piece, *_] = store.listing(place).flows
    piece.place.put(piece.path, piece.place.read(piece.path)[:-20])
    done = flowwatch("history", "verify", place)
    assert done.returncode == 1
    named, advice = done.stderr.splitlines()
    assert f"{piece.path} is damaged, or was cut off" in named
    assert "bring it back from a copy, or delete it" in advice


def test_each_tenth_call_fails_and_nothing_is_lost_or_doubled(
    place: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Failing(s3.port, 10) as proxy:
        through(monkeypatch, proxy.port)
        store.create(place)
        recorder = Recorder(place, ORIGIN)
        for start in range(0, 120, 40):
            recorder.take(some(40, start))
            recorder.flush()
        recorder.close("")
        assert (recorder.progress.kept, recorder.progress.failure) == (120, "")
        compact(place)
        assert numbers(place) == list(range(120))
        assert proxy.failed >= 5
    through(monkeypatch, s3.port)
    assert store.listing(place).left_out == []


def test_a_server_that_is_away_is_waited_for(
    place: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes meanwhile is held, as for a full disk."""
    monkeypatch.setattr(module, "TRIES", 1)
    with Failing(s3.port, NEVER) as proxy:
        through(monkeypatch, proxy.port)
        store.create(place)
        clock = iter(range(0, 10_000, 10))
        recorder = Recorder(place, ORIGIN, monotonic=lambda: float(next(clock)))
        recorder.take(some(40))
        recorder.flush()
        proxy.every = 1
        for first in range(40, 120, 40):
            recorder.take(some(40, first))
            with pytest.raises(OutputError, match="can't write s3://"):
                recorder.flush()
        assert recorder.progress.kept == 40
        assert recorder.progress.failure.startswith(f"can't write {place}/")
        proxy.every = NEVER
        recorder.close("")
        assert (recorder.progress.kept, recorder.progress.gaps) == (120, 0)
    through(monkeypatch, s3.port)
    assert numbers(place) == list(range(120))
    assert store.listing(place).left_out == []


def test_parts_of_a_large_object_that_fail_leave_none(
    place: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above 5 MB it goes in parts: it becomes an object with the last one."""
    monkeypatch.setattr(module, "TRIES", 1)
    data = random.Random(3).randbytes(40_000_000)
    for every in (2, 3, 4):
        with Failing(s3.port, every) as proxy:
            through(monkeypatch, proxy.port)
            with pytest.raises(OutputError):
                Bucket(place).put("large", data)
    through(monkeypatch, s3.port)
    whole = Bucket(place)
    assert list(whole.files()) == []
    whole.put("large", data)
    assert whole.read("large") == data


def test_only_one_changes_it_at_a_time(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(place)
    with Bucket(place).alone():
        done = flowwatch("history", "compact", place)
    assert done.returncode == 2
    assert "another flowwatch is changing" in one_line(done)
    # One that was killed has left its lock, which grows old.
    Bucket(place).put(".upkeep-0123456789abcdef.lock", b"")
    monkeypatch.setattr(module, "STALE", -1.0)
    with Bucket(place).alone() as still:
        assert len([name for name in Bucket(place).top() if name.startswith(".upkeep")]) == 1
        still()
        for name in Bucket(place).top():
            if name.startswith(".upkeep"):
                Bucket(place).delete(name)
        with pytest.raises(OutputError, match="took over"):
            still()


def test_of_many_at_once_at_most_one_changes_it(place: str) -> None:
    store.create(place)
    inside: list[int] = []
    most: list[int] = []
    refused: list[str] = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(5):
            try:
                with Bucket(place).alone():
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
            except UsageError as error:
                refused.append(str(error))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert max(most, default=1) == 1
    assert len(most) + len(refused) == 20
    assert all("another flowwatch" in one for one in refused)


def test_attempts_are_of_folders_alone(place: str) -> None:
    done = flowwatch("history", "ask", "blocked", place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "attempts are made in folders and in ClickHouse only" in one_line(done)


def test_other_programs_read_it(place: str, s3: S3Server) -> None:
    flowwatch("record", "--input-file", WEATHER, "--to", place)
    folder = s3.root / place.removeprefix("s3://") / "flows"
    table = pyarrow.parquet.read_table(folder)
    assert table.num_rows == len(flows_of(HistorySource(place)))


@pytest.mark.parametrize(
    ("change", "where", "code", "said"),
    [
        ({}, "s3://no-such-bucket/x", 1, "is no history: there is no such bucket"),
        ({}, "PLACE", 1, "is no history: it holds no history.json"),
        ({}, "s3://", 2, "invalid bucket: s3://"),
        ({}, "s3://a_b!/x", 2, "invalid bucket"),
        ({}, "gs://bucket/x", 2, "no history lies at gs://bucket/x"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "PLACE", 1, "access is denied"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:PORT"}, "PLACE", 1, "the server cannot be reached"),
        ({"AWS_ENDPOINT_URL": "nonsense"}, "PLACE", 2, "invalid AWS_ENDPOINT_URL: nonsense"),
    ],
)
def test_what_can_t_be_is_one_line(
    change: dict[str, str], where: str, code: int, said: str, place: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(module, "TRIES", 1)
    for name, value in change.items():
        monkeypatch.setenv(name, value.replace("PORT", str(free_port())))
    name = place if where == "PLACE" else where
    read = flowwatch("summary", "--history", name)
    assert (read.returncode, read.stdout) == (code, "")
    assert said in one_line(read)
    assert SECRET not in read.stderr
    if where == "PLACE" and not change:
        return
    kept = flowwatch("record", "--input-file", WEATHER, "--to", name)
    assert (kept.returncode, kept.stdout) == (2, "")
    assert said.removeprefix("is no history: ") in one_line(kept)
    assert SECRET not in kept.stderr


def test_a_prefix_that_holds_other_things_is_left_alone(place: str) -> None:
    Bucket(place).put("notes.txt", b"mine")
    done = flowwatch("record", "--input-file", WEATHER, "--to", place)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{place} holds other things (notes.txt)" in one_line(done)
    assert Bucket(place).top() == ["notes.txt"]
