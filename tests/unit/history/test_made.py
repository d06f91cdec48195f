"""Attempts and their counts by the minute: what `export` says of the same history, kept as Parquet."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import pytest

from flowwatch.flows.model import Batch
from flowwatch.history.attempts import columns
from flowwatch.history.recorder import Origin, Recorder
from flowwatch.sources.files import FileSource
from tests.command import ROOT, clean_environment
from tests.in_process import flowwatch
from tests.unit.history.asked import flows_of
from tests.unit.history.test_answers import CAPTURES, record

WEATHER = ROOT / "tests" / "data" / "captures" / "weather.jsonl"
SUMS = ("attempts", "tries", "records", "late", "uncounted")


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    """All rows of a table, read as anybody would."""
    paths = sorted((folder / "made" / table).rglob("*.parquet"))
    return [row for path in paths for row in parquet.ParquetFile(path).read().to_pylist()]


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    folder = record(WEATHER, tmp_path / "kept")
    assert flowwatch("history", "compact", folder).returncode == 0
    return folder


def exported(folder: Path, to: Path) -> list[dict[str, Any]]:
    done = flowwatch(
        "export", "--outcome", "all", "--direction", "both", "--history", folder,
        "--format", "parquet", "-o", to,
    )  # fmt: skip
    assert done.returncode == 0
    return list(parquet.ParquetFile(to).read().to_pylist())


def same(row: dict[str, Any], names: list[str]) -> tuple[str, ...]:
    """Its values by these names, times to the microsecond."""
    return tuple(
        [f"{row[name]:%F %T.%f}" if name.endswith("_seen") else str(row[name]) for name in names]
    )


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_attempts_are_those_of_the_export(capture: Path, tmp_path: Path) -> None:
    folder = record(capture, tmp_path / "kept")
    flowwatch("history", "compact", folder)
    told = exported(folder, tmp_path / "told.parquet")
    made = rows(folder, "attempts")
    names = [one.name for one in columns.ATTEMPTS if one.name in told[0]] if told else []
    assert Counter(same(row, names) for row in made) == Counter(same(row, names) for row in told)
    assert sorted(row["waited_us"] // 1000 for row in made) == sorted(
        round(row["waited"] * 1e6) // 1000 for row in told
    )
    assert {row["pod_cluster"] for row in made} == {row["cluster"] for row in told}
    policies = sorted((one["kind"], one["name"]) for row in told for one in row["policies"])
    by = ("denied_by", "default_denied_by", "allowed_by")
    named = [text for row in made for name in by for text in row[name]]
    assert sorted(_ref(text) for text in named) == policies


def _ref(text: str) -> tuple[str, str]:
    owner, _, kind = text.rpartition(" (")
    return kind.rstrip(")"), owner.rpartition("/")[2]


def test_minutes_are_the_sums_of_attempts(kept: Path) -> None:
    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        minute = row.get("minute") or row["first_seen"].replace(second=0, microsecond=0)
        return (minute, *(row[name] for name in columns.KEYS))

    counted: dict[tuple[Any, ...], Counter[str]] = {}
    for row in rows(kept, "attempts"):
        counted.setdefault(key(row), Counter()).update(
            attempts=1, tries=row["tries"], records=row["records"], late=row["waited_us"] > 0,
            uncounted=row["uncounted"],
        )  # fmt: skip
    found: dict[tuple[Any, ...], Counter[str]] = {}
    for row in rows(kept, "minutes"):
        found.setdefault(key(row), Counter()).update({name: row[name] for name in SUMS})
    assert found == counted
    assert sum(one["attempts"] for one in found.values()) == len(rows(kept, "attempts"))


@pytest.mark.parametrize("table", ["attempts", "minutes"])
def test_files_have_the_columns_that_are_declared(kept: Path, table: str) -> None:
    declared = columns.ATTEMPTS if table == "attempts" else columns.MINUTES
    for path in (kept / "made" / table).rglob("*.parquet"):
        found = parquet.ParquetFile(path)
        assert found.schema_arrow.names == [one.name for one in declared]
        assert not any(field.nullable for field in found.schema_arrow)
        about = json.loads(found.metadata.metadata[b"flowwatch"])
        assert about["format"] == columns.FORMAT
        assert sum(group[0] for group in about["groups"]) == found.metadata.num_rows


def test_they_lie_in_the_hours_of_their_first_records(kept: Path) -> None:
    for path in (kept / "made" / "attempts").rglob("*.parquet"):
        for row in parquet.ParquetFile(path).read().to_pylist():
            hour = f"date={row['first_seen']:%Y-%m-%d}/hour={row['first_seen']:%H}"
            cluster = row["node"].partition("/")[0]
            assert path.parts[-4] == f"cluster={cluster}"
            assert "/".join(path.parts[-3:-1]) == hour


def halves(folder: Path) -> Iterator[None]:
    """Records half of what there is; then, when asked again, what comes late, of the same attempts."""
    flows = flows_of(FileSource([WEATHER]))
    for part in (flows[::2], flows[1::2]):
        recorder = Recorder(folder, Origin("a test", ""))
        recorder.take(Batch(flows=part))
        recorder.close("the test ended")
        yield


def test_late_records_change_attempts_when_they_are_made_again(tmp_path: Path) -> None:
    folder = record(WEATHER.parent / "bare.jsonl", tmp_path / "kept")
    for _ in halves(folder):
        told = json.loads(flowwatch("history", "info", folder, "-o", "json").stdout)
        assert told["attempts"] is None or told["records_not_in_attempts"] > 0
        assert flowwatch("history", "compact", folder).stdout.endswith("made of the records\n")
        attempts = exported(folder, tmp_path / "told.parquet")
        names = [one.name for one in columns.ATTEMPTS if one.name in attempts[0]]
        assert Counter(same(row, names) for row in rows(folder, "attempts")) == Counter(
            same(row, names) for row in attempts
        )
        told = json.loads(flowwatch("history", "info", folder, "-o", "json").stdout)
        assert (told["attempts"], told["records_not_in_attempts"]) == (len(attempts), 0)
    assert flowwatch("history", "compact", folder).stdout == "nothing to merge\n"


def test_info_counts_and_verify_checks_them(kept: Path) -> None:
    told = json.loads(flowwatch("history", "info", kept, "-o", "json").stdout)
    every = [*kept.rglob("*.parquet"), *kept.rglob("*.gz")]
    assert len(every) > len(list(kept.rglob("*.parquet")))
    assert (told["files"], told["left_out"]) == (len(every), [])
    assert told["bytes"] == sum(path.stat().st_size for path in every)
    count = len(rows(kept, "attempts"))
    info = flowwatch("history", "info", kept).stdout
    assert f"Attempts: {count}, made of what came until" in info
    size = re.search(r"Size: +(.+) in ", info)
    assert size is not None
    verified = flowwatch("history", "verify", kept).stdout
    assert verified.startswith(f"{len(every)} files are sound: ")
    assert verified.endswith(f" records and {count} attempts, {size[1]}\n")


def test_a_file_that_is_torn_or_foreign_is_named(kept: Path) -> None:
    first = sorted((kept / "made" / "attempts").rglob("*.parquet"))[0]
    first.write_bytes(first.read_bytes()[:-30])
    (kept / "made" / "notes.txt").write_text("mine")
    for verb, named in (("info", 1), ("verify", 2)):
        done = flowwatch("history", verb, kept)
        assert done.returncode == 1
        said = done.stdout + done.stderr
        assert f"{first.relative_to(kept / 'made')} is damaged, or was cut off" in said
        assert ("made/notes.txt is none of a history's files" in said) == (named == 2)


def test_a_file_that_went_by_hand_is_named_and_made_anew(kept: Path) -> None:
    """No hour has grown old: its records are all there."""
    was = rows(kept, "attempts")
    for cut in (0, 30):
        first = sorted((kept / "made" / "attempts").rglob("*.parquet"))[0]
        first.write_bytes(first.read_bytes()[:-cut]) if cut else first.unlink()
        told = f"{first.relative_to(kept / 'made')} is "
        assert told in flowwatch("history", "verify", kept).stderr
        if not cut:
            said = flowwatch("history", "ask", "allowed-by", kept).stderr
            assert "1 file of attempts went: flowwatch history compact makes them anew" in said
        done = flowwatch("history", "compact", kept)
        assert f"{len(was)} attempts made of the records" in done.stdout
        assert rows(kept, "attempts") == was
        assert flowwatch("history", "verify", kept).returncode == 0


def test_bits_that_were_turned_are_found_by_checksum(kept: Path) -> None:
    first = sorted((kept / "made" / "minutes").rglob("*.parquet"))[0]
    column = parquet.ParquetFile(first).metadata.row_group(0).column(0)
    data = bytearray(first.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 3] ^= 0xFF
    first.write_bytes(bytes(data))
    done = flowwatch("history", "verify", kept)
    assert done.returncode == 1
    named, advice = done.stderr.splitlines()
    assert f"{first.relative_to(kept / 'made')} is damaged" in named
    assert "delete made/ there, then flowwatch history compact" in advice
    shutil.rmtree(kept / "made")
    assert flowwatch("history", "compact", kept).returncode == 0
    assert flowwatch("history", "verify", kept).returncode == 0


@pytest.mark.parametrize("said", ["{", '{"format": 99}', '{"format": 1}', "[]"])
def test_a_marker_that_says_nothing_is_told_and_made_anew(kept: Path, said: str) -> None:
    before = rows(kept, "attempts")
    (kept / "made" / "made.json").write_text(said)
    done = flowwatch("history", "verify", kept)
    assert done.returncode == 1
    assert "made/made.json" in done.stderr
    assert flowwatch("history", "compact", kept).returncode == 0
    assert rows(kept, "attempts") == before
    assert flowwatch("history", "verify", kept).returncode == 0


def test_a_making_that_was_killed_leaves_what_was_there(kept: Path) -> None:
    """Half of it lies aside: nobody reads it, and the next one takes it away."""
    before = rows(kept, "attempts")
    shutil.copytree(kept / "made", kept / ".making-0123abcd")
    assert flowwatch("history", "info", kept).returncode == 0
    assert rows(kept, "attempts") == before
    (kept / "made" / "made.json").unlink()
    assert flowwatch("history", "compact", kept).returncode == 0
    assert not list(kept.glob(".making-*"))
    assert rows(kept, "attempts") == before


def test_what_is_forgotten_is_in_no_attempt(kept: Path) -> None:
    assert any(row["namespace"] == "weather" for row in rows(kept, "attempts"))
    assert flowwatch("history", "forget", kept, "--namespace", "weather").returncode == 0
    left = rows(kept, "attempts") + rows(kept, "minutes")
    assert left
    assert not [
        row for row in left if "weather" in (row["namespace"], row["peer"].partition("/")[0])
    ]
    told = json.loads(flowwatch("history", "info", kept, "-o", "json").stdout)
    assert told["records_not_in_attempts"] == 0


def test_hours_that_grow_old_take_their_attempts_along(kept: Path, tmp_path: Path) -> None:
    """A recorder with --keep deletes them as it deletes the records of the same hours."""
    assert rows(kept, "attempts")
    done = flowwatch(
        "record", "--input-file", WEATHER.parent / "bare.jsonl", "--to", kept, "--max-size", "1"
    )
    assert done.returncode == 0
    assert (rows(kept, "attempts"), rows(kept, "minutes")) == ([], [])
    done = flowwatch("history", "verify", kept)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_history_without_records_has_no_attempts(tmp_path: Path) -> None:
    folder = record(WEATHER.parent / "empty.jsonl", tmp_path / "kept")
    done = flowwatch("history", "compact", folder)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "0 attempts made of the records")
    assert flowwatch("history", "ask", "blocked", folder).stdout == "nothing\n"
    assert flowwatch("history", "verify", folder).returncode == 0
    assert flowwatch("history", "compact", folder).stdout == "nothing to merge\n"


def test_where_nothing_can_be_written_what_was_there_stays(kept: Path) -> None:
    before = rows(kept, "attempts")
    flowwatch("record", "--input-file", WEATHER.parent / "dns.jsonl", "--to", kept)
    done = subprocess.run(
        ["sh", "-c", f"ulimit -f 1; exec {sys.executable} -m flowwatch history compact '{kept}'"],
        # Else a module that nobody has compiled yet would be kept cut off.
        env=clean_environment(str(kept)) | {"PYTHONDONTWRITEBYTECODE": "1"},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert re.fullmatch(r"flowwatch: can't write .*: File too large\n", done.stderr)
    assert rows(kept, "attempts") == before
    assert not list(kept.glob(".making-*"))
