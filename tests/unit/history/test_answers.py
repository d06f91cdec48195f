"""Every verb asked about a history says what it says of the file with the same records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import ROOT, one_line
from tests.in_process import flowwatch

DATA = ROOT / "tests" / "data"
LAB = DATA / "kernel-lab"
CAPTURES = [
    *(LAB / name / "flows.jsonl.gz" for name in ("steady", "taken-away", "dns")),
    *sorted((DATA / "captures").glob("*.json*"))[:6],
]
CAPTURES = [path for path in CAPTURES if path.exists()]
POLICY = LAB / "steady" / "policy.yaml"
SHARED = ROOT.parent / "shared" / "captures"

VERBS = [
    "summary -o json",
    "summary --by workload,peer",
    "export --outcome all --direction both",
    "export --raw --outcome all --format jsonl",
    "export --grouped --outcome all --direction both",
    "changes -o json",
    "draft --direction both",
    "audit -o json -f POLICY",
    "whatif -o json -f POLICY",
    "unused -o json -f POLICY",
    "gap -o json -f POLICY",
]
ASKED = [
    "--verdict DROPPED",
    "--not --protocol tcp",
    "-n weather",
    "-n wether",
    "--to-port 443",
    "--from-ip 10.20.0.0/16",
    "--type policy-verdict",
    "--tcp-flags SYN",
    "--reply",
    "--to-identity world",
    "--last 7",
    "--first 7",
    "--since 2026-02-03T10:00:03Z --until 2026-02-03T10:00:20Z",
]


def record(capture: Path, folder: Path, *flags: str) -> Path:
    done = flowwatch("record", "--input-file", capture, "--to", folder, *flags)
    assert done.returncode == 0, done.stderr
    return folder


def both(verb: str, capture: Path, kept: Path) -> tuple[tuple[int, str, str], ...]:
    """Exit code, answer and words: of the file, and of its history, whose name is the file's then."""
    words = [str(POLICY) if word == "POLICY" else word for word in verb.split()]
    found = []
    for source in (("--input-file", capture), ("--history", kept)):
        done = flowwatch(*words, *source)
        out, err = (
            text.replace(f"history {kept}", capture.name) for text in (done.stdout, done.stderr)
        )
        found.append((done.returncode, out, err))
    return tuple(found)


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_a_history_answers_as_its_file(capture: Path, tmp_path: Path) -> None:
    kept = record(capture, tmp_path / "kept")
    for verb in VERBS:
        of_file, of_history = both(verb, capture, kept)
        assert of_history == of_file, verb


@pytest.mark.parametrize("asked", ASKED)
def test_filters_and_windows_mean_the_same(asked: str, tmp_path: Path) -> None:
    capture = CAPTURES[0]
    kept = record(capture, tmp_path / "kept")
    of_file, of_history = both(f"export --raw --outcome all {asked}", capture, kept)
    assert of_history == of_file


@pytest.mark.skipif(not SHARED.exists(), reason="lies beside some checkouts only")
def test_captures_of_others_too(tmp_path: Path) -> None:
    captures = [path for path in sorted(SHARED.rglob("*.json*")) if path.is_file()]
    assert len(captures) > 20
    for number, capture in enumerate(captures):
        kept = tmp_path / str(number)
        if flowwatch("record", "--input-file", capture, "--to", kept).returncode:
            # Of what is no capture nothing is kept; what could be read is, below the words of the file.
            continue
        for verb in ("summary -o json", "export --raw --outcome all"):
            of_file, of_history = both(verb, capture, kept)
            assert of_history == of_file, f"{verb} of {capture}"


def test_whole_records_are_printed_again(tmp_path: Path) -> None:
    capture = CAPTURES[0]
    kept = record(capture, tmp_path / "kept", "--raw")
    for verb in ("observe -o jsonpb --all", "observe --last 5", "summary -o json"):
        of_file, of_history = both(verb, capture, kept)
        assert of_history == of_file, verb
    assert flowwatch("summary", "--history", kept, "--interface", "eth0").returncode == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["observe"], "the history has no whole records"),
        (["summary", "--interface", "eth0"], "the history doesn't keep what --interface asks for"),
        (["summary", "--follow"], "cannot follow a history"),
        (["summary", "--input-file", "x"], "cannot set both --input-file and --history"),
        (["summary", "--keep-bad", "x"], "a history keeps what could be read"),
    ],
)
def test_what_it_can_t_answer_is_one_line(words: list[str], said: str, tmp_path: Path) -> None:
    kept = record(CAPTURES[0], tmp_path / "kept")
    done = flowwatch(*words, "--history", kept)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in one_line(done)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--since 2100-01-01", "no record is of that time: the history ends at {last}"),
        ("--until 2000-01-01", "no record is of that time: the history begins at {first}"),
        (
            "--since 2026-02-03T10:00:00.000000001Z --until 2026-02-03T10:00:00.000000002Z",
            "no record is of that time, though the history goes from {first} to {last}",
        ),
        (
            "--since 2026-02-03 --until 2026-02-02",
            "no record lies in a window that ends before it begins",
        ),
        ("--since 2000-01-01", ""),
        ("--since 2000-01-01 --namespace weather --verdict ERROR", "none of which passes"),
    ],
)
def test_a_window_without_records_is_told(words: str, said: str, tmp_path: Path) -> None:
    """Else it looks as if there had been no traffic."""
    folder = record(CAPTURES[0], tmp_path / "kept")
    about = json.loads(flowwatch("history", "info", folder, "-o", "json").stdout)
    first, last = (f"{about[one][:19]}Z" for one in ("first", "last"))
    told = flowwatch("summary", "--history", folder, *words.split()).stderr
    assert said.format(first=first, last=last) in told
    assert ("no record " in told) == said.startswith("no record ")
