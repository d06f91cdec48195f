"""Writing results: whole files or none, and one clear line when it fails."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from flowwatch.errors import OutputError
from flowwatch.output import ClosedPipe, open_output

PROGRAM = """
import sys
from flowwatch.errors import FlowwatchError
from flowwatch.output import ClosedPipe, open_output

try:
    with open_output(sys.argv[1]) as out:
        for number in range(int(sys.argv[2])):
            out.write(f"line {number}\\n")
except ClosedPipe as error:
    sys.exit(error.exit_code)
except FlowwatchError as error:
    print(f"Error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
"""


def run(target: str, lines: int, stdout: int | io.IOBase) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, target, str(lines)],
        stdout=stdout,  # type: ignore[arg-type]
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


def fail_midway(target: str | None, error: BaseException) -> None:
    with open_output(target) as out:
        out.write("so far\n")
        raise error


def leftovers(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_appears_with_all_of_its_content_and_ordinary_rights(tmp_path: Path) -> None:
    target = tmp_path / "drops.csv"
    with open_output(str(target)) as out:
        out.write("täglich\n")
        assert not target.exists()
    assert target.read_bytes() == "täglich\n".encode()
    mask = os.umask(0o022)
    os.umask(mask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~mask
    assert leftovers(tmp_path) == ["drops.csv"]


def test_an_error_leaves_the_older_file_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "drops.csv"
    target.write_text("before")
    target.chmod(0o640)
    with pytest.raises(RuntimeError):
        fail_midway(str(target), RuntimeError())
    assert target.read_text() == "before"
    assert leftovers(tmp_path) == ["drops.csv"]
    with open_output(str(target)) as out:
        out.write("after")
    assert target.read_text() == "after"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def killed(target: Path) -> str:
    """A flowwatch that was killed while it wrote ``target``; the name of what it has left."""
    before = set(leftovers(target.parent))
    program = (
        "import os, sys\n"
        "from flowwatch.output import open_output\n"
        "with open_output(sys.argv[1]) as out:\n"
        "    out.write('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(target)], timeout=60, check=False)
    (left,) = set(leftovers(target.parent)) - before
    return left


def test_what_a_killed_one_left_is_removed_by_the_next(tmp_path: Path) -> None:
    left = killed(tmp_path / "drops.csv")
    assert left.startswith(".drops.csv.flowwatch-")
    # Whatever it was to become; a name that fills its 255 bytes is cut.
    longer = killed(tmp_path / ("ä" * 125 + ".csv"))
    assert leftovers(tmp_path) == [longer]
    with open_output(str(tmp_path / "other.csv")) as out:
        out.write("text\n")
    assert leftovers(tmp_path) == ["other.csv"]


def test_what_is_another_s_or_being_written_stays(tmp_path: Path) -> None:
    others = [
        ".drops.csv.0123abcd.tmp",
        ".drops.csv.flowwatch-0123abcd.tmp.bak",
        ".drops.csv.flowwatch-mine.tmp",
        "drops.csv.flowwatch-0123abcd.tmp",
    ]
    for name in others:
        (tmp_path / name).write_text("keep me")
    (tmp_path / ".a.flowwatch-00000000.tmp").mkdir()
    (tmp_path / ".b.flowwatch-00000000.tmp").symlink_to(tmp_path / others[0])
    with open_output(str(tmp_path / "first.csv")) as first:
        first.write("text\n")
        with open_output(str(tmp_path / "second.csv")) as second:
            second.write("text\n")
    mine = [".a.flowwatch-00000000.tmp", ".b.flowwatch-00000000.tmp", "first.csv", "second.csv"]
    assert leftovers(tmp_path) == sorted([*others, *mine])


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each removes what others left, and none what others are writing."""
    program = (
        "import sys\n"
        "from flowwatch.output import open_output\n"
        "for number in range(200):\n"
        "    with open_output(f'{sys.argv[1]}-{number % 3}') as out: out.write('text')\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path / f"file-{number}")])
        for number in range(4)
    ]
    assert [process.wait(60) for process in running] == [0, 0, 0, 0]
    assert len(leftovers(tmp_path)) == 12


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "drops.csv"
    target.write_text("before")
    link = tmp_path / "link.csv"
    link.symlink_to(target)
    with open_output(str(link)) as out:
        out.write("after")
    assert link.is_symlink()
    assert target.read_text() == "after"


def test_a_partial_result_gets_another_name(tmp_path: Path) -> None:
    target = tmp_path / "drops.csv"
    with open_output(str(target)) as out:
        out.write("as far as it went\n")
        out.keep_as_partial()
    assert leftovers(tmp_path) == ["drops.csv.partial"]
    assert out.name.endswith("drops.csv.partial")


@pytest.mark.parametrize("name", ["", "/"])
def test_a_directory_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="is a directory: name a file in it"):
        open_output(f"{tmp_path}{name}")


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        open_output(str(tmp_path / "nowhere" / "drops.csv"))


