"""Call the program as a person does, without a process: for tests of what it says and does.

The same words give the same answer as :func:`tests.command.flowwatch`, in a twentieth of the time.
What only a process has (signals, descriptors that are closed or full, what is loaded, an encoding of
the locale) is tested with one.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

from flowwatch.__main__ import main
from flowwatch.hubble.wire import enum_names
from tests.command import ROOT, clean_environment


def flowwatch(
    *arguments: str | Path,
    input: bytes | str | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """``flowwatch ARGUMENTS``; standard input is an empty pipe unless given."""
    words = [str(argument) for argument in arguments]
    data = input.encode() if isinstance(input, str) else input or b""
    with (
        tempfile.TemporaryDirectory() as home,
        _environment(clean_environment(home) | (env or {})),
        contextlib.chdir(ROOT),
        no_newer_names(),
        _streams(data) as (out, err),
    ):
        try:
            code = main(words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
    return subprocess.CompletedProcess(words, code, _text(out), _text(err))


@contextlib.contextmanager
def no_newer_names() -> Iterator[None]:
    """What another test's records named is not told by this one: a process begins without any."""
    with (
        mock.patch.object(enum_names, "_numbers", {}),
        mock.patch.object(enum_names, "_names", {}),
    ):
        yield


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ |= variables
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


@contextlib.contextmanager
def _streams(data: bytes) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    """Standard input a pipe with ``data``, standard output and error in memory."""
    reading, writing = os.pipe()
    writer = threading.Thread(target=_fill, args=(writing, data))
    out, err = io.BytesIO(), io.BytesIO()
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = os.fdopen(reading, encoding="utf-8", errors="surrogateescape")
    sys.stdout = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
    sys.stderr = io.TextIOWrapper(
        err, encoding="utf-8", errors="backslashreplace", write_through=True
    )
    writer.start()
    try:
        yield out, err
    finally:
        for stream in sys.stdin, sys.stdout.detach(), sys.stderr.detach():
            if stream is not out and stream is not err:
                stream.close()
        sys.stdin, sys.stdout, sys.stderr = before
        writer.join()


def _fill(descriptor: int, data: bytes) -> None:
    # Who doesn't read it all has closed the other end.
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb") as pipe:
        pipe.write(data)


def _text(stream: io.BytesIO) -> str:
    """As subprocess reads it."""
    text = stream.getvalue().decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
