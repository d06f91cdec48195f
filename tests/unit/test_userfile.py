"""A path that a user gives may lead to anything."""

import os
import threading
from pathlib import Path

import pytest

from flowwatch import userfile


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * 100)
    assert userfile.read(path) == b"a" * 100
    assert userfile.read(str(path), 100) == b"a" * 100
    with pytest.raises(OSError, match="it is larger than 0 KiB"):
        userfile.read(path, 99)
    assert userfile.exists(path)


def test_what_is_none(tmp_path: Path) -> None:
    for path, words in (
        (str(tmp_path), "Is a directory"),
        (f"{tmp_path}/none", "No such file"),
        ("a\0b", "no file can have such a name"),
        (f"{tmp_path}/{'x' * 300}", "File name too long"),
        ("/dev/zero", "it is larger than 4 MiB"),
    ):
        with pytest.raises(OSError, match=words):
            userfile.read(path)
    assert userfile.read("/dev/null") == b""
    assert not userfile.exists("/dev/null")
    assert not userfile.exists("a\0b")
    assert not userfile.exists("")
    assert userfile.exists(tmp_path), "a folder is there, and can't be used"


def test_a_pipe_brings_all_of_it_or_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()

    def bring() -> None:
        with open(write, "wb") as stream:
            stream.write(b"x" * 300_000)

    writer = threading.Thread(target=bring)
    writer.start()
    assert userfile.read(f"/dev/fd/{read}") == b"x" * 300_000
    writer.join()
    os.close(read)
    monkeypatch.setattr(userfile, "PIPE_SECONDS", 0.2)
    read, write = os.pipe()
    with pytest.raises(TimeoutError, match=r"its end did not come in 0\.2 s"):
        userfile.read(f"/dev/fd/{read}")
    os.close(read)
    os.close(write)