def test_hostile_names_are_escaped_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as failed:
        open_output(str(tmp_path / "nowhere\x1b[2J" / "drops.csv"))
    assert "\x1b" not in str(failed.value)


def test_a_full_device_is_said_by_file_name() -> None:
    with pytest.raises(OutputError, match="can't write /dev/full: No space left on device"):  # noqa: SIM117
        with open_output("/dev/full") as out:
            out.write("x" * 100_000)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files stands for the full disk: write() fails in the same place.
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));" + PROGRAM
    )
    target = tmp_path / "drops.csv"
    target.write_text("before")
    done = subprocess.run(
        [sys.executable, "-c", code, str(target), "100000"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"Error: can't write {target}: File too large\n"
    assert leftovers(tmp_path) == ["drops.csv"]
    assert target.read_text() == "before"


@pytest.mark.parametrize("lines", [1, 100_000])
def test_full_standard_output_is_one_line_and_exit_1(lines: int) -> None:
    with open("/dev/full", "wb") as full:
        done = run("-", lines, full)
    assert done.stderr == "Error: can't write standard output: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_closed_pipe_ends_quietly_as_other_tools(lines: int) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        done = run("-", lines, pipe)
    assert done.stderr == ""
    assert done.returncode == 141


def test_closed_standard_output_is_said() -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" - 1 >&-', sys.executable, PROGRAM],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == "Error: can't write standard output: it is closed\n"
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/dev/fd/1"])
def test_names_of_standard_output(name: str, tmp_path: Path) -> None:
    redirected = tmp_path / "out.txt"
    with redirected.open("wb") as file:
        done = run(name, 2, file)
    assert (done.returncode, done.stderr) == (0, "")
    assert redirected.read_text() == "line 0\nline 1\n"
    assert leftovers(tmp_path) == ["out.txt"]


def test_standard_error_and_other_descriptors(capfd: pytest.CaptureFixture[str]) -> None:
    with open_output("/dev/stderr") as out:
        out.write("to stderr\n")
    assert capfd.readouterr().err == "to stderr\n"
    reader, writer = os.pipe()
    with open_output(f"/dev/fd/{writer}") as out:
        out.write("to a descriptor\n")
    os.close(writer)
    with os.fdopen(reader) as file:
        assert file.read() == "to a descriptor\n"
    with pytest.raises(OutputError, match="Bad file descriptor"):
        open_output("/dev/fd/987")


def test_a_fifo_is_written_and_its_loss_is_a_closed_pipe(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    thread = threading.Thread(target=lambda: read.append(fifo.read_text()))
    thread.start()
    with open_output(str(fifo)) as out:
        out.write("through a fifo\n")
    thread.join(10)
    assert read == ["through a fifo\n"]

    def leave() -> None:
        with fifo.open("rb"):
            pass

    thread = threading.Thread(target=leave)
    thread.start()
    out = open_output(str(fifo))
    thread.join(10)
    with pytest.raises(ClosedPipe), out:
        out.write("x" * 1_000_000)
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_what_was_written_before_an_interrupt_reaches_standard_output(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    with pytest.raises(KeyboardInterrupt):
        fail_midway(None, KeyboardInterrupt())
    assert capfdbinary.readouterr().out == b"so far\n"


def test_a_replaced_standard_output_gets_text(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    with open_output(None) as out:
        out.write("text\n")
    assert text.getvalue() == "text\n"
